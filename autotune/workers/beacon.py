"""At which task a worker is, for a pool that has not heard of it: numbers in a file that both have mapped.

Rules: replies to the short tasks of a batch come together, so where a worker dies, or holds too much, its last reply
does not tell which task it is at, nor where in its output that task's begins. Where several tasks are computed in one
start of their program, it is at the first of them.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_NUMBERS = struct.Struct("=qqq")


class Beacon:
    """The task that a worker is at.

    Args:
        folder: The worker's scratch folder; the file `task` in it is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / "task").open("a+b") as file:
            if file.tell() < _NUMBERS.size:
                file.write(_NUMBERS.pack(-1, 0, 0))
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

    @property
    def together(self) -> bool:
        """Whether other tasks are computed in the same start of the program."""
        return bool(_NUMBERS.unpack_from(self._shared)[2])

    def begin(self, number: int, *, printed_bytes: int, together: bool = False) -> None:
        """Say which task begins."""
        _NUMBERS.pack_into(self._shared, 0, number, printed_bytes, together)

    def close(self) -> None:
        """Let go of the file."""
        self._shared.close()
