"""Journals on file systems of clusters that keep no locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import real_slurm

pytestmark = pytest.mark.cluster
LOCKLESS = Path(__file__).parents[1] / "support" / "lockless.py"


@pytest.fixture
def lockless(tmp_path):
    """Return a folder on a file system that refuses all locks."""
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE")
    kept, place = tmp_path / "kept", tmp_path / "lockless"
    for folder in (kept, place):
        folder.mkdir()
    server = subprocess.Popen([sys.executable, LOCKLESS, kept, place])
    try:
        real_slurm.wait(lambda: server.poll() is not None or place.is_mount(), 20.0, "it is not mounted")
        assert server.poll() is None
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)
        server.wait(20.0)


def test_a_journal_where_there_are_no_locks_is_refused_at_once_and_another_place_will_do(user, lockless):
    source = user.sleeping("water4", seconds=0.0)
    words = ("run", source, "-o", lockless / "result.json", "--record", lockless / "record.json")
    status, _, said = user.call(*words, "--journal", lockless / "journal.db")
    assert status == 2, said
    (line,) = [line for line in said.splitlines() if "no locks" in line]
    assert "give a --journal FILE on a local disk" in line
    assert user.done == 0
    assert not (lockless / "journal.db").exists()
    status, _, said = user.call(*words, "--journal", user.folder / "journal.db")
    assert status == 0, said
    assert user.done == 10
    assert (lockless / "result.json").exists()


def test_a_home_without_locks_is_done_without_and_that_is_said(user, lockless, monkeypatch):
    monkeypatch.setattr(type(user), "environment", {**user.environment, "AUTOTUNE_HOME": str(lockless / "home")})
    words = ("run", user.sleeping("water4", seconds=0.0), "-o", "result.json", "--record", "record.json")
    status, _, said = user.call(*words)
    assert status == 0, said
    assert "finished tasks are kept in memory only" in said
    assert "no locks" in said
    assert user.done == 10
    status, _, said = user.call(*words, "--resume")
    assert status == 2
    assert "no locks" in said
