"""A session that remembers: tasks start from where those of the run before ended, and results stay the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyscf")

import autotune

pytestmark = pytest.mark.programs("pyscf")

WATERS = (
    *(("O", 0.0, 0.0, 0.0), ("H", 0.0, 0.76, 0.59), ("H", 0.0, -0.76, 0.59)),
    *(("O", 2.9, 0.1, 0.0), ("H", 3.4, 0.85, 0.3), ("H", 3.4, -0.65, 0.3)),
    *(("O", 1.4, 2.6, 0.2), ("H", 0.8, 1.9, 0.1), ("H", 2.2, 2.1, 0.1)),
)


@pytest.mark.parametrize(
    ("method", "driver", "usual", "allowed"),
    [
        ("hf", "gradient", {}, 1e-6),
        ("pbe", "gradient", {}, 1e-6),
        ("hf", "energy", {"program_tuning": False}, 1e-9),  # the limit of a tunable for each task
    ],
)
def test_a_remembered_step_gives_the_same_components_and_by_hf_in_fewer_cycles(
    expansion, method, driver, usual, allowed
):
    cycles = []
    with (
        autotune.Session(autotune.Options(journal="none", reuse_densities=True)) as remembering,
        autotune.Session(autotune.Options(journal="none", **usual)) as forgetful,
    ):
        for step in range(3):
            moved = [WATERS[0], ("H", 0.0, 0.76 + 0.004 * step, 0.59), *WATERS[2:]]
            chosen = {"program": "pyscf", "method": method, "basis": "sto-3g", "max_nbody": 2, "driver": driver}
            ones, others = (each.components(expansion(moved, **chosen)) for each in (remembering, forgetful))
            for label, one in ones.items():
                assert np.abs(np.asarray(one.return_result) - np.asarray(others[label].return_result)).max() < allowed
            cycles.append([sum(r.properties.scf_iterations for r in each.values()) for each in (ones, others)])
    if (method, driver) == ("hf", "gradient"):  # on a grid, those on the coarse one count as well
        assert cycles[0][0] == cycles[0][1]
        assert cycles[1][0] < 0.8 * cycles[1][1]
