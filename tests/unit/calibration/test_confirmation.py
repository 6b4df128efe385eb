"""A confirmation rarely believes noise, finds a real gain, and stops when the answer is clear."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended import Clock, Pretended, instance

from autotune.base.errors import InputError, TaskError
from autotune.base.records import Pair
from autotune.calibration import confirmation
from autotune.calibration.confirmation import (
    FAR_SLOWER,
    FUTILE,
    LEAST_PAIRS,
    MOST_PAIRS,
    LostError,
    conclude,
    is_settled,
    measure,
    pairs_needed,
    pairs_wanted,
)
from autotune.calibration.timing import Budget


def pair(default_s, tuned_s, workload="even"):
    return Pair(workload=workload, default_s=default_s, tuned_s=tuned_s)


def confirmed(draw, *, noise, gain=1.0):
    """Return what is concluded where both sides have this noise and the winner is so many times faster."""
    pairs = []
    while not is_settled(pairs):
        pairs.append(pair(draw.lognormvariate(0.0, noise), draw.lognormvariate(0.0, noise) / gain))
    assert LEAST_PAIRS <= len(pairs) <= MOST_PAIRS
    return conclude(pairs)


def steady(speed_up, count, *, noise=0.001):
    return [pair(speed_up * (1.0 + noise * (-1) ** number), 1.0) for number in range(count)]


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "count"), [(0.02, 2000), (0.05, 1000)])
def test_of_a_hundred_confirmations_of_noise_at_most_two_say_faster(noise, count):
    draw = random.Random(20261125)
    faster = sum(confirmed(draw, noise=noise).verdict == "faster" for _ in range(count))
    assert 0 < faster <= 0.02 * count


def test_a_gain_of_a_tenth_is_found_at_a_noise_of_three_per_cent_in_nineteen_of_twenty():
    draw, count = random.Random(20261125), 500
    found = [confirmed(draw, noise=0.03, gain=1.1) for _ in range(count)]
    assert sum(one.verdict == "faster" for one in found) >= 0.95 * count
    assert sum(one.speed_up for one in found) / count == pytest.approx(1.1, abs=0.02)


def test_the_interval_that_is_reported_has_the_true_gain_in_about_nineteen_of_twenty_fixed_samples():
    draw, count = random.Random(5), 1000
    within = 0
    for _ in range(count):
        sides = [(draw.lognormvariate(0.1, 0.03), draw.lognormvariate(0.0, 0.03)) for _ in range(6)]
        low, high = conclude([pair(*side) for side in sides]).interval
        within += low <= math.exp(0.1) <= high
    assert within / count == pytest.approx(0.95, abs=0.02)


def test_so_many_pairs_are_wanted_as_the_noise_needs_within_bounds():
    noises = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.5, 5.0)
    wanted = [pairs_wanted(noise) for noise in noises]
    assert wanted == [min(MOST_PAIRS, max(LEAST_PAIRS, pairs_needed(noise))) for noise in noises]
    assert (wanted[0], wanted[-1]) == (LEAST_PAIRS, MOST_PAIRS)
    assert len(set(wanted)) > 3
    assert pairs_needed(0.005) < MOST_PAIRS < pairs_needed(0.1) < pairs_needed(0.2)


def test_so_many_pairs_as_wanted_show_what_is_worth_showing():
    draw, noise = random.Random(6), 0.02
    gain = 1.0 + confirmation.WORTH_SHOWING
    count = pairs_wanted(noise)
    shown = 0
    for _ in range(400):
        sides = [(draw.lognormvariate(0.0, noise), draw.lognormvariate(0.0, noise) / gain) for _ in range(count)]
        shown += conclude([pair(*side) for side in sides]).verdict == "faster"
    assert shown / 400 >= 0.7


@pytest.mark.parametrize(
    ("speed_up", "count", "noise", "settled", "verdict"),
    [
        *((2.0, count, 0.001, False, "cannot tell") for count in range(LEAST_PAIRS)),
        (2.0, LEAST_PAIRS, 0.001, True, "faster"),
        (1.0 + FUTILE / 2, LEAST_PAIRS, 0.001, True, "faster"),
        (1.0, LEAST_PAIRS, 0.001, True, "same"),
        (1.0, LEAST_PAIRS, FUTILE / 4, True, "same"),  # a gain that is not worth more pairs is none
        (0.8, LEAST_PAIRS, 0.001, True, "slower"),
        (1.0, MOST_PAIRS - 1, 0.3, False, "cannot tell"),
        (1.0, MOST_PAIRS, 0.3, True, "cannot tell"),
    ],
)
def test_clear_pairs_are_settled_at_once_but_never_too_few_and_the_last_whatever_they_say(
    speed_up, count, noise, settled, verdict
):
    pairs = steady(speed_up, count, noise=noise)
    assert is_settled(pairs) is settled
    assert conclude(pairs).verdict == verdict
    ratios = [one.default_s / one.tuned_s for one in pairs]
    assert conclude(pairs).speed_up == pytest.approx(statistics.geometric_mean(ratios or [1.0]))


def test_one_pair_has_no_interval_and_none_a_speed_up_of_one():
    assert conclude([pair(2.0, 1.0)]) == ("cannot tell", pytest.approx(2.0), None)
    assert conclude([]) == ("cannot tell", 1.0, None)


# --- several workloads -----------------------------------------------------------------------------------------------


def rounds(speed_ups, count, *, noise=0.001):
    """Return so many rounds over workloads of these speed-ups."""
    return [
        pair(speed_up * (1.0 + noise * (-1) ** turn), 1.0, workload)
        for turn in range(count)
        for workload, speed_up in speed_ups.items()
    ]


def test_workloads_count_alike_however_many_pairs_they_have():
    pairs = [*rounds({"a": 1.5}, 6), *rounds({"b": 1.2}, 2)]
    assert conclude(pairs).speed_up == pytest.approx(math.sqrt(1.5 * 1.2), rel=1e-3)


def test_that_workloads_gain_differently_is_no_scatter():
    pairs = rounds({"a": 2.0, "b": 1.2}, 2)
    assert is_settled(pairs)
    assert conclude(pairs).verdict == "faster"
    low, high = conclude(pairs).interval
    assert 0.95 * conclude(pairs).speed_up < low < high < 1.05 * conclude(pairs).speed_up
    mixed = [pair(one.default_s, one.tuned_s) for one in pairs]
    assert not is_settled(mixed)


def test_nothing_is_settled_in_the_middle_of_a_round():
    pairs = rounds({"a": 2.0, "b": 2.0}, 3)
    assert [is_settled(pairs[:count]) for count in range(7)] == [*4 * [False], True, False, True]
    noisy = rounds({"a": 1.0, "b": 1.0, "c": 1.0}, 6, noise=0.3)
    assert [count for count in range(len(noisy) + 1) if is_settled(noisy[:count])] == [len(noisy)]
    assert len(noisy) > MOST_PAIRS


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        (rounds({"a": 3.0, "b": 0.9}, 4), "cannot tell"),
        (rounds({"a": 3.0, "b": 1.0 - FUTILE / 2}, 4), "faster"),
        ([*rounds({"a": 3.0}, 4), *(pair(ratio, 1.0, "b") for ratio in (0.9, 1.1, 0.92, 1.0))], "faster"),
        ([*rounds({"a": 3.0}, 6), pair(0.9, 1.0, "b")], "cannot tell"),
        ([*rounds({"a": 3.0}, 6), pair(1.1, 1.0, "b")], "faster"),
    ],
    ids=["one loses", "loses a little", "seems to lose within its scatter", "a single pair loses", "a single pair"],
)
def test_a_gain_on_average_is_none_where_one_workload_loses(pairs, verdict):
    assert confirmation.compare(pairs, confirmation.CONFIDENCE).verdict == "faster"
    assert conclude(pairs).verdict == verdict


def test_a_loss_on_all_workloads_is_slower():
    assert conclude(rounds({"a": 0.8, "b": 0.9}, 3)).verdict == "slower"


# --- what always holds -----------------------------------------------------------------------------------------------

times_s = st.floats(0.1, 10.0)
some_pairs = st.lists(st.builds(pair, times_s, times_s), max_size=MOST_PAIRS + 2)
close_s = st.floats(0.97, 1.03)
close_pairs = st.lists(st.builds(pair, close_s, close_s), max_size=MOST_PAIRS + 2)


@given(some_pairs | close_pairs)
def test_verdict_speed_up_interval_and_end_agree_in_any_order_of_the_pairs(pairs):
    verdict, speed_up, interval = conclude(pairs)
    low, high = interval or (speed_up, speed_up)
    assert is_settled(pairs) == (verdict != "cannot tell" or len(pairs) >= MOST_PAIRS)
    assert low <= speed_up <= high
    assert verdict != "faster" or low > 1.0
    assert verdict != "slower" or high < 1.0
    assert verdict != "same" or 1.0 <= high < 1.0 + FUTILE
    back = conclude(pairs[::-1])
    assert back.verdict == verdict
    assert back.speed_up == pytest.approx(speed_up)


# --- the pairs -------------------------------------------------------------------------------------------------------

WINNER = {"crew.workers": 8}


class Confirming:
    """A confirmation on a pretended machine, with what was said and kept."""

    def __init__(self, monkeypatch, wall_s, *, total_s=1000.0, pairs=(), instances=("one", "two"), seed=1):
        clock = Clock(monkeypatch)
        self.pairs, self.said, self.kept, self.defaults = list(pairs), [], [], []
        self.timing = Pretended(wall_s, clock=clock, budget=(budget := Budget(total_s)))
        for task in instance().tasks:  # the default is known to take ten seconds
            self.timing.costs.observe(task, wall_s=10.0, width=1, peak_gib=0.1)
        measure(
            self.pairs,
            [instance(name) for name in instances],
            WINNER,
            timing=self.timing,
            budget=budget,
            order=random.Random(seed),
            say=self.said.append,
            on_pair=lambda found: self.kept.append(len(found)),
            on_default=lambda ran, timed: self.defaults.append((ran.name, timed.wall_s)),
        )
        self.left_s = budget.left_s

    @property
    def sides(self):
        return [plan.workers for _, plan, _ in self.timing.asked]


def twice_as_fast(_, plan, number):
    return 10.0 * (0.5 if plan.workers == 8 else 1.0) * (1.0 + 0.001 * (number % 3))


def unclear(_, plan, number):
    # In every other round over two workloads the winner is slower.
    return 10.0 if plan.workers == 4 else 9.5 * math.exp(0.3 * (-1) ** (number // 4))


def test_pairs_are_run_until_the_answer_is_clear_and_each_is_said_and_kept_and_teaches_nothing(monkeypatch):
    run = Confirming(monkeypatch, twice_as_fast)
    assert len(run.pairs) == LEAST_PAIRS
    assert conclude(run.pairs).verdict == "faster"
    assert run.kept == list(range(1, LEAST_PAIRS + 1))
    assert run.said[0].startswith("  pair 1, one: default 10.0")
    assert run.said[0].endswith((" s, winner 5.00 s", " s, winner 5.01 s"))
    assert run.defaults == [(found.workload, found.default_s) for found in run.pairs]
    assert not any(learn for *_, learn in run.timing.asked)


def test_a_pair_is_default_and_winner_one_right_after_the_other_on_the_same_instance_in_random_order(monkeypatch):
    run = Confirming(monkeypatch, unclear)
    assert len(run.pairs) == MOST_PAIRS
    for (ran, *first), (also, *second) in zip(run.timing.asked[::2], run.timing.asked[1::2], strict=True):
        assert ran == also
        plans = [run.timing.policy(parameters, ran) for parameters in ({}, WINNER)]
        assert [first[0], second[0]] in (plans, plans[::-1])
    sides = run.sides[::2]
    assert 4 <= sides.count(4) <= 12
    assert sides != [4, 8] * 8
    assert Confirming(monkeypatch, unclear).sides[::2] == sides
    assert Confirming(monkeypatch, unclear, seed=2).sides[::2] != sides


def test_instances_take_turns_and_pairs_end_only_after_whole_rounds(monkeypatch):
    run = Confirming(monkeypatch, twice_as_fast, instances=("a", "b", "c"))
    assert [found.workload for found in run.pairs] == [*"abcabc"]


def failing(*workloads, sides, words="did not converge"):
    """Return wall times of runs of which one side or both, told by their workers, fail on some workloads."""

    def wall_s(of, plan, number):
        if of.name in workloads and plan.workers in sides:
            raise TaskError(f"label 0: {words}")
        return twice_as_fast(of, plan, number)

    return wall_s


@pytest.mark.parametrize("seed", range(4))
def test_a_winner_that_fails_has_lost_and_why_is_one_line_whatever_a_program_prints(monkeypatch, seed):
    with pytest.raises(LostError) as lost:
        Confirming(monkeypatch, failing("two", sides=[8], words="a long line of output\n" * 100), seed=seed)
    assert str(lost.value).startswith("two: label 0: a long line of output a long")
    assert "\n" not in str(lost.value)
    assert len(str(lost.value)) < 400


def test_a_winner_that_takes_far_longer_than_the_default_has_lost(monkeypatch):
    def wall_s(factor):
        return lambda _, plan, __: 10.0 * (factor if plan.workers == 8 else 1.0)

    for seed in range(4):  # either side first; what the default takes must be known
        with pytest.raises(LostError, match=r"^(one|two): "):
            Confirming(monkeypatch, wall_s(1.1 * FAR_SLOWER), seed=seed)
        assert conclude(Confirming(monkeypatch, wall_s(0.9 * FAR_SLOWER), seed=seed).pairs) == (
            "slower",
            pytest.approx(1 / (0.9 * FAR_SLOWER)),
            pytest.approx((1 / (0.9 * FAR_SLOWER), 1 / (0.9 * FAR_SLOWER))),
        )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sides", [[4], [4, 8]], ids=["the default", "both"])
def test_an_instance_on_which_the_default_or_both_fail_is_left_out_whichever_comes_first(monkeypatch, sides, seed):
    wall_s = failing("two", sides=sides, words="the program said:\n\n  sym_geom_project: problem\n  in line 3")
    run = Confirming(monkeypatch, wall_s, instances=("one", "two", "three"), seed=seed)
    assert [found.workload for found in run.pairs] == ["one", "three", "one", "three"]
    assert [line for line in run.said if "left out" in line] == [
        "  two is left out: two: label 0: the program said: sym_geom_project: problem in line 3"
    ]


def test_pairs_of_an_instance_on_which_the_default_fails_later_do_not_count(monkeypatch):
    def wall_s(of, plan, number):
        return failing("two", sides=[4])(of, plan, number) if number >= 6 else twice_as_fast(of, plan, number)

    run = Confirming(monkeypatch, wall_s, instances=("one", "two", "three"), pairs=())
    assert {found.workload for found in run.pairs} == {"one", "three"}
    assert len(run.pairs) == LEAST_PAIRS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_cannot_be_used_at_all_is_neither_a_loss_nor_left_out(monkeypatch, seed):
    def wall_s(*_):
        raise InputError("method 'none' is not known")

    with pytest.raises(InputError, match="'none' is not known"):
        Confirming(monkeypatch, wall_s, seed=seed)


def test_where_the_default_fails_on_every_instance_there_are_no_pairs(monkeypatch):
    assert Confirming(monkeypatch, failing("one", "two", sides=[4])).pairs == []


def test_the_end_of_the_budget_ends_the_pairs_and_is_no_loss(monkeypatch):
    run = Confirming(monkeypatch, lambda *_: 10.0 if _[-1] < 4 else 35.0, total_s=70.0)
    assert len(run.pairs) == 2
    assert len(run.sides) == 5
    assert run.said == [line for line in run.said if line.startswith("  pair ")]
