"""A control group for the workers: what is written where for version 2, in a folder, and what this machine does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.base.errors import ResourceError
from autotune.workers.control_group import Enclosure


@pytest.fixture
def as_the_kernel_does(monkeypatch):
    """Let a group's files go with it, as long as no process is in it."""

    def remove(group):
        processes, above = group / "cgroup.procs", group.parent / "cgroup.procs"
        if processes.exists() and processes.read_text() != above.read_text():  # they have not moved
            raise OSError(errno.EBUSY, "Device or resource busy")
        shutil.rmtree(group)

    monkeypatch.setattr(Path, "rmdir", remove)


@pytest.fixture
def version_2(tmp_path):
    """A machine in a folder: this process alone in a delegated group `/job` of version 2."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    (tmp_path / "proc/self/mountinfo").write_text("30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n")
    group = tmp_path / "sys/fs/cgroup/job"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (group / "cgroup.subtree_control").write_text("")
    return tmp_path


@pytest.mark.usefixtures("as_the_kernel_does")
def test_in_version_2_this_process_steps_aside_for_a_limited_group_of_workers_and_comes_back(version_2):
    group = version_2 / "sys/fs/cgroup/job"
    enclosure = Enclosure(1.5, root=version_2)
    assert (enclosure.folder / "memory.max").read_text() == str(3 * 2**29)
    assert (group / "cgroup.subtree_control").read_text() == "+memory"
    assert (group / f"autotune-{os.getpid()}-parent" / "cgroup.procs").read_text() == str(os.getpid())
    enclosure.take([4711])
    assert (enclosure.folder / "cgroup.procs").read_text() == "4711"
    enclosure.limit(1.0)
    assert (enclosure.folder / "memory.max").read_text() == str(2**30)
    (enclosure.folder / "cgroup.procs").write_text("")  # the worker has ended
    (group / "cgroup.procs").write_text("")  # this process has moved
    enclosure.close()
    assert (group / "cgroup.procs").read_text() == str(os.getpid())
    assert (group / "cgroup.subtree_control").read_text() == "-memory"
    assert sorted(path.name for path in group.iterdir()) == ["cgroup.procs", "cgroup.subtree_control"]


@pytest.mark.usefixtures("as_the_kernel_does")
def test_what_a_killed_run_left_is_removed_and_what_a_living_one_uses_is_not(version_2):
    group, ended = version_2 / "sys/fs/cgroup/job", subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getppid()):
        (group / f"autotune-{pid}-parent").mkdir()
        (group / f"autotune-{pid}-workers-x1").mkdir()
    Enclosure(1.5, root=version_2).close()
    left = {path.name for path in group.glob("autotune-*")}
    assert left - {f"autotune-{os.getpid()}-parent"} == {
        f"autotune-{os.getppid()}-parent",
        f"autotune-{os.getppid()}-workers-x1",
    }


def test_a_group_that_other_processes_share_is_left_as_it_is(version_2):
    group = version_2 / "sys/fs/cgroup/job"
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    with pytest.raises(ResourceError, match=r"is not ours to divide \(other processes are in it\); leave out"):
        Enclosure(1.0, root=version_2)
    assert sorted(path.name for path in group.iterdir()) == ["cgroup.procs", "cgroup.subtree_control"]


def test_without_control_groups_it_says_what_to_do(tmp_path):
    with pytest.raises(ResourceError, match="there is no control group for memory here; leave out --enforce-memory"):
        Enclosure(1.0, root=tmp_path)


def test_the_kernel_kills_what_exceeds_the_limit_and_nothing_else():
    try:
        enclosure = Enclosure(0.2)
    except ResourceError as error:
        pytest.skip(str(error))
    code = "input(); held = [bytearray(2**27) for _ in range(8)]; print(len(held))"
    greedy = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    enclosure.take([greedy.pid])
    greedy.communicate("go\n", timeout=60)
    enclosure.close()
    assert greedy.returncode == -9
    assert not enclosure.folder.exists()
