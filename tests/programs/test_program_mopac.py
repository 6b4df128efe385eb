"""MOPAC through our harness: what MOPAC says by hand; its bits are in test_oracle.py."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import qcengine
from places import CASES

from autotune.base.errors import InputError
from autotune_plugins.mopac_harness import CheckedMopacHarness

pytestmark = pytest.mark.programs("mopac")

SODIUM_WATER = (CASES / "na_w.xyz").read_text().splitlines()[2:]
WATER = ("O 0 0 0", "H 0 -0.757 0.587", "H 0 0.757 0.587")
KCAL_MOL = 27.2113834 * 23.060529  # the hartree that QCEngine takes for MOPAC's


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_the_many_body_sum_of_all_bodies_is_the_whole_cluster(session, cluster, driver):
    fields = cluster("water2", program="mopac", method="pm6", basis="", driver=driver)
    whole = next(r for r in session.components(fields).values() if len(r.molecule.fragments) == 2)
    fields["specification"]["keywords"]["return_total_data"] = True
    assert session.run(fields).return_result == pytest.approx(np.asarray(whole.return_result), abs=1e-12)


@pytest.fixture
def of_two(expansion):
    """Return a function that makes the input of a molecule of some atoms and another."""

    def make(first, second, *, charge=0, multiplicity=1, method="pm6", **others):
        rows = [line.split() for line in (*first, *second)]
        atoms = [(symbol, *map(float, xyz)) for symbol, *xyz in rows]
        fragments = f"{len(first)},{len(second)}"
        spins = f"{multiplicity},1"
        chosen = {"fragments": fragments, "charges": f"{charge},0", "multiplicities": spins, "max_nbody": 2, **others}
        return expansion(atoms, program="mopac", method=method, **chosen)

    return make


HELIUM = ["He 0 0 30"]


@pytest.mark.parametrize(
    ("atoms", "chosen", "words"),
    [
        (["H 0 0 0"], {"multiplicity": 2, "method": "pm8"}, "MOPAC does not have method: PM8"),
        (["U 0 0 0"], {}, "MOPAC cannot compute U with PM6: MISSING VAN DER WAALS RADIUS FOR U"),
        (["Gd 0 0 0"], {"charge": 3, "multiplicity": 8}, "cannot compute Gd with PM6: Data are not available for Gad"),
        (WATER, {"basis": "sto-3g"}, "MOPAC has no basis sets; leave 'sto-3g' out"),
    ],
)
def test_what_mopac_does_not_have_is_refused_before_anything_starts(session, of_two, atoms, chosen, words):
    with pytest.raises(InputError, match=words):
        session.run(of_two(atoms, HELIUM, **chosen))


def test_the_version_is_what_mopac_itself_says():
    said = subprocess.run(["mopac", "--version"], capture_output=True, text=True, check=True).stdout
    assert CheckedMopacHarness().get_version() == said.split()[2]


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_a_lone_ion_has_the_energy_that_mopac_prints_for_it_and_no_gradient(session, of_two, driver):
    fields = of_two(SODIUM_WATER[:1], SODIUM_WATER[1:], charge=1, driver=driver)
    alone, *_, both = session.components(fields).values()
    printed = [by_hand("PM6 CHARGE=1", atoms) for atoms in (["Na 0 0 0"], SODIUM_WATER)]
    assert printed[0] == pytest.approx(130.279, abs=1e-3)
    energies = [float(each.properties.return_energy) * KCAL_MOL for each in (alone, both)]
    assert energies == pytest.approx(printed, abs=1e-3)
    if driver == "gradient":
        assert np.array_equal(alone.return_result, np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("atoms", "multiplicity", "keywords"),
    [
        (["O 0 0 0", "H 0 0 0.97"], 2, "UHF"),
        (["O 0 0 0", "O 0 0 1.21"], 3, "UHF TRIPLET"),
        (["N 0 0 0"], 4, "UHF QUARTET"),
        (["C 0 0 0", "H 0.99 0 0.4", "H -0.99 0 0.4"], 3, "UHF TRIPLET"),
    ],
)
def test_a_multiplicity_is_the_unrestricted_state_of_that_spin(session, of_two, atoms, multiplicity, keywords):
    fields = of_two(atoms, HELIUM, multiplicity=multiplicity, max_nbody=1)
    radical, _ = session.components(fields).values()
    assert radical.return_result * KCAL_MOL == pytest.approx(by_hand(f"PM6 {keywords}", atoms), abs=1e-3)


def test_a_gradient_is_the_slope_of_the_energy(session, cluster):
    fields = cluster("water2", program="mopac", method="pm6", basis="", driver="gradient")
    whole = next(r for r in session.components(fields).values() if len(r.molecule.fragments) == 2)
    step = np.zeros((6, 3))
    step[4, 1] = 2e-3
    energies = []
    for sign in (1, -1):
        moved = whole.molecule.model_copy(update={"geometry": whole.molecule.geometry + sign * step})
        asked = whole.input_data.model_copy(update={"molecule": moved})
        energies.append(qcengine.compute(asked, "mopac", raise_error=True).properties.return_energy)
    slope = (energies[0] - energies[1]) / (2 * step[4, 1])
    assert np.asarray(whole.return_result).reshape(-1, 3)[4, 1] == pytest.approx(slope, abs=5e-6)


def by_hand(keywords, atoms):
    """Return the heat of formation (kcal/mol) that MOPAC itself prints for atoms (Å)."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.mop"
        job.write_text("\n".join([f"{keywords} 1SCF", "", "", *atoms, ""]))
        subprocess.run(["mopac", job], check=True, capture_output=True, cwd=folder)
        return float(re.search(r"FINAL HEAT OF FORMATION += +(\S+) KCAL", job.with_suffix(".out").read_text())[1])
