"""The last tasks of a run as the choice of widths sees them: sums and an order, kept while tasks come and go.

Rules: pure. The answer is that of `widths.widths`, which looks at all tasks; here only those are looked at that are
longer than a core's share of the work. Sums are of integers, so that taking away leaves no rounding behind. Where
memory is scarcer than cores, `widths.widths` answers.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping

from autotune.base.types import Estimate
from autotune.schedule.widths import long_task, together, widened, widths

_UNIT_S = 2.0**-60  # scaling by a power of two keeps every digit of a number of seconds


class LastTasks:
    """Tasks that have not started.

    Args:
        estimates: By task number.
        cores: Usable cores.
        narrowest: Width of an ordinary task.
        widest: Most cores of one task.
        memory_gib: What tasks may hold together; infinity for no limit.
    """

    def __init__(
        self, estimates: Mapping[int, Estimate], *, cores: int, narrowest: int, widest: int, memory_gib: float
    ) -> None:
        self._cores, self._narrowest, self._widest, self._memory_gib = cores, narrowest, widest, memory_gib
        self._estimates: dict[int, Estimate] = {}
        self._by_wall: list[tuple[float, int]] = []
        self._wall = self._held = self._one_core = 0
        for number, estimate in estimates.items():
            self._take(number, estimate)
        self._by_wall.sort()

    def add(self, number: int, estimate: Estimate) -> None:
        """Take in a task that waits."""
        self._take(number, estimate)
        if not estimate.one_core:
            insort(self._by_wall, self._by_wall.pop())

    def remove(self, number: int) -> None:
        """Leave out a task that starts."""
        estimate = self._estimates.pop(number)
        if not estimate.one_core:
            del self._by_wall[bisect_left(self._by_wall, (estimate.wall_s(self._narrowest), number))]
        self._count(estimate, -1)

    def widths(self, running_core_s: float) -> dict[int, int]:
        """Return the widths of those that must be wider than the narrowest, by task number.

        Args:
            running_core_s: What running tasks will still take.
        """
        if self._widest <= self._narrowest:
            return {}
        committed_core_s = running_core_s + self._one_core * _UNIT_S
        core_s = self._narrowest * (self._wall * _UNIT_S)
        if self._held * _UNIT_S > core_s / self._cores:
            return widths(
                {number: e for number, e in self._estimates.items() if not e.one_core},
                cores=self._cores,
                narrowest=self._narrowest,
                widest=self._widest,
                memory_gib=self._memory_gib,
                committed_core_s=committed_core_s,
            )
        area = committed_core_s + core_s
        low = area / self._cores
        long = []
        for wall_s, number in reversed(self._by_wall):
            if wall_s <= low:
                break
            long.append(long_task(number, self._estimates[number], wall_s, self._narrowest))
        return widened(long, area, cores=self._cores, widest=self._widest)

    def _take(self, number: int, estimate: Estimate) -> None:
        self._estimates[number] = estimate
        if not estimate.one_core:
            self._by_wall.append((estimate.wall_s(self._narrowest), number))
        self._count(estimate, 1)

    def _count(self, estimate: Estimate, sign: int) -> None:
        if estimate.one_core:
            self._one_core += sign * int(estimate.alone_s / _UNIT_S)
            return
        wall_s = estimate.wall_s(self._narrowest)
        self._wall += sign * int(wall_s / _UNIT_S)
        if self._memory_gib < math.inf:
            self._held += sign * int(wall_s / together(self._memory_gib, estimate) / _UNIT_S)
