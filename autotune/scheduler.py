"""The scheduler: which tasks start next, on how many cores, with how much memory.

Rules: pure - no clock, no processes, no I/O; whoever drives it says what time it is. Events go in through `handle`,
decisions come out of `decide`; the real runtime and a simulator drive the same object.

Invariants, tested by property: widths running together never exceed the core slots; memory granted together never
exceeds the budget, except that a task which exceeds it alone runs alone; every task is started exactly once per
attempt; while a task is ready and fits, no core slot stays idle (work-conserving), except behind a barrier and where
starting it would hold up a task that waits for cores or memory with more right (`_Hold`). A task that is to run alone
does, after all others that may start; in a pause nothing starts while something runs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autotune.events import Adapted, Dropped, Event, Failed, Finished, Learned, Paused, Planned, Start
from autotune.types import Estimate, Policy
from autotune.widths import widths

LOOK_AHEAD = 64  # tasks examined behind one that does not fit, before waiting
LATE_SHARE = 0.1  # a task that runs longer than predicted is expected to need this share of its time more
TAIL_PER_SLOT = 2  # widths are chosen anew for each decision when so few tasks wait for each core slot
MOST_IN_A_BATCH = 64
BATCHES_LEFT = 4  # for each worker at least; so many batches later the last ones are single tasks

_Entry = tuple[float, int, int]  # priority, position in the input, number


@dataclass(slots=True)
class _Running:
    start: Start
    left: set[int]
    began_s: float
    ends_s: float

    def left_s(self, now_s: float) -> float:
        return self.ends_s - now_s if now_s <= self.ends_s else LATE_SHARE * (now_s - self.began_s)


class _Hold(NamedTuple):
    """What a task that cannot start yet has a right to: from when, and what is left over then for others."""

    at_s: float
    spare_workers: int
    spare_slots: int
    spare_gib: float

    def lets_pass(self, ends_s: float, width: int, memory_gib: float) -> bool:
        return ends_s <= self.at_s or (
            self.spare_workers > 0 and width <= self.spare_slots and memory_gib <= self.spare_gib
        )


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
        self._adapt(Adapted(policy, cores, memory_budget_gib))
        self._batches: dict[int, _Running] = {}
        self._batch_of: dict[int, int] = {}
        self._begun = 0
        self._used_slots = 0
        self._used_gib = 0.0
        self._unfinished = len(tasks)
        self._sequence = {task.number: position for position, task in enumerate(tasks)}
        self._waiting: dict[int, list[_Entry]] = {}
        self._unfinished_at: dict[int, int] = {}
        for task in tasks:
            self._unfinished_at[task.level] = self._unfinished_at.get(task.level, 0) + 1
        self._rank(task.number for task in tasks)
        self._widths: dict[int, int] | None = None
        self._alone: list[int] = []
        self._suspects: set[int] = set()
        self._paused = False
        self.memory_bound = False

    @property
    def done(self) -> bool:
        """Whether every task finished or finally failed."""
        return self._unfinished == 0

    @property
    def running(self) -> list[Start]:
        """What was started and has not ended, with what it was given."""
        return [batch.start for batch in self._batches.values()]

    def handle(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Learned):
            for number, estimate in event.estimates.items():
                task = self._tasks[number]
                self._tasks[number] = Planned(number=number, level=task.level, estimate=estimate)
            self._rank_again()
        elif isinstance(event, Adapted):
            self._adapt(event)
            self._rank_again()
        elif isinstance(event, Paused):
            self._paused = event.on
        elif isinstance(event, Dropped):
            self._drop()
        else:
            self._end(event)

    def decide(self, now_s: float) -> list[Start]:
        """Return what to start now, most urgent first.

        Args:
            now_s: Seconds on any clock that does not go back; the same one for the whole run.
        """
        starts: list[Start] = []
        self.memory_bound = False
        while len(self._batches) < self._policy.workers and self._used_slots < self._slots:
            if self._batches and (self._paused or self._used_gib == math.inf):
                break
            start = self._next(now_s) or self._next_alone()
            if start is None:
                break
            wall_s = sum(self._tasks[number].estimate.wall_s(start.width) for number in start.numbers)
            # Not by its first task: that may fail and start again while the rest of the batch still runs.
            self._begun += 1
            self._batches[self._begun] = _Running(start, set(start.numbers), now_s, now_s + wall_s)
            self._batch_of.update(dict.fromkeys(start.numbers, self._begun))
            self._used_slots += start.width
            self._used_gib += start.memory_gib
            starts.append(start)
        return starts

    def _adapt(self, event: Adapted) -> None:
        self._policy, self._cores, self._budget_gib = event
        self._slots = max(self._policy.core_slots, self._policy.width)

    def _end(self, event: Finished | Failed) -> None:
        begun = self._batch_of.pop(event.number)
        batch = self._batches[begun]
        batch.left.remove(event.number)
        if not batch.left:
            del self._batches[begun]
            self._used_slots -= batch.start.width
            self._used_gib = sum(other.start.memory_gib for other in self._batches.values())
        if isinstance(event, Failed) and event.again:
            if event.suspect:
                self._suspects.add(event.number)
            if event.alone:
                self._alone.append(event.number)
            else:
                self._push(event.number)
            return
        self._unfinished -= 1
        self._unfinished_at[self._tasks[event.number].level] -= 1

    # --- one decision ------------------------------------------------------------------------------------------------

    def _next(self, now_s: float) -> Start | None:
        queue = self._open_queue()
        if not queue:
            return None
        self._choose_widths(queue, now_s)
        hold: _Hold | None = None
        skipped: list[_Entry] = []
        chosen: Start | None = None
        free = self._slots - self._used_slots
        while queue and len(skipped) < LOOK_AHEAD:
            entry = heapq.heappop(queue)
            estimate = self._tasks[entry[2]].estimate
            wanted = self._width(entry[2])
            width, memory_gib = min(wanted, free), self._memory_gib(estimate)
            fits = not self._batches or self._used_gib + memory_gib <= self._budget_gib
            self.memory_bound |= not fits
            if fits and (hold is None or hold.lets_pass(now_s + estimate.wall_s(width), width, memory_gib)):
                later = self._hold(wanted, memory_gib, now_s) if width < wanted else None
                if later is None or now_s + estimate.wall_s(width) <= later.at_s + estimate.wall_s(wanted):
                    # Behind a hold only this one was found to end in time.
                    others = [] if hold or entry[2] in self._suspects else self._batch(queue, estimate, width)
                    chosen = Start((entry[2], *others), width, memory_gib)
                    break
            hold = hold or self._hold(wanted, memory_gib, now_s)
            skipped.append(entry)
        for entry in skipped:
            heapq.heappush(queue, entry)
        return chosen

    def _next_alone(self) -> Start | None:
        """Return the next task that wants the whole machine for itself, once nothing else runs or waits."""
        if self._batches or not self._alone:
            return None
        number = self._alone.pop(0)
        return Start((number,), min(self._narrowest(number), self._slots), math.inf)

    def _drop(self) -> None:
        for number in [entry[2] for queue in self._waiting.values() for entry in queue] + self._alone:
            self._unfinished -= 1
            self._unfinished_at[self._tasks[number].level] -= 1
        self._waiting, self._alone = {}, []

    def _batch(self, queue: list[_Entry], first: Estimate, width: int) -> list[int]:
        """Take tasks from the queue that go along with a short one, so that its worker need not wait between them."""
        limit = min(MOST_IN_A_BATCH, len(queue) // (BATCHES_LEFT * self._policy.workers))
        spent_s = first.wall_s(width)
        batch: list[int] = []
        while len(batch) < limit:
            estimate = self._tasks[queue[0][2]].estimate
            spent_s += estimate.wall_s(width)
            too_much = spent_s > self._policy.batch_s or estimate.memory_gib > first.memory_gib
            if too_much or queue[0][2] in self._suspects:
                break
            batch.append(heapq.heappop(queue)[2])
        return batch

    def _memory_gib(self, estimate: Estimate) -> float:
        return estimate.memory_gib if self._policy.memory_admission else 0.0

    def _hold(self, width: int, memory_gib: float, now_s: float) -> _Hold:
        """Return when running tasks are expected to have left a task its cores and memory."""
        workers, slots = self._policy.workers - len(self._batches), self._slots - self._used_slots
        at_s, used_gib = now_s, self._used_gib
        ends = sorted((now_s + batch.left_s(now_s), batch.start) for batch in self._batches.values())
        for position, (end_s, start) in enumerate(ends, start=1):
            if slots >= width and used_gib + memory_gib <= self._budget_gib:
                break
            at_s, workers, slots = end_s, workers + 1, slots + start.width
            used_gib = sum(other.memory_gib for _, other in ends[position:])
        return _Hold(at_s, workers - 1, slots - width, self._budget_gib - used_gib - memory_gib)

    # --- widths ------------------------------------------------------------------------------------------------------

    def _width(self, number: int) -> int:
        assert self._widths is not None
        return min(self._widths.get(number, self._narrowest(number)), self._slots)

    def _narrowest(self, number: int) -> int:
        return 1 if self._tasks[number].estimate.one_core else self._policy.width

    def _choose_widths(self, queue: Sequence[_Entry], now_s: float) -> None:
        """Choose once for all that waits, again when predictions change, and each time when few tasks are left."""
        tail = self._policy.widen_tail and len(queue) <= TAIL_PER_SLOT * self._slots
        if self._widths is not None and not tail:
            return
        cores = min(self._cores, self._slots)
        waiting = [entry[2] for level in self._waiting.values() for entry in level]
        estimates = {number: self._tasks[number].estimate for number in waiting}
        running_s = sum(batch.start.width * batch.left_s(now_s) for batch in self._batches.values())
        self._widths = widths(
            {number: estimate for number, estimate in estimates.items() if not estimate.one_core},
            cores=cores,
            narrowest=self._policy.width,
            widest=min(self._policy.widest, cores),
            memory_gib=self._budget_gib if self._policy.memory_admission else math.inf,
            committed_core_s=running_s + sum(e.alone_s for e in estimates.values() if e.one_core),
        )

    # --- queues ------------------------------------------------------------------------------------------------------

    def _open_queue(self) -> list[_Entry]:
        if not self._policy.level_barriers:
            return self._waiting.get(0, [])
        unfinished = [level for level, count in self._unfinished_at.items() if count]
        return self._waiting.get(min(unfinished), []) if unfinished else []

    def _rank_again(self) -> None:
        self._rank([entry[2] for queue in self._waiting.values() for entry in queue])
        self._widths = None

    def _rank(self, numbers: Iterable[int]) -> None:
        self._waiting = {}
        for number in numbers:
            self._waiting.setdefault(self._level(number), []).append(self._entry(number))
        for queue in self._waiting.values():
            heapq.heapify(queue)

    def _push(self, number: int) -> None:
        heapq.heappush(self._waiting.setdefault(self._level(number), []), self._entry(number))

    def _level(self, number: int) -> int:
        return self._tasks[number].level if self._policy.level_barriers else 0

    def _entry(self, number: int) -> _Entry:
        cost = self._tasks[number].estimate.alone_s
        priority = {"longest": -cost, "shortest": cost, "input": 0.0}[self._policy.order]
        return (priority, self._sequence[number], number)
