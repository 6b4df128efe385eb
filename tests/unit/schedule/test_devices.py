"""GPUs in the scheduler: devices are never given twice, nothing waits for ever, and cores work beside them."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_tasks import Planned, mappings

from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule import simulator
from autotune.schedule.devices import Devices
from autotune.schedule.events import Dropped, Failed, Finished, Place
from autotune.schedule.scheduler import Scheduler

GIB = (16.0, 16.0)
LONGEST = Policy(order="longest", level_barriers=False, batch_s=0.0, widen_tail=True, widest=4, memory_admission=True)


def on_core(number, seconds, *, memory_gib=0.1, level=1):
    return Planned(number, Estimate(alone_s=seconds, parallel=0.5, memory_gib=memory_gib, program="cpu"), level)


def on_gpu(number, seconds, *, memory_gib=0.1, gpu_memory_gib=0.0, level=1, program="gpu"):
    estimate = Estimate(
        alone_s=seconds,
        parallel=0.0,
        memory_gib=memory_gib,
        program=program,
        gpus=1,
        gpu_memory_gib=gpu_memory_gib,
    )
    return Planned(number, estimate, level)


def policy_of(cores, *, per_gpu=1, **changes):
    return replace(LONGEST, workers=cores, core_slots=cores, tunables=(("gpu.per_gpu", per_gpu),), **changes)


class Machine:
    """Drives a scheduler on a virtual clock, in which tasks take other times than predicted and some fail."""

    def __init__(self, tasks, policy, *, cores=4, gpu_memory_gib=GIB, stretch=None, fail=(), alone=(), drop_after=None):
        self.estimates, levels = mappings(tasks)
        budget = Resources(cores=cores, memory_gib=8.0, gpus=len(gpu_memory_gib))
        self.scheduler = Scheduler(self.estimates, levels, policy, budget=budget, gpu_memory_gib=gpu_memory_gib)
        self.policy, self.gpu_memory_gib = policy, gpu_memory_gib
        self.stretch, self.to_fail, self.alone = stretch or (lambda _: 1.0), set(fail), set(alone)
        self.clock, self.ends, self.starts, self.drop_after = 0.0, [], Counter(), drop_after
        self.spans = []

    def run(self):
        finished = 0
        while not self.scheduler.done:
            for start in self.scheduler.decide(self.clock):
                self.begin(start)
            self.check()
            assert self.ends, "tasks are left, none runs, and the scheduler starts none"
            self.clock, number = heapq.heappop(self.ends)
            again = number in self.to_fail
            self.to_fail.discard(number)
            if again:
                self.scheduler.handle(Failed(number, again=True, alone=number in self.alone, suspect=True))
            else:
                finished += 1
                self.scheduler.handle(Finished(number))
            if finished == self.drop_after:
                self.scheduler.handle(Dropped())
                self.to_fail = set()
        return self.clock

    def begin(self, start):
        at = self.clock
        for number in start.numbers:
            self.starts[number] += 1
            assert (start.place is not None) == bool(self.estimates[number].gpus)
            assert start.resources.gpus == self.estimates[number].gpus
            at += self.estimates[number].wall_s(start.resources.cores) * self.stretch(number)
            heapq.heappush(self.ends, (at, number))
        self.spans.append((start, self.clock, at))

    def check(self):
        now = self.scheduler.running
        assert len(now) <= self.policy.workers
        assert sum(start.resources.cores for start in now) <= self.policy.core_slots
        places = [start.place for start in now if start.place is not None]
        assert len(set(places)) == len(places)
        for device, memory_gib in enumerate(self.gpu_memory_gib):
            here = [start for start in now if start.place is not None and start.place.device == device]
            most = self.policy.tasks_per_gpu("gpu")
            assert len(here) <= most
            held_gib = sum(self.estimates[start.numbers[0]].gpu_memory_gib for start in here)
            assert held_gib <= memory_gib or len(here) == 1
        assert all(place.device < len(self.gpu_memory_gib) for place in places)


kinds = st.tuples(st.booleans(), st.floats(0.01, 50.0), st.floats(0.1, 9.0), st.floats(0.0, 20.0), st.integers(1, 3))


def made(drawn):
    return [
        on_gpu(number, seconds, memory_gib=gib, gpu_memory_gib=device_gib, level=level)
        if gpu
        else on_core(number, seconds, memory_gib=gib, level=level)
        for number, (gpu, seconds, gib, device_gib, level) in enumerate(drawn)
    ]


@given(
    drawn=st.lists(kinds, min_size=1, max_size=40),
    seed=st.integers(),
    per_gpu=st.sampled_from([1, 2, 4]),
    barriers=st.booleans(),
    batch_s=st.sampled_from([0.0, 20.0]),
)
@settings(deadline=None, max_examples=200)
def test_no_device_is_given_twice_and_nothing_waits_for_ever_whatever_tasks_take(
    drawn, seed, per_gpu, barriers, batch_s
):
    tasks, chance = made(drawn), random.Random(seed)
    off = [math.exp(chance.gauss(0.0, 0.7)) for _ in tasks]
    fail = {task.number for task in tasks if chance.random() < 0.2}
    alone = {number for number in fail if chance.random() < 0.5}
    policy = policy_of(4, per_gpu=per_gpu, level_barriers=barriers, batch_s=batch_s)
    machine = Machine(tasks, policy, stretch=off.__getitem__, fail=fail, alone=alone)
    machine.run()
    assert machine.starts == {task.number: 1 + (task.number in fail) for task in tasks}


@given(drawn=st.lists(kinds, min_size=1, max_size=30), after=st.integers(1, 10))
@settings(deadline=None)
def test_after_a_drop_nothing_for_a_device_is_left(drawn, after):
    machine = Machine(made(drawn), policy_of(4), drop_after=after)
    machine.run()
    assert machine.scheduler.done
    assert machine.scheduler.running == []


def test_cores_work_beside_the_devices_however_many_tasks_wait_for_these():
    tasks = [on_gpu(number, 10.0) for number in range(200)] + [on_core(200 + number, 1.0) for number in range(20)]
    machine = Machine(tasks, policy_of(4))
    first = machine.scheduler.decide(0.0)
    assert Counter(start.place is None for start in first) == {False: 2, True: 2}
    assert {start.place for start in first} == {None, Place(0, 0), Place(1, 0)}
    assert {start.seat for start in first if start.place is None} == {0, 1}


def test_short_tasks_go_to_a_device_in_batches_of_one_program():
    tasks = [on_gpu(n, 0.01, program="gpu" if n % 2 else "other") for n in range(400)]
    starts = Machine(tasks, policy_of(2, batch_s=0.1)).scheduler.decide(0.0)
    assert {len({n % 2 for n in start.numbers}) for start in starts} == {1}


def test_several_share_a_device_where_memory_lets_them():
    tasks = [on_gpu(number, 10.0, gpu_memory_gib=6.0) for number in range(9)]
    starts = Machine(tasks, policy_of(16, per_gpu=4), cores=16).scheduler.decide(0.0)
    assert Counter(start.place.device for start in starts) == {0: 2, 1: 2}  # of 16 GiB each
    assert {start.place.slot for start in starts} == {0, 1}


def test_one_that_needs_more_than_a_device_has_is_given_one_for_itself():
    devices = Devices((16.0,))
    devices.take(devices.room_for(0.25, 1.0), 0.25, 1.0)
    assert devices.room_for(0.25, 20.0) is None
    devices.leave(Place(0, 0))
    assert devices.room_for(0.25, 20.0) == Place(0, 0)


def test_the_device_with_most_left_is_taken_and_places_are_used_again():
    devices = Devices((math.inf, math.inf))
    given = []
    for _ in range(4):
        given.append(devices.room_for(0.5, 0.0))
        devices.take(given[-1], 0.5, 0.0)
    assert sorted(given) == [Place(0, 0), Place(0, 1), Place(1, 0), Place(1, 1)]
    assert devices.room_for(0.5, 0.0) is None
    devices.leave(Place(1, 0))
    assert devices.room_for(0.5, 0.0) == Place(1, 0)


@pytest.mark.parametrize(("per_gpu", "spread"), [(1, 0.0), (1, 0.2), (2, 0.2)])
def test_sixteen_cores_and_two_devices_come_near_the_bound(per_gpu, spread):
    """Some hundred tasks, of which a third are for the devices."""
    chance = random.Random(1)
    tasks = []
    for number in range(300):
        seconds = math.exp(chance.gauss(0.0, 0.7))
        tasks.append(on_gpu(number, 0.4 * seconds) if number % 3 == 0 else on_core(number, 2.0 * seconds))
    really = {task.number: task.estimate.alone_s * math.exp(chance.gauss(0.0, spread)) for task in tasks}
    estimates, levels = mappings(tasks)
    end_s = simulator.makespan_s(
        estimates,
        levels,
        policy=policy_of(16, per_gpu=per_gpu),
        budget=Resources(cores=16, memory_gib=64.0, gpus=2),
        durations_s=really,
        gpu_memory_gib=GIB,
    )
    on_devices_s = sum(really[task.number] for task in tasks if task.estimate.gpus) / (2 * per_gpu)
    assert max(sum(really.values()) / 16, on_devices_s) / end_s >= 0.93
