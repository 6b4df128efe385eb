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


def test_a_runs_folder_is_private_and_nobody_else_gets_its_lock(made, tmp_path):
    assert made.parent == tmp_path
    assert made.name.startswith(scratch.PREFIX)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    with (made / scratch.OWNER).open("r+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert scratch.remove_orphans(tmp_path) == []
    assert made.exists()


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


def test_the_folder_of_a_killed_run_is_removed_with_all_it_holds(tmp_path):
    folder = run_that_dies(tmp_path)
    (folder / "worker-1" / "files").mkdir(parents=True)
    (folder / "worker-1" / "files" / "integrals").write_bytes(bytes(5000))
    assert scratch.remove_orphans(tmp_path) == [folder]
    assert list(tmp_path.iterdir()) == []


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


def test_of_what_others_made_only_folders_of_dead_runs_of_this_host_and_user_are_removed(tmp_path):
    (base := tmp_path / "base").mkdir()
    foreign = [b"another-host", b"", f"{socket.gethostname()}2".encode(), b"\xff\xfe\x00binary"]
    left = [forge(base, f"autotune-{number}", owner=owner) for number, owner in enumerate(foreign)]
    left.append(forge(base, "other-1"))
    if os.getuid() == 0:  # only root can give a folder to another user
        left.append(forge(base, "autotune-theirs"))
        os.chown(left[-1], 12345, 12345)
    (base / "autotune-link").symlink_to(forge(tmp_path, "autotune-elsewhere"))
    (base / "autotune-docs").mkdir()
    (base / "autotune-file").touch()
    (base / "autotune-strange" / scratch.OWNER).mkdir(parents=True)
    names = {path.name for path in base.iterdir()}
    dead = forge(base, "autotune-9")
    assert scratch.remove_orphans(base) == [dead]
    assert {path.name for path in base.iterdir()} == names
    for folder in (*left, base / "autotune-link"):
        assert sorted(path.name for path in folder.iterdir()) == ["kept", scratch.OWNER]


def test_a_folder_holds_what_the_files_below_it_take_on_the_disk_whatever_it_links_to(tmp_path):
    elsewhere, held = tmp_path / "elsewhere", tmp_path / "held"
    for path in (elsewhere / "large", held / "a", held / "deep" / "er" / "b"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(2**20))
    for name, target in {"file": elsewhere / "large", "folder": elsewhere, "circle": held}.items():
        (held / name).symlink_to(target)
    with (held / "sparse").open("wb") as file:
        file.truncate(2**30)
    assert scratch.held_gib(held) == pytest.approx(2 / 1024, rel=0.05)


def test_a_folder_that_is_gone_holds_nothing_and_leaves_no_limit(tmp_path):
    assert scratch.held_gib(tmp_path / "gone") == 0.0
    assert scratch.free_gib(tmp_path / "gone") == math.inf


def test_the_budget_is_what_the_user_says_or_else_nine_tenths_of_what_is_free(tmp_path):
    assert scratch.budget_gib(tmp_path, 2.5) == 2.5
    assert scratch.budget_gib(tmp_path, None) == pytest.approx(0.9 * scratch.free_gib(tmp_path), rel=0.05)
