"""Arrays in a folder that all workers of a machine share during a run, found by the content they were made from.

Rules
- A file is written under a name of its own and then renamed, so whoever finds it finds all of it.
- Nobody waits for anybody: two that lack an array at once both compute it, and the second finds it there.
- What is missing, cut or damaged is not there; a disk that is full, or a folder that is gone, stores nothing.
- A file begins with one line: shape and CRC-32 of the numbers, which follow at `_OFFSET` in C's order.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

_OFFSET = 512  # bytes; numbers are aligned as the fastest instructions want it
_FULL = 0.75  # of its bound is what a full folder is emptied to
_checked: set[tuple[str, int, int]] = set()  # files whose numbers this process has compared with their sum
_WRITERS = 16  # share of what is free that one worker fills before it looks again what the others have filled


class Store:
    """A bounded folder of arrays of floating-point numbers.

    Args:
        folder: Made where it is missing.
        most_bytes: What its files together may take. What was not used for longest goes first.
    """

    def __init__(self, folder: Path, *, most_bytes: float) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._free_bytes = 0.0

    def find(self, key: str) -> np.ndarray | None:
        """Return the array of a key, mapped from its file; None where there is none."""
        path = self._folder / key
        try:
            with path.open("rb") as file:
                about = json.loads(file.readline(_OFFSET))
                about_file = os.fstat(file.fileno())
                # Copied where somebody writes: a program that does must not harm the others, nor be killed for it.
                found = np.asarray(np.memmap(file, np.float64, "c", _OFFSET, tuple(about["shape"])))
            identity = (key, about_file.st_ino, about_file.st_mtime_ns)
            if identity not in _checked and zlib.crc32(found.data) != about["crc"]:
                return None
            _checked.add(identity)
            os.utime(path, ns=(time.time_ns(), about_file.st_mtime_ns))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found

    def keep(self, key: str, array: np.ndarray, *, again: bool = False) -> None:
        """Store an array, unless there is no room for it, or it is there already and is not to be replaced."""
        path, numbers = self._folder / key, np.ascontiguousarray(array)
        # A disk that is full or a folder that is gone costs the next one a computation, and this one nothing.
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            if (path.exists() and not again) or not self._has_room(numbers.nbytes + _OFFSET):
                return
            about = json.dumps({"shape": numbers.shape, "crc": zlib.crc32(numbers.data)})
            handle, name = tempfile.mkstemp(prefix=".", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(about.encode().ljust(_OFFSET - 1) + b"\n")
                    file.write(numbers.data)
                Path(name).rename(path)
            except OSError:
                Path(name).unlink(missing_ok=True)

    def _has_room(self, more_bytes: float) -> bool:
        """Return whether so much more fits, after removing what was not used for longest."""
        if more_bytes > _FULL * self._most_bytes:
            return False
        if more_bytes > self._free_bytes:
            self._free_bytes = self._make_room(more_bytes)
        self._free_bytes -= more_bytes
        return True

    def _make_room(self, more_bytes: float) -> float:
        files = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # removed by another worker meanwhile
                files.append((entry.stat().st_atime_ns, entry.stat().st_size, entry.path))
        held = sum(size for _, size, _ in files)
        if held + more_bytes > self._most_bytes:
            for _, size, path in sorted(files):
                if held + more_bytes <= _FULL * self._most_bytes:
                    break
                Path(path).unlink(missing_ok=True)
                held -= size
        return max(more_bytes, (self._most_bytes - held) / _WRITERS)
