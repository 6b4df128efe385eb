"""The first look takes what the budget allows and says how noisy it is; the final believes only what it measures."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended import CONTEXT, DEFAULT, MACHINE, Clock, Crew, Pretended, instance, record

from autotune.base.errors import TaskError
from autotune.base.records import Trial
from autotune.base.types import Policy
from autotune.calibration.first_look import (
    LEAST_NOISE,
    LOOK_SHARE,
    MOST_CONTENTION,
    TOO_LONG,
    UNKNOWN_NOISE,
    affordable,
    look,
    note,
    pooled_noise,
    probe,
    recall,
)
from autotune.calibration.search import FINALISTS, ROUNDS, Search, final
from autotune.calibration.timing import Budget, Timed

PLAN = Policy(workers=8, core_slots=8, order="longest", widest=8, widen_tail=True, batch_s=0.05, level_barriers=False)


# --- single tasks ----------------------------------------------------------------------------------------------------


class Prober:
    """Runs single tasks: `alone_s` by functions, with so much contention, dividing perfectly over cores."""

    def __init__(self, of, *, contention=1.5, machine=MACHINE, runs=10**6, first_s=5.0):
        self.asked, self._contention, self._first_s = [], contention, first_s
        loaded = [record(task.number, wall_s=contention * self.alone_s(task)) for task in of.tasks]
        self.probed = probe(of, loaded, plan=PLAN, machine=machine, run=self, enough=lambda: len(self.asked) >= runs)

    @staticmethod
    def alone_s(task):
        return (task.size.functions / 10) ** 2

    def __call__(self, of, plan):
        self.asked.append((of, plan))
        busy = 1.0 if plan.workers == 1 and plan.width == 1 else self._contention
        records = [
            record(
                task.number,
                wall_s=busy * self.alone_s(task) / plan.width + (self._first_s if nth < plan.workers else 0.0),
                width=plan.width,
            )
            for nth, task in enumerate(of.tasks)
        ]
        return Timed(1.0, 0.1, 10.0, records)


MIXED = instance(functions=[*16 * [20], *16 * [30], *16 * [40]])


def test_the_contention_is_the_time_while_all_cores_work_over_the_time_alone():
    assert Prober(MIXED, contention=1.7).probed.contention == pytest.approx(1.7)


@pytest.mark.parametrize(("contention", "said"), [(0.5, 1.0), (9.0, MOST_CONTENTION)])
def test_the_contention_is_at_least_one_and_at_most_what_a_machine_can_be(contention, said):
    assert Prober(MIXED, contention=contention).probed.contention == said


def test_without_time_for_a_probe_the_contention_is_one_and_nothing_is_wide():
    prober = Prober(MIXED, runs=0)
    assert prober.asked == []
    assert prober.probed == type(prober.probed)(contention=1.0, wide=(), alone=())


def test_the_largest_size_and_one_in_the_middle_stand_for_all():
    sizes = [{task.size.functions for task in of.tasks} for of, _ in Prober(MIXED).asked]
    assert sizes == [*4 * [{40}], *4 * [{30}]]


@pytest.mark.parametrize(("cores", "widths"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4]), (8, [1, 2, 4, 8])])
def test_widths_are_powers_of_two_up_to_the_cores_one_alone_and_others_with_every_core_at_work(cores, widths):
    prober = Prober(instance(functions=32 * [40]), machine=replace(MACHINE, cores=cores))
    plans = [plan for _, plan in prober.asked]
    assert [plan.width for plan in plans] == widths
    assert [plan.workers for plan in plans] == [1, *(cores // width for width in widths[1:])]
    for plan in plans:
        assert plan.widest == plan.width
        assert not plan.widen_tail
        assert plan.core_slots == plan.workers * plan.width <= cores
        assert plan.most_workers == plan.workers
        assert plan.order == PLAN.order


def test_each_worker_runs_two_tasks_and_the_faster_counts():
    prober = Prober(MIXED)
    assert all(len(of.tasks) == 2 * plan.workers for of, plan in prober.asked)
    sizes = {task.number: task for task in MIXED.tasks}
    assert prober.probed.wide
    for seen in prober.probed.wide:
        assert seen.wall_s == pytest.approx(1.5 * Prober.alone_s(sizes[seen.number]) / seen.width)
    for seen in prober.probed.alone:
        assert seen.wall_s == pytest.approx(Prober.alone_s(sizes[seen.number]))


def test_wide_tasks_are_those_of_the_larger_widths_and_those_at_one_core_ran_alone():
    probed = Prober(MIXED).probed
    assert [seen.width for seen in probed.wide] == [2, 4, 8, 2, 4, 8]
    assert [seen.width for seen in probed.alone] == [1, 1]


# --- the look --------------------------------------------------------------------------------------------------------


def rungs(*counts, kind="even", functions=50):
    return [instance(f"{kind} {count}", kind=kind, functions=[functions] * count) for count in counts]


class Look:
    """A first look at a pretended machine on which each task takes a second on one of eight cores."""

    def __init__(
        self, monkeypatch, ladders, *, wall_s=None, allowed_s=10.0, total_s=1000.0, repeats=4, machine=MACHINE
    ):
        self.said = []
        self.clock = Clock(monkeypatch)
        self.budget = Budget(total_s)
        self.timing = Pretended(wall_s or one_second_each, clock=self.clock, budget=self.budget, machine=machine)
        self.looked = look(
            ladders,
            timing=self.timing,
            budget=self.budget,
            allowed_s=allowed_s,
            repeats=repeats,
            say=self.said.append,
        )


def one_second_each(of, plan, _):
    return math.ceil(len(of.tasks) / (plan.workers * plan.width))


def test_the_most_expensive_that_is_allowed_is_taken_of_each_kind(monkeypatch):
    ladders = {"even": iter(rungs(4, 8, 40, 400)), "other": iter(rungs(4, 12, 500, kind="other"))}
    found = Look(monkeypatch, ladders, allowed_s=20.0)
    # Half of the time for each: ten seconds, four workers.
    assert [one.name for one in found.looked.instances] == ["even 40", "other 12"]


def test_a_ladder_is_climbed_no_higher_than_the_first_that_is_too_expensive(monkeypatch):
    ladder = iter(rungs(4, 400, 8, 9))
    Look(monkeypatch, {"even": ladder})
    assert [one.name for one in ladder] == ["even 8", "even 9"]


def test_the_cheapest_of_the_first_kind_is_taken_whatever_it_costs_but_of_no_other(monkeypatch):
    ladders = {"even": iter(rungs(400)), "other": iter(rungs(400, kind="other"))}
    found = Look(monkeypatch, ladders)
    assert [one.name for one in found.looked.instances] == ["even 400"]
    assert found.said[-1] == "  no workload of kind other is small enough for this budget"


def test_a_workload_of_another_kind_that_fails_is_left_out_and_said(monkeypatch):
    def wall_s(of, plan, number):
        if of.kind == "other":
            raise TaskError("label 0: did not converge")
        return one_second_each(of, plan, number)

    found = Look(monkeypatch, {"even": iter(rungs(4)), "other": iter(rungs(4, kind="other"))}, wall_s=wall_s)
    assert [one.kind for one in found.looked.instances] == ["even"]
    assert "  other 4 cannot be run: label 0: did not converge" in found.said


def test_where_the_default_fails_on_the_cheapest_workload_there_is_nothing_to_calibrate(monkeypatch):
    def wall_s(*_):
        raise TaskError("label 0: did not converge")

    with pytest.raises(TaskError, match="did not converge"):
        Look(monkeypatch, {"even": iter(rungs(4, 8))}, wall_s=wall_s)


def test_where_a_larger_workload_fails_the_one_before_is_taken(monkeypatch):
    def wall_s(of, plan, number):
        if len(of.tasks) > 4:
            raise TaskError("label 0: memory")
        return one_second_each(of, plan, number)

    found = Look(monkeypatch, {"even": iter(rungs(4, 8))}, wall_s=wall_s)
    assert [one.name for one in found.looked.instances] == ["even 4"]


def test_of_the_users_own_input_a_part_is_taken(monkeypatch):
    found = Look(monkeypatch, {"own": iter(rungs(4000, kind="own"))})
    (taken,) = found.looked.instances
    assert 1 <= len(taken.tasks) < 4000
    assert next(of for of, _, learn in found.timing.asked if learn) == taken


def test_only_the_default_is_run_and_single_tasks_at_other_widths(monkeypatch):
    found = Look(monkeypatch, {"even": iter(rungs(16)), "other": iter(rungs(8, kind="other"))})
    default = found.timing.policy({}, found.looked.instances[0])
    whole = [(of.name, plan) for of, plan, learn in found.timing.asked if learn]
    assert {plan for _, plan in whole} == {default}
    warm_up, probe, *_ = [len(of.tasks) for of, _, learn in found.timing.asked if not learn]
    assert (warm_up, probe) == (MACHINE.cores, 2)


def test_runs_of_the_workloads_alternate_so_that_they_are_minutes_apart(monkeypatch):
    found = Look(monkeypatch, {"even": iter(rungs(16)), "other": iter(rungs(8, kind="other"))}, repeats=3)
    assert [of.kind for of, _, learn in found.timing.asked if learn] == 3 * ["even", "other"]
    assert [len(times) for times in found.looked.default_s] == [3, 3]


def test_the_noise_is_that_of_the_repeated_runs_and_the_default_times_are_kept(monkeypatch):
    def wall_s(of, plan, number):
        return one_second_each(of, plan, number) * (1.1 if number % 2 else 1.0)

    found = Look(monkeypatch, {"even": iter(rungs(40))}, wall_s=wall_s)
    assert found.looked.default_s == (pytest.approx((11.0, 10.0, 11.0, 10.0)),)
    assert found.looked.noise == pytest.approx(math.log(1.1) / math.sqrt(3))


def test_no_machine_is_believed_to_repeat_its_times_exactly(monkeypatch):
    assert Look(monkeypatch, {"even": iter(rungs(16))}).looked.noise == LEAST_NOISE


def test_the_look_keeps_to_its_share_of_the_budget(monkeypatch):
    found = Look(monkeypatch, {"even": iter(rungs(40))}, total_s=100.0, repeats=50)
    assert len(found.looked.default_s[0]) == 2
    assert found.clock.now_s <= LOOK_SHARE * 100.0 + 3.0


def test_a_budget_that_is_used_up_by_the_first_run_still_gives_an_answer(monkeypatch):
    found = Look(monkeypatch, {"even": iter(rungs(40))}, total_s=14.0)
    assert found.looked.default_s == ((10.0,),)
    assert (found.looked.noise, found.looked.contention) == (UNKNOWN_NOISE, 1.0)


def test_a_machine_with_one_core_is_looked_at_too(monkeypatch):
    found = Look(monkeypatch, {"even": iter(rungs(4))}, machine=replace(MACHINE, cores=1))
    assert {plan.width for _, plan, _ in found.timing.asked} == {1}
    assert len(found.looked.instances) == 1


def test_what_single_tasks_take_at_other_widths_goes_into_the_law(monkeypatch):
    learned = []
    monkeypatch.setattr(Pretended, "learn", lambda *of: learned.append([seen.width for seen in of[-1]]))
    Look(monkeypatch, {"even": iter(rungs(16))})
    assert learned[-2:] == [[2, 4, 8], [1]]


def test_what_single_tasks_take_alone_goes_into_the_law_as_long_as_while_all_cores_work(monkeypatch):
    def wall_s(of, plan, number):
        return one_second_each(of, plan, number) / (1.0 if len(of.tasks) > 2 else 1.5)

    found = Look(monkeypatch, {"even": iter(rungs(16))}, wall_s=wall_s)
    assert found.looked.contention == pytest.approx(1.5)
    ((number, alone_s, width),) = found.timing.samples()["even 16"][-1:]
    assert (number, width) == (0, 1)
    assert alone_s == pytest.approx(found.timing.samples()["even 16"][0][1])


def slow(name, factor):
    return lambda of, plan, number: (factor if of.name == name else 1.0) * one_second_each(of, plan, number)


def test_a_workload_measured_far_beyond_what_is_allowed_is_not_taken_if_a_smaller_one_was(monkeypatch):
    for factor, taken in ((1.1 * TOO_LONG, "even 16"), (0.9 * TOO_LONG, "even 40")):
        found = Look(monkeypatch, {"even": iter(rungs(16, 40))}, wall_s=slow("even 40", factor))
        assert [one.name for one in found.looked.instances] == [taken]
    found = Look(monkeypatch, {"even": iter(rungs(40))}, wall_s=slow("even 40", 1.1 * TOO_LONG))
    assert [one.name for one in found.looked.instances] == ["even 40"]


# --- after an interruption -------------------------------------------------------------------------------------------


def learned(timing):
    return timing.laws(), timing.smallest_functions, timing.largest_functions


@pytest.mark.parametrize(
    ("make", "wall_s"),
    [
        (lambda: {"even": iter(rungs(16))}, None),
        (lambda: {"even": iter([*rungs(4, functions=30), *rungs(16, 32, functions=50)])}, None),
        (
            lambda: {"even": iter(rungs(4, 16)), "other": iter(rungs(8, 12, 600, kind="other", functions=70))},
            slow("other 12", 9.0),
        ),
        (lambda: {"even": iter(rungs(16)), "other": iter(rungs(400, kind="other"))}, None),
        (lambda: {"own": iter(3 * rungs(4000, kind="own"))}, None),
        (lambda: {"own": iter(3 * rungs(4000, kind="own"))}, lambda *of: 0.01 * one_second_each(*of)),
        (lambda: {"own": iter(3 * rungs(40, kind="own"))}, lambda *of: 60.0 if of[-1] else 0.1),
    ],
    ids=[
        "one",
        "several sizes",
        "one too long",
        "a kind that is too large",
        "own, cut",
        "own, longer",
        "own, too long",
    ],
)
def test_a_look_that_was_interrupted_is_taken_up_as_it_was(monkeypatch, make, wall_s):
    found = Look(monkeypatch, make(), wall_s=wall_s)
    noted = json.loads(json.dumps(note(found.looked, found.timing)))
    timing = Pretended(one_second_each, clock=found.clock, budget=found.budget)
    again = recall(noted, make(), timing)
    assert again == found.looked
    assert learned(timing) == learned(found.timing)
    assert timing.predicted_s(again.instances[0]) == found.timing.predicted_s(again.instances[0])
    assert timing.asked == []
    assert note(again, timing) == note(found.looked, found.timing)


def test_no_more_of_a_ladder_is_planned_after_an_interruption_than_before(monkeypatch):
    first, second = iter(rungs(4, 400, 8, 9)), iter(rungs(4, 400, 8, 9))
    found = Look(monkeypatch, {"even": first})
    recall(note(found.looked, found.timing), {"even": second}, found.timing)
    assert list(second) == list(first)


# --- what fits -------------------------------------------------------------------------------------------------------


def test_each_first_run_is_said(monkeypatch):
    found = Look(monkeypatch, {"even": iter(rungs(4, 40))})
    assert found.said == [
        "  even 4: 4 tasks in 1.00 s with the default",
        "  even 40: 40 tasks in 10.00 s with the default",
    ]


def priced(monkeypatch):
    """Return a timing that knows that a task of 50 functions takes eight seconds: one for each second of a run."""
    timing = Pretended(one_second_each, clock=Clock(monkeypatch), budget=Budget(100.0))
    for each in instance(functions=4 * [50]).tasks:
        timing.costs.observe(each, wall_s=8.0, width=1, peak_gib=0.1)
    return timing


def test_the_most_expensive_that_is_predicted_to_fit_is_affordable(monkeypatch):
    ladders = {"even": iter(rungs(9, 10, 11)), "other": iter(rungs(8, 20, kind="other"))}
    found = affordable(ladders, timing=priced(monkeypatch), allowed_s=10.5)
    assert [one.name for one in found] == ["even 10", "other 8"]


def test_the_cheapest_of_the_first_kind_is_affordable_whatever_it_costs_but_of_no_other(monkeypatch):
    ladders = {"even": iter(rungs(99, 100)), "other": iter(rungs(99, kind="other"))}
    found = affordable(ladders, timing=priced(monkeypatch), allowed_s=10.0)
    assert [one.name for one in found] == ["even 99"]


@pytest.mark.parametrize("allowed_s", [-5.0, 0.0, 1.0, 20.0])
def test_of_the_users_own_input_some_part_is_always_affordable(monkeypatch, allowed_s):
    (found,) = affordable({"own": iter(rungs(100, kind="own"))}, timing=priced(monkeypatch), allowed_s=allowed_s)
    assert len(found.tasks) == max(1, int(allowed_s))


def test_nothing_is_run_to_tell_what_is_affordable(monkeypatch):
    timing = priced(monkeypatch)
    affordable({"even": iter(rungs(9, 10, 11))}, timing=timing, allowed_s=10.5)
    assert timing.asked == []


# --- noise -----------------------------------------------------------------------------------------------------------

times = st.lists(st.floats(0.01, 100.0), min_size=2, max_size=6)


@given(times)
def test_the_noise_of_one_workload_is_the_deviation_of_the_logarithms_of_its_times(times_s):
    deviation = statistics.stdev(map(math.log, times_s))
    assert pooled_noise([times_s]) == pytest.approx(max(LEAST_NOISE, deviation), abs=1e-9)


@given(st.lists(times, min_size=1, max_size=4), st.floats(0.01, 100.0))
def test_how_long_a_workload_takes_does_not_matter_to_the_noise(of_instances, factor):
    scaled = [[factor * seconds for seconds in of_instances[0]], *of_instances[1:]]
    assert pooled_noise(scaled) == pytest.approx(pooled_noise(of_instances), abs=1e-9)


@given(st.lists(times, min_size=1, max_size=4))
def test_the_pooled_noise_lies_between_those_of_the_workloads(of_instances):
    single = [pooled_noise([of_instance]) for of_instance in of_instances]
    assert min(single) - 1e-9 <= pooled_noise(of_instances) <= max(single) + 1e-9


@given(st.floats(0.01, 100.0), st.integers(2, 6))
def test_equal_times_are_believed_to_be_luck(seconds, count):
    assert pooled_noise([[seconds] * count]) == LEAST_NOISE


def test_single_runs_say_nothing_about_noise():
    assert pooled_noise([[1.0], [2.0]]) == pooled_noise([]) == UNKNOWN_NOISE
    assert pooled_noise([[1.0], [2.0, 2.2]]) == pytest.approx(pooled_noise([[2.0, 2.2]]))


# --- the final -------------------------------------------------------------------------------------------------------


def of(**changes):
    return {**DEFAULT, **{f"crew.{name}": value for name, value in changes.items()}}


class Final:
    """A final between the default and what a search found fast.

    Args:
        found: Parameters and speed-ups of trials beside the default; and their sources, where it is not the search.
        wall_s: From a policy and the number of runs before to what a run really takes.
    """

    def __init__(self, monkeypatch, found, wall_s, *, noise=0.01, total_s=1000.0, seed=1, instances=2):
        import optuna

        self.clock = Clock(monkeypatch)
        self.timing = Pretended(
            lambda _, plan, number: wall_s(plan, number), clock=self.clock, budget=(budget := Budget(total_s))
        )
        self.instances = [instance(f"number {number}") for number in range(instances)]
        self.search = search = Search(
            optuna.create_study(),
            strategies=[Crew()],
            searched=[Crew()],
            context=CONTEXT,
            policy_of=self.timing.policy,
            instances=self.instances,
            default_s=[(1.0,)] * instances,
            noise=noise,
            run=None,
            say=None,
        )
        for parameters, speed_up, *source in [(DEFAULT, 1.0), *found]:
            made = Trial(
                parameters=parameters,
                source=source[0] if source else "search",
                state="done",
                workers=1,
                width=1,
                wall_s=(1.0 / speed_up,),
                speed_up=speed_up,
            )
            search._keep(made, [math.log(speed_up)] * instances)
        self.winner = final(search, timing=self.timing, budget=budget, order=random.Random(seed))

    @property
    def plans(self):
        return [(plan.workers, plan.order) for _, plan, _ in self.timing.asked]


def by_workers(plan, _):
    return 1.0 / plan.workers


def test_the_fastest_when_it_is_run_again_wins_not_the_luckiest(monkeypatch):
    found = [(of(workers=1, order="longest"), 3.0), (of(workers=8, order="longest"), 1.5)]
    assert Final(monkeypatch, found, by_workers).winner["crew.workers"] == 8


def test_the_default_wins_where_nothing_is_faster(monkeypatch):
    found = [(of(workers=8), 1.5), (of(workers=2), 1.4)]
    assert Final(monkeypatch, found, lambda *_: 1.0).winner == DEFAULT
    assert Final(monkeypatch, found, lambda plan, _: 2.0 if plan.workers == 8 else 1.0).winner == DEFAULT


def test_without_anything_but_the_default_nothing_is_run(monkeypatch):
    run = Final(monkeypatch, [], by_workers)
    assert (run.winner, run.plans) == (DEFAULT, [])


@pytest.mark.parametrize("first", [0, 1])
def test_of_equal_times_the_one_with_the_fewest_changes_wins(monkeypatch, first):
    found = [(of(workers=8, order="longest"), 1.50), (of(workers=8), 1.49)]
    run = Final(monkeypatch, [found[first], found[1 - first]], by_workers)
    assert run.winner == of(workers=8)


def test_of_equal_policies_the_one_with_fewer_changes_is_taken(monkeypatch):
    found = [(of(workers=n, colour="green"), speed_up) for n, speed_up in ((8, 1.5), (2, 0.7), (1, 0.5))]
    assert Final(monkeypatch, found, by_workers).winner == of(workers=8)


def test_a_difference_beyond_the_noise_is_worth_a_change(monkeypatch):
    found = [(of(workers=8), 1.5), (of(workers=8, order="longest"), 1.6)]
    for gain, winner in ((0.003, of(workers=8)), (0.03, of(workers=8, order="longest"))):
        run = Final(
            monkeypatch, found, lambda plan, _, gain=gain: by_workers(plan, 0) * (1 - gain * (plan.order == "longest"))
        )
        assert run.winner == winner


def test_all_finalists_and_the_default_run_on_all_instances_in_turn_and_random_order(monkeypatch):
    found = [(of(workers=n, order=o), 1.2) for n, o in itertools.product((1, 2, 8), ("longest", "shortest"))]
    run = Final(monkeypatch, found, by_workers)
    runs = len(run.plans)
    candidates = set(run.plans)
    assert (4, "input") in candidates
    assert len(candidates) <= 1 + 1 + FINALISTS
    assert runs == ROUNDS * len(candidates) * len(run.instances)
    half = runs // 2
    assert set(run.plans[:half]) == set(run.plans[half:]) == candidates
    assert [ran.name for ran, *_ in run.timing.asked] == ["number 0", "number 1"] * (runs // 2)
    assert Final(monkeypatch, found, by_workers, seed=2).plans != run.plans
    assert not any(learn for *_, learn in run.timing.asked)


def test_a_second_round_that_would_not_fit_into_the_budget_is_not_begun(monkeypatch):
    run = Final(monkeypatch, [(of(workers=8), 1.5)], lambda *_: 1.0, total_s=8.0)
    assert len(run.plans) == 2 * len(run.instances)


def test_there_are_as_many_candidates_as_the_budget_has_room_for_the_fastest_first(monkeypatch):
    found = [(of(workers=8, order="longest"), 2.0), (of(workers=8), 1.9), (of(workers=2), 1.2)]
    for total_s, most in ((7.0, 2), (10.0, 3), (100.0, 1 + len(found))):
        run = Final(monkeypatch, found, lambda *_: 1.0, total_s=total_s, noise=1e-9)
        assert len(set(run.plans)) == most
        assert {(4, "input"), (8, "longest")} <= set(run.plans)


def test_what_runs_do_anyway_is_in_the_final_although_its_trial_was_unlucky(monkeypatch):
    lucky = [
        (of(workers=n, order=order), 1.5 - n / 100) for n in (1, 2, 4) for order in ("longest", "shortest", "input")
    ]
    lucky = [(parameters, speed_up) for parameters, speed_up in lucky if parameters != DEFAULT]
    usual = of(workers=8)
    assert Final(monkeypatch, [*lucky, (usual, 0.9)], by_workers).winner != usual
    for total_s in (10.0, 1000.0):
        run = Final(monkeypatch, [*lucky, (usual, 0.9, "stated")], by_workers, total_s=total_s)
        assert run.winner == usual


def test_without_room_for_two_candidates_the_search_decides(monkeypatch):
    run = Final(monkeypatch, [(of(workers=8), 1.5), (of(workers=2), 1.2)], lambda *_: 1.0, total_s=3.0)
    assert run.plans == []
    assert run.winner == of(workers=8)


def test_a_default_that_fails_in_the_final_does_not_make_an_infinite_speed_up(monkeypatch):
    def wall_s(plan, _):
        if plan.workers == 4:
            raise TaskError("label 0: lost")
        return 0.5

    found = [(of(workers=8, order="longest"), 1.2), (of(workers=8), 1.1)]
    run = Final(monkeypatch, found, wall_s)
    assert run.winner["crew.workers"] == 8
    assert all(math.isfinite(trial.speed_up) for trial in run.search.trials)


def test_where_every_candidate_fails_in_the_final_the_default_wins(monkeypatch):
    def wall_s(*_):
        raise TaskError("label 0: lost")

    run = Final(monkeypatch, [(of(workers=8), 1.5)], wall_s)
    assert run.winner == DEFAULT
    assert [trial.source for trial in run.search.trials] == ["search", "search"]


def test_the_winner_is_among_the_trials_even_where_only_the_final_ran_it(monkeypatch):
    found = [(of(workers=8, order=order), 1.5) for order in ("longest", "shortest")]
    found += [(of(workers=n, order=order), 0.9) for n in (1, 2, 4) for order in ("longest", "shortest")]
    run = Final(monkeypatch, found, by_workers)
    assert run.winner == of(workers=8)
    added = run.search.trials[-1]
    assert (added.parameters, added.source, added.state) == (run.winner, "final", "done")
    assert added.speed_up == pytest.approx(2.0)
    known = Final(monkeypatch, [(of(workers=8), 1.5)], by_workers)
    assert [trial.source for trial in known.search.trials] == ["search", "search"]
