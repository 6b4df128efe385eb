"""A file system without locks: all of a folder, at another place, where `flock` and `fcntl` are refused.

    python lockless.py FOLDER PLACE

What Lustre is without the mount option `flock`, and NFS where no lock daemon answers. It runs until it is unmounted,
in the foreground; it needs the right to mount and the package of libfuse.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import mfusepy


class Lockless(mfusepy.Operations):
    """Hands everything but locks to a folder."""

    use_ns = True

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _at(self, path: str) -> str:
        return self._folder + path

    def flock(self, path, fh, op):  # noqa: ARG002
        raise mfusepy.FuseOSError(errno.ENOLCK)

    def lock(self, path, fh, cmd, lock):  # noqa: ARG002
        raise mfusepy.FuseOSError(errno.ENOLCK)

    def getattr(self, path, fh=None):
        found = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino", "st_blocks")
        times = {f"st_{which}": getattr(found, f"st_{which}_ns") for which in ("atime", "mtime", "ctime")}
        return {name: getattr(found, name) for name in names} | times

    def readdir(self, path, fh):  # noqa: ARG002
        return [".", "..", *(each.name for each in Path(self._at(path)).iterdir())]

    def create(self, path, mode, fi=None):  # noqa: ARG002
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self._at(path), flags & ~os.O_APPEND)

    def read(self, path, size, offset, fh):  # noqa: ARG002
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):  # noqa: ARG002
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self._at(path) if fh is None else fh, length)

    def fsync(self, path, datasync, fh):  # noqa: ARG002
        os.fsync(fh)

    def release(self, path, fh):  # noqa: ARG002
        os.close(fh)

    def rename(self, old, new):
        Path(self._at(old)).replace(self._at(new))

    def unlink(self, path):
        Path(self._at(path)).unlink()

    def mkdir(self, path, mode):
        Path(self._at(path)).mkdir(mode)

    def rmdir(self, path):
        Path(self._at(path)).rmdir()

    def chmod(self, path, mode):
        Path(self._at(path)).chmod(mode)

    def utimens(self, path, times=None):
        os.utime(self._at(path), ns=times)


if __name__ == "__main__":
    mfusepy.FUSE(Lockless(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True)
