"""At which task a worker is, for a pool that has not heard of it: two numbers in a file that both have mapped.

Rules: replies to the short tasks of a batch come together, so where a worker dies, or holds too much, its last reply
does not tell which task it is at, nor where in its output that task's begins.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_NUMBERS = struct.Struct("=qq")


class Beacon:
    """The task that a worker is at.

    Args:
        folder: The worker's scratch folder; the file `task` in it is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / "task").open("a+b") as file:
            if file.tell() < _NUMBERS.size:
                file.write(_NUMBERS.pack(-1, 0))
                file.flush()
            self._shared = mmap.mmap(file.fileno(), _NUMBERS.size)

    @property
    def number(self) -> int:
        """The task's number; -1 before the first."""
        return int(_NUMBERS.unpack_from(self._shared)[0])

    @property
    def printed_bytes(self) -> int:
        """Size of the worker's output before the task began."""
        return int(_NUMBERS.unpack_from(self._shared)[1])

    def begin(self, number: int, *, printed_bytes: int) -> None:
        """Say which task begins."""
        _NUMBERS.pack_into(self._shared, 0, number, printed_bytes)

    def close(self) -> None:
        """Let go of the file."""
        self._shared.close()
