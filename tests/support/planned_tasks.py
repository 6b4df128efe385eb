"""Tasks as tests of the schedule write them down, and a machine on a virtual clock that runs them."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from typing import NamedTuple

from autotune.base.types import Estimate, Resources
from autotune.schedule.events import Adapted, Dropped, Failed, Finished, Paused, Start
from autotune.schedule.scheduler import Scheduler
from autotune.schedule.seats import Seats


class Planned(NamedTuple):
    """A task of which only its number, its predicted cost and its n-body level matter."""

    number: int
    estimate: Estimate
    level: int = 1


def mappings(tasks):
    return {task.number: task.estimate for task in tasks}, {task.number: task.level for task in tasks}


def scheduler_of(tasks, policy, *, cores, memory_gib, ahead=None, speeds=(), gpu_memory_gib=()):
    budget = Resources(cores=cores, memory_gib=memory_gib, gpus=len(gpu_memory_gib))
    given = {"ahead": ahead or {}, "speeds": speeds, "gpu_memory_gib": gpu_memory_gib}
    return Scheduler(*mappings(tasks), policy, budget=budget, **given)


class Begun(NamedTuple):
    """A task at work, from when until when."""

    number: int
    start: Start
    begins_s: float
    ends_s: float


class Machine:
    """A virtual clock around a scheduler, which checks every promise at every step.

    `stretch` makes tasks take longer or shorter than predicted; `fail` lists tasks whose first attempt fails, which
    also ends the rest of its batch before it began, and `alone` those of them that ask for the whole machine then;
    `adapt` and `pause` are drawn from at each step; after `drop_after` finished tasks what waits is dropped. The
    scheduler is told the `speeds` of cores, unless `untold`; `watch` is called with what has been `Begun` when it ends.
    """

    def __init__(
        self,
        tasks,
        policy,
        *,
        cores=4,
        memory_gib=8.0,
        gpu_memory_gib=(),
        speeds=(),
        untold=False,
        stretch=lambda _: 1.0,
        fail=(),
        alone=(),
        suspect=False,
        adapt=lambda: None,
        pause=lambda: False,
        drop_after=math.inf,
        watch=lambda _: None,
    ):
        resources = {"cores": cores, "memory_gib": memory_gib, "gpu_memory_gib": gpu_memory_gib}
        self.scheduler = scheduler_of(tasks, policy, speeds=() if untold else speeds, **resources)
        self.policy, self.cores, self.memory_gib, self.gpu_memory_gib = policy, cores, memory_gib, gpu_memory_gib
        self.estimates, self.seats = {task.number: task.estimate for task in tasks}, Seats(speeds)
        self.stretch, self.adapt, self.pause, self.watch = stretch, adapt, pause, watch
        self.to_fail, self.alone, self.suspect = {*fail, *alone}, frozenset(alone), suspect
        self.drop_after, self.dropped = drop_after, False
        self.clock, self.starts, self.ends, self.finished = 0.0, [], [], []
        self.counts = Counter()

    def run(self):
        """Run all tasks and return what has begun, in order of its end."""
        ended = []
        while not self.scheduler.done:
            policy = self.adapt()
            if policy is not None:
                self.policy = policy
                self.scheduler.handle(Adapted(policy, Resources(cores=self.cores, memory_gib=self.memory_gib)))
            if len(self.finished) >= self.drop_after and not self.dropped:
                self.dropped = True
                self.scheduler.handle(Dropped())
                continue
            paused, busy = self.pause(), bool(self.scheduler.running)
            self.scheduler.handle(Paused(paused))
            starts = self.scheduler.decide(self.clock)
            assert not (starts and self.dropped), "started what was dropped"
            assert not paused or len(starts) + busy <= 1, "started beside what runs in a pause"
            for start in starts:
                self._begin(start)
            assert self.ends, "tasks are left, none runs, and the scheduler starts none"
            self.check()
            self.clock, _, begun = heapq.heappop(self.ends)
            ended.append(begun)
            self.watch(begun)
            self._end(begun)
        return ended

    def _begin(self, start):
        self.starts.append((self.clock, start))
        at, speed = self.clock, 1.0 if start.place is not None else self.seats.speed_of(start.seat)
        for number in start.numbers:
            self.counts[number] += 1
            estimate, width = self.estimates[number], start.resources.cores
            shares = start.together and number != start.numbers[0]
            took_s = (estimate.next_s(width) if shares else estimate.wall_s(width)) * self.stretch(number) / speed
            begins, at = at, at + took_s
            heapq.heappush(self.ends, (at, number, Begun(number, start, begins, at)))

    def _end(self, begun):
        number = begun.number
        if number not in self.to_fail:
            self.finished.append(number)
            self.scheduler.handle(Finished(number))
            return
        self.to_fail.discard(number)
        again = not self.dropped
        self.scheduler.handle(Failed(number, again=again, alone=again and number in self.alone, suspect=self.suspect))
        rest = [end for end in self.ends if end[2].start == begun.start]
        self.ends = [end for end in self.ends if end[2].start != begun.start]
        heapq.heapify(self.ends)
        for _, other, _ in rest:
            self.counts[other] -= 1
            self.scheduler.handle(Failed(other, again=again))

    def check(self):
        now = self.scheduler.running
        for start in now:
            assert (start.place is not None) == bool(self.estimates[start.numbers[0]].gpus)
            assert all(start.resources.gpus == self.estimates[number].gpus for number in start.numbers)
            if start.together:
                assert len({self.estimates[number].program for number in start.numbers}) == 1
                assert len(start.numbers) > 1
            if any(number in self.alone and self.counts[number] > 1 for number in start.numbers):
                assert now == [start], "something runs beside a task that is to run alone"
                assert len(start.numbers) == 1
        # After an adaptation, what was started before may still hold more than is allowed now.
        if self.adapt() is None:
            assert len(now) <= self.policy.workers
            assert sum(start.resources.cores for start in now) <= max(self.policy.core_slots, self.policy.width)
            granted = sum(start.resources.memory_gib for start in now)
            assert granted <= self.memory_gib + 1e-9 or len(now) == 1
        places = [start.place for start in now if start.place is not None]
        assert len(set(places)) == len(places)
        assert all(place.device < len(self.gpu_memory_gib) for place in places)
        for device, memory_gib in enumerate(self.gpu_memory_gib):
            here = [start.numbers[0] for start in now if start.place is not None and start.place.device == device]
            assert len(here) <= self.policy.tasks_per_gpu("gpu")
            assert sum(self.estimates[number].gpu_memory_gib for number in here) <= memory_gib or len(here) == 1
