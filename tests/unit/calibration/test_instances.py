"""What the search sees, the confirmation does not; a part of an instance stands for the whole."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended import METHOD, instance, task

from autotune.base.errors import InputError
from autotune.calibration import studies
from autotune.calibration.instances import halves, ladders, part, whole
from autotune.expansion import workload


def work(functions):
    """Return what `halves` looks at of a workload whose tasks have so many basis functions."""
    return SimpleNamespace(recipe=None, tasks=tuple(task(number, functions=n) for number, n in enumerate(functions)))


def by_size(tasks):
    return Counter(task.size.functions for task in tasks)


sizes = st.lists(st.sampled_from([20, 40, 60, 80]), min_size=2, max_size=40)


# --- halves ----------------------------------------------------------------------------------------------------------


@given(sizes, st.integers())
def test_halves_share_no_task_are_all_together_in_order_and_have_equally_many_of_every_size_but_for_one(
    functions, seed
):
    whole_work = work(functions)
    one, other = halves(whole_work, name="mine", seed=seed)
    numbers = [[task.number for task in side.tasks] for side in (one, other)]
    assert all(numbers)
    assert sorted(numbers[0] + numbers[1]) == list(range(len(functions)))
    assert numbers == [sorted(side) for side in numbers]
    assert set(one.tasks) | set(other.tasks) == set(whole_work.tasks)
    sizes_of = [by_size(side.tasks) for side in (one, other)]
    assert all(abs(sizes_of[0][size] - sizes_of[1][size]) <= 1 for size in sizes_of[0] | sizes_of[1])


def test_which_tasks_are_in_which_half_is_random_and_the_same_for_the_same_seed():
    many = work([50] * 30)
    sides = [[task.number for task in halves(many, name="mine", seed=seed)[0].tasks] for seed in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]
    assert sides[0] not in (list(range(0, 30, 2)), list(range(1, 30, 2)))


def test_halves_say_whose_they_are_and_that_they_are_the_users_own():
    one, other = halves(work([50, 50]), name="mine.json", seed=1)
    assert (one.name, other.name) == ("mine.json, one half", "mine.json, other half")
    assert one.kind == other.kind == "own"


@pytest.mark.parametrize("functions", [[], [50]])
def test_too_few_tasks_for_two_halves_are_refused(functions):
    with pytest.raises(InputError, match=f"^mine has {len(functions)} tasks, too few for a search and a confirmation$"):
        halves(work(functions), name="mine", seed=1)


def test_several_model_chemistries_are_refused():
    mixed = work([50, 50])
    mixed.tasks = (mixed.tasks[0], replace(mixed.tasks[1], method=replace(METHOD, method="mp2")))
    with pytest.raises(InputError, match=r"^mine has several model chemistries; calibrate each of them by itself$"):
        halves(mixed, name="mine", seed=1)


# --- a part ----------------------------------------------------------------------------------------------------------


def cost_s(task):
    return (task.size.functions / 20) ** 3


def total_s(tasks):
    return math.fsum(map(cost_s, tasks))


@given(sizes, st.floats(-10.0, 3000.0))
def test_a_part_has_some_tasks_of_each_size_and_exceeds_what_is_allowed_only_by_one_of_each(functions, most_s):
    of = instance(functions=functions)
    kept = part(of, cost_s=cost_s, most_s=most_s)
    assert by_size(kept.tasks).keys() == by_size(of.tasks).keys()
    assert set(kept.tasks) <= set(of.tasks)
    assert [task.number for task in kept.tasks] == sorted({task.number for task in kept.tasks})
    assert replace(kept, tasks=()) == replace(of, tasks=())
    more_than_one = [task for task in kept.tasks if by_size(kept.tasks)[task.size.functions] > 1]
    assert total_s(more_than_one) <= max(most_s, 0.0) * (1 + 1e-9)


@given(sizes, st.floats(0.01, 1.0))
def test_a_part_has_the_same_share_of_every_size(functions, share):
    of = instance(functions=functions)
    kept = by_size(part(of, cost_s=cost_s, most_s=share * total_s(of.tasks)).tasks)
    for size, count in by_size(of.tasks).items():
        assert kept[size] == max(1, count) if share == 1.0 else abs(kept[size] - share * count) <= 1.0


def test_an_instance_that_is_short_enough_is_its_own_part():
    of = instance(functions=[20, 40, 40])
    assert part(of, cost_s=cost_s, most_s=total_s(of.tasks)) is of


# --- workloads of a study --------------------------------------------------------------------------------------------


def test_a_whole_workload_has_all_tasks_under_the_name_given(cluster):
    loaded = workload.load(cluster("water4"))
    made = whole(loaded, name="four waters", kind="uneven")
    assert (made.name, made.kind, made.tasks) == ("four waters", "uneven", loaded.tasks)
    assert made.recipe is loaded.recipe
    assert made.methods == loaded.methods


def test_a_workload_without_any_task_is_refused(cluster):
    nothing = workload.load(cluster("water2", bsse=("cp",), max_nbody=1))
    with pytest.raises(InputError, match=r"^water2 cp 1-body has nothing to compute; choose another BSSE treatment"):
        whole(nothing, name="water2 cp 1-body")


def test_ladders_are_by_kind_in_the_order_of_the_study_and_planned_only_when_asked_for(monkeypatch):
    planned = []
    load = workload.load
    monkeypatch.setattr(workload, "load", lambda fields: planned.append(1) or load(fields))
    rungs = [
        studies.Rung(geometry="water2", kind="even"),
        studies.Rung(geometry="water2", kind="counterpoise", bsse=("cp",)),
        studies.Rung(geometry="water4", kind="even"),
    ]
    choice = studies.MethodChoice(program="pyscf", method="hf", basis="sto-3g")
    made = ladders(studies.load("quick"), rungs, choice)
    assert list(made) == ["even", "counterpoise"]
    assert planned == []
    first = next(made["even"])
    assert (first.name, first.kind, len(planned)) == ("water2 nocp 2-body", "even", 1)
    rest = list(itertools.chain(made["even"], made["counterpoise"]))
    assert [(one.name, one.kind) for one in rest] == [
        ("water4 nocp 2-body", "even"),
        ("water2 cp 2-body", "counterpoise"),
    ]
    assert {str(method) for one in (first, *rest) for method in one.methods} == {"pyscf hf/sto-3g energy"}
