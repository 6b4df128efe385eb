"""A start that fails says so in one line and leaves nothing behind; one ahead of its programs serves the next pool."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from autotune.base.errors import ResourceError
from autotune.machine import process
from autotune.workers import forks
from autotune.workers.pool import Pool

ENVIRONMENT = process.worker_environment(resident=True, passive_wait=False, one_blas_thread=False, blas_kernel="")


def descriptors():
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@contextlib.contextmanager
def no_more_than(files):
    """Let this process open only so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = next(number for number in range(10**6) if str(number) not in descriptors())
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + files, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("ahead", [contextlib.nullcontext, forks.ahead])
def test_where_no_process_can_be_started_the_pool_says_so_and_nothing_is_left(tmp_path, monkeypatch, ahead):
    before = descriptors()
    monkeypatch.setenv("TOO_LONG", "x" * 2**24)
    words = r"^no worker process can be started: Argument list too long; .*limits"
    with ahead(tmp_path), pytest.raises(ResourceError, match=words):
        Pool(programs=[], environment=ENVIRONMENT, scratch=tmp_path)
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("serving", [True, False])
def test_a_lock_that_an_interruption_left_locked_holds_nobody_up(tmp_path, serving):
    started = forks.Forks(tmp_path)
    if serving:
        started.load([], ENVIRONMENT)
    started._zygote._waitpid_lock.acquire()  # where Ctrl-C comes between two lines of `Popen.wait`
    started.close(serving=serving)
    started.close(serving=serving)
    assert not psutil.pid_exists(started.pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not process.HAS_PROC, reason="needs /proc")
@pytest.mark.parametrize("files", [0, 1, 2, 3, 4])
def test_where_too_many_files_are_open_nothing_is_left(tmp_path, files):
    before = descriptors()
    with no_more_than(files), pytest.raises(ResourceError, match="Too many open files"):
        Pool(programs=[], environment=ENVIRONMENT, scratch=tmp_path)
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_where_no_further_worker_can_be_reached_the_run_ends_in_one_line(tmp_path):
    words = "no worker process can be started: Too many open files"
    with (
        Pool(programs=[], environment=ENVIRONMENT, scratch=tmp_path) as pool,
        no_more_than(0),
        pytest.raises(ResourceError, match=words),
    ):
        pool.prepare(1)
    assert list(tmp_path.iterdir()) == []


def test_what_was_started_ahead_serves_the_next_pool(tmp_path):
    with forks.ahead(tmp_path):
        (folder,) = tmp_path.iterdir()
        with Pool(programs=[], environment=ENVIRONMENT, scratch=tmp_path) as pool:
            pool.prepare(1)
            assert pool.wait(timeout_s=60.0) == []  # the worker says its number
            assert pool.scratch == folder
            with Pool(programs=[], environment=ENVIRONMENT, scratch=tmp_path) as second:
                assert second.scratch != folder
    assert list(tmp_path.iterdir()) == []


def test_what_was_started_ahead_is_not_for_another_folder(tmp_path):
    (other := tmp_path / "other").mkdir()
    with forks.ahead(tmp_path), Pool(programs=[], environment=ENVIRONMENT, scratch=other) as pool:
        assert pool.scratch.parent == other
    assert list(tmp_path.iterdir()) == [other]
    assert list(other.iterdir()) == []


def test_what_was_started_ahead_and_not_taken_ends_with_the_block(tmp_path):
    before = descriptors()
    with forks.ahead(tmp_path):
        started = forks.take(tmp_path)
        pid = started.pid
        started.close(serving=False)
        with forks.ahead(tmp_path):
            assert len(list(tmp_path.iterdir())) == 1
    assert not Path(f"/proc/{pid}").exists()
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_what_is_imported_ahead_reads_no_environment_of_a_blas():
    code = "import sys; from autotune.workers import zygote; zygote._import_ahead(); print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "False"
