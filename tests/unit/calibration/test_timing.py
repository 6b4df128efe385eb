"""Whole runs are timed with fresh workers, stopped at their limit, and teach what tasks cost.

Real pools, because stopping them is the subject; the tasks sleep instead of computing.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from pretended import MACHINE, METHOD, Clock, Crew, Pretended, instance, record
from processes import below

from autotune.base.errors import InputError, TaskError
from autotune.base.records import Law
from autotune.base.types import Context
from autotune.calibration.instances import whole
from autotune.calibration.timing import RESERVE_S, Budget, OutOfTimeError, Timing, TooSlowError
from autotune.costs.cost_law import law_s
from autotune.costs.terms import prior
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager

HERE = detection.detect()


# --- the budget ------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_budget_counts_from_when_it_was_made_and_what_was_spent_before_an_interruption(clock):
    clock.wait(5.0)
    budget = Budget(60.0)
    clock.wait(10.0)
    assert (budget.spent_s, budget.left_s) == pytest.approx((10.0, 50.0 - RESERVE_S))
    budget.before_s = 20.0
    assert (budget.spent_s, budget.left_s) == pytest.approx((30.0, 30.0 - RESERVE_S))


def test_beyond_a_share_counts_what_was_spent_and_what_is_to_come(clock):
    budget = Budget(100.0)
    clock.wait(20.0)
    assert not budget.beyond(0.25)
    assert budget.beyond(0.1)
    assert not budget.beyond(0.5, 30.0)
    assert budget.beyond(0.5, 30.1)


# --- real runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timing():
    strategies = composition.choose(Manager().strategies, None)
    with Timing(machine=HERE, manager=Manager(), strategies=strategies, budget=Budget(300.0)) as made:
        yield made


@pytest.fixture
def waters(faulty):
    """Return a function that makes instances of 10 tasks of a method that does as told."""
    return lambda method, **told: whole(workload.load(faulty("water4", method, **told)), name=method)


def run(timing, instance, *, learn=False, **options):
    return timing.run(instance, timing.policy({}, instance), learn=learn, **options)


def children():
    """Return the processes below the workers' parents."""
    return {process.pid for process in below()}


def test_a_run_is_timed_with_its_memory_every_task_and_the_programs_version(timing, waters):
    instance = waters("sleep", seconds=0.05)
    started = time.monotonic()
    timed = run(timing, instance)
    took_s = time.monotonic() - started
    assert 0.05 * 10 / HERE.cores <= timed.wall_s <= took_s
    assert sorted(done.number for done in timed.records) == [task.number for task in instance.tasks]
    assert all(done.status == "done" and done.wall_s >= 0.05 for done in timed.records)
    assert 0.0 < timed.peak_gib < timed.budget_gib <= HERE.memory_gib
    assert timing.versions == {"faulty": "1.0"}


def test_a_run_that_reaches_its_limit_is_stopped_leaves_nothing_behind_is_told_and_the_next_one_works(
    timing, waters, monkeypatch
):
    told = []
    monkeypatch.setattr(timing, "on_run", lambda: told.append(1))
    assert len(run(timing, waters("sleep", seconds=0.01), limit_s=60.0).records) == 10
    before, started = children(), time.monotonic()
    with pytest.raises(TooSlowError, match=r"^more than 0\.3 s$"):
        run(timing, waters("sleep", seconds=30.0), limit_s=0.3)
    assert time.monotonic() - started < 30.0  # which one task takes
    assert len(told) == 2
    assert all(pool.folders() == {} for pool in timing._pools.values())
    while (left := children() - before) and time.monotonic() < started + 30.0:
        time.sleep(0.05)
    assert left == set()
    assert len(run(timing, waters("sleep", seconds=0.02)).records) == 10


def test_a_task_that_fails_ends_the_run_and_the_next_one_works(timing, waters):
    with pytest.raises(TaskError, match="planted"):
        run(timing, waters("raise", at=[3]))
    assert all(pool.folders() == {} for pool in timing._pools.values())
    assert len(run(timing, waters("sleep", seconds=0.01)).records) == 10


def test_workers_are_fresh_for_each_run_and_programs_stay_loaded(timing, waters):
    instance = waters("leak", gib=0.05)
    first, second = run(timing, instance), run(timing, instance)
    assert second.peak_gib < 1.4 * first.peak_gib
    assert all(pool.folders() == {} for pool in timing._pools.values())


def test_there_is_one_pool_for_each_environment_until_the_end(waters):
    instance = waters("nothing")
    with Timing(machine=HERE, manager=Manager(), strategies=[], budget=Budget(60.0)) as timing:
        default = timing.policy({}, instance)
        for plan in (default, replace(default, passive_wait=not default.passive_wait), replace(default, order="input")):
            timing.run(instance, plan, learn=False)
        pools = list(timing._pools.values())
        assert len(pools) == 2
    assert children().isdisjoint(pool._forks.pid for pool in pools)


def test_a_method_that_does_not_exist_is_refused(waters):
    with (
        Timing(machine=HERE, manager=Manager(), strategies=[], budget=Budget(60.0)) as timing,
        pytest.raises(InputError, match="method 'none' is not known"),
    ):
        run(timing, waters("none"))


def test_no_run_may_take_longer_than_is_left_of_the_budget(timing, waters, monkeypatch):
    monkeypatch.setattr(timing, "_budget", Budget(RESERVE_S + 0.5))
    started = time.monotonic()
    with pytest.raises(OutOfTimeError, match=r"^the budget is used up; allow more$") as caught:
        run(timing, waters("sleep", seconds=30.0), limit_s=20.0)
    assert isinstance(caught.value, TooSlowError)  # whoever was too slow for its limit was so for the budget, too
    assert time.monotonic() - started < 20.0


# --- what is learned -------------------------------------------------------------------------------------------------


def pretended(monkeypatch, **options):
    return Pretended(lambda *_: 1.0, clock=Clock(monkeypatch), budget=Budget(100.0), **options)


def test_only_runs_that_are_to_teach_teach(timing, waters):
    instance = waters("sleep", seconds=0.05)
    before_s = timing.predicted_s(instance)
    run(timing, instance, learn=False)
    assert timing.predicted_s(instance) == before_s
    assert timing.laws() == {}
    timed = run(timing, instance, learn=True)
    assert timing.predicted_s(instance) == pytest.approx(0.05 * 10 / HERE.cores, rel=0.5)
    assert timing.predicted_s(instance) == pytest.approx(timed.wall_s, rel=0.5)
    assert timing.laws().keys() == set(instance.methods)


def test_the_range_of_sizes_that_were_seen_is_kept(monkeypatch):
    timing = pretended(monkeypatch)
    timing.learn(instance(), [])
    assert (timing.smallest_functions, timing.largest_functions, timing.laws()) == (0, 0, {})
    for functions in ([50, 60], [40], [90, 55]):
        of = instance(functions=functions)
        timing.learn(of, [record(task.number) for task in of.tasks])
    assert (timing.smallest_functions, timing.largest_functions) == (40, 90)


def test_what_was_learned_can_be_recalled_by_another_process(monkeypatch):
    timing, again = pretended(monkeypatch), pretended(monkeypatch)
    one, other = instance("one", functions=[40, 50, 60]), instance("other", functions=[30, 90])
    timing.learn(one, [record(number, wall_s=1.0 + number) for number in range(3)])
    timing.learn(one, [record(1, wall_s=0.7, width=4)])
    timing.learn(other, [record(1, wall_s=9.0)])
    samples = json.loads(json.dumps(timing.samples()))
    assert samples == {"one": [[0, 1.0, 1], [1, 2.0, 1], [2, 3.0, 1], [1, 0.7, 4]], "other": [[1, 9.0, 1]]}
    for of in (one, other):
        again.recall(of, samples[of.name])
    assert again.laws() == timing.laws()
    assert [again.predicted_s(of) for of in (one, other)] == [timing.predicted_s(of) for of in (one, other)]
    assert (again.smallest_functions, again.largest_functions) == (40, 90)


def test_the_law_fits_what_was_learned(monkeypatch):
    timing, of = pretended(monkeypatch), instance(functions=[40, 50, 60])
    times_s = [3.0 * timing.costs.estimate(task).alone_s for task in of.tasks]
    timing.learn(of, [record(number, wall_s=wall_s) for number, wall_s in enumerate(times_s)])
    law = timing.laws()[METHOD]
    assert [law_s(law, METHOD, task.size) for task in of.tasks] == pytest.approx(times_s, rel=0.01)


def test_what_was_fitted_before_is_the_first_prediction(monkeypatch):
    of = instance(functions=16 * [50])
    slow = Law(seconds={term: 100 * s for term, s in prior(METHOD).items()}, spread=0.1, parallel=0.8, half_s=0.2)
    plain, told = pretended(monkeypatch), pretended(monkeypatch, laws={METHOD: slow})
    assert told.predicted_s(of) == pytest.approx(100 * plain.predicted_s(of), rel=1e-6)


def test_the_default_takes_what_the_cores_share_but_never_less_than_the_longest_task(monkeypatch):
    timing = pretended(monkeypatch)
    many, one = instance(functions=80 * [50]), instance(functions=[50])
    alone_s = timing.costs.estimate(many.tasks[0]).alone_s
    assert timing.predicted_s(many) == pytest.approx(alone_s * 80 / MACHINE.cores)
    assert timing.predicted_s(one) == pytest.approx(alone_s)


def test_a_part_is_expected_to_take_so_long_on_all_cores(monkeypatch):
    timing, of = pretended(monkeypatch), instance(functions=80 * [50])
    kept = timing.part(of, timing.predicted_s(of) / 4)
    assert len(kept.tasks) == 20
    assert timing.part(of, 2 * timing.predicted_s(of)) is of


def test_strategies_see_the_machine_the_methods_and_how_many_tasks_they_are_asked_about(monkeypatch):
    timing = pretended(monkeypatch)
    of = instance(functions=5 * [50])
    assert timing.context([of]) == Context(machine=MACHINE, methods=(METHOD,), tasks=0)
    assert timing.context([of, instance()], 7).tasks == 7


def test_a_policy_is_composed_for_the_number_of_tasks_of_its_instance_of_parameters_or_the_defaults(monkeypatch):
    class PerTask(Crew):
        def apply(self, policy, params, context):
            return replace(super().apply(policy, params, context), most_workers=context.tasks)

    timing = pretended(monkeypatch, strategies=[PerTask()])
    for count in (3, 5):
        of = instance(functions=count * [50])
        usual = Crew().apply(composition.Policy(), Crew().defaults(None), None)
        assert timing.policy({}, of) == replace(usual, most_workers=count)
        assert timing.policy({"crew.workers": 8}, of).workers == 8
