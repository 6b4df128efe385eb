"""Times that a law no longer says are noticed, either way; its own errors are not."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended import METHOD, record, task
from tuning_factory import make_tuning

from autotune.base.records import Law
from autotune.costs.cost_law import Costs
from autotune.costs.drift import LEAST_TASKS, SPREADS, WORTH_SAYING, drift, note
from autotune.costs.terms import prior
from autotune.programs.facts import facts_of

LAW = Law(seconds=dict(prior(METHOD)), spread=0.05, parallel=0.8, half_s=0.2)
LAWS = {METHOD: LAW}
TASKS = [task(number, functions=20 + 10 * number) for number in range(9)]


def found(factors, *, width=1, law=LAW, **changes):
    """Return the drift where tasks take so many times what the law predicts."""
    costs = Costs({METHOD: law})
    records = [
        record(task.number, wall_s=factor * costs.estimate(task).wall_s(width), width=width, **changes)
        for task, factor in zip(TASKS, factors, strict=False)
    ]
    return drift(TASKS, records, {METHOD: law})


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("factor", [0.25, 1.0, 1.1, 3.0])
def test_the_factor_is_measured_over_predicted_time_at_any_width(factor, width):
    assert found([factor] * 7, width=width).factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("factor", "notable"),
    [
        (1.0, False),
        (1 + 0.9 * WORTH_SAYING, False),
        (1 + 1.1 * WORTH_SAYING, True),
        (1 / (1 + 0.9 * WORTH_SAYING), False),
        (1 / (1 + 1.1 * WORTH_SAYING), True),
    ],
)
def test_what_is_worth_saying_is_notable_either_way(factor, notable):
    assert found([factor] * 7).notable is notable


def test_what_the_errors_of_the_law_explain_is_not_notable():
    factor = math.exp(0.9 * SPREADS * 0.3)
    assert factor > 1 + WORTH_SAYING
    assert not found([factor] * 7, law=replace(LAW, spread=0.3)).notable
    assert found([factor] * 7, law=replace(LAW, spread=0.2)).notable


def test_one_task_that_was_held_up_and_scatter_around_the_law_are_no_drift():
    assert found([1.0, 1.0, 50.0, 1.0, 1.0]) == (pytest.approx(1.0), False)
    draw = random.Random(1)
    assert not found([draw.lognormvariate(0.0, 0.2) for _ in range(9)]).notable


def test_too_few_tasks_and_tasks_that_failed_say_nothing():
    assert found([2.0] * (LEAST_TASKS - 1)) is None
    assert found([2.0] * LEAST_TASKS).notable
    assert found([2.0] * 9, status="failed") is None


def test_tasks_of_other_methods_say_nothing():
    other = replace(METHOD, method="mp2")
    assert drift(TASKS, [record(n) for n in range(9)], {other: LAW}) is None
    mixed = [task(number, method=other if number > 4 else METHOD) for number in range(9)]
    costs = Costs(LAWS)
    records = [record(t.number, wall_s=(1.0 if t.method == METHOD else 9.0) * costs.estimate(t).alone_s) for t in mixed]
    assert drift(mixed, records, LAWS).factor == pytest.approx(1.0)


# --- the note --------------------------------------------------------------------------------------------------------


def noted(factor, *, workers, cores, tasks=9):
    costs = Costs(LAWS)
    records = [record(t.number, wall_s=factor * costs.estimate(t).alone_s) for t in TASKS[:tasks]]
    return note(make_tuning(law=LAW), TASKS[:tasks], records, workers=workers, cores=cores)


@pytest.mark.parametrize(("workers", "cores", "tasks"), [(4, 4, 9), (9, 16, 9), (6, 8, 6)])
def test_times_that_are_not_met_with_all_cores_or_all_tasks_at_work_are_said_with_the_command_that_checks(
    workers, cores, tasks
):
    said = noted(3.0, workers=workers, cores=cores, tasks=tasks)
    assert said.startswith("tasks took 3 times what the tuning of 2026-11-25 predicts; check it with")
    assert said.endswith("`autotune tunings verify 'pyscf hf/6-31g* energy'`")
    assert noted(1.0, workers=workers, cores=cores, tasks=tasks) == ""


@pytest.mark.parametrize(("workers", "cores"), [(8, 4), (3, 4), (1, 4), (8, 16), (16, 16)])
def test_a_run_with_more_or_fewer_workers_than_the_cores_and_tasks_allow_says_nothing(workers, cores):
    assert noted(3.0, workers=workers, cores=cores) == ""


# --- what always holds -----------------------------------------------------------------------------------------------

factors = st.lists(st.floats(0.01, 100.0), min_size=LEAST_TASKS, max_size=9)


@given(factors, st.randoms(use_true_random=False))
def test_the_factor_lies_among_those_of_the_tasks_in_any_order_and_faster_is_as_notable_as_slower(of_tasks, draw):
    forth, back = found(of_tasks), found([1.0 / factor for factor in of_tasks])
    assert min(of_tasks) * (1 - 1e-9) <= forth.factor <= max(of_tasks) * (1 + 1e-9)
    assert forth.factor * back.factor == pytest.approx(1.0)
    close_call = abs(abs(math.log(forth.factor)) - math.log1p(WORTH_SAYING)) < 1e-9
    assert close_call or forth.notable == back.notable
    records = [record(n, wall_s=f * Costs(LAWS).estimate(TASKS[n]).alone_s) for n, f in enumerate(of_tasks)]
    assert drift(TASKS, draw.sample(records, len(records)), LAWS) == pytest.approx(forth)


def test_tasks_that_shared_a_start_have_not_drifted_because_each_had_a_part_of_it():
    nwchem = replace(METHOD, program="nwchem")
    law = replace(LAW, seconds=dict(prior(nwchem)))
    tasks = [replace(task, method=nwchem) for task in TASKS]
    costs, start_s = Costs({nwchem: law}), facts_of("nwchem").start_s
    records = [
        replace(record(each.number, wall_s=costs.estimate(each).wall_s(1) - 0.75 * start_s), sharers=4)
        for each in tasks
    ]
    assert drift(tasks, records, {nwchem: law}).factor == pytest.approx(1.0)
