"""MOPAC through our harness: the bits of a run without autotune, what MOPAC says by hand, and no ghosts."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import qcengine
from places import CASES
from qcelemental.models.v2 import AtomicInput, Molecule
from qcengine.config import get_config
from qcengine.exceptions import ConvergenceError

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.expansion.readers import Expansion, many_body_fields
from autotune_plugins.mopac_harness import CheckedMopacHarness

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


def test_a_basis_set_which_mopac_would_ignore_is_refused(session, cluster):
    with pytest.raises(InputError, match=r"MOPAC has no basis sets; leave 'sto-3g' out"):
        session.run(cluster("water2", program="mopac", method="pm6", basis="sto-3g"))


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


# --- several tasks in one start --------------------------------------------------------------------------------------

O2 = ["O 0 0 0", "O 0 0 1.21"]
OH = ["O 0 0 0", "H 0 0 0.97"]
TOO_CLOSE = ["O 0 0 0", "H 0 0 0.1"]
MIXED = (
    (WATER, 1, 0),
    (O2, 3, 0),
    (OH, 2, 0),
    (["N 0 0 0"], 4, 0),
    (OH, 1, -1),
    (["O 0 0 0", "H 0 -0.757 0.600", "H 0 0.757 0.580"], 1, 0),
    (["O 0 0 0", "H 0 0.1 0.96", "H 0.85 -0.48 0.16", "H -0.85 -0.48 0.05"], 1, 1),
    (["Na 0 0 0"], 1, 1),
    (WATER, 1, 0),
)


def asked(atoms, multiplicity=1, charge=0, *, method="pm7"):
    rows = [line.split() for line in atoms]
    molecule = Molecule(
        symbols=[symbol for symbol, *_ in rows],
        geometry=[float(x) / 0.52917721092 for _, *xyz in rows for x in xyz],
        molecular_charge=charge,
        molecular_multiplicity=multiplicity,
        fix_com=True,
        fix_orientation=True,
    )
    return AtomicInput(molecule=molecule, specification={"driver": "gradient", "model": {"method": method}})


def config():
    return get_config(task_config={"ncores": 1, "memory": 1.0})


def told(result):
    """Return all that is said of a task but what MOPAC printed, in which there are times."""
    return result.model_dump(exclude={"stdout", "stderr"}, mode="json")


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("method", ["pm6", "pm7", "am1"])
def test_jobs_of_one_file_have_all_digits_of_single_ones_whatever_was_before_them(method, backwards):
    inputs = [asked(*each, method=method) for each in (MIXED[::-1] if backwards else MIXED)]
    together = CheckedMopacHarness().compute_together(inputs, config())
    assert len(together) == len(inputs)
    for each, result in zip(inputs, together, strict=True):
        if each.molecule.symbols.tolist() == ["Na"]:
            assert result is None  # without electrons it would have the dipole of the job before
            continue
        assert told(result) == told(CheckedMopacHarness().compute(each, config()))
        assert result.stdout.count("FINAL HEAT OF FORMATION") == 1


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_job_that_fails_among_others_has_no_result_and_the_others_have_theirs(place):
    inputs = [asked(*each) for each in MIXED[:3]]
    inputs.insert(place, asked(TOO_CLOSE, 2))
    with pytest.raises(qcengine.exceptions.InputError, match="GEOMETRY IN ERROR"):
        CheckedMopacHarness().compute(inputs[place], config())
    together = CheckedMopacHarness().compute_together(inputs, config())
    assert [result is None for result in together] == [number == place for number in range(4)]
    for each, result in zip(inputs, together, strict=True):
        if result is not None:
            assert told(result) == told(CheckedMopacHarness().compute(each, config()))


def test_a_job_that_does_not_converge_among_others_has_no_result(monkeypatch):
    inputs, build = [asked(*each) for each in MIXED[:4]], CheckedMopacHarness.build_input

    def hurried(harness, asked, config):
        job = build(harness, asked, config)
        if len(asked.molecule.symbols) == 3:
            job["infiles"]["dispatch.mop"] = job["infiles"]["dispatch.mop"].replace(" A0", " ITRY=1 A0")
        return job

    monkeypatch.setattr(CheckedMopacHarness, "build_input", hurried)
    for order in (inputs, [*inputs[1:], inputs[0]]):
        together = CheckedMopacHarness().compute_together(order, config())
        assert [result is None for result in together] == [len(each.molecule.symbols) == 3 for each in order]
    with pytest.raises(ConvergenceError, match=r"UNABLE TO ACHIEVE SELF-"):
        CheckedMopacHarness().compute(inputs[0], config())


def test_jobs_behind_one_that_ends_mopac_were_not_taken_up(monkeypatch):
    inputs, build = [asked(*each) for each in MIXED[:4]], CheckedMopacHarness.build_input

    def broken(harness, asked, config):
        job = build(harness, asked, config)
        if asked.molecule.molecular_multiplicity == 2:
            job["infiles"]["dispatch.mop"] = job["infiles"]["dispatch.mop"].replace("\nO ", "\nQq ")
        return job

    monkeypatch.setattr(CheckedMopacHarness, "build_input", broken)
    together = CheckedMopacHarness().compute_together(inputs, config())
    assert len(together) < 4
    assert [result is not None for result in together[:2]] == [True, True]


LATE = "import os, sys, time; time.sleep(20); os.execvp(sys.argv[1], sys.argv[1:])"


def test_a_file_that_is_ended_at_once_brings_nothing(monkeypatch):
    build = CheckedMopacHarness.build_input

    def late(harness, asked, config):
        job = build(harness, asked, config)
        return {**job, "command": [sys.executable, "-c", LATE, *job["command"]]}

    monkeypatch.setattr(CheckedMopacHarness, "build_input", late)
    together = CheckedMopacHarness().compute_together([asked(WATER)] * 3, config(), limit_s=0.1)
    assert not any(together)


def test_a_run_in_shared_starts_equals_one_in_single_starts_to_the_last_bit(session, cluster, sharing_starts):
    fields = cluster("water6", program="mopac", method="pm7", basis="", max_nbody=3, driver="gradient")
    alone = session.run(fields)
    with sharing_starts("mopac") as shared:
        together = shared.run(fields)
        sharers = [record.sharers for record in shared.record.task_records]
    assert max(sharers) > 10
    assert together.properties.model_dump_json() == alone.properties.model_dump_json()
    assert np.array_equal(together.return_result, alone.return_result)
