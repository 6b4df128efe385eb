"""A start that fails says so in one line and leaves nothing behind."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import pytest

from autotune.base.errors import ResourceError
from autotune.machine import process
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


def test_where_no_process_can_be_started_nothing_is_left(tmp_path):
    before = descriptors()
    with pytest.raises(ResourceError, match=r"^no worker process can be started: Argument list too long; .*limits"):
        Pool(programs=[], environment={**ENVIRONMENT, "TOO_LONG": "x" * 2**24}, scratch=tmp_path)
    assert descriptors() == before
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
