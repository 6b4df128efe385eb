"""Locks between processes: a file that one process at a time holds.

Rules: the system lets go of a lock with the process that held it, so a killed one leaves none behind. Where a file
system has no locks, as some network file systems, there are none, and nobody is kept waiting for them.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


@contextlib.contextmanager
def hold(path: Path, *, wait: bool, keep: bool) -> Iterator[None]:
    """Hold a lock within the block.

    Args:
        path: The lock's file; its folder is made where it is missing.
        wait: Until others have let go of it.
        keep: Leave the file; else it is removed while it is held, and who waits for it makes a new one.

    Raises:
        BlockingIOError: Another process holds it, and it is not waited for.
        OSError: The file cannot be made.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise BlockingIOError(errno.EWOULDBLOCK, "another process holds the lock", str(path)) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        if not keep:
            with contextlib.suppress(OSError):
                path.unlink()
        lock.release()
