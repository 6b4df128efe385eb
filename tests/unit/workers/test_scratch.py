"""Claims about `autotune.workers.scratch`: whose folders are removed, and what they hold."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.base.errors import ResourceError
from autotune.workers import scratch

MAKE = (
    "import os, sys; from pathlib import Path; from autotune.workers import scratch;"
    " made, fd = scratch.make(Path(sys.argv[1]))"
)
# Ends without a word, as in a power cut.
DIE = "print(made, flush=True); os.kill(os.getpid(), 9)"
# The same, but a child holds the lock on, as the zygote does, until its input ends.
LEAVE_A_CHILD = (
    "import subprocess; subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], pass_fds=[fd],"
    f" stdout=subprocess.DEVNULL); {DIE}"
)


def run_that_dies(base, then=DIE, **options):
    """Return the folder of a run that was killed."""
    command = [sys.executable, "-c", f"{MAKE}\n{then}", str(base)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **options)
    assert done.returncode == -signal.SIGKILL
    return Path(done.stdout.strip())


@pytest.fixture
def made(tmp_path):
    folder, descriptor = scratch.make(tmp_path)
    yield folder
    os.close(descriptor)


def forge(base, name="autotune-forged", *, owner=None):
    """Make a folder as a dead run leaves it, or, with an `owner`, as something else would."""
    folder = base / name
    folder.mkdir()
    (folder / scratch.OWNER).write_bytes(socket.gethostname().encode() if owner is None else owner)
    (folder / "kept").write_text("something")
    return folder


# --- making ----------------------------------------------------------------------------------------------------------


def test_a_runs_folder_is_private(made, tmp_path):
    assert made.parent == tmp_path
    assert made.name.startswith(scratch.PREFIX)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_nobody_else_gets_the_lock_of_a_living_run(made):
    with (made / scratch.OWNER).open("r+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_without_a_base_it_is_made_where_temporary_files_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder, descriptor = scratch.make(None)
    os.close(descriptor)
    assert folder.parent == tmp_path
    assert scratch.remove_orphans(None) == [folder]


@pytest.mark.parametrize("base", ["missing", "file", "/proc"])
def test_a_base_that_cannot_be_written_is_refused_with_the_cure(tmp_path, base):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"^scratch folder .* cannot be written: .*give --scratch DIR$"):
        scratch.make(tmp_path / base)


def test_a_disk_that_is_full_leaves_no_folder_and_no_descriptor(tmp_path):
    code = (
        "import os, resource; from autotune.base.errors import ResourceError;"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); before = os.listdir('/dev/fd')\n"
        f"try:\n    {MAKE.rpartition('; ')[2].strip()}\nexcept ResourceError as error:\n    print(error)\n"
        "print(len(os.listdir('/dev/fd')) - len(before))"
    )
    command = [sys.executable, "-c", f"{MAKE.rpartition(';')[0]}\n{code}", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, left = done.stdout.splitlines()
    assert message.endswith("cannot be written: File too large; set TMPDIR or give --scratch DIR")
    assert left == "0"
    assert list(tmp_path.iterdir()) == []


# --- leftovers -------------------------------------------------------------------------------------------------------


def test_the_folder_of_a_killed_run_is_removed_with_all_it_holds(tmp_path):
    folder = run_that_dies(tmp_path)
    (folder / "worker-1" / "files").mkdir(parents=True)
    (folder / "worker-1" / "files" / "integrals").write_bytes(bytes(5000))
    assert scratch.remove_orphans(tmp_path) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_run_is_left_alone(made, tmp_path):
    assert scratch.remove_orphans(tmp_path) == []
    assert made.exists()


@pytest.mark.parametrize("alive", [True, False])
def test_a_run_that_was_killed_before_its_folder_had_an_owner_leaves_none(tmp_path, alive):
    folder = forge(tmp_path)
    (folder / scratch.OWNER).rename(folder / ".owner")
    with (folder / ".owner").open("r+") as owner:
        if alive:
            fcntl.flock(owner, fcntl.LOCK_EX)
        assert scratch.remove_orphans(tmp_path) == ([] if alive else [folder])


def test_a_run_lives_as_long_as_one_process_holds_its_lock(tmp_path):
    read, write = os.pipe()
    folder = run_that_dies(tmp_path, LEAVE_A_CHILD, stdin=read)
    os.close(read)
    assert scratch.remove_orphans(tmp_path) == []
    os.close(write)
    with (folder / scratch.OWNER).open("r+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)  # waits until the child has ended
    assert scratch.remove_orphans(tmp_path) == [folder]


def test_where_nothing_was_left_nothing_is_removed(tmp_path):
    assert scratch.remove_orphans(tmp_path) == []
    assert scratch.remove_orphans(tmp_path / "missing") == []


@pytest.mark.parametrize(
    "owner",
    [b"another-host", b"", f"{socket.gethostname()}2".encode(), b"\xff\xfe\x00binary"],
    ids=["another host", "empty", "almost ours", "no text"],
)
def test_a_folder_that_another_host_or_program_made_is_left_alone_and_dead_ones_are_removed_all_the_same(
    tmp_path, owner
):
    foreign, dead = forge(tmp_path, "autotune-1", owner=owner), forge(tmp_path, "autotune-2")
    assert scratch.remove_orphans(tmp_path) == [dead]
    assert sorted(path.name for path in foreign.iterdir()) == ["kept", scratch.OWNER]


def test_a_folder_without_an_owner_or_with_another_name_is_left_alone(tmp_path):
    (tmp_path / "autotune-docs").mkdir()
    (tmp_path / "autotune-file").touch()
    forge(tmp_path, "other-1")
    (tmp_path / "autotune-strange" / scratch.OWNER).mkdir(parents=True)
    assert scratch.remove_orphans(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 4


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "base").mkdir()
    elsewhere = forge(tmp_path)
    (tmp_path / "base" / "autotune-link").symlink_to(elsewhere)
    assert scratch.remove_orphans(tmp_path / "base") == []
    assert (elsewhere / "kept").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_is_left_alone(tmp_path):
    folder = forge(tmp_path)
    os.chown(folder, 12345, 12345)
    assert scratch.remove_orphans(tmp_path) == []
    assert folder.exists()


# --- space -----------------------------------------------------------------------------------------------------------


def test_what_a_folder_holds_is_all_below_it(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for path in (tmp_path / "a", tmp_path / "deep" / "er" / "b"):
        path.write_bytes(os.urandom(2**20))
    assert scratch.held_gib(tmp_path) == pytest.approx(2 / 1024, rel=0.05)


def test_links_are_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(os.urandom(2**20))
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "file").symlink_to(tmp_path / "elsewhere" / "large")
    (tmp_path / "held" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "held" / "circle").symlink_to(tmp_path / "held")
    assert scratch.held_gib(tmp_path / "held") < 0.1 / 1024


def test_a_file_with_holes_takes_only_what_it_takes_on_the_disk(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**30)
    assert scratch.held_gib(tmp_path) < 0.01


def test_a_folder_that_is_gone_holds_nothing_and_leaves_no_limit(tmp_path):
    assert scratch.held_gib(tmp_path / "gone") == 0.0
    assert scratch.free_gib(tmp_path / "gone") == math.inf


def test_the_budget_is_what_the_user_says_or_else_nine_tenths_of_what_is_free(tmp_path):
    assert scratch.budget_gib(tmp_path, 2.5) == 2.5
    assert scratch.budget_gib(tmp_path, None) == pytest.approx(0.9 * scratch.free_gib(tmp_path), rel=0.05)
