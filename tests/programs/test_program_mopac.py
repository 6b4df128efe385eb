"""MOPAC through our harness: the bits of a run without autotune, what MOPAC says by hand, and no ghosts."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import qcengine
from autotune_plugins.mopac_harness import CheckedMopacHarness
from places import CASES
from qcengine.exceptions import ConvergenceError

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.expansion.readers import Expansion, many_body_fields

pytestmark = pytest.mark.programs("mopac")

CASE = CASES / "na_w.xyz"
ALONE = ("(auto)", (1,), (1,))
WATER = ("O 0 0 0", "H 0 -0.757 0.587", "H 0 0.757 0.587")
KCAL_MOL = 27.2113834 * 23.060529  # the hartree that QCEngine takes for MOPAC's


@pytest.mark.parametrize("driver", ["energy", "gradient"])
@pytest.mark.parametrize("method", ["pm6", "pm7"])
def test_each_component_equals_qcengines_to_the_last_bit(session, cluster, monkeypatch, method, driver):
    fields = cluster("water4", program="mopac", method=method, basis="", max_nbody=2, driver=driver)
    components = session.components(fields)
    assert len(components) == 10
    if kernel := session.record.policy.blas_kernel:
        monkeypatch.setenv("OPENBLAS_CORETYPE", kernel)
    for label, component in components.items():
        alone = qcengine.compute(
            component.input_data, "mopac", raise_error=True, task_config={"ncores": 1, "memory": 1.0}
        )
        assert np.array_equal(component.return_result, alone.return_result), label


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_the_many_body_sum_of_all_bodies_is_the_whole_cluster(session, cluster, driver):
    fields = cluster("water2", program="mopac", method="pm6", basis="", driver=driver)
    whole = next(r for r in session.components(fields).values() if len(r.molecule.fragments) == 2)
    fields["specification"]["keywords"]["return_total_data"] = True
    assert session.run(fields).return_result == pytest.approx(np.asarray(whole.return_result), abs=1e-12)


def test_ions_and_radicals_are_computed_with_their_charge_and_spin(session, expansion):
    atoms = [("O", 0, 0, 0), ("H", 0, 0, 0.97), ("O", 0, 3.0, 0), ("H", 0, 3.0, 0.97)]
    fields = expansion(
        atoms, program="mopac", method="pm6", charges="1:-1", multiplicities="2:2", max_nbody=1, bsse=("nocp",)
    )
    anion, radical = session.components(fields).values()
    assert anion.return_result != pytest.approx(radical.return_result, abs=1e-3)
    assert "CHARGE ON SYSTEM" in anion.stdout.upper()
    assert "MS" in radical.stdout.upper()


@pytest.mark.parametrize("bsse", ["cp", "vmfc"])
def test_ghost_atoms_are_refused_in_one_line_before_anything_starts(session, cluster, bsse):
    session.run(cluster("water2", program="mopac", method="pm6", basis=""))
    record = session.record
    with pytest.raises(InputError) as refusal:
        session.run(cluster("water2", program="mopac", method="pm6", basis="", bsse=(bsse,)))
    assert str(refusal.value) == (
        "mopac cannot compute fragments with ghost atoms, which bsse cp and vmfc need; use nocp, or another program"
    )
    assert session.record is record


def test_a_method_or_an_element_that_mopac_does_not_have_is_refused_before_anything_starts(session, cluster, expansion):
    with pytest.raises(InputError, match=r"MOPAC does not have method: PM8"):
        session.run(cluster("water2", program="mopac", method="pm8", basis=""))
    atoms = [("U", 0, 0, 0), ("He", 0, 0, 5)]
    with pytest.raises(InputError, match=r"MOPAC cannot compute U with PM6: MISSING VAN DER WAALS RADIUS FOR U"):
        session.run(expansion(atoms, program="mopac", method="pm6", charges="0,0", multiplicities="1,1"))
    atoms = [("Gd", 0, 0, 0), ("He", 0, 0, 5)]
    with pytest.raises(InputError, match=r"cannot compute Gd with PM6: Data are not available for Gadolinium"):
        session.run(expansion(atoms, program="mopac", method="pm6", charges="3,0", multiplicities="8,1"))


def test_the_version_is_what_mopac_itself_says():
    said = subprocess.run(["mopac", "--version"], capture_output=True, text=True, check=True).stdout
    assert CheckedMopacHarness().get_version() == said.split()[2]


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_a_lone_atom_has_the_energy_that_mopac_prints_for_it_and_no_gradient(session, driver):
    fields = many_body_fields(
        CASE.read_text(),
        name="na_w",
        expansion=Expansion(program="mopac", method="pm6", driver=driver, charges="1,0", max_nbody=2),
    )
    alone, *_, both = session.components(fields).values()
    printed = by_hand("PM6 CHARGE=1", ["Na 0 0 0"])
    assert printed == pytest.approx(130.279, abs=1e-3)
    energies = [float(each.properties.return_energy) * KCAL_MOL for each in (alone, both)]
    assert energies[0] == pytest.approx(printed, abs=1e-3)
    assert energies[1] == pytest.approx(by_hand("PM6 CHARGE=1", CASE.read_text().splitlines()[2:]), abs=1e-3)
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
def test_a_multiplicity_is_the_unrestricted_state_of_that_spin(session, expansion, atoms, multiplicity, keywords):
    whole = [line.split() for line in [*atoms, "He 0 0 30"]]
    fields = expansion(
        [(symbol, *map(float, xyz)) for symbol, *xyz in whole],
        program="mopac",
        method="pm6",
        fragments=f"1-{len(atoms)};{len(whole)}",
        charges="0,0",
        multiplicities=f"{multiplicity},1",
        max_nbody=1,
    )
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


def test_an_scf_that_does_not_converge_is_named_by_the_words_of_mopac(cluster):
    water = atomic_input(workload.load(cluster("water2", program="mopac", method="pm6")).recipe, *ALONE)
    output = output_of("PM6 ITRY=1", WATER)
    with pytest.raises(ConvergenceError, match=r"MOPAC: THE SCF CALCULATION FAILED\.; UNABLE TO ACHIEVE SELF-"):
        CheckedMopacHarness().parse_output({"dispatch.out": output, "dispatch.aux": None}, water)


def output_of(keywords, atoms):
    """Return what MOPAC itself writes about atoms (Å)."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.mop"
        job.write_text("\n".join([f"{keywords} 1SCF", "", "", *atoms, ""]))
        subprocess.run(["mopac", job], check=True, capture_output=True, cwd=folder)
        return job.with_suffix(".out").read_text()


def by_hand(keywords, atoms):
    """Return the heat of formation (kcal/mol) that MOPAC itself prints for atoms (Å)."""
    return float(re.search(r"FINAL HEAT OF FORMATION += +(\S+) KCAL", output_of(keywords, atoms))[1])
