"""Records over time: where a workload's times changed, and what is its level now."""

from __future__ import annotations

import math
import random

import pytest

from autotune.compare.history import change_points, levels, traces
from autotune.compare.samples import Sample
from autotune.reports.regressions import history_table


def noisy(mean_s, count, *, cv=0.03, seed=0):
    generator = random.Random(seed)
    return [mean_s * math.exp(generator.gauss(0.0, cv)) for _ in range(count)]


def dated(times_s, workload="water", *, machine="here", content="w", first=0):
    return [
        Sample(
            workload=workload,
            content=content,
            wall_s=time_s,
            machine=machine,
            created=f"2026-01-01T{(first + n) // 60:02d}:{(first + n) % 60:02d}:00",
            source=f"{first + n}.json",
        )
        for n, time_s in enumerate(times_s)
    ]


def test_a_level_that_does_not_change_is_split_in_about_one_of_two_hundred_series():
    false = sum(bool(change_points(noisy(10.0, 40, seed=seed))) for seed in range(200))
    assert false <= 5


@pytest.mark.parametrize("factor", [0.8, 1.1, 1.5])
def test_a_change_of_a_tenth_is_found_within_one_record_of_its_place(factor):
    for seed in range(10):
        (found,) = change_points(noisy(10.0, 20, seed=seed) + noisy(10.0 * factor, 12, seed=100 + seed))
        assert abs(found - 20) <= 1


def test_several_changes_are_found_in_order():
    series = noisy(10.0, 15) + noisy(13.0, 15, seed=1) + noisy(9.0, 15, seed=2)
    assert [round(found / 15) for found in change_points(series)] == [1, 2]


def test_a_single_slow_record_is_no_change():
    assert change_points([*noisy(10.0, 10), 30.0, *noisy(10.0, 10, seed=1)]) == ()


@pytest.mark.parametrize("series", [[], [1.0], [1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.0], [5.0] * 30])
def test_too_few_or_equal_records_have_no_changes(series):
    assert change_points(series) == ()


def test_a_trace_has_the_level_since_the_last_change():
    (trace,) = traces(dated(noisy(10.0, 15) + noisy(12.0, 15, seed=1)))
    (change,) = trace.changes
    assert change.change == pytest.approx(0.2, abs=0.05)
    assert trace.level_s == pytest.approx(12.0, rel=0.03)
    assert trace.level[0].source == change.source
    assert change.position == trace.level_from
    assert "slower from here on" in history_table([trace])


def test_records_are_taken_by_their_dates_not_by_their_order():
    samples = dated(noisy(10.0, 10) + noisy(20.0, 10, seed=1))
    random.Random(1).shuffle(samples)
    (trace,) = traces(samples)
    assert [change.position for change in trace.changes] == [10]


def test_times_of_another_machine_or_of_other_work_are_another_history():
    before = dated(noisy(30.0, 10), machine="old") + dated(noisy(50.0, 10), content="other", first=20)
    now = dated(noisy(10.0, 11), first=40)
    found = traces(before + now)
    assert [(trace.workload, trace.machine, len(trace.samples)) for trace in found] == [
        ("water [w]", "old", 10),
        ("water [other]", "here", 10),
        ("water [w]", "here", 11),
    ]
    assert [trace.changes for trace in found] == [()] * 3
    text = history_table(found)
    assert "water [w] on old: 10 records" in text
    assert "no change of its level" in text
    assert levels(found, now[:1]) == tuple(now)


def test_head_without_a_history_of_its_own_goes_against_the_latest_of_its_name():
    before = dated(noisy(30.0, 3), machine="old") + dated(noisy(50.0, 3), "other", first=10)
    found = levels(traces(before), dated([10.0], machine="new"))
    assert found == tuple(before)


def test_few_records_cannot_tell_and_the_number_that_could_is_said():
    (trace,) = traces(dated([10.0] * 5 + [20.0] * 5))
    assert (trace.changes, trace.needed) == ((), 11)
    assert "too few to tell a change of its level; from 11 on it can be told" in history_table([trace])
    (trace,) = traces(dated(noisy(10.0, 5) + noisy(20.0, 6, seed=1)))
    assert [change.position for change in trace.changes] == [5]


def test_many_workloads_together_are_seldom_split_falsely():
    def falsely(run):
        samples = [s for n in range(20) for s in dated(noisy(10.0, 20, seed=100 * run + n), f"w{n}")]
        return any(trace.changes for trace in traces(samples))

    assert sum(map(falsely, range(20))) <= 4
