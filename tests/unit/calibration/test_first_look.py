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
from autotune.calibration import first_look
from autotune.calibration.search import FINALISTS, ROUNDS, Search, final
from autotune.calibration.timing import Budget, Timed

PLAN = Policy(workers=8, core_slots=8, order="longest", widest=8, widen_tail=True, batch_s=0.05, level_barriers=False)


# --- single tasks ----------------------------------------------------------------------------------------------------


class Prober:
    """Runs single tasks: `alone_s` by functions, with so much contention, dividing perfectly over cores."""

    def __init__(self, of, *, contention=1.5, machine=MACHINE, runs=10**6, first_s=5.0):
        self.asked, self._contention, self._first_s = [], contention, first_s
        loaded = [record(task.number, wall_s=contention * self.alone_s(task)) for task in of.tasks]
        self.probed = first_look.probe(
            of, loaded, plan=PLAN, machine=machine, run=self, enough=lambda: len(self.asked) >= runs
        )

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


@pytest.mark.parametrize(("contention", "said"), [(1.7, 1.7), (0.5, 1.0), (9.0, first_look.MOST_CONTENTION)])
def test_the_contention_is_the_time_while_all_cores_work_over_the_time_alone_within_reason(contention, said):
    assert Prober(MIXED, contention=contention).probed.contention == pytest.approx(said)


def test_without_time_for_a_probe_the_contention_is_one_and_nothing_is_wide():
    prober = Prober(MIXED, runs=0)
    assert prober.asked == []
    assert prober.probed == type(prober.probed)(contention=1.0, wide=(), alone=())


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


def test_each_worker_runs_two_tasks_of_the_largest_and_a_middle_size_and_the_faster_counts():
    prober = Prober(MIXED)
    assert [{task.size.functions for task in of.tasks} for of, _ in prober.asked] == [*4 * [{40}], *4 * [{30}]]
    assert all(len(of.tasks) == 2 * plan.workers for of, plan in prober.asked)
    assert [seen.width for seen in prober.probed.wide] == [2, 4, 8, 2, 4, 8]
    assert [seen.width for seen in prober.probed.alone] == [1, 1]
    for seen in (*prober.probed.wide, *prober.probed.alone):
        busy = 1.5 if seen.width > 1 else 1.0
        assert seen.wall_s == pytest.approx(busy * Prober.alone_s(MIXED.tasks[seen.number]) / seen.width)


# --- the look --------------------------------------------------------------------------------------------------------


def rungs(*counts, kind="even", functions=50):
    return [instance(f"{kind} {count}", kind=kind, functions=[functions] * count) for count in counts]


def ladders(**counts):
    """Return ladders of workloads of so many tasks, by kind."""
    return {kind: iter(rungs(*of_kind, kind=kind)) for kind, of_kind in counts.items()}


class Look:
    """A first look at a pretended machine on which each task takes a second on one of eight cores."""

    def __init__(
        self, monkeypatch, ladders, *, wall_s=None, allowed_s=10.0, total_s=1000.0, repeats=4, machine=MACHINE
    ):
        self.said = []
        self.clock = Clock(monkeypatch)
        self.budget = Budget(total_s)
        self.timing = Pretended(wall_s or one_second_each, clock=self.clock, budget=self.budget, machine=machine)
        self.looked = first_look.look(
            ladders,
            timing=self.timing,
            budget=self.budget,
            allowed_s=allowed_s,
            repeats=repeats,
            say=self.said.append,
        )


def one_second_each(of, plan, _):
    return math.ceil(len(of.tasks) / (plan.workers * plan.width))


def slow(name, factor):
    return lambda of, plan, number: (factor if of.name == name else 1.0) * one_second_each(of, plan, number)


def failing(name):
    def wall_s(of, plan, number):
        if of.name == name:
            raise TaskError("label 0: did not converge")
        return one_second_each(of, plan, number)

    return wall_s


LOOKS = {
    "half of the time is for each": (
        {"even": (4, 8, 20, 400), "other": (4, 12, 500)},
        None,
        ["even 20", "other 12"],
        "",
    ),
    "the cheapest of the first kind alone": (
        *({"even": [400], "other": [400]}, None, ["even 400"]),
        "  no workload of kind other is small enough for this budget",
    ),
    "another kind fails": (
        *({"even": [4], "other": [4]}, failing("other 4"), ["even 4"]),
        "  other 4 cannot be run: label 0: did not converge",
    ),
    "a larger one fails": ({"even": (4, 8)}, failing("even 8"), ["even 4"], ""),
    "far too long": ({"even": (16, 40)}, slow("even 40", 1.1 * first_look.TOO_LONG), ["even 16"], ""),
    "a little too long": ({"even": (16, 40)}, slow("even 40", 0.9 * first_look.TOO_LONG), ["even 40"], ""),
    "far too long, nothing smaller": ({"even": [40]}, slow("even 40", 1.1 * first_look.TOO_LONG), ["even 40"], ""),
}


@pytest.mark.parametrize("case", LOOKS)
def test_of_each_kind_the_most_expensive_that_is_allowed_and_runs_is_taken(monkeypatch, case):
    offered, wall_s, taken, said = LOOKS[case]
    found = Look(monkeypatch, ladders(**offered), wall_s=wall_s)
    assert [one.name for one in found.looked.instances] == taken
    assert said in "\n".join(found.said)


def test_where_the_default_fails_on_the_cheapest_workload_there_is_nothing_to_calibrate(monkeypatch):
    with pytest.raises(TaskError, match="did not converge"):
        Look(monkeypatch, ladders(even=(4, 8)), wall_s=failing("even 4"))


def test_of_the_users_own_input_a_part_is_taken(monkeypatch):
    found = Look(monkeypatch, ladders(own=[1000]))
    (taken,) = found.looked.instances
    assert 1 <= len(taken.tasks) < 1000
    assert next(of for of, _, learn in found.timing.asked if learn) == taken


def test_only_the_default_is_run_in_turns_of_the_workloads_and_single_tasks_at_other_widths(monkeypatch):
    found = Look(monkeypatch, ladders(even=[16], other=[8]), repeats=3)
    default = found.timing.policy({}, found.looked.instances[0])
    assert [(of.kind, plan) for of, plan, learn in found.timing.asked if learn] == 3 * [
        ("even", default),
        ("other", default),
    ]
    assert [len(times) for times in found.looked.default_s] == [3, 3]
    warm_up, probe, *_ = [len(of.tasks) for of, _, learn in found.timing.asked if not learn]
    assert (warm_up, probe) == (MACHINE.cores, 2)


def test_the_noise_is_that_of_the_repeated_runs_and_the_default_times_are_kept(monkeypatch):
    def wall_s(of, plan, number):
        return one_second_each(of, plan, number) * (1.1 if number % 2 else 1.0)

    found = Look(monkeypatch, ladders(even=[40]), wall_s=wall_s)
    assert found.looked.default_s == (pytest.approx((11.0, 10.0, 11.0, 10.0)),)
    assert found.looked.noise == pytest.approx(math.log(1.1) / math.sqrt(3))


def test_no_machine_is_believed_to_repeat_its_times_exactly(monkeypatch):
    assert Look(monkeypatch, ladders(even=[16])).looked.noise == first_look.LEAST_NOISE


def test_the_look_keeps_to_its_share_of_the_budget(monkeypatch):
    found = Look(monkeypatch, ladders(even=[40]), total_s=100.0, repeats=50)
    assert len(found.looked.default_s[0]) == 2
    assert found.clock.now_s <= first_look.LOOK_SHARE * 100.0 + 3.0


def test_a_budget_that_is_used_up_by_the_first_run_still_gives_an_answer(monkeypatch):
    found = Look(monkeypatch, ladders(even=[40]), total_s=14.0)
    assert found.looked.default_s == ((10.0,),)
    assert (found.looked.noise, found.looked.contention) == (first_look.UNKNOWN_NOISE, 1.0)


def test_a_machine_with_one_core_is_looked_at_too(monkeypatch):
    found = Look(monkeypatch, ladders(even=[4]), machine=replace(MACHINE, cores=1))
    assert {plan.width for _, plan, _ in found.timing.asked} == {1}
    assert len(found.looked.instances) == 1


def test_what_single_tasks_take_goes_into_the_law_alone_as_long_as_while_all_cores_work(monkeypatch):
    def wall_s(of, plan, number):
        return one_second_each(of, plan, number) / (1.0 if len(of.tasks) > 2 else 1.5)

    found = Look(monkeypatch, ladders(even=[16]), wall_s=wall_s)
    assert found.looked.contention == pytest.approx(1.5)
    *whole, _, _, _, last = samples = found.timing.samples()["even 16"]
    assert [width for _, _, width in samples[-4:]] == [2, 4, 8, 1]
    assert last == (0, pytest.approx(whole[0][1]), 1)


# --- after an interruption -------------------------------------------------------------------------------------------


def learned(timing):
    return timing.laws(), timing.smallest_functions, timing.largest_functions


@pytest.mark.parametrize(
    ("make", "wall_s"),
    [
        (lambda: ladders(even=[16]), None),
        (lambda: {"even": iter([*rungs(4, functions=30), *rungs(16, 32, functions=50)])}, None),
        (
            lambda: {"even": iter(rungs(4, 16)), "other": iter(rungs(8, 12, 600, kind="other", functions=70))},
            slow("other 12", 9.0),
        ),
        (lambda: ladders(even=[16], other=[400]), None),
        (lambda: ladders(own=3 * [1000]), None),
        (lambda: ladders(own=3 * [1000]), lambda *of: 0.04 * one_second_each(*of)),
        (lambda: ladders(own=3 * [40]), lambda *of: 60.0 if of[-1] else 0.1),
    ],
    ids=["one", "sizes", "one too long", "a kind too large", "own, cut", "own, longer", "own, too long"],
)
def test_a_look_that_was_interrupted_is_taken_up_as_it_was(monkeypatch, make, wall_s):
    found = Look(monkeypatch, make(), wall_s=wall_s)
    noted = json.loads(json.dumps(first_look.note(found.looked, found.timing)))
    timing = Pretended(one_second_each, clock=found.clock, budget=found.budget)
    again = first_look.recall(noted, make(), timing)
    assert again == found.looked
    assert learned(timing) == learned(found.timing)
    assert timing.predicted_s(again.instances[0]) == found.timing.predicted_s(again.instances[0])
    assert timing.asked == []
    assert first_look.note(again, timing) == first_look.note(found.looked, found.timing)


def test_a_ladder_is_climbed_no_higher_than_the_first_that_is_too_expensive_also_after_an_interruption(monkeypatch):
    first, second = ladders(even=(4, 400, 8, 9)), ladders(even=(4, 400, 8, 9))
    found = Look(monkeypatch, first)
    first_look.recall(first_look.note(found.looked, found.timing), second, found.timing)
    for ladder in (first, second):
        assert [one.name for one in ladder["even"]] == ["even 8", "even 9"]


# --- what fits -------------------------------------------------------------------------------------------------------


def test_each_first_run_is_said(monkeypatch):
    assert Look(monkeypatch, ladders(even=(4, 40))).said == [
        "  even 4: 4 tasks in 1.00 s with the default",
        "  even 40: 40 tasks in 10.00 s with the default",
    ]


def priced(monkeypatch):
    """Return a timing that knows that a task of 50 functions takes eight seconds: one for each second of a run."""
    timing = Pretended(one_second_each, clock=Clock(monkeypatch), budget=Budget(100.0))
    for each in instance(functions=4 * [50]).tasks:
        timing.costs.observe(each, wall_s=8.0, width=1, peak_gib=0.1)
    return timing


@pytest.mark.parametrize(
    ("offered", "allowed_s", "tasks"),
    [
        ({"even": (9, 10, 11), "other": (8, 20)}, 10.5, [10, 8]),
        ({"even": (99, 100), "other": [99]}, 10.0, [99]),  # the cheapest of the first kind whatever it costs
        *(({"own": [100]}, allowed_s, [max(1, int(allowed_s))]) for allowed_s in (-5.0, 0.0, 1.0, 20.0)),
    ],
)
def test_the_most_expensive_that_is_predicted_to_fit_is_affordable_and_nothing_is_run_to_tell(
    monkeypatch, offered, allowed_s, tasks
):
    timing = priced(monkeypatch)
    found = first_look.affordable(ladders(**offered), timing=timing, allowed_s=allowed_s)
    assert [(one.kind, len(one.tasks)) for one in found] == list(zip(offered, tasks, strict=False))
    assert timing.asked == []


# --- noise -----------------------------------------------------------------------------------------------------------

times = st.lists(st.floats(0.01, 100.0), min_size=2, max_size=6)


@given(times)
def test_the_noise_of_one_workload_is_the_deviation_of_the_logarithms_of_its_times(times_s):
    deviation = statistics.stdev(map(math.log, times_s))
    assert first_look.pooled_noise([times_s]) == pytest.approx(max(first_look.LEAST_NOISE, deviation), abs=1e-9)


@given(st.lists(times, min_size=1, max_size=4), st.floats(0.01, 100.0))
def test_the_pooled_noise_lies_between_those_of_the_workloads_however_long_they_take(of_instances, factor):
    scaled = [[factor * seconds for seconds in of_instances[0]], *of_instances[1:]]
    assert first_look.pooled_noise(scaled) == pytest.approx(first_look.pooled_noise(of_instances), abs=1e-9)
    single = [first_look.pooled_noise([of_instance]) for of_instance in of_instances]
    assert min(single) - 1e-9 <= first_look.pooled_noise(of_instances) <= max(single) + 1e-9


def test_single_runs_say_nothing_about_noise():
    assert first_look.pooled_noise([[1.0], [2.0]]) == first_look.pooled_noise([]) == first_look.UNKNOWN_NOISE
    assert first_look.pooled_noise([[1.0], [2.0, 2.2]]) == pytest.approx(first_look.pooled_noise([[2.0, 2.2]]))


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


def lost(*_):
    raise TaskError("label 0: lost")


def gaining(gain):
    """Return times by workers, of which the longest first takes so much less."""
    return lambda plan, _: by_workers(plan, _) * (1 - gain * (plan.order == "longest"))


LONGEST = of(workers=8, order="longest")
EIGHT, LONGEST = of(workers=8), of(workers=8, order="longest")
GREEN = [(of(workers=n, colour="green"), speed_up) for n, speed_up in ((8, 1.5), (2, 0.7), (1, 0.5))]
FINALS = {
    "the fastest when it is run again, not the luckiest": (
        [(of(workers=1, order="longest"), 3.0), (LONGEST, 1.5)],
        by_workers,
        LONGEST,
    ),
    "the default where nothing is faster": ([(EIGHT, 1.5), (of(workers=2), 1.4)], lambda *_: 1.0, DEFAULT),
    "the default where others are slower": ([(EIGHT, 1.5)], lambda plan, _: plan.workers, DEFAULT),
    "the default where every candidate fails": ([(EIGHT, 1.5)], lost, DEFAULT),
    "of equal times the fewest changes": ([(LONGEST, 1.50), (EIGHT, 1.49)], by_workers, EIGHT),
    "of equal times the fewest changes in any order": ([(EIGHT, 1.49), (LONGEST, 1.50)], by_workers, EIGHT),
    "of equal times what runs do anyway": ([(EIGHT, 1.50), (LONGEST, 1.49, "stated")], by_workers, LONGEST),
    "of equal policies the fewest changes": (GREEN, by_workers, EIGHT),
    "no change for a difference within the noise": ([(EIGHT, 1.5), (LONGEST, 1.6)], gaining(0.003), EIGHT),
    "a change for one beyond the noise": ([(EIGHT, 1.5), (LONGEST, 1.6)], gaining(0.03), LONGEST),
}


@pytest.mark.parametrize("case", FINALS)
def test_the_final_is_won_by(monkeypatch, case):
    found, wall_s, winner = FINALS[case]
    run = Final(monkeypatch, found, wall_s)
    assert run.winner == winner
    assert all(math.isfinite(trial.speed_up) for trial in run.search.trials)


def test_without_anything_but_the_default_nothing_is_run(monkeypatch):
    run = Final(monkeypatch, [], by_workers)
    assert (run.winner, run.plans) == (DEFAULT, [])


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
    numbers = itertools.product((1, 2, 4), ("longest", "shortest", "input"))
    lucky = [(of(workers=n, order=order), 1.5 - n / 100) for n, order in numbers if (n, order) != (4, "input")]
    assert Final(monkeypatch, [*lucky, (EIGHT, 0.9)], by_workers).winner != EIGHT
    for total_s in (10.0, 1000.0):
        assert Final(monkeypatch, [*lucky, (EIGHT, 0.9, "stated")], by_workers, total_s=total_s).winner == EIGHT


def test_without_room_for_two_candidates_the_search_decides(monkeypatch):
    run = Final(monkeypatch, [(of(workers=8), 1.5), (of(workers=2), 1.2)], lambda *_: 1.0, total_s=3.0)
    assert run.plans == []
    assert run.winner == of(workers=8)


def test_a_default_that_fails_in_the_final_does_not_make_an_infinite_speed_up(monkeypatch):
    def wall_s(plan, _):
        if plan.workers == 4:
            raise TaskError("label 0: lost")
        return 0.5

    run = Final(monkeypatch, [(LONGEST, 1.2), (of(workers=8), 1.1)], wall_s)
    assert run.winner["crew.workers"] == 8
    assert all(math.isfinite(trial.speed_up) for trial in run.search.trials)


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
