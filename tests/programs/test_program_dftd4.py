"""dftd4 through QCEngine's harness, in the worker's own process: the bits of QCEngine alone, and ghosts left out."""

from __future__ import annotations

import numpy as np
import pytest
import qcengine

from autotune.base.errors import InputError

pytestmark = pytest.mark.programs("dftd4")

# Two ways to ask for the same correction; the second is the one with parameters of its own.
ASKED = {
    "by a functional": ("b3lyp-d4", {}),
    "by a functional and a level": ("b3lyp", {"level_hint": "d4"}),
    "by parameters": ("", {"params_tweaks": {"s8": 2.02929367, "a1": 0.40868035, "a2": 4.53807137}}),
}


def direct(component):
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return qcengine.compute(
            component.input_data, "dftd4", raise_error=True, task_config={"ncores": 1, "memory": 1.0}
        )


@pytest.mark.parametrize("driver", ["energy", "gradient"])
@pytest.mark.parametrize("how", ASKED)
def test_each_component_equals_qcengines_to_the_last_bit(session, three_waters, how, driver):
    method, keywords = ASKED[how]
    components = session.components(three_waters("dftd4", method, keywords=keywords, driver=driver))
    assert len(components) == 6
    for label, component in components.items():
        assert np.array_equal(component.return_result, direct(component).return_result), label


def test_a_pair_is_bound_by_dispersion(session, cluster):
    fields = cluster("water2", program="dftd4", method="b3lyp-d4", basis="", max_nbody=2)
    assert -0.01 < session.run(fields).return_result < 0.0


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_ghost_atoms_are_left_out_of_the_correction(session, cluster, driver):
    def monomers(bsse):
        fields = cluster(
            "water2", program="dftd4", method="b3lyp-d4", basis="", bsse=(bsse,), max_nbody=2, driver=driver
        )
        found = [r for r in session.components(fields).values() if r.molecule.real.sum() == 3]
        return {
            r.molecule.geometry[r.molecule.real].tobytes(): r
            for r in found
            if (bsse == "nocp") == r.molecule.real.all()
        }

    alone, among_ghosts = monomers("nocp"), monomers("cp")
    assert len(alone) == 2
    assert alone.keys() == among_ghosts.keys()
    for place in alone:
        one, other = (np.asarray(r[place].return_result) for r in (alone, among_ghosts))
        if driver == "gradient":
            assert one.shape == (3, 3)
            assert sorted(np.abs(other).sum(axis=1) == 0.0) == [False] * 3 + [True] * 3
        assert np.abs(one).sum() == pytest.approx(np.abs(other).sum(), abs=1e-15)


def test_hessians_are_refused_before_the_run(session, cluster):
    with pytest.raises(InputError, match="dftd4 has no hessian; it has energy and gradient"):
        session.run(cluster("water2", program="dftd4", method="b3lyp-d4", basis="", driver="hessian"))
