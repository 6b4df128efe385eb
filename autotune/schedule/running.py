"""What runs at the moment: what it holds, and when that is expected to come back.

Rules: pure, as the scheduler, which asks and decides what starts next.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from autotune.base.types import Resources
from autotune.schedule.events import Start

LATE_SHARE = 0.1  # a task that runs longer than predicted is expected to need this share of its time more
_ROUNDING_GIB = 1e-6  # more than what a sum that is kept up to date can be off


@dataclass(slots=True)
class _Batch:
    start: Start
    left: set[int]
    began_s: float
    ends_s: float

    def left_s(self, now_s: float) -> float:
        return self.ends_s - now_s if now_s <= self.ends_s else LATE_SHARE * (now_s - self.began_s)


class Room(NamedTuple):
    """When a task has its cores and memory, how many batches have ended by then, and the slots that are idle then."""

    at_s: float
    ended: int
    slots: int


class Running:
    """Batches that were started and have not ended: what they hold, and when that is expected to come back.

    Sums and the order of the expected ends are kept while batches come and go, so that a decision among a thousand
    running tasks need not look at all of them. Whether memory suffices is told from a sum that is kept up to date, and
    where that comes so near to the budget that its rounding would decide, from one that is made again.

    Attributes:
        slots: Sum of their widths.
    """

    def __init__(self) -> None:
        self.slots = 0
        self._batches: dict[int, _Batch] = {}
        self._batch_of: dict[int, int] = {}
        self._by_end: list[tuple[float, Start, int]] = []
        self._begun = 0
        self._gib = self._slot_ends_s = 0.0
        self._left: tuple[float, float] | None = None  # when it was asked for, core-seconds

    def __len__(self) -> int:
        return len(self._batches)

    def __contains__(self, number: int) -> bool:
        return number in self._batch_of

    def starts(self) -> list[Start]:
        """Return how each batch was started, the oldest first."""
        return [batch.start for batch in self._batches.values()]

    def begin(self, start: Start, now_s: float, ends_s: float) -> None:
        """Take note of a batch that starts now and is expected to end at `ends_s`."""
        # Not by its first task: that may fail and start again while the rest of the batch still runs.
        self._begun += 1
        batch = self._batches[self._begun] = _Batch(start, set(start.numbers), now_s, ends_s)
        for number in start.numbers:
            self._batch_of[number] = self._begun
        insort(self._by_end, (ends_s, start, self._begun))
        self.slots += start.resources.cores
        self._gib += start.resources.memory_gib
        self._slot_ends_s += start.resources.cores * ends_s
        if self._left is not None and self._left[0] == now_s:
            self._left = (now_s, self._left[1] + start.resources.cores * batch.left_s(now_s))

    def end(self, number: int) -> Start | None:
        """Take note of a task that ended, well or not; return its batch where it was the last of it."""
        begun = self._batch_of.pop(number)
        batch = self._batches[begun]
        batch.left.remove(number)
        if batch.left:
            return None
        del self._batches[begun]
        del self._by_end[bisect_left(self._by_end, (batch.ends_s, batch.start, begun))]
        freed = batch.start.resources
        self.slots -= freed.cores
        self._gib = self._gib - freed.memory_gib if self._batches else 0.0  # also after infinity
        self._slot_ends_s = self._slot_ends_s - freed.cores * batch.ends_s if self._batches else 0.0
        self._left = None
        return batch.start

    def leave_gib(self, memory_gib: float, budget_gib: float) -> bool:
        """Return whether so much memory can be granted beside what runs."""
        spare_gib = budget_gib - self._gib - memory_gib
        if abs(spare_gib) > _ROUNDING_GIB:
            return spare_gib > 0.0
        return self.granted_gib(0, 0.0) + memory_gib <= budget_gib

    def left_core_s(self, now_s: float) -> float:
        """Return what running tasks are expected to take still."""
        if self._left is None or self._left[0] != now_s:
            left = sum([batch.start.resources.cores * batch.left_s(now_s) for batch in self._batches.values()])
            self._left = (now_s, left)
        return self._left[1]

    def work_s(self, now_s: float) -> float:
        """Return nearly what `left_core_s` does, of sums: what is late counts as if it gave the time back."""
        return max(0.0, self._slot_ends_s - self.slots * now_s)

    def room(self, wanted: Resources, now_s: float, *, slots: int, budget_gib: float) -> Room:
        """Return when batches are expected to have left a task what it wants.

        Args:
            wanted: By the task.
            now_s: The time.
            slots: That are idle now.
            budget_gib: What may be granted together.
        """
        at_s, ended, gib = now_s, 0, self._gib
        for end_s, start in self._ends(now_s):
            if slots >= wanted.cores and self._leaves_gib(ended, gib, wanted.memory_gib, now_s, budget_gib=budget_gib):
                break
            freed = start.resources
            at_s, ended, slots, gib = end_s, ended + 1, slots + freed.cores, gib - freed.memory_gib
        return Room(at_s, ended, slots)

    def granted_gib(self, ended: int, now_s: float) -> float:
        """Return what batches hold together once the first to end have ended, summed again."""
        if ended:
            return sum([start.resources.memory_gib for _, start in itertools.islice(self._ends(now_s), ended, None)])
        self._gib = sum([batch.start.resources.memory_gib for batch in self._batches.values()])
        return self._gib

    def _leaves_gib(self, ended: int, gib: float, memory_gib: float, now_s: float, *, budget_gib: float) -> bool:
        """Return whether memory suffices once the first to end have ended; `gib` is nearly what the others hold."""
        spare_gib = budget_gib - gib - memory_gib
        if abs(spare_gib) > _ROUNDING_GIB:
            return spare_gib > 0.0
        return self.granted_gib(ended, now_s) + memory_gib <= budget_gib

    def _ends(self, now_s: float) -> Iterator[tuple[float, Start]]:
        """Yield when each batch is expected to end, the first one first."""
        late = bisect_left(self._by_end, (now_s,))
        later = ((now_s + (end_s - now_s), start) for end_s, start, _ in itertools.islice(self._by_end, late, None))
        if not late:
            return later
        batches = [self._batches[begun] for _, _, begun in self._by_end[:late]]
        return heapq.merge(sorted((now_s + batch.left_s(now_s), batch.start) for batch in batches), later)
