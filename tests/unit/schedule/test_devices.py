"""GPUs in the scheduler: devices are never given twice, nothing waits for ever, and cores work beside them."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_tasks import Machine, Planned, mappings, scheduler_of

from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule import simulator
from autotune.schedule.devices import Devices
from autotune.schedule.events import Place

GIB = (16.0, 16.0)
LONGEST = Policy(order="longest", level_barriers=False, batch_s=0.0, widen_tail=True, widest=4, memory_admission=True)


def on_core(number, seconds, *, level=1, **others):
    estimate = {"parallel": 0.5, "memory_gib": 0.1, "program": "cpu", **others}
    return Planned(number, Estimate(alone_s=seconds, **estimate), level)


def on_gpu(number, seconds, **others):
    return on_core(number, seconds, **{"parallel": 0.0, "program": "gpu", "gpus": 1, **others})


def policy_of(cores, *, per_gpu=1, **changes):
    return replace(LONGEST, workers=cores, core_slots=cores, tunables=(("gpu.per_gpu", per_gpu),), **changes)


def machine(tasks, policy, **others):
    """Return a machine with two devices, on which a failed task is suspected of having taken its worker with it."""
    return Machine(tasks, policy, gpu_memory_gib=GIB, suspect=True, **others)


def first_starts(tasks, policy, *, cores=4):
    return scheduler_of(tasks, policy, cores=cores, memory_gib=8.0, gpu_memory_gib=GIB).decide(0.0)


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
    run = machine(tasks, policy, stretch=off.__getitem__, fail=fail, alone=alone)
    run.run()
    assert run.counts == {task.number: 1 + (task.number in fail) for task in tasks}


@given(drawn=st.lists(kinds, min_size=1, max_size=30), after=st.integers(1, 10))
@settings(deadline=None)
def test_after_a_drop_nothing_for_a_device_is_left(drawn, after):
    run = machine(made(drawn), policy_of(4), drop_after=after)
    run.run()
    assert run.scheduler.done
    assert run.scheduler.running == []


def test_cores_work_beside_the_devices_however_many_tasks_wait_for_these():
    tasks = [on_gpu(number, 10.0) for number in range(200)] + [on_core(200 + number, 1.0) for number in range(20)]
    first = first_starts(tasks, policy_of(4))
    assert Counter(start.place is None for start in first) == {False: 2, True: 2}
    assert {start.place for start in first} == {None, Place(0, 0), Place(1, 0)}
    assert {start.seat for start in first if start.place is None} == {0, 1}


def test_short_tasks_go_to_a_device_in_batches_of_one_program():
    tasks = [on_gpu(n, 0.01, program="gpu" if n % 2 else "other") for n in range(400)]
    starts = first_starts(tasks, policy_of(2, batch_s=0.1))
    assert {len({n % 2 for n in start.numbers}) for start in starts} == {1}


def test_several_share_a_device_where_memory_lets_them():
    tasks = [on_gpu(number, 10.0, gpu_memory_gib=6.0) for number in range(9)]
    starts = first_starts(tasks, policy_of(16, per_gpu=4), cores=16)
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
