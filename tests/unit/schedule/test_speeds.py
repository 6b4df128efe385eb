"""Speeds of seats: found where they differ, not found where they do not, and followed where they change."""

from __future__ import annotations

import math
import random

import pytest
from planned_tasks import Machine, Planned

from autotune.base.types import Estimate, Policy
from autotune.schedule import bounds
from autotune.schedule.events import Sped
from autotune.schedule.speeds import Speeds

SIZES = {"monomer": 0.02, "dimer": 0.5, "trimer": 4.0}


def run(true_speeds, *, tasks, spread=0.08, seed=0, bias=1.0, speeds=None, start_s=0.0, sizes=SIZES):
    """Run tasks of some sizes in random order, each on the seat that is free first; return the speeds and the time."""
    chance, speeds = random.Random(seed), speeds or Speeds()
    free = [start_s] * len(true_speeds)
    for _ in range(tasks):
        seat = min(range(len(free)), key=free.__getitem__)
        size = chance.choice(list(sizes))
        seconds = bias * sizes[size] * math.exp(chance.gauss(0.0, spread)) / true_speeds[seat]
        free[seat] += seconds
        speeds.observe(seat, size, seconds, spread=spread, now_s=free[seat])
    return speeds, max(free)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("seats", [2, 16, 64])
def test_seats_that_are_alike_are_not_told_apart(seats, seed):
    speeds, _ = run([1.0] * seats, tasks=20 * seats, seed=seed)
    assert speeds.found(seats) == ()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "true_speeds", [[1.0, 0.5], [0.4, 1.0], [1.0] * 8 + [0.5] * 8, [1.0] * 4 + [0.6] * 4 + [0.35] * 4]
)
def test_those_that_are_not_are_found_whatever_was_predicted(true_speeds, seed):
    seats = len(true_speeds)
    speeds, _ = run(true_speeds, tasks=20 * seats, seed=seed, bias=7.0)
    assert speeds.found(seats) == pytest.approx(true_speeds, rel=0.17)
    assert all(speeds._seats[seat].variance < 0.1**2 for seat in range(seats))


def test_three_tasks_of_one_size_on_each_seat_are_enough():
    speeds, _ = run([1.0, 0.4], tasks=9, sizes={"trimer": 4.0})
    assert speeds.found(2) == pytest.approx([1.0, 0.4], rel=0.15)


def test_a_seat_that_becomes_slow_is_found_and_found_again_when_it_recovers():
    speeds, end_s = run([1.0, 1.0], tasks=60)
    assert speeds.found(2) == ()
    speeds, end_s = run([1.0, 0.5], tasks=30, speeds=speeds, start_s=end_s)
    assert speeds.found(2) == pytest.approx([1.0, 0.5], rel=0.15)
    speeds, end_s = run([1.0, 1.0], tasks=60, speeds=speeds, start_s=end_s)
    assert speeds.found(2) == ()


def test_a_slow_seat_without_tasks_is_taken_for_one_of_the_others_in_the_end():
    speeds, end_s = run([1.0, 0.8], tasks=60)
    assert speeds.found(2)
    for number in range(400):
        speeds.observe(0, "dimer", 0.5, spread=0.05, now_s=end_s + 0.5 * number)
    assert speeds.found(2, now_s=end_s + 3600.0) == ()


def test_one_task_that_took_long_changes_nothing():
    speeds, end_s = run([1.0, 1.0], tasks=60)
    speeds.observe(1, "dimer", 5.0, spread=0.08, now_s=end_s)
    assert speeds.found(2) == ()


def test_what_nobody_saw_is_as_fast_as_the_fastest_and_sizes_seen_once_tell_nothing():
    speeds = Speeds()
    assert speeds.found(3) == ()
    for number in range(20):
        speeds.observe(number % 2, number, 1.0 + number % 2, spread=0.1, now_s=float(number))
    assert speeds.found(2) == ()
    speeds, _ = run([1.0, 0.5], tasks=40)
    assert speeds.found(3)[2] == 1.0


# --- in the scheduler -------------------------------------------------------------------------------------------------


def learn_and_drive(seconds, kinds, true_speeds, *, spread, seed=0):
    """Run tasks on a virtual clock; the scheduler hears of speeds only what finished tasks tell. Return the time."""
    chance, seats = random.Random(seed), len(true_speeds)
    policy = Policy(order="longest", level_barriers=False, workers=seats, core_slots=seats, widen_tail=True, widest=4)
    tasks = [
        Planned(number, Estimate(alone_s=each, parallel=0.0, memory_gib=0.1, spread=spread))
        for number, each in enumerate(seconds)
    ]
    off, speeds, told = [math.exp(chance.gauss(0.0, spread)) for _ in seconds], Speeds(), [()]

    def learn(begun):
        took_s = begun.ends_s - begun.begins_s
        speeds.observe(begun.start.seat, kinds[begun.number], took_s, spread=spread, now_s=begun.ends_s)
        found = speeds.found(seats, now_s=begun.ends_s)
        if found != told[-1]:
            told.append(found)
            machine.scheduler.handle(Sped(found))

    truth = {"speeds": true_speeds, "untold": True, "stretch": off.__getitem__}
    machine = Machine(tasks, policy, cores=seats, memory_gib=64.0, watch=learn, **truth)
    machine.run()
    return machine.clock


@pytest.mark.parametrize("spread", [0.02, 0.1])
@pytest.mark.parametrize(
    "true_speeds",
    [[1.0, 0.5], [1.0, 0.4, 1.0], [1.0] * 8 + [0.5] * 8, [0.9 + 0.05 * (core // 16) for core in range(64)]],
)
def test_a_run_that_learns_them_comes_near_the_bound(true_speeds, spread):
    chance = random.Random(1)
    kinds = [chance.choice(list(SIZES)) for _ in range(max(200, 12 * len(true_speeds)))]
    seconds = [SIZES[kind] for kind in kinds]
    end_s = learn_and_drive(seconds, kinds, true_speeds, spread=spread)
    assert bounds.lower_bound_of_speeds_s(seconds, true_speeds) / end_s >= 0.92


def test_two_dozen_long_tasks_end_sooner_when_speeds_are_learned():
    """Long tasks alike on three fast seats and two slow ones: without speeds the last ones are left on the slow."""
    true_speeds, kinds = [1.0, 1.0, 1.0, 0.4, 0.4], ["trimer"] * 22
    learned_s = learn_and_drive([10.0] * 22, kinds, true_speeds, spread=0.02)
    blind_s = learn_and_drive([10.0] * 22, list(range(22)), true_speeds, spread=0.02)  # no two are of one size
    assert learned_s < 0.9 * blind_s
