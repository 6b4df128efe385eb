"""Claims about `autotune.runtime.expectations`: what programs are granted, and what failures and successes teach."""

from __future__ import annotations

from dataclasses import replace

import pytest
import typical
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.base.types import Estimate, Policy
from autotune.costs.cost_law import Costs
from autotune.plugin.hookspecs import hookimpl
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.runtime.expectations import LEAST_GRANT_GIB, Expectations

BUDGET_GIB = 8.0
MACHINE = replace(typical.MACHINE, cores=4, memory_gib=16.0)
SHARE = Policy(workers=4, core_slots=4, grant="share")
ESTIMATE = Policy(workers=4, core_slots=4, grant="estimate")


def task(number=0, *, functions=50, program="pyscf"):
    return typical.task(number, functions=functions, method=replace(typical.METHOD, program=program))


def expect(*tasks, policy=SHARE, plugins=()):
    plan = planning.fixed_plan(policy, costs=Costs(), budget_gib=BUDGET_GIB)
    return Expectations(tasks or [task()], plan=plan, manager=Manager(plugins), machine=MACHINE)


def end(expected, number, *, wall_s=1.0, peak_gib=0.3):
    expected.finish(number)
    return expected.learn(number, wall_s=wall_s, width=1, peak_gib=peak_gib)


CROWD = Policy(workers=8, core_slots=4)


@pytest.mark.parametrize(
    ("policy", "of", "width", "grant_gib"),
    [
        (SHARE, {}, 1, 2.0),
        (SHARE, {}, 2, 4.0),
        (SHARE, {}, 4, 8.0),
        (CROWD, {}, 1, 2.0),
        (ESTIMATE, {"functions": 5}, 1, LEAST_GRANT_GIB),
        (ESTIMATE, {"program": "psi4"}, 1, 2.0),  # of which nothing is known
    ],
)
def test_a_share_is_the_budget_over_the_core_slots_for_each_core_and_no_grant_is_below_the_least(
    policy, of, width, grant_gib
):
    expected = expect(task(**of), policy=policy)
    assert expected.grant_gib(0, width, alone=False) == grant_gib
    assert expected.grant_gib(0, 1, alone=True) == BUDGET_GIB


def test_an_estimate_is_granted_as_it_is():
    expected = expect(task(functions=200), policy=ESTIMATE)
    assert LEAST_GRANT_GIB < expected.of[0].grant_gib < BUDGET_GIB
    assert expected.grant_gib(0, 1, alone=False) == pytest.approx(expected.of[0].grant_gib, abs=5e-4)


@given(st.integers(5, 600), st.integers(1, 8), st.integers(1, 4), st.sampled_from(["share", "estimate"]))
@settings(deadline=None)
def test_no_grant_exceeds_the_budget(functions, width, workers, grant):
    expected = expect(task(functions=functions), policy=Policy(workers=workers, core_slots=workers, grant=grant))
    for _ in range(3):
        assert 0.0 < expected.grant_gib(0, width, alone=False) <= BUDGET_GIB
        expected.more_memory(0, 1.0)


def test_a_budget_that_changed_is_followed():
    expected = expect()
    expected.adapt(SHARE, 4.0)
    assert expected.grant_gib(0, 1, alone=False) == 1.0
    assert expected.grant_gib(0, 1, alone=True) == 4.0


def test_a_plugin_knows_better():
    class Plugin:
        @hookimpl
        def autotune_estimate(self):
            return Estimate(alone_s=7.0, parallel=0.0, memory_gib=1.0, grant_gib=1.5)

    expected = expect(policy=ESTIMATE, plugins=[Plugin()])
    assert expected.total_s == 7.0
    assert expected.grant_gib(0, 1, alone=False) == 1.5


@given(
    st.integers(5, 600),
    st.floats(0.0, 20.0),
    st.sampled_from(["share", "estimate"]),
    st.sampled_from(["pyscf", "psi4"]),
)
@settings(deadline=None)
def test_after_one_that_ran_out_of_memory_the_next_attempt_is_expected_to_need_and_granted_twice_as_much(
    functions, peak_gib, grant, program
):
    policy = Policy(workers=4, core_slots=4, grant=grant)
    expected = expect(task(functions=functions, program=program), policy=policy)
    for _ in range(2):
        needed_gib, granted_gib = expected.of[0].memory_gib, expected.grant_gib(0, 1, alone=False)
        estimate = expected.more_memory(0, peak_gib)
        assert estimate == expected.of[0]
        assert estimate.memory_gib >= max(2.0 * needed_gib, 1.25 * peak_gib) * (1 - 1e-9)
        assert expected.grant_gib(0, 1, alone=False) >= min(2.0 * granted_gib, BUDGET_GIB) - 0.002


def test_what_a_failure_has_shown_changes_no_other_task_and_outlasts_what_the_others_teach():
    expected = expect(task(0), task(1), task(2), policy=ESTIMATE)
    before = expected.of[1], expected.grant_gib(1, 1, alone=False)
    expected.more_memory(0, 3.0)
    assert (expected.of[1], expected.grant_gib(1, 1, alone=False)) == before
    assert end(expected, 1, peak_gib=0.2)[0].memory_gib >= 1.25 * 3.0


def test_estimates_are_made_anew_whenever_the_number_of_finished_tasks_has_doubled():
    expected = expect(*map(task, range(20)))
    assert [number + 1 for number in range(20) if end(expected, number)] == [1, 2, 4, 8, 16]


def test_fresh_estimates_are_of_what_is_left_and_as_measured():
    expected = expect(task(0), task(1), task(2, functions=80))
    fresh = end(expected, 0, wall_s=40.0)
    assert fresh.keys() == {1, 2}
    assert fresh[1].alone_s == pytest.approx(40.0)
    assert {number: expected.of[number] for number in fresh} == fresh


def test_a_task_that_failed_counts_as_ended_and_teaches_nothing():
    expected = expect(task(0), task(1), task(2))
    before = expected.of[1]
    expected.finish(0)
    assert expected.of[1] == before
    assert end(expected, 1, wall_s=9.0).keys() == {2}


@given(st.lists(st.tuples(st.sampled_from(["done", "failed", "more"]), st.floats(0.01, 100.0)), max_size=12))
@settings(deadline=None)
def test_the_seconds_of_a_run_are_the_sum_of_its_tasks_and_in_the_end_all_are_done(steps):
    tasks = [task(number, functions=10 + number % 3) for number in range(13)]
    expected, left = expect(*tasks), list(range(13))
    for what, wall_s in [*steps, *[("done", 1.0)] * 13]:
        if not left:
            break
        if what == "more":
            expected.more_memory(left[0], 1.0)
        elif what == "failed":
            expected.finish(left.pop(0))
        else:
            end(expected, left.pop(0), wall_s=wall_s)
        assert expected.total_s == pytest.approx(sum(each.alone_s for each in expected.of.values()))
    assert expected.done_s == pytest.approx(expected.total_s)
