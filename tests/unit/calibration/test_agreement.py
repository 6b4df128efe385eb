"""What counts as the same result: energies to 1e-9 Eh, derivatives by their own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autotune.calibration.agreement import LIMITS, DisagreementError, deviation

VALUES = {"a": {"energy": -76.0, "gradient": np.zeros((3, 3))}, "b": {"energy": -40.0}}


def changed(key, name, value):
    return {**VALUES, key: {**VALUES[key], name: value}}


def test_equal_values_do_not_differ():
    found = deviation(VALUES, VALUES)
    assert (found.energy_hartree, dict(found.by_property)) == (0.0, {"energy": 0.0, "gradient": 0.0})
    found.check()


def test_the_largest_change_of_any_task_counts():
    found = deviation(changed("b", "energy", -40.0 + 5e-10), VALUES)
    assert found.energy_hartree == pytest.approx(5e-10, rel=1e-3)
    found.check()


@pytest.mark.parametrize("name", LIMITS)
def test_a_change_above_its_limit_is_refused_with_its_size(name):
    values = {"a": {name: np.array([0.0, 0.0])}}
    deviation({"a": {name: np.array([0.0, 0.9 * LIMITS[name]])}}, values).check()
    with pytest.raises(DisagreementError, match=rf"^it changes results: {name} by 1.1e-0\d \(at most 1e-0\d\)$"):
        deviation({"a": {name: np.array([0.0, -1.1 * LIMITS[name]])}}, values).check()


def test_what_is_no_number_is_refused():
    with pytest.raises(DisagreementError):
        deviation(changed("b", "energy", math.nan), VALUES).check()


def test_tasks_and_properties_that_only_one_has_say_nothing():
    found = deviation({"a": {"energy": -76.0, "hessian": np.ones((9, 9))}, "c": {"energy": 1.0}}, VALUES)
    assert dict(found.by_property) == {"energy": 0.0}
