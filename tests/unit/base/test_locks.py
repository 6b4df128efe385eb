"""Claims about locks between processes."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys

import pytest

from autotune.base import locks

HOLD = """
import sys, time
from pathlib import Path
from autotune.base import locks
with locks.hold(Path(sys.argv[1]), wait=True, keep=True):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "a.lock"


@pytest.fixture
def holder(path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_what_another_process_holds_is_not_to_be_had_until_it_is_killed(path, holder):
    with pytest.raises(BlockingIOError), locks.hold(path, wait=False, keep=True):
        pass
    holder.kill()
    with locks.hold(path, wait=True, keep=True):
        assert holder.wait() == -9


@pytest.mark.parametrize("keep", [True, False])
def test_a_lock_is_let_go_of_after_an_error_and_its_file_is_kept_or_not(path, keep):
    for _ in range(2):
        with pytest.raises(KeyError), locks.hold(path, wait=False, keep=keep):
            raise KeyError
        assert path.exists() == keep


@pytest.mark.parametrize("fault", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_there_is_none_and_nobody_waits(path, monkeypatch, fault):
    def refuse(*_):
        raise OSError(fault, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.hold(path, wait=True, keep=False), locks.hold(path, wait=True, keep=False):
        pass


def test_where_no_file_can_be_made_the_error_is_the_systems(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"exists|directory"),
        locks.hold(tmp_path / "file" / "a.lock", wait=True, keep=True),
    ):
        pass
