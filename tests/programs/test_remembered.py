"""A session that remembers: tasks start from where those of the run before ended, and results stay the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyscf")

import autotune
from autotune.expansion import readers

pytestmark = pytest.mark.programs("pyscf")

WATER3 = """9

O  0.0 0.0 0.0
H  0.0 0.76 0.59
H  0.0 -0.76 0.59
O  2.9 0.1 0.0
H  3.4 0.85 0.3
H  3.4 -0.65 0.3
O  1.4 2.6 0.2
H  0.8 1.9 0.1
H  2.2 2.1 0.1
"""


def cluster(step, method="hf", driver="gradient"):
    """Return the input of the cluster with its first hydrogen a little farther away at each step."""
    moved = WATER3.replace("0.0 0.76 0.59", f"0.0 {0.76 + 0.004 * step:.3f} 0.59", 1)
    expansion = readers.Expansion(program="pyscf", method=method, basis="sto-3g", max_nbody=2, driver=driver)
    return readers.many_body_fields(moved, name="w.xyz", expansion=expansion)


def run(session, step, **what):
    return np.asarray(session.run(cluster(step, **what)).return_result)


@pytest.mark.parametrize("method", ["hf", "pbe"])
def test_a_remembered_step_gives_the_same_gradient(method):
    with (
        autotune.Session(autotune.Options(journal="none", reuse_densities=True)) as remembering,
        autotune.Session(autotune.Options(journal="none")) as forgetful,
    ):
        for step in range(3):
            one, other = (run(session, step, method=method) for session in (remembering, forgetful))
            assert np.abs(one - other).max() < 5e-6  # a sum of ten terms of 1e-6 at most


def test_energies_agree_to_the_limit_of_a_tunable_for_each_task():
    with (
        autotune.Session(autotune.Options(journal="none", reuse_densities=True)) as remembering,
        autotune.Session(autotune.Options(journal="none", program_tuning=False)) as alone,
    ):
        for step in range(3):
            found = [s.components(cluster(step, driver="energy")) for s in (remembering, alone)]
            for label, one in found[0].items():
                assert abs(one.return_result - found[1][label].return_result) < 1e-9


def test_it_takes_fewer_cycles_and_only_where_it_was_asked_for():
    cycles = {}
    for remember in (True, False):
        with autotune.Session(autotune.Options(journal="none", reuse_densities=remember)) as session:
            of_steps = []
            for step in range(2):
                results = session.components(cluster(step)).values()
                of_steps.append(sum(one.properties.scf_iterations for one in results))
            cycles[remember] = of_steps
    assert cycles[True][0] == cycles[False][0]
    assert cycles[True][1] < 0.8 * cycles[False][1]
