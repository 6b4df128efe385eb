"""Python's search for cycles of garbage, made seldom while a run makes many records that stay.

Rules: the search looks at all that lives, again and again while that grows; planning and assembling 43,744 tasks took a
third longer with it. It is not turned off: a run may take days, and its process may do other things, too.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

SELDOM = (200_000, 20, 100)  # as gc.set_threshold takes them


class _Blocks:
    """Blocks in which the search is seldom: how many there are, and what was set before the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = gc.get_threshold()

    def begin(self) -> None:
        with self._lock:
            if not self._count:
                self._before = gc.get_threshold()
                gc.set_threshold(*SELDOM)
            self._count += 1

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                gc.set_threshold(*self._before)


_blocks = _Blocks()


@contextlib.contextmanager
def search_seldom() -> Iterator[None]:
    """Search seldom within the block, which may hold others and run beside others; also a decorator."""
    _blocks.begin()
    try:
        yield
    finally:
        _blocks.end()
