"""Scratch space: a private folder for each run, what it holds, and the leftovers of runs that died.

Rules: a folder belongs to a living run as long as somebody holds the lock on its file `owner`, which the run's parent
and its zygote do; where both died without a word (a power cut, SIGKILL to all) the next run removes it. Only folders of
the same user, made on the same host, are ever touched.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import socket
import tempfile
from pathlib import Path

from autotune.base.errors import ResourceError

PREFIX = "autotune-"
OWNER = "owner"
SHARED = "shared"  # folder of a run that its workers share; made by whoever writes the first file
_UNNAMED = ".owner"  # until it is locked, and where there are no locks
FREE_SHARE = 0.9  # of what is free at the start that scratch files may take


def make(base: Path | None) -> tuple[Path, int]:
    """Return a new private folder (mode 0700) and the descriptor whose lock says that it is in use.

    Raises:
        ResourceError: It cannot be made.
    """
    where = Path(base or tempfile.gettempdir())
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
        descriptor = _locked_owner(folder)
    except OSError as error:
        if folder is not None:
            remove(folder)
        raise ResourceError(
            f"scratch folder {error.filename or where} cannot be written: {error.strerror}; set TMPDIR or give"
            " --scratch DIR"
        ) from error
    return folder, descriptor


def remove(folder: Path) -> None:
    """Remove a run's folder, one that holds only its owner also where no file can be opened any more."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        for name in (OWNER, _UNNAMED):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def remove_orphans(base: Path | None) -> list[Path]:
    """Remove the folders of runs that are dead; return those removed."""
    removed = []
    where = Path(base or tempfile.gettempdir())
    for owner in itertools.chain(where.glob(f"{PREFIX}*/{OWNER}"), where.glob(f"{PREFIX}*/{_UNNAMED}")):
        with contextlib.suppress(OSError):
            if owner.parent.is_symlink() or owner.parent.stat().st_uid != os.getuid() or not _is_dead(owner):
                continue
            shutil.rmtree(owner.parent, ignore_errors=True)
            removed.append(owner.parent)
    return removed


def held_gib(folder: Path) -> float:
    """Return the disk space of all files below a folder; links are not followed."""
    total, pending = 0, [os.fspath(folder)]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total / 2**30


def free_gib(folder: Path) -> float:
    """Return what is left on the file system of a folder; infinite where it cannot be asked."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free / 2**30
    return math.inf


def budget_gib(folder: Path, asked_gib: float | None) -> float:
    """Return what scratch files may take together: what the user says, else a share of what is free now."""
    return asked_gib if asked_gib is not None else FREE_SHARE * free_gib(folder)


def _locked_owner(folder: Path) -> int:
    # Locked before it has its name and its content: whoever sees these finds it locked, or its run is dead.
    unnamed = folder / _UNNAMED
    descriptor = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        locked = False
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        os.write(descriptor, socket.gethostname().encode())
        if locked:
            unnamed.rename(folder / OWNER)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_dead(owner: Path) -> bool:
    """Return whether nobody holds the lock; without locks, or for another host, nobody can know."""
    try:
        import fcntl
    except ImportError:
        return False
    with owner.open("r+b") as file:
        if file.read(256) != socket.gethostname().encode():
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
