"""At which task a worker is, for a pool that has not heard of it: one number in a file that both have mapped.

Rules: replies to the short tasks of a batch come together, so where a worker dies, or holds too much, its last reply
does not tell which task it is at.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_NUMBER = struct.Struct("=q")


class Beacon:
    """The number of the task that a worker is at, -1 before the first.

    Args:
        folder: The worker's scratch folder; the file `task` in it is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / "task").open("a+b") as file:
            if file.tell() < _NUMBER.size:
                file.write(_NUMBER.pack(-1))
                file.flush()
            self._shared = mmap.mmap(file.fileno(), _NUMBER.size)

    @property
    def number(self) -> int:
        """The task's number."""
        return int(_NUMBER.unpack_from(self._shared)[0])

    @number.setter
    def number(self, number: int) -> None:
        _NUMBER.pack_into(self._shared, 0, number)

    def close(self) -> None:
        """Let go of the file."""
        self._shared.close()
