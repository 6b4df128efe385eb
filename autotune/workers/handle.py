"""What a pool knows of one worker: its pipe, its orders, the task it is at, what it holds.

Rules: facts and how they follow from messages; `pool.py` decides what is done about them.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from autotune.machine import process
from autotune.workers.beacon import Beacon
from autotune.workers.forks import last_lines
from autotune.workers.messages import Order, Reply


@dataclass(slots=True, kw_only=True)
class Worker:
    """One worker process, seen from outside.

    Attributes:
        number: Of the worker.
        pipe: Our end.
        output: The file of what it prints; its scratch folder is the one that this is in.
        pid: Of the process; 0 until it has said so.
        recipe: The one it was last told.
        orders: What it was told to do and has not answered.
        since: CLOCK_MONOTONIC second of its last answer, or of its orders.
        born: CLOCK_MONOTONIC second of its start.
        tasks: Answered.
        fresh_gib: Resident memory after its first task.
        resident_gib: And after its last.
        peak_gib: Most that was seen since its last answer; see `look`.
        exit_status: Wait status, once it has ended.
    """

    number: int
    pipe: Connection
    output: Path
    pid: int = 0
    recipe: str | None = None
    orders: deque[Order] = field(default_factory=deque)
    since: float = 0.0
    born: float = field(default_factory=time.monotonic)
    tasks: int = 0
    fresh_gib: float = 0.0
    resident_gib: float = 0.0
    peak_gib: float = 0.0
    exit_status: int | None = None
    _beacon: Beacon | None = None

    @property
    def at(self) -> int | None:
        """Number of the task it is at; None where it has no orders."""
        if not self.orders:
            return None
        beacon = self._seen()
        number = beacon.number if beacon is not None else -1
        # It may have been read before the worker took up its first order, or after it ended with its last.
        return number if any(order.number == number for order in self.orders) else self.orders[0].number

    @property
    def begun(self) -> bool:
        """Whether it has taken up one of its orders."""
        beacon = self._seen()
        return beacon is not None and any(order.number == beacon.number for order in self.orders)

    @property
    def last_lines(self) -> str:
        """The end of what the task it is at has printed."""
        beacon = self._seen()
        return last_lines(self.output, start_bytes=beacon.printed_bytes if beacon is not None else 0)

    def look(self) -> tuple[float, float]:
        """Return the memory, in GiB, and the CPU seconds of the worker and everything below it."""
        held_gib, cpu_s = process.usage(process.tree(self.pid) if self.pid else ())
        self.peak_gib = max(self.peak_gib, held_gib)
        return held_gib, cpu_s

    def answered(self, replies: Sequence[Reply]) -> None:
        """Take note of replies, which come in the order of the orders."""
        for _ in replies:
            self.orders.popleft()
        self.tasks += len(replies)
        self.since = time.monotonic()
        self.resident_gib, self.peak_gib = replies[-1].resident_gib, 0.0
        self.fresh_gib = self.fresh_gib or replies[0].resident_gib

    def _seen(self) -> Beacon | None:
        if self._beacon is None and self.pid:
            with contextlib.suppress(OSError, ValueError):
                self._beacon = Beacon(self.output.parent)
        return self._beacon

    def close(self) -> None:
        """Let go of pipe and file."""
        self.pipe.close()
        if self._beacon is not None:
            self._beacon.close()
