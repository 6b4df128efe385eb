"""Claims about `autotune.runtime.guard`, on samples made up here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.runtime.failures import kind_of
from autotune.runtime.guard import FAST_S, FILL_GIB_S, LOOK_SHARE, NEARLY, SLOW_S, STALLED, Guard, Verdict, heaviest

NOTHING = Verdict(pause=False)


def look(guard, at_s, held_gib, *, expected_gib=None, idle_gib=0.0, **signs):
    """Show a guard what the running tasks and the idle workers hold."""
    return guard.judge(
        at_s,
        resident_gib=sum(held_gib.values()) + idle_gib,
        by_task=held_gib,
        expected_gib=dict.fromkeys(held_gib, 1.0) if expected_gib is None else expected_gib,
        **signs,
    )


def test_looks_are_slow_below_half_the_budget_and_fast_above_or_where_growth_leads_there_until_the_next_slow_one():
    guard = Guard(10.0)
    for at_s, held_gib, interval_s in ((0.0, 4.9, SLOW_S), (1.0, 5.1, FAST_S), (2.0, 1.0, SLOW_S), (2.5, 3.1, FAST_S)):
        assert look(guard, at_s, {1: held_gib}) == NOTHING
        assert guard.interval_s == interval_s


def test_the_next_look_comes_before_the_cores_could_fill_half_of_what_is_left():
    guard = Guard(16.0, cores=4)
    look(guard, 0.0, {1: 1.0}, look_s=0.0)
    assert guard.interval_s == pytest.approx(15.0 / (4 * FILL_GIB_S) / 2)


def test_looks_that_cost_much_are_rarer_where_memory_is_not_short():
    guard = Guard(16.0, cores=64)
    look(guard, 0.0, {1: 1.0}, look_s=0.002)
    assert guard.interval_s == pytest.approx(0.002 / LOOK_SHARE)


def test_a_nearly_used_budget_pauses_and_stops_nobody_and_idle_workers_count_towards_it():
    guard = Guard(10.0)
    assert look(guard, 0.0, {1: 10.0 * NEARLY + 0.1}) == Verdict(pause=True)
    assert look(guard, 1.0, {1: 10.0 * NEARLY - 0.1}) == NOTHING
    assert look(Guard(10.0), 0.0, {}, idle_gib=11.0) == Verdict(pause=True)


def test_over_the_budget_the_task_furthest_over_its_prediction_is_stopped_not_the_largest():
    verdict = look(Guard(10.0), 0.0, {1: 7.0, 2: 4.0, 3: 0.5}, expected_gib={1: 6.5, 2: 1.0, 3: 0.1})
    assert (verdict.pause, verdict.stop) == (True, 2)
    assert verdict.reason == (
        "held 4.00 GiB where 1.00 were predicted, and all together were about to exceed the 10.00 GiB that may be used"
    )


def test_a_task_of_which_nothing_was_predicted_is_over_by_all_it_holds():
    assert look(Guard(10.0), 0.0, {1: 8.0, 2: 3.0}, expected_gib={1: 6.0}).stop == 2


def test_a_task_is_stopped_before_the_budget_is_exceeded_where_it_would_be_by_the_next_look():
    guard = Guard(10.0)
    assert look(guard, 0.0, {1: 1.0, 2: 5.0}, expected_gib={1: 1.0, 2: 5.0}) == NOTHING
    assert look(guard, 0.05, {1: 3.9, 2: 5.0}, expected_gib={1: 1.0, 2: 5.0}).stop == 1


def test_after_a_stop_those_that_stay_are_judged_by_their_own_growth():
    guard = Guard(10.0)
    look(guard, 0.0, {1: 4.0, 2: 1.0})
    assert look(guard, 0.05, {1: 9.5, 2: 1.0}).stop == 1
    assert look(guard, 0.10, {2: 1.0}) == NOTHING
    assert look(guard, 0.15, {2: 9.0}).stop == 2


@pytest.mark.parametrize("samples", [((0.0, 9.6), (0.05, 6.0)), ((1.0, 1.0), (1.0, 4.0))], ids=["shrinks", "one time"])
def test_memory_that_shrinks_and_two_samples_of_the_same_time_are_no_growth(samples):
    guard = Guard(10.0)
    assert [look(guard, at_s, {1: held_gib}) for at_s, held_gib in samples][-1] == NOTHING


@pytest.mark.parametrize(("share", "pause"), [(0.0, False), (STALLED, False), (STALLED + 0.01, True)])
def test_tasks_that_wait_for_memory_pause_the_start_of_more(share, pause):
    assert look(Guard(10.0), 0.0, {1: 1.0}, stalled=share) == Verdict(pause=pause)


def test_only_a_limit_met_since_the_last_look_pauses():
    guard = Guard(10.0)
    verdicts = [look(guard, at, {1: 1.0}, limit_events=count) for at, count in enumerate([7.0, 7.0, 8.0, 8.0])]
    assert [verdict.pause for verdict in verdicts] == [False, False, True, False]


def test_a_budget_that_changed_counts_from_the_next_look():
    guard = Guard(10.0)
    assert look(guard, 0.0, {1: 6.0}) == NOTHING
    guard.budget_gib = 5.0
    assert look(guard, 1.0, {1: 6.0}).stop == 1


samples_of = st.lists(
    st.tuples(st.floats(0.01, 2.0), st.dictionaries(st.integers(0, 5), st.floats(0.0, 9.0), max_size=5)), max_size=12
)


@given(samples_of, st.dictionaries(st.integers(0, 5), st.floats(0.0, 9.0)))
def test_whatever_tasks_do_who_is_stopped_is_furthest_over_its_prediction_and_over_the_budget_one_is(samples, expected):
    guard, at_s = Guard(10.0), 0.0
    for seconds, held in samples:
        at_s += seconds
        verdict = look(guard, at_s, held, expected_gib=expected)
        over = {number: gib - expected.get(number, 0.0) for number, gib in held.items()}
        assert verdict.stop is None or over[verdict.stop] == max(over.values())
        assert verdict.stop is not None or not held or sum(held.values()) <= guard.budget_gib
        assert verdict.pause or (verdict.stop is None and sum(held.values()) <= NEARLY * guard.budget_gib)
        assert FAST_S <= guard.interval_s <= SLOW_S


@pytest.mark.parametrize(
    ("held_gib", "budget_gib", "free_gib", "stopped"),
    [
        ({}, 5.0, 50.0, None),
        ({}, 5.0, 0.0, None),
        ({1: 2.0, 2: 2.0}, 5.0, 50.0, None),
        ({1: 2.0, 2: 3.0}, 5.0, 0.1, None),
        ({1: 0.001, 2: 0.002}, 5.0, 0.0, None),  # nothing to win
        ({1: 2.0, 2: 3.0}, 4.9, 50.0, 2),
        ({1: 2.0, 2: 3.0}, 100.0, 0.0, 2),
    ],
)
def test_over_the_scratch_budget_or_on_a_full_disk_who_holds_most_is_stopped(held_gib, budget_gib, free_gib, stopped):
    verdict = heaviest(held_gib, budget_gib=budget_gib, free_gib=free_gib)
    assert verdict.stop == stopped
    assert verdict == NOTHING if stopped is None else kind_of("unknown_error", verdict.reason) == "disk"
