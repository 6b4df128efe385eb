"""How many cores each task gets: the widths that make the bound on the makespan smallest.

Rules: pure; knows estimates, not queues. Dual search for moldable tasks (Turek, Wolf and Yu 1992; Ludwig and Tiwari
1994): for a deadline each task takes the fewest cores that meet it; the deadline can be met only if the area fits the
cores. Halving finds the smallest such deadline. Only tasks longer than a core's share of the whole work can need more
cores, and those are fewer than the cores.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autotune.base.types import Estimate

_UNIT_S = 2.0**-60  # scaling by a power of two keeps every digit of a number of seconds
SEARCH_STEPS = 20  # halvings of the interval in which the bound lies
_SURELY = 1.0 - 1e-9  # rounding decides nothing
WIDENING_GAIN = 0.8  # a task is widened only where its predicted time falls below this share


class Long(NamedTuple):
    """A task that takes longer on its fewest cores than a core's share of the whole work.

    `serial_s` of its time alone does not divide over cores, `divides_s` does.
    """

    wall_s: float
    number: int
    narrow: int
    serial_s: float
    divides_s: float
    estimate: Estimate


def long_task(number: int, estimate: Estimate, wall_s: float, narrow: int) -> Long:
    """Return a task that takes `wall_s` on its fewest cores."""
    alone_s, parallel = estimate.alone_s, estimate.parallel
    return Long(wall_s, number, narrow, alone_s * (1.0 - parallel), alone_s * parallel, estimate)


def widths(
    estimates: Mapping[int, Estimate],
    *,
    cores: int,
    narrowest: int,
    widest: int,
    memory_gib: float = math.inf,
    committed_core_s: float = 0.0,
) -> dict[int, int]:
    """Return the widths of those tasks that must be wider than `narrowest`, by task number.

    Args:
        estimates: Tasks that have not started.
        cores: Usable cores.
        narrowest: Width of an ordinary task.
        widest: Most cores of one task.
        memory_gib: What tasks may hold together.
        committed_core_s: What running tasks will still take.
    """
    if widest <= narrowest or not estimates:
        return {}
    walls = [e.wall_s(narrowest) for e in estimates.values()]
    core_s = sum([narrowest * wall_s for wall_s in walls])
    base = {}
    if memory_gib < math.inf and _held_s(estimates, walls, memory_gib) > core_s / cores:
        base = _by_memory(estimates, cores=cores, narrowest=narrowest, widest=widest, memory_gib=memory_gib)
        walls = [e.wall_s(base.get(n, narrowest)) for n, e in estimates.items()]
        core_s = sum(base.get(n, narrowest) * wall_s for n, wall_s in zip(estimates, walls, strict=True))
    area = committed_core_s + core_s
    low = area / cores
    long = [
        long_task(number, estimates[number], wall_s, base.get(number, narrowest))
        for number, wall_s in zip(estimates, walls, strict=True)
        if wall_s > low
    ]
    long.sort(reverse=True)
    return base | widen(long, area, cores=cores, widest=widest)


def all_stay_narrow(estimates: Sequence[Estimate], *, cores: int, memory_gib: float, committed_core_s: float) -> bool:
    """Return whether it is sure at a glance that `widths` makes no task wider.

    It is where the largest fits into memory as often as there are cores and the longest is none of `Long`: a task takes
    no longer on some cores, and no fewer core-seconds, than on one.
    """
    if not estimates or memory_gib < cores * max([e.memory_gib for e in estimates]):
        return False
    alone_s = [e.alone_s for e in estimates]
    return max(alone_s) <= _SURELY * (committed_core_s + sum(alone_s)) / cores


def widen(long: Sequence[Long], area: float, *, cores: int, widest: int) -> dict[int, int]:
    """Return the widths of long tasks for the smallest deadline that can be met, by task number.

    Args:
        long: Longest first.
        area: Core-seconds of all that runs and waits, each task on its fewest cores.
        cores: Usable cores.
        widest: Most cores of one task.
    """
    if not long:
        return {}
    search = _Search(long, area, cores=cores, widest=widest)
    low, high, met = area / cores, long[0].wall_s, False
    for _ in range(SEARCH_STEPS):
        deadline = (low + high) / 2
        if search.can_be_met(deadline):
            high, met = deadline, True
        else:
            low = deadline
    chosen: dict[int, int] = {}
    for wall_s, number, narrow, serial_s, divides_s, estimate in long if met else ():
        if wall_s <= high:
            break
        width = max(narrow + 1, math.ceil(divides_s / (high - serial_s) - 1e-9))
        if _pays(estimate, narrow, width):
            chosen[number] = width
    return chosen


def together(memory_gib: float, estimate: Estimate) -> int:
    """Return how many tasks like this one fit in memory; those that need more than half of it exclude each other."""
    return max(1, int(memory_gib / max(estimate.memory_gib, 1e-9)))


def _held_s(estimates: Mapping[int, Estimate], walls: Sequence[float], memory_gib: float) -> float:
    """Return how long all tasks would hold the whole memory, one after another."""
    pairs = zip(estimates.values(), walls, strict=True)
    return sum([wall_s / together(memory_gib, e) for e, wall_s in pairs])


def _by_memory(
    estimates: Mapping[int, Estimate], *, cores: int, narrowest: int, widest: int, memory_gib: float
) -> dict[int, int]:
    """Return widths where memory is scarcer than cores: where three such tasks fit, each gets a third of the cores."""
    shares = {n: round(cores / together(memory_gib, e)) for n, e in estimates.items()}
    wider = {n: min(widest, share) for n, share in shares.items() if share > narrowest}
    return {n: width for n, width in wider.items() if _pays(estimates[n], narrowest, width)}


class LastTasks:
    """The tasks that have not started, for widths that are asked for again and again while tasks come and go.

    The answer is that of `widths`, which looks at all tasks; here only those are looked at that are longer than a
    core's share of the work. Sums are of integers, so that taking away leaves no rounding behind.

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
            # Memory is scarcer than cores.
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
        return widen(long, area, cores=self._cores, widest=self._widest)

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


class _Search:
    """Whether deadlines can be met; see `widen` for the arguments.

    One core more costs a task its `serial_s` of core-seconds. Tasks that are too long by less than what one core more
    gains are added up beforehand, so only the others are looked at one by one.
    """

    def __init__(self, long: Sequence[Long], area: float, *, cores: int, widest: int) -> None:
        self._long, self._area, self._cores, self._widest = long, area, cores, widest
        self._shortest_first = [each.wall_s for each in reversed(long)]
        self._serial_s = [0.0, *itertools.accumulate(each.serial_s for each in long)]
        self._most_serial_s = max(each.serial_s for each in long)
        self._widest_narrow = max(each.narrow for each in long)

    def can_be_met(self, deadline: float) -> bool:
        """Return whether the fewest cores with which each task meets a deadline are there."""
        area, most = self._area, self._cores * deadline
        too_long = self._longer_than(deadline)
        if self._widest_narrow < self._widest:
            gain = max(0.0, deadline - self._most_serial_s) / self._widest_narrow
            many = self._longer_than(deadline + gain)
            area += self._serial_s[too_long] - self._serial_s[many]
        else:
            many = too_long
        for wall_s, _, narrow, serial_s, divides_s, _ in self._long[:many]:
            left_s = deadline - serial_s
            if left_s <= 0.0:
                return False
            width = max(narrow + 1, math.ceil(divides_s / left_s - 1e-9))
            if width > self._widest:
                return False
            area += width * serial_s + divides_s - narrow * wall_s
            if area > most:
                return False
        return area <= most

    def _longer_than(self, seconds: float) -> int:
        return len(self._long) - bisect_right(self._shortest_first, seconds)


def _pays(estimate: Estimate, narrow: int, wide: int) -> bool:
    return estimate.wall_s(wide) < WIDENING_GAIN * estimate.wall_s(narrow)
