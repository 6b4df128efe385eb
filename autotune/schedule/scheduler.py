"""The scheduler: which tasks start next, on how many cores, with how much memory.

Rules: pure - no clock, no processes, no I/O; whoever drives it says what time it is. Events go in through `handle`,
decisions come out of `decide`; the real runtime and a simulator drive the same object.

Invariants, tested by property: widths running together never exceed the core slots; memory granted together never
exceeds the budget, except that a task which exceeds it alone runs alone; every task is started exactly once per
attempt; while a task is ready and fits, no core slot stays idle (work-conserving), except behind a barrier and where
starting it would hold up a task that waits for cores or memory with more right (`_Hold`). A task that is to run alone
does, after all others that may start; in a pause nothing starts while something runs. Where cores are not alike, a task
is left for a faster one that would end it sooner, although a slow one is idle (`seats.py`); tasks stay narrow then.
Tasks for GPUs wait in a line of their own, of which one starts whenever a device has room, beside those for cores.

A decision takes the same time whatever waits: queues are sorted, the most urgent task last, and a whole queue is looked
at only when predictions or the policy change.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule.devices import Devices
from autotune.schedule.events import Adapted, Dropped, Event, Failed, Finished, Learned, Paused, Sped, Start
from autotune.schedule.running import Room, Running
from autotune.schedule.seats import Deal, Seats
from autotune.schedule.widths import LastTasks, all_stay_narrow, widths

LOOK_AHEAD = 64  # tasks examined behind one that does not fit, before waiting
TAIL_PER_SLOT = 2  # widths are chosen again for each decision when so few tasks wait for each core slot
MOST_IN_A_BATCH = 64
_AHEAD_S = 1e9  # more than any task takes
WORTH_SHARING = 0.03  # of a task's time: a start that takes less is no reason to bind tasks to each other
BATCHES_LEFT = 4  # for each worker at least; so many batches later the last ones are single tasks

_Entry = tuple[float, int, int]  # urgency, position in the input from its end, number


class _Hold(NamedTuple):
    """What a task that cannot start yet has a right to: from when, and what is left over then for others."""

    at_s: float
    spare_workers: int
    spare: Resources

    def lets_pass(self, ends_s: float, cores: int, memory_gib: float) -> bool:
        # Of numbers, not of `Resources`: many tasks are looked at for one that starts.
        return ends_s <= self.at_s or (
            self.spare_workers > 0 and cores <= self.spare.cores and memory_gib <= self.spare.memory_gib
        )


class Scheduler:
    """Decides for one run.

    Args:
        estimates: Predicted cost of each task, by number, in the order of the input; tasks are independent.
        levels: n-body level of each, for policies with barriers.
        policy: What to optimise; see `Policy`.
        budget: What tasks may hold together, at least one core; tasks that take a GPU need one.
        ahead: Tasks that go before all others where the longest are to go first, because they make what others use; the
            higher number first.
        speeds: Of the seats of all workers, where cores are not alike; at least as many as may run at once.
        gpu_memory_gib: Of each GPU, where that is known.
    """

    def __init__(
        self,
        estimates: Mapping[int, Estimate],
        levels: Mapping[int, int],
        policy: Policy,
        *,
        budget: Resources,
        ahead: Mapping[int, int] = MappingProxyType({}),
        speeds: Sequence[float] = (),
        gpu_memory_gib: Sequence[float] = (),
    ) -> None:
        self._seats, self._devices = Seats(speeds), Devices(gpu_memory_gib or [math.inf] * budget.gpus)
        self._estimates, self._levels, self._ahead = dict(estimates), levels, ahead
        self._position = {number: -position for position, number in enumerate(estimates)}
        self._unfinished, self._unfinished_at = len(estimates), Counter(levels.values())
        self._running = Running()
        self._alone: list[int] = []
        self._suspects: set[int] = set()
        self._paused = self._whole = False
        self.memory_bound = False
        self._waiting: dict[int, list[_Entry]] = {}  # by level, if levels are told apart
        self._for_gpus: dict[int, list[_Entry]] = {}
        self._widths: dict[int, int] | None = None
        self._last: LastTasks | None = None
        self._work_s = 0.0  # of all that waits, beside the starts of programs
        self._adapt(Adapted(policy, budget))
        self._rank(self._estimates)

    @property
    def done(self) -> bool:
        """Whether every task finished or finally failed."""
        return self._unfinished == 0

    @property
    def running(self) -> list[Start]:
        """What was started and has not ended, with what it was given."""
        return self._running.starts()

    @property
    def cores_in_use(self) -> int:
        """Sum of the widths of what runs."""
        return self._running.slots

    def handle(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Learned):
            self._estimates.update(event.estimates)
            # One that ran out of memory still runs: nothing that waits changes its place.
            self._predicted_anew(ranked=all(number in self._running for number in event.estimates))
        elif isinstance(event, Adapted):
            self._adapt(event)
            self._predicted_anew(ranked=False)
        elif isinstance(event, Sped):
            self._seats.adapt(event.speeds)
            self._widths = self._last = None
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
        while len(self._running) < self._policy.workers and self._running.slots < self._slots:
            if self._running and (self._paused or self._whole):
                break
            start = self._next_on_gpu() or self._next(now_s) or self._next_alone()
            if start is None:
                break
            if start.place is None and self._seats.even:
                start = start._replace(seat=self._seats.lowest_idle())
            width = start.resources.cores
            self._whole = start.resources.memory_gib == math.inf
            first, *others = [self._estimates[number] for number in start.numbers]
            seconds = first.wall_s(width) + sum(
                [each.next_s(width) if start.together else each.wall_s(width) for each in others]
            )
            if start.place is None:
                seconds /= self._seats.speed_of(start.seat)
                self._seats.take(start.seat, now_s, now_s + seconds)
            else:
                share = 1.0 / self._policy.tasks_per_gpu(first.program)
                self._devices.take(start.place, share, first.gpu_memory_gib)
            self._running.begin(start, now_s, now_s + seconds)
            starts.append(start)
        return starts

    def _adapt(self, event: Adapted) -> None:
        self._policy, self._budget = event
        self._slots = max(self._policy.core_slots, self._policy.width)

    def _end(self, event: Finished | Failed) -> None:
        ended = self._running.end(event.number)
        if ended is not None and ended.place is not None:
            self._devices.leave(ended.place)
        elif ended is not None:
            self._seats.leave(ended.seat)
        if isinstance(event, Failed) and event.again:
            if event.suspect:
                self._suspects.add(event.number)
            if event.alone:
                self._alone.append(event.number)
            else:
                self._push(event.number)
            return
        self._unfinished -= 1
        self._unfinished_at[self._levels[event.number]] -= 1

    # --- one decision ------------------------------------------------------------------------------------------------

    def _next_on_gpu(self) -> Start | None:
        """Return the most urgent task for which a GPU has room, on as few cores as can be."""
        queue = self._open_queue(self._for_gpus)
        free = self._slots - self._running.slots
        for at in range(len(queue) - 1, max(-1, len(queue) - 1 - LOOK_AHEAD), -1):
            number = queue[at][2]
            estimate = self._estimates[number]
            share = 1.0 / self._policy.tasks_per_gpu(estimate.program)
            place = self._devices.room_for(share, estimate.gpu_memory_gib)
            memory_gib = self._memory_gib(estimate)
            if place is None or (self._running and not self._running.leave_gib(memory_gib, self._budget.memory_gib)):
                continue
            start = self._taken(queue, at, min(self._narrowest(number), free), 0.0, seat=0, single=False)
            return start._replace(place=place)
        return None

    def _next(self, now_s: float) -> Start | None:
        queue = self._open_queue(self._waiting)
        if not queue:
            return None
        self._choose_widths(queue, now_s)
        hold: _Hold | None = None
        free = self._slots - self._running.slots
        deal, kept_gib = Deal(self._seats, now_s, within_s=self._shortest_s(now_s)), 0.0
        for place in range(len(queue) - 1, max(-1, len(queue) - 1 - LOOK_AHEAD), -1):
            number = queue[place][2]
            estimate = self._estimates[number]
            wanted, memory_gib = self._width(number), self._memory_gib(estimate)
            width = min(wanted, free)
            fits = not self._running or self._running.leave_gib(memory_gib + kept_gib, self._budget.memory_gib)
            self.memory_bound |= not fits
            seat = deal.seat_for(estimate.wall_s(width)) if fits else None
            if fits and seat is None:
                kept_gib += memory_gib  # it is to find room there
                continue
            wall_s = estimate.wall_s(width) / self._seats.speed_of(seat or 0)
            if fits and (hold is None or hold.lets_pass(now_s + wall_s, width, memory_gib)):
                later = self._room(Resources(cores=wanted, memory_gib=memory_gib), now_s) if width < wanted else None
                if later is None or now_s + wall_s <= later.at_s + estimate.wall_s(wanted):
                    return self._taken(queue, place, width, now_s, seat=seat or 0, single=hold is not None)
            hold = hold or self._hold(Resources(cores=wanted, memory_gib=memory_gib), now_s)
        return None

    def _taken(self, queue: list[_Entry], place: int, width: int, now_s: float, *, seat: int, single: bool) -> Start:
        """Take a task from the queue, and those that go along with it unless it was found by itself to fit."""
        number = queue.pop(place)[2]
        estimate = self._estimates[number]
        single |= number in self._suspects
        together = not single and self._tasks_per_start(estimate) > 1
        others: list[int] = []
        if together:
            others = self._batch_of_one_start(queue, estimate, width, now_s)
        elif not single:
            others = self._batch(queue, estimate, width)
        for each in () if estimate.gpus else (number, *others):
            self._work_s -= self._estimates[each].work_s
            if self._last is not None:
                self._last.remove(each)
        resources = Resources(cores=width, memory_gib=self._memory_gib(estimate), gpus=estimate.gpus)
        return Start((number, *others), resources, together=together and bool(others), seat=seat)

    def _shortest_s(self, now_s: float) -> float:
        """Return how long all that may start takes at least where cores are not alike; 0 where that is not known."""
        return 0.0 if self._seats.even or self._policy.level_barriers else self._seats.left_s(now_s, self._work_s)

    def _next_alone(self) -> Start | None:
        """Return the next task that wants the whole machine for itself, once nothing else runs or waits."""
        if self._running or not self._alone:
            return None
        number = self._alone.pop(0)
        width = min(self._narrowest(number), self._slots)
        gpus = self._estimates[number].gpus
        resources, seat = Resources(cores=width, memory_gib=math.inf, gpus=gpus), self._seats.fastest_idle() or 0
        return Start((number,), resources, seat=seat, place=self._devices.room_for(1.0, 0.0) if gpus else None)

    def _drop(self) -> None:
        for number in [*self._all_waiting(), *self._alone]:
            self._unfinished -= 1
            self._unfinished_at[self._levels[number]] -= 1
        self._waiting, self._for_gpus, self._alone, self._last, self._work_s = {}, {}, [], None, 0.0

    def _batch(self, queue: list[_Entry], first: Estimate, width: int) -> list[int]:
        """Take tasks from the queue that go along with a short one, so that its worker need not wait between them."""
        limit = min(MOST_IN_A_BATCH, len(queue) // (BATCHES_LEFT * self._policy.workers))
        spent_s = first.wall_s(width)
        batch: list[int] = []
        while len(batch) < limit:
            number = queue[-1][2]
            estimate = self._estimates[number]
            spent_s += estimate.wall_s(width)
            too_much = spent_s > self._policy.batch_s or _holds_more(estimate, first)
            if too_much or number in self._suspects:
                break
            batch.append(queue.pop()[2])
        return batch

    def _tasks_per_start(self, estimate: Estimate) -> int:
        # Behind a barrier a few tasks wait for all: what is saved would be lost there.
        if estimate.start_s <= WORTH_SHARING * estimate.alone_s or self._policy.level_barriers:
            return 1
        return self._policy.tasks_per_start(estimate.program)

    def _batch_of_one_start(self, queue: list[_Entry], first: Estimate, width: int, now_s: float) -> list[int]:
        """Take tasks from the queue that are computed in one start of their program with the first.

        Together they work no longer than a worker's part of all work that is left, and so much less that the others do
        not wait for them should they take two standard deviations longer. What works shorter than a start takes is not
        divided further: that would cost more than it evens out.
        """
        part_s = (self._work_s + self._running.work_s(now_s)) / self._policy.at_once
        most_s = max(part_s / (1.0 + 2.0 * first.spread), min(part_s, first.start_s))
        limit = self._tasks_per_start(first) - 1
        spent_s = first.next_s(width)
        batch: list[int] = []
        while queue and len(batch) < limit:
            number = queue[-1][2]
            estimate = self._estimates[number]
            spent_s += estimate.next_s(width)
            if spent_s > most_s or estimate.program != first.program or _holds_more(estimate, first):
                break
            if number in self._suspects:
                break
            batch.append(queue.pop()[2])
        return batch

    def _memory_gib(self, estimate: Estimate) -> float:
        return estimate.memory_gib if self._policy.memory_admission else 0.0

    def _room(self, wanted: Resources, now_s: float) -> Room:
        idle = self._slots - self._running.slots
        return self._running.room(wanted, now_s, slots=idle, budget_gib=self._budget.memory_gib)

    def _hold(self, wanted: Resources, now_s: float) -> _Hold:
        """Return when running tasks are expected to have left a task what it wants."""
        room = self._room(wanted, now_s)
        spare_workers = self._policy.workers - len(self._running) + room.ended - 1
        left_gib = self._budget.memory_gib - self._running.granted_gib(room.ended, now_s)
        left = Resources(cores=room.slots, memory_gib=left_gib, gpus=self._budget.gpus)
        return _Hold(room.at_s, spare_workers, left.minus(wanted))

    # --- widths ------------------------------------------------------------------------------------------------------

    def _width(self, number: int) -> int:
        assert self._widths is not None
        return min(self._widths.get(number, self._narrowest(number)), self._slots)

    def _narrowest(self, number: int) -> int:
        return 1 if self._estimates[number].one_core else self._policy.width

    def _choose_widths(self, queue: Sequence[_Entry], now_s: float) -> None:
        """Choose once for all that waits, again when predictions change, and each time when few tasks are left."""
        if not self._seats.even:  # threads of one task would wait for the slowest of them
            self._widths = {}
            return
        tail = self._policy.widen_tail and len(queue) <= TAIL_PER_SLOT * self._slots
        if self._widths is not None and not tail:
            return
        running_core_s = self._running.left_core_s(now_s)
        if tail and self._last is not None:
            self._widths = self._last.widths(running_core_s)
            return
        cores = min(self._budget.cores, self._slots)
        memory_gib = self._budget.memory_gib if self._policy.memory_admission else math.inf
        if not tail:
            estimates = [self._estimates[entry[2]] for level in self._waiting.values() for entry in level]
            if all_stay_narrow(estimates, cores=cores, memory_gib=memory_gib, committed_core_s=running_core_s):
                self._widths, self._last = {}, None
                return
        waiting = {entry[2]: self._estimates[entry[2]] for level in self._waiting.values() for entry in level}
        given = {"cores": cores, "narrowest": self._policy.width, "widest": min(self._policy.widest, cores)}
        if tail:
            self._last = LastTasks(waiting, memory_gib=memory_gib, **given)
            self._widths = self._last.widths(running_core_s)
            return
        self._last = None
        one_core = {number: estimate.alone_s for number, estimate in waiting.items() if estimate.one_core}
        for number in one_core:
            del waiting[number]
        self._widths = widths(
            waiting, memory_gib=memory_gib, committed_core_s=running_core_s + sum(one_core.values()), **given
        )

    # --- queues ------------------------------------------------------------------------------------------------------

    def _open_queue(self, waiting: Mapping[int, list[_Entry]]) -> list[_Entry]:
        if not self._policy.level_barriers:
            return waiting.get(0, [])
        unfinished = [level for level, count in self._unfinished_at.items() if count]
        return waiting.get(min(unfinished), []) if unfinished else []

    def _all_waiting(self) -> list[int]:
        queues = (*self._waiting.values(), *self._for_gpus.values())
        return [entry[2] for queue in queues for entry in queue]

    def _predicted_anew(self, *, ranked: bool) -> None:
        if not ranked:
            self._rank(self._all_waiting())
        self._widths = self._last = None

    def _rank(self, numbers: Iterable[int]) -> None:
        entries = self._entries(numbers)
        on_gpus = [entry for entry in entries if self._estimates[entry[2]].gpus]
        if on_gpus:
            entries = [entry for entry in entries if not self._estimates[entry[2]].gpus]
        self._work_s = sum([self._estimates[entry[2]].work_s for entry in entries])
        self._waiting, self._for_gpus = self._queues(entries), self._queues(on_gpus)

    def _queues(self, entries: list[_Entry]) -> dict[int, list[_Entry]]:
        queues = {0: entries}
        if self._policy.level_barriers:
            queues = {}
            for entry in entries:
                queues.setdefault(self._levels[entry[2]], []).append(entry)
        for queue in queues.values():
            queue.sort()
        return queues

    def _push(self, number: int) -> None:
        level = self._levels[number] if self._policy.level_barriers else 0
        (entry,) = self._entries([number])
        if self._estimates[number].gpus:
            insort(self._for_gpus.setdefault(level, []), entry)
            return
        insort(self._waiting.setdefault(level, []), entry)
        self._work_s += self._estimates[number].work_s
        if self._last is not None:
            self._last.add(number, self._estimates[number])

    def _entries(self, numbers: Iterable[int]) -> list[_Entry]:
        estimates, position = self._estimates, self._position
        if self._policy.order == "longest":
            if ahead := self._ahead:
                return [
                    (estimates[number].alone_s + _AHEAD_S * ahead.get(number, 0), position[number], number)
                    for number in numbers
                ]
            return [(estimates[number].alone_s, position[number], number) for number in numbers]
        if self._policy.order == "shortest":
            return [(-estimates[number].alone_s, position[number], number) for number in numbers]
        return [(0.0, position[number], number) for number in numbers]


def _holds_more(estimate: Estimate, first: Estimate) -> bool:
    """Return whether a task needs more than the one that it would follow in the same worker."""
    if first.gpus and (estimate.program != first.program or estimate.gpu_memory_gib > first.gpu_memory_gib):
        return True
    return estimate.memory_gib > first.memory_gib
