"""Records over time: where a workload's times changed, and what is its level now."""

from __future__ import annotations

import math
import random

import pytest

from autotune.changes import change_points
from autotune.history import traces
from autotune.regress_words import history_table
from autotune.samples import Sample


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
    (trace,) = traces(before + dated(noisy(10.0, 10), first=40))
    assert len(trace.samples) == 10
    assert trace.changes == ()
    assert "no change of its level" in history_table([trace])
