"""What trials say: the gain to expect of more, the changes that are worth keeping, the parameters that mattered."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.records import Trial
from autotune.calibration.effects import LEAST_TRIALS, expected_gain, importances, sparing

DEFAULTS = {"workers": 4, "order": "input", "colour": "red"}
NOISE = 0.01
speed_ups = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=7)


def trial(speed_up, **changes):
    state = "done" if speed_up > 0 else "failed"
    parameters = {**DEFAULTS, **changes}
    return Trial(
        parameters=parameters, source="search", state=state, workers=4, width=1, wall_s=(1.0,), speed_up=speed_up
    )


def gain(found):
    return expected_gain([trial(speed_up) for speed_up in found])


@given(speed_ups)
def test_the_expected_gain_is_that_of_the_second_half_over_the_first_in_all_orders(found):
    logs = [-math.log(speed_up) for speed_up in found]
    halves = list(itertools.combinations(logs, len(logs) // 2))
    gained = statistics.fmean(min(half) - min(logs) for half in halves)
    assert gain(found) == pytest.approx(gained, abs=1e-12)


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=60), st.integers(0, 3))
def test_the_expected_gain_is_never_negative_whatever_failed(found, failed):
    assert gain([*found, *failed * [0.0]]) >= 0.0


def test_with_less_than_two_trials_that_ran_anything_may_be_expected():
    assert gain([]) == gain([1.0]) == gain([2.0, 0.0]) == math.inf


def test_the_expected_gain_of_thousands_of_trials_can_be_told():
    draw = random.Random(1)
    assert 0.0 < gain([draw.lognormvariate(0.0, 0.1) for _ in range(3000)]) < 0.1


# --- which parameters matter -----------------------------------------------------------------------------------------


def every(noise=0.0):
    """Return trials of all combinations: workers matter much, the order a little, the colour not at all."""
    draw = random.Random(3)
    return [
        trial(
            (workers / 4) ** 0.5 * {"input": 1.0, "longest": 1.1}[order] * draw.lognormvariate(0.0, noise),
            workers=workers,
            order=order,
            colour=colour,
        )
        for workers in (2, 4, 8)
        for order in ("input", "longest")
        for colour in ("red", "green")
    ]


def test_changes_without_an_effect_of_their_own_go_back_to_the_default():
    wanted = {"workers": 8, "order": "longest", "colour": "green"}
    assert sparing(wanted, every(NOISE / 10), DEFAULTS, NOISE) == {**DEFAULTS, "workers": 8, "order": "longest"}


def test_changes_that_were_never_tried_go_back_to_the_default():
    assert sparing({**DEFAULTS, "workers": 8}, [trial(1.0)], DEFAULTS, NOISE) == DEFAULTS


def test_what_is_slower_goes_back_to_the_default():
    assert sparing({**DEFAULTS, "workers": 2}, every(), DEFAULTS, NOISE) == DEFAULTS


def test_importances_are_shares_in_the_order_of_what_matters():
    found = importances(every(), DEFAULTS)
    assert list(found) == ["workers", "order", "colour"]
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-3)
    assert found["workers"] > 0.9
    assert found["colour"] == pytest.approx(0.0, abs=1e-6)


def test_too_few_trials_or_trials_that_are_all_alike_have_no_importances():
    assert importances(every()[: LEAST_TRIALS - 1], DEFAULTS) == {}
    assert importances([trial(1.0, colour=colour) for colour in "rgbrgbrgb"], DEFAULTS) == {}
    assert importances([trial(0.0, workers=8)] * LEAST_TRIALS, DEFAULTS) == {}


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(1, 4), st.sampled_from(["a", "b"])), max_size=20))
def test_whatever_the_trials_are_shares_are_between_0_and_1(found):
    shares = importances([trial(speed_up, workers=w, order=o) for speed_up, w, o in found], DEFAULTS)
    assert all(0.0 <= share <= 1.0 for share in shares.values())
