"""dftd4 through QCEngine's harness, in the worker's process: ghosts are left out; its bits are in test_oracle.py."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.base.errors import InputError

pytestmark = pytest.mark.programs("dftd4")


@pytest.fixture
def pair(cluster):
    def make(**others):
        return cluster("water2", program="dftd4", method="b3lyp-d4", basis="", max_nbody=2, **others)

    return make


def test_a_pair_is_bound_by_dispersion(session, pair):
    assert -0.01 < session.run(pair()).return_result < 0.0


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_ghost_atoms_are_left_out_of_the_correction(session, pair, driver):
    def monomers(bsse):
        found = session.components(pair(bsse=(bsse,), driver=driver)).values()
        alone = [r for r in found if r.molecule.real.sum() == 3 and r.molecule.real.all() == (bsse == "nocp")]
        return {r.molecule.geometry[r.molecule.real].tobytes(): np.asarray(r.return_result) for r in alone}

    alone, among_ghosts = monomers("nocp"), monomers("cp")
    assert len(alone) == 2
    assert alone.keys() == among_ghosts.keys()
    for place, one in alone.items():
        other = among_ghosts[place]
        if driver == "gradient":
            assert one.shape == (3, 3)
            assert sorted(np.abs(other).sum(axis=1) == 0.0) == [False] * 3 + [True] * 3
        assert np.abs(one).sum() == pytest.approx(np.abs(other).sum(), abs=1e-15)


def test_hessians_are_refused_before_the_run(session, pair):
    with pytest.raises(InputError, match="dftd4 has no hessian; it has energy and gradient"):
        session.run(pair(driver="hessian"))
