"""Cores that are not alike: who gets a task, that nobody is dealt twice, and how near the bound runs come."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planned_tasks import Machine, Planned, mappings

from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule import bounds, simulator
from autotune.schedule.seats import Deal, Seats

LONGEST = Policy(order="longest", level_barriers=False, batch_s=0.0, widen_tail=True, widest=4)


def tasks_of(seconds):
    return [
        Planned(number, Estimate(alone_s=each, parallel=0.0, memory_gib=0.1)) for number, each in enumerate(seconds)
    ]


def policy_of(speeds, **changes):
    return replace(LONGEST, workers=len(speeds), core_slots=len(speeds), **changes)


def drive(seconds, speeds, *, policy=None, task_gib=lambda _: 0.1, **others):
    """Run tasks on a virtual clock and return number, seat, begin and end of each."""
    tasks = [
        task._replace(estimate=replace(task.estimate, memory_gib=task_gib(task.number))) for task in tasks_of(seconds)
    ]
    machine = Machine(tasks, policy or policy_of(speeds), cores=len(speeds), speeds=speeds, suspect=True, **others)
    return [(begun.number, begun.start.seat, begun.begins_s, begun.ends_s) for begun in machine.run()]


speeds_of = st.lists(st.floats(0.05, 4.0), min_size=1, max_size=6)
seconds_of = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=40)


@given(speeds=speeds_of, seconds=seconds_of, seed=st.integers(), batch_s=st.sampled_from([0.0, 5.0]))
@settings(deadline=None)
def test_each_task_runs_once_and_no_seat_has_two_whatever_they_really_take(speeds, seconds, seed, batch_s):
    assume(not Seats(speeds).even)
    chance = random.Random(seed)
    off = [math.exp(chance.gauss(0.0, 0.5)) for _ in seconds]
    fail = {number for number in range(len(seconds)) if chance.random() < 0.1} if not batch_s else set()
    runs = drive(seconds, speeds, stretch=off.__getitem__, policy=policy_of(speeds, batch_s=batch_s), fail=fail)
    assert sorted(number for number, *_ in runs) == sorted([*range(len(seconds)), *fail])
    for seat in range(len(speeds)):
        busy = sorted((begins, ends) for _, at, begins, ends in runs if at == seat)
        assert all(before[1] <= after[0] + 1e-9 for before, after in itertools.pairwise(busy))


@given(speeds=speeds_of, seconds=seconds_of)
@settings(deadline=None)
def test_nothing_is_shorter_than_the_bound_nor_much_longer(speeds, seconds):
    end_s = max(ends for *_, ends in drive(seconds, speeds))
    bound_s = bounds.lower_bound_of_speeds_s(seconds, speeds)
    assert bound_s <= end_s * (1 + 1e-9)
    assert end_s <= 1.67 * bound_s + max(seconds) / max(speeds)


def test_the_longest_task_waits_for_the_fast_core_while_the_slow_one_idles():
    runs = drive([10.0, 10.0], [1.0, 0.1])
    assert [(number, seat) for number, seat, *_ in runs] == [(0, 0), (1, 0)]
    assert runs[-1][3] == 20.0  # not 100


def test_a_slow_core_takes_what_it_ends_in_time():
    runs = drive([10.0, 9.0, 1.0], [1.0, 0.1])
    assert {number: seat for number, seat, *_ in runs} == {0: 0, 1: 0, 2: 1}


def test_a_fast_core_gets_the_longest():
    runs = drive([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert {number: seat for number, seat, *_ in runs}[3] == 3


def started(tasks, policy, speeds, cores):
    starts = []
    simulator.makespan_s(
        *mappings(tasks),
        policy=policy,
        budget=Resources(cores=cores, memory_gib=8.0),
        speeds=speeds,
        started=lambda number, start, *_: starts.append((number, start.resources.cores)),
    )
    return starts


def test_tasks_stay_narrow_where_threads_would_wait_for_the_slowest():
    task = Planned(0, Estimate(alone_s=10.0, parallel=1.0, memory_gib=0.1))
    assert started([task], policy_of([1.0, 0.5]), [1.0, 0.5], cores=2) == [(0, 1)]


def test_cores_that_are_alike_are_dealt_as_ever():
    tasks, policy = tasks_of([float(5 + number % 7) for number in range(40)]), policy_of([1.0] * 4, batch_s=12.0)
    usual, *others = (started(tasks, policy, speeds, cores=4) for speeds in ([], [1.0] * 4, [1.01, 1.0, 1.0, 1.0]))
    assert others == [usual, usual]
    assert Seats([1.01, 1.0]).even


@pytest.mark.parametrize("spread", [0.0, 0.1])
@pytest.mark.parametrize(
    "speeds",
    [
        [1.0] * 8 + [0.5] * 8,
        [1.0] * 2 + [0.4] * 2,
        [0.9 + 0.05 * (core // 16) for core in range(64)],  # four NUMA nodes
        [1.0, 0.5],
    ],
)
def test_runs_of_some_hundred_tasks_come_near_the_bound(speeds, spread):
    chance = random.Random(1)
    count = max(200, 12 * len(speeds))
    seconds = [math.exp(chance.gauss(0.0, 0.7)) for _ in range(count)]
    off = [math.exp(chance.gauss(0.0, spread)) for _ in seconds]
    end_s = max(ends for *_, ends in drive(seconds, speeds, stretch=off.__getitem__))
    really = [each * factor for each, factor in zip(seconds, off, strict=True)]
    assert bounds.lower_bound_of_speeds_s(really, speeds) / end_s >= 0.93


def test_by_free_slots_alone_the_same_runs_take_longer():
    """What the rule is for: without it the last long task stays on a slow core."""
    seconds, speeds = [10.0] * 5, [1.0, 1.0, 0.25]
    end_s = max(ends for *_, ends in drive(seconds, speeds))
    by_slot, free = 0.0, [0.0] * 3
    for each in seconds:
        seat = min(range(3), key=free.__getitem__)
        free[seat] += each / speeds[seat]
        by_slot = max(free)
    assert end_s <= 0.9 * by_slot


def test_a_late_seat_is_not_taken_for_a_free_one():
    seats = Seats([1.0, 0.5])
    seats.take(0, 0.0, 10.0)
    assert Deal(seats, 50.0, within_s=0.0).seat_for(100.0) is None
    assert Deal(seats, 50.0, within_s=0.0).seat_for(1.0) == 1
    seats.leave(0)
    assert Deal(seats, 50.0, within_s=0.0).seat_for(100.0) == 0


def test_speeds_that_are_nearly_alike_are_their_mean_in_any_order():
    spans = {max(ends for *_, ends in drive([10.0] * 8, speeds)) for speeds in ([1.01, 1.0], [1.0, 1.01])}
    assert spans == {40.0 / 1.005}


def test_a_task_that_is_left_for_a_fast_seat_finds_its_memory_there():
    """The second task is left for the fast seat; the third would take its memory on the slow one until long after."""
    policy = policy_of([1.0, 0.1], memory_admission=True)
    gib = [2.0, 6.0, 4.0]
    runs = drive([10.0, 9.0, 2.0], [1.0, 0.1], policy=policy, task_gib=gib.__getitem__)
    began = {number: begins for number, _, begins, _ in runs}
    assert began[1] == 10.0
