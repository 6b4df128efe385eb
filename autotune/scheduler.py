"""The scheduler: which task starts next, on how many cores, with how much memory.

Rules: pure - no clock, no processes, no I/O. Events go in through `handle`, decisions come out of `decide`; the real
runtime and a simulator drive the same object. Between two events `decide` is called until it has nothing to say.

Invariants, tested by property: widths running together never exceed the core slots; memory granted together never
exceeds the budget, except that a task which exceeds it alone runs alone; every task is started exactly once per
attempt; while a task is ready and fits, no core slot stays idle (work-conserving), except behind a barrier and where
a task that pays for its full width waits for it (`_worth_waiting`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autotune.types import Estimate, Policy

LOOK_AHEAD = 64  # tasks examined behind one that does not fit in memory, before waiting for memory
SEARCH_STEPS = 30  # halvings of the interval in which the makespan bound lies
WIDENING_GAIN = 0.8  # a tail task is widened only when its predicted time falls below this share


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A task as the scheduler sees it.

    Attributes:
        number: Identifies the task.
        level: n-body level, for policies with barriers.
        estimate: Predicted cost.
    """

    number: int
    level: int
    estimate: Estimate


class Finished(NamedTuple):
    """Event: a task is done."""

    number: int


class Failed(NamedTuple):
    """Event: an attempt failed; `again` asks for another one."""

    number: int
    again: bool


class Learned(NamedTuple):
    """Event: predictions changed; waiting tasks are ranked anew."""

    estimates: Mapping[int, Estimate]


class Adapted(NamedTuple):
    """Event: strategies changed the policy in the middle of the run."""

    policy: Policy


class Start(NamedTuple):
    """Decision: start a task now."""

    number: int
    width: int
    memory_gib: float


Event = Finished | Failed | Learned | Adapted


class Scheduler:
    """Decides for one run.

    Args:
        tasks: All tasks, independent of each other.
        policy: What to optimise; see `Policy`.
        cores: Usable cores, at least 1.
        memory_budget_gib: What may be granted together.
    """

    def __init__(self, tasks: Sequence[Planned], policy: Policy, *, cores: int, memory_budget_gib: float) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._policy = policy
        self._cores = cores
        self._budget_gib = memory_budget_gib
        self._slots = max(policy.core_slots, policy.width)
        self._running: dict[int, Start] = {}
        self._used_slots = 0
        self._used_gib = 0.0
        self._unfinished = len(tasks)
        self._sequence = {task.number: position for position, task in enumerate(tasks)}
        self._waiting: dict[int, list[tuple[float, int, int]]] = {}
        self._unfinished_at: dict[int, int] = {}
        for task in tasks:
            self._unfinished_at[task.level] = self._unfinished_at.get(task.level, 0) + 1
        self._rank(task.number for task in tasks)
        self._widths = self._choose_widths()
        self.memory_bound = False

    @property
    def done(self) -> bool:
        """Whether every task finished or finally failed."""
        return self._unfinished == 0

    @property
    def running(self) -> Mapping[int, Start]:
        """Tasks that run, with what they were given."""
        return self._running

    def handle(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Learned):
            for number, estimate in event.estimates.items():
                task = self._tasks[number]
                self._tasks[number] = Planned(number=number, level=task.level, estimate=estimate)
            self._rank([number for queue in self._waiting.values() for _, _, number in queue])
            self._widths = self._choose_widths()
            return
        if isinstance(event, Adapted):
            waiting = [number for queue in self._waiting.values() for _, _, number in queue]
            self._policy = event.policy
            self._slots = max(event.policy.core_slots, event.policy.width)
            self._rank(waiting)
            self._widths = self._choose_widths()
            return
        start = self._running.pop(event.number)
        self._used_slots -= start.width
        self._used_gib = sum(s.memory_gib for s in self._running.values())
        if isinstance(event, Failed) and event.again:
            self._push(event.number)
            return
        self._unfinished -= 1
        self._unfinished_at[self._tasks[event.number].level] -= 1

    def decide(self) -> list[Start]:
        """Return the tasks to start now, most urgent first."""
        starts: list[Start] = []
        self.memory_bound = False
        while len(self._running) < self._policy.workers and self._used_slots < self._slots:
            start = self._next()
            if start is None:
                break
            self._running[start.number] = start
            self._used_slots += start.width
            self._used_gib += start.memory_gib
            starts.append(start)
        return starts

    def _next(self) -> Start | None:
        queue = self._open_queue()
        if not queue:
            return None
        skipped: list[tuple[float, int, int]] = []
        chosen: Start | None = None
        while queue and len(skipped) < LOOK_AHEAD:
            entry = heapq.heappop(queue)
            width = self._width(entry[2], waiting=len(queue) + len(skipped) + 1)
            memory_gib = self._tasks[entry[2]].estimate.memory_gib if self._policy.memory_admission else 0.0
            free = self._slots - self._used_slots
            if width > free:
                if self._worth_waiting(entry[2], width, free):
                    # Cores are reserved for this task rather than given to those behind it.
                    skipped.append(entry)
                    break
                width = free
            if self._fits(memory_gib):
                chosen = Start(entry[2], width, memory_gib)
                break
            skipped.append(entry)
            self.memory_bound = True
        for entry in skipped:
            heapq.heappush(queue, entry)
        return chosen

    def _fits(self, memory_gib: float) -> bool:
        return not self._running or self._used_gib + memory_gib <= self._budget_gib

    def _worth_waiting(self, number: int, width: int, free: int) -> bool:
        """Return whether a task gains more from its full width than the next running task can take to free cores."""
        if not self._running:
            return False
        estimate = self._tasks[number].estimate
        wait_s = min(self._tasks[start.number].estimate.wall_s(start.width) for start in self._running.values())
        return estimate.wall_s(free) - estimate.wall_s(width) > wait_s

    def _width(self, number: int, *, waiting: int) -> int:
        policy, estimate = self._policy, self._tasks[number].estimate
        width = self._widths.get(number, policy.width)
        if policy.widen_tail:
            free = min(self._cores, self._slots) - self._used_slots
            wider = free // waiting if waiting <= free else 0
            if wider > width and estimate.wall_s(wider) < WIDENING_GAIN * estimate.wall_s(width):
                width = wider
        return min(width, self._slots)

    def _choose_widths(self) -> dict[int, int]:
        # Running tasks still hold their cores; without a clock they count in full.
        numbers = [n for queue in self._waiting.values() for _, _, n in queue] + list(self._running)
        estimates = {n: self._tasks[n].estimate for n in numbers}
        cores = min(self._cores, self._slots)
        return widths(estimates, cores=cores, narrowest=self._policy.width, widest=min(self._policy.widest, cores))

    def _open_queue(self) -> list[tuple[float, int, int]]:
        if not self._policy.level_barriers:
            return self._waiting.get(0, [])
        unfinished = [level for level, count in self._unfinished_at.items() if count]
        return self._waiting.get(min(unfinished), []) if unfinished else []

    def _level(self, number: int) -> int:
        return self._tasks[number].level if self._policy.level_barriers else 0

    def _rank(self, numbers: Iterable[int]) -> None:
        self._waiting = {}
        for number in list(numbers):
            self._waiting.setdefault(self._level(number), []).append(self._entry(number))
        for queue in self._waiting.values():
            heapq.heapify(queue)

    def _push(self, number: int) -> None:
        heapq.heappush(self._waiting.setdefault(self._level(number), []), self._entry(number))

    def _entry(self, number: int) -> tuple[float, int, int]:
        cost = self._tasks[number].estimate.alone_s
        priority = {"longest": -cost, "shortest": cost, "input": 0.0}[self._policy.order]
        return (priority, self._sequence[number], number)


def widths(estimates: Mapping[int, Estimate], *, cores: int, narrowest: int, widest: int) -> dict[int, int]:
    """Return the widths of tasks that must be wider than `narrowest` for the smallest bound on the makespan.

    Dual search for moldable tasks (Turek, Wolf and Yu 1992; Ludwig and Tiwari 1994): for a deadline each task takes the
    fewest cores that meet it; the deadline can be met only if the area fits the cores. Halving finds the smallest such
    deadline. Only tasks longer than a core's share of the whole work can need more cores, and those are fewer than the
    cores.
    """
    if widest <= narrowest or not estimates:
        return {}
    area = sum(narrowest * e.wall_s(narrowest) for e in estimates.values())
    low = area / cores
    long = {number: e for number, e in estimates.items() if e.wall_s(narrowest) > low}
    high = max((e.wall_s(narrowest) for e in long.values()), default=low)
    best: dict[int, int] = {}
    for _ in range(SEARCH_STEPS):
        deadline = (low + high) / 2
        chosen = _meeting(deadline, long, area, cores=cores, narrowest=narrowest, widest=widest)
        if chosen is None:
            low = deadline
        else:
            high, best = deadline, chosen
    return best


def _meeting(
    deadline: float, long: Mapping[int, Estimate], area: float, *, cores: int, narrowest: int, widest: int
) -> dict[int, int] | None:
    """Return the fewest cores of each long task that meet a deadline, or None where nothing does."""
    chosen: dict[int, int] = {}
    for number, estimate in long.items():
        if estimate.wall_s(narrowest) <= deadline:
            continue
        width = next((w for w in range(narrowest + 1, widest + 1) if estimate.wall_s(w) <= deadline), None)
        if width is None:
            return None
        chosen[number] = width
        area += width * estimate.wall_s(width) - narrowest * estimate.wall_s(narrowest)
    return chosen if area <= cores * deadline else None
