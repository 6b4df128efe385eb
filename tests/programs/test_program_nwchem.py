"""NWChem through our harness: numbers, frames, open shells, core potentials, ranks of MPI, words about faults."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import qcengine
from places import CASES
from qcelemental.models.v2 import AtomicInput, Molecule
from qcengine.config import get_config
from qcengine.exceptions import ResourceError, UnknownError
from qcmanybody.models import v2
from replay import assert_bit_equal, replayed
from scipy.spatial.transform import Rotation

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.base.options import Options
from autotune.expansion.readers import Expansion, many_body_fields
from autotune.programs import mpi
from autotune_plugins import nwchem_faults, nwchem_harness, nwchem_potentials

pytestmark = pytest.mark.programs("nwchem", "pyscf")


DASHES = " " + 72 * "-"
ERRQUIT = f"""
{DASHES}
 {{words}}
{DASHES}
{DASHES}
  current input line :\x20
     0:\x20
{DASHES}
{DASHES}
 {{category}}
{DASHES}
"""


@pytest.mark.parametrize(("basis", "energy"), [("6-31g*", -76.0104965), ("cc-pvdz", -76.0267657)])
def test_hartree_fock_gives_the_published_energies_in_the_basis_sets_own_convention(
    session, two_waters, first_component, basis, energy
):
    result = first_component(session, two_waters("nwchem", "hf", basis))
    assert result.properties.return_energy == pytest.approx(energy, abs=1e-6)


def test_an_input_in_json_is_computed_as_it_is(session, two_waters, first_component):
    fields = two_waters("nwchem", "hf", "cc-pvdz")
    chemistry = fields["specification"]["specification"]["(auto)"]
    assert chemistry["keywords"] == {"basis__spherical": True}
    chemistry["keywords"] = {}
    cartesian = first_component(session, fields).properties.return_energy
    assert cartesian == pytest.approx(-76.0271072, abs=1e-6)


@pytest.mark.parametrize("bsse", ["nocp", "cp"])
def test_the_result_equals_upstreams_replay_to_the_last_bit(session, three_waters, kept, bsse):
    model = v2.ManyBodyInput(**kept(three_waters("nwchem", "hf", "6-31g*", bsse=(bsse,))))
    ours = session.run(model)
    assert_bit_equal(ours, replayed(model, ours))


def test_ghost_atoms_bring_functions_and_no_electrons(session, three_waters):
    components = session.components(three_waters("nwchem", "hf", "6-31g*", bsse=("cp",)))
    pair = next(r for r in components.values() if r.molecule.real.sum() == 6)
    alone = next(r for r in components.values() if r.molecule.real.sum() == 3)
    assert len(alone.input_data.molecule.symbols) == len(pair.input_data.molecule.symbols)
    again = qcengine.compute(
        alone.input_data, "nwchem", raise_error=True, task_config={"ncores": 1, "memory": 1.0, "retries": 0}
    )
    assert alone.return_result == pytest.approx(again.return_result, abs=1e-9)


@pytest.mark.skipif(not mpi.launcher(), reason="there is no mpirun")
def test_a_task_on_two_cores_runs_on_two_ranks_and_agrees(session, two_waters, first_component):
    fields = two_waters("nwchem", "hf", "cc-pvdz")
    narrow = first_component(session, fields)
    with autotune.Session(Options(tuning="none", journal="none", workers=1, threads=2)) as wide:
        broad = first_component(wide, fields)
        (record,) = wide.record.task_records
    assert record.width == 2
    assert [ranks(result) for result in (narrow, broad)] == ["1", "2"]
    assert narrow.return_result == pytest.approx(broad.return_result, abs=1e-8)


def ranks(result):
    """Return the number of processes that NWChem says it runs on."""
    lines = (line.split() for line in result.stdout.splitlines())
    return next(words[-1] for words in lines if words[:2] == ["nproc", "="])


def test_what_nwchem_does_not_have_or_know_is_refused_before_anything_starts(session, two_waters):
    def refusal(method="hf", basis="6-31g", **keywords):
        with pytest.raises(InputError) as caught:
            session.run(two_waters("nwchem", method, basis, keywords=keywords))
        return str(caught.value).partition("fragment 1: ")[2] or str(caught.value).partition("fragment 2: ")[2]

    assert refusal(basis="cc-pvdzz").startswith("NWChem's library has no basis set 'cc-pvdzz' for ")
    assert refusal(method="hff") == "Method not recognized: hff"
    assert refusal(scf__foo=3) == "NWChem: scf_input: unrecognized directive, at the input line 'foo 3'"
    assert "needs core potentials" in refusal(basis="sdb-cc-pvtz")


def test_an_element_that_a_basis_set_of_nwchem_lacks_is_refused_before_anything_starts(session):
    with pytest.raises(InputError, match=r"NWChem's library has no basis set '6-31g' for Br \(bas_tag_lib: no such"):
        session.run(json.loads((CASES / "hbr_nwchem.json").read_text()))


@pytest.mark.parametrize(("method", "keyword"), [("hf", "scf__maxiter"), ("pbe", "dft__iterations")])
def test_an_scf_that_does_not_converge_is_told_as_that(session, two_waters, first_component, method, keyword):
    with pytest.raises(TaskError, match=r"convergence: .*NWChem did not converge: (scf|dft) energy failed$"):
        first_component(session, two_waters("nwchem", method, "6-31g", keywords={keyword: 1}))


def test_too_little_memory_is_told_as_that():
    words = "schwarz_init: insufficient memory             3982061"
    fault = nwchem_faults.failure(ERRQUIT.format(words=words, category="This error has no category"), "")
    assert isinstance(fault, ResourceError)
    assert fault.raw_message == "NWChem: schwarz_init: insufficient memory"


def test_the_version_is_what_nwchem_itself_prints(session, two_waters, first_component):
    result = first_component(session, two_waters("nwchem", "hf", "sto-3g"))
    printed = result.stdout.partition("(NWChem)")[2].split()[0]
    assert result.provenance.version.partition("+")[0] == printed
    assert session.record.versions["nwchem"] == f"{result.provenance.version}+r2"  # the revision of our numbers


def test_a_harness_without_its_python_module_says_so_and_not_that_nwchem_is_missing(monkeypatch):
    monkeypatch.setattr(nwchem_harness, "which_import", lambda *_, **__: False)
    with pytest.raises(ModuleNotFoundError, match=r"nwchem is installed, but its harness needs networkx: pip install"):
        nwchem_harness.CheckedNWChemHarness.found(raise_error=True)


# --- the harness by itself, against PySCF by itself ------------------------------------------------------------------

CS = [line.split() for line in (CASES / "w2_cs.xyz").read_text().splitlines()[2:]]
C1 = [[symbol, float(x) + 0.03 * place, y, z] for place, (symbol, x, y, z) in enumerate(CS)]
C2V = [("O", 0, 0, 0), ("H", 0, -0.757, 0.587), ("H", 0, 0.757, 0.587)]
OH = [("O", 0, 0, 0), ("H", 0, 0, 0.97)]
NO = [("N", 0, 0, 0), ("O", 0, 0, 1.15)]
O2 = [("O", 0, 0, 0), ("O", 0, 0, 1.21)]
HI_HI = [("H", 0, 0, 0), ("I", 0.3, 0.2, 1.6), ("I", 0.9, 0.4, 5.3), ("H", 0.5, 0.1, 6.9)]
FIRST_TWO = [True, True, False, False]
FIRST_WATER = [True] * 3 + [False] * 3
TIGHT = {"scf__thresh": 1e-8}
ONE_RANK = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}
BOHR = 0.52917721092


def turned(atoms, seed):
    """Return atoms in a random orientation."""
    turn = Rotation.random(random_state=seed)
    return [(symbol, *turn.apply([float(x) for x in xyz])) for symbol, *xyz in atoms]


def molecule(atoms, *, real=None, multiplicity=1, charge=0):
    """Return a molecule (Å) with its frame fixed, as components have it."""
    return Molecule(
        symbols=[symbol for symbol, *_ in atoms],
        geometry=[float(x) / BOHR for _, *xyz in atoms for x in xyz],
        real=real or [True] * len(atoms),
        molecular_charge=charge,
        molecular_multiplicity=multiplicity,
        fix_com=True,
        fix_orientation=True,
    )


def computed(molecule, *, method="hf", basis="sto-3g", driver="energy", **keywords):
    """Return our harness's result; NWChem starts as in a worker, alone and without looking for networks."""
    specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
    config = get_config(task_config={"ncores": 1, "memory": 1.0})
    asked = AtomicInput(molecule=molecule, specification=specification)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_RANK.items():
            patch.setenv(name, value)
        return nwchem_harness.CheckedNWChemHarness().compute(asked, config)


def by_pyscf(molecule, *, basis="sto-3g", reference="UHF", ecp=None):
    """Return PySCF's own mean field, converged."""
    from pyscf import gto, scf

    names = [s if real else f"ghost-{s}" for s, real in zip(molecule.symbols, molecule.real, strict=True)]
    mol = gto.M(
        atom=list(zip(names, molecule.geometry.tolist(), strict=True)),
        unit="bohr",
        basis=basis,
        ecp=ecp or {},
        spin=round(molecule.molecular_multiplicity) - 1,
        verbose=0,
    )
    field = getattr(scf, reference)(mol)
    field.conv_tol, field.conv_tol_grad, field.chkfile = 1e-12, 1e-7, None
    return field.run()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("atoms", [C1, CS, C2V], ids=["C1", "Cs", "C2v"])
def test_a_gradient_in_any_orientation_is_that_of_pyscf(atoms, seed):
    given = molecule(turned(atoms, seed))
    result = computed(given, driver="gradient", **TIGHT)
    expected = by_pyscf(given, reference="RHF").nuc_grad_method().kernel()
    assert np.asarray(result.return_result) == pytest.approx(expected, abs=1e-6)
    assert result.input_data.molecule == result.molecule == given  # and not the one without symmetry
    assert result.input_data.specification.keywords == TIGHT


@pytest.mark.parametrize(("atoms", "multiplicity"), [(C2V, 1), (OH, 2)], ids=["water", "OH"])
def test_a_hessian_in_any_orientation_is_that_of_pyscf(atoms, multiplicity):
    given = molecule(turned(atoms, 1), multiplicity=multiplicity)
    result = computed(given, driver="hessian", **TIGHT)
    reference = "RHF" if multiplicity == 1 else "UHF"
    expected = by_pyscf(given, reference=reference).Hessian().kernel().transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1)
    assert np.asarray(result.return_result) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize("driver", ["gradient", "hessian"])
def test_derivatives_with_ghosts_are_those_of_pyscf(driver):
    given = molecule(turned(CS, 4), real=FIRST_WATER)
    result = computed(given, driver=driver, **TIGHT)
    field = by_pyscf(given, reference="RHF")
    if driver == "gradient":
        expected = field.nuc_grad_method().kernel()
    else:
        expected = field.Hessian().kernel().transpose(0, 2, 1, 3).reshape(18, 18)
    assert np.asarray(result.return_result) == pytest.approx(expected, abs=1e-6)


def test_a_keyword_that_turns_symmetry_on_again_is_no_way_to_a_gradient_in_another_frame():
    with pytest.raises(UnknownError, match=r"NWChem moved the atoms by up to .*leave out keywords that turn symmetry"):
        computed(molecule(turned(CS, 0)), driver="gradient", geometry__autosym="1d-2")


@pytest.mark.parametrize(("atoms", "multiplicity"), [(OH, 2), (NO, 2), (O2, 3)], ids=["OH", "NO", "O2"])
def test_a_radical_has_the_unrestricted_energies_of_pyscf(atoms, multiplicity):
    given = molecule(turned(atoms, 2), multiplicity=multiplicity)
    field = by_pyscf(given, basis="6-31g")
    result = computed(given, method="mp2", basis="6-31g", **TIGHT)
    assert float(result.extras["qcvars"]["HF TOTAL ENERGY"]) == pytest.approx(field.e_tot, abs=1e-8)
    assert result.return_result == pytest.approx(field.MP2().run().e_tot, abs=5e-7)


def test_a_reference_that_is_named_is_taken():
    given = molecule(OH, multiplicity=2)
    result = computed(given, basis="6-31g", scf__rohf=True, **TIGHT)
    assert result.return_result == pytest.approx(by_pyscf(given, basis="6-31g", reference="ROHF").e_tot, abs=1e-8)


def test_open_shells_in_a_module_that_has_none_are_refused_with_the_one_that_has():
    with pytest.raises(qcengine.exceptions.InputError, match=r"NWChem's module for ccsd has no open shells; .*=tce"):
        computed(molecule(OH, multiplicity=2), method="ccsd")


def test_a_radical_beside_water_has_the_interaction_energy_of_pyscf_and_psi4(session):
    fields = many_body_fields(
        (CASES / "oh_w.xyz").read_text(),
        name="oh_w",
        expansion=Expansion(program="nwchem", method="b3lyp", basis="6-31g", multiplicities="1:2"),
    )
    # tests/cases/README.md: PySCF 0.0052396, Psi4 0.0052374, each with its own grid.
    assert session.run(fields).return_result == pytest.approx(0.0052385, abs=5e-6)


# --- core potentials -------------------------------------------------------------------------------------------------


def test_core_potentials_go_with_the_basis_set_and_not_with_its_ghosts(session):
    fields = many_body_fields(
        (CASES / "hexe.xyz").read_text(),
        name="hexe",
        expansion=Expansion(program="nwchem", method="hf", basis="def2-svp", bsse=("cp", "nocp"), keywords=TIGHT),
    )
    found = session.run(fields).properties
    # tests/cases/README.md: PySCF and Psi4.
    assert found.nocp_corrected_total_energy == pytest.approx(-331.15348, abs=1e-5)
    assert found.cp_corrected_interaction_energy == pytest.approx(0.0001734, abs=1e-7)
    assert found.nocp_corrected_interaction_energy == pytest.approx(0.0000709, abs=1e-7)


@pytest.mark.parametrize("real", [[True] * 4, FIRST_TWO], ids=["two", "one-and-a-ghost"])
def test_iodine_with_its_core_potential_is_that_of_pyscf(real):
    given = molecule(HI_HI, real=real)
    result = computed(given, basis="def2-svp", driver="gradient", basis__spherical=True, **TIGHT)
    field = by_pyscf(given, basis="def2-svp", ecp={"I": "def2-svp"}, reference="RHF")
    assert result.properties.return_energy == pytest.approx(field.e_tot, abs=1e-7)
    assert np.asarray(result.return_result) == pytest.approx(field.nuc_grad_method().kernel(), abs=1e-6)


def test_a_basis_set_without_core_potentials_leaves_the_input_as_it_is():
    assert nwchem_potentials.keywords("6-31g*", ["O", "H", "Cl"], {}) == {}
    assert nwchem_potentials.keywords("def2-svp", ["O", "H", "Br"], {}) == {}
    assert list(nwchem_potentials.keywords("def2-svp", ["O", "Xe"], {})) == ["ecp__xe"]
    assert nwchem_potentials.keywords("def2-svp", ["Xe"], {"ecp__xe": "library def2-ecp"}) == {}
    assert list(nwchem_potentials.keywords("lanl2dz_ecp", ["I"], {})) == ["ecp__i"]


@pytest.mark.parametrize("method", ["b3lyp", "becke97-d"])
def test_a_ghost_brings_functions_to_a_density_functional_and_no_dispersion(method):
    alone = computed(molecule(CS[:3]), method=method)
    ghosts = computed(molecule(CS, real=FIRST_WATER), method=method)
    assert ghosts.return_result < alone.return_result - 1e-5
    dispersion = [each.extras["qcvars"].get("DISPERSION CORRECTION ENERGY") for each in (alone, ghosts)]
    assert dispersion[0] == dispersion[1]
    assert (dispersion[0] is not None) == (method == "becke97-d")


def test_a_ghost_beside_a_density_functional_is_that_of_pyscf():
    given = molecule(CS, real=FIRST_WATER)
    result = computed(given, method="b3lyp", dft__grid="xfine", dft__convergence__energy=1e-8)
    field = by_pyscf(given, reference="RHF").mol.RKS(xc="b3lyp")
    field.grids.level = 6
    assert result.return_result == pytest.approx(field.run().e_tot, abs=1e-6)


def test_a_gradient_is_that_of_pyscf(session, two_waters, first_component):
    chosen = {"method": "hf", "basis": "cc-pvdz", "driver": "gradient"}
    try:
        gradient = first_component(session, two_waters("nwchem", **chosen)).return_result
    except TaskError as error:
        if "python" in str(error).lower():
            pytest.skip("this NWChem has no Python, which QCEngine takes gradients with")
        raise
    expected = first_component(session, two_waters("pyscf", **chosen)).return_result
    assert gradient == pytest.approx(expected, abs=1e-5)


def test_a_molecule_whose_internal_coordinates_nwchem_cannot_make_is_computed_in_cartesian_ones(session, expansion):
    peroxide = [("O", 0, 0, 3), ("H", 0, 0, 3.96), ("O", 0, 0, 4.5), ("H", 0.93, 0, 5.2)]
    atoms = [("O", 0, 0, 0), ("H", 0, 0, 0.96), ("H", 0.93, 0, -0.24), *peroxide]
    chosen = {"method": "hf", "basis": "sto-3g"}
    ours, expected = (session.run(expansion(atoms, program=name, **chosen)) for name in ("nwchem", "pyscf"))
    assert ours.return_result == pytest.approx(expected.return_result, abs=1e-6)


def test_a_functional_without_a_name_is_refused_before_the_run(session, two_waters):
    with pytest.raises(InputError, match="name one, such as b3lyp"):
        session.run(two_waters("nwchem", "dft", "sto-3g"))


# --- several tasks in one start --------------------------------------------------------------------------------------

H3O = [("O", 0, 0, 0), ("H", 0, 0.1, 0.96), ("H", 0.85, -0.48, 0.16), ("H", -0.85, -0.48, 0.05)]
OH_LONG = [("O", 0, 0, 0), ("H", 0, 0.1, 1.05)]
MIXED = (
    molecule(turned(C2V, 1)),
    molecule(OH, multiplicity=2),
    molecule(CS, real=FIRST_WATER),
    molecule(OH_LONG, multiplicity=2),
    molecule(O2, multiplicity=3),
    molecule(turned(CS, 2)),
    molecule(turned(C2V, 3)),
    molecule(H3O, charge=1),
    molecule(OH, charge=-1),
    molecule([("H", 0, 0, 0)], multiplicity=2),
)


def asked(molecule, *, method="hf", basis="sto-3g", driver="energy", **keywords):
    specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
    return AtomicInput(molecule=molecule, specification=specification)


def computed_together(inputs, *, cores=1, limit_s=math.inf):
    config = {"ncores": cores, "memory": 1.0}
    if cores > 1:
        config |= {"use_mpiexec": True, "mpiexec_command": mpi.launcher(), "cores_per_rank": 1, "nnodes": 1}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_RANK.items() if cores == 1 else ():
            patch.setenv(name, value)
        harness = nwchem_harness.CheckedNWChemHarness()
        return harness.compute_together(inputs, get_config(task_config=config), limit_s=limit_s)


def told(result):
    """Return all that is said of a task but what NWChem printed, in which there are times."""
    return result.model_dump(exclude={"stdout", "stderr"}, mode="json")


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(
    "chosen",
    [
        {"method": "hf", "basis": "6-31g*", "driver": "gradient"},
        {"method": "b3lyp", "driver": "gradient"},
        {"method": "mp2"},
    ],
    ids=["hf", "b3lyp", "mp2"],
)
def test_tasks_of_one_start_have_all_digits_of_single_starts_whatever_was_before_them(chosen, backwards):
    inputs = [asked(each, **chosen) for each in MIXED]
    together = computed_together(inputs[::-1] if backwards else inputs)
    assert len(together) == len(MIXED)
    for each, result in zip(MIXED[::-1] if backwards else MIXED, together, strict=True):
        assert told(result) == told(computed(each, **chosen))


def test_core_potentials_of_one_task_are_not_those_of_the_next():
    chosen = {"basis": "def2-svp", "driver": "gradient"}
    molecules = [molecule(HI_HI[:2]), molecule(C2V), molecule(HI_HI, real=FIRST_TWO), molecule([("Xe", 0, 0, 0)])]
    for each, result in zip(molecules, computed_together([asked(m, **chosen) for m in molecules]), strict=True):
        assert told(result) == told(computed(each, **chosen))


def test_what_each_task_of_one_start_prints_is_its_own():
    inputs = [asked(each) for each in MIXED[:3]]
    for each, result in zip(inputs, computed_together(inputs), strict=True):
        assert result.stdout.count("Total SCF energy") == 1
        assert result.stdout.count("echo of input deck") == 1
        deck = nwchem_harness.CheckedNWChemHarness().build_input(each, get_config(task_config={"ncores": 1}))
        atoms = deck["infiles"]["nwchem.nw"].partition("geometry")[2].partition("end")[0]
        assert atoms in result.stdout
        assert "autotune" not in result.stdout


@pytest.mark.parametrize("hard", [C2V, [("H", 0, 0, 0), ("Br", 0, 0, 1.41)]], ids=["diverges", "aborts"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_start_ends_with_the_task_that_fails_and_what_was_before_it_counts(place, hard):
    chosen = {"scf__maxiter": 4, "basis": "6-31g"}  # enough for the radicals, not for water
    easy = [molecule([("O", 0, 0, 0), ("H", 0, 0, 0.97 + 0.01 * each)], multiplicity=2) for each in range(4)]
    molecules = [*easy[:place], molecule(hard), *easy[place:]]
    together = computed_together([asked(each, **chosen) for each in molecules])
    assert [result is not None for result in together] == [*[True] * place, False]
    for each, result in zip(molecules, together[:place], strict=False):
        assert told(result) == told(computed(each, **chosen))


LATE = "import os, sys, time; time.sleep(20); os.execvp(sys.argv[1], sys.argv[1:])"


def test_a_start_that_is_ended_at_once_brings_nothing(monkeypatch):
    build = nwchem_harness.CheckedNWChemHarness.build_input

    def late(harness, *arguments):
        job = build(harness, *arguments)
        return {**job, "command": [sys.executable, "-c", LATE, *job["command"]]}

    monkeypatch.setattr(nwchem_harness.CheckedNWChemHarness, "build_input", late)
    together = computed_together([asked(molecule(C2V))] * 2, limit_s=0.1)
    assert together in ([], [None])


@pytest.mark.parametrize(("method", "driver"), [("ccsd", "energy"), ("hf", "hessian")])
def test_what_leaves_files_that_nwchem_reads_again_has_a_start_of_its_own(method, driver):
    assert computed_together([asked(molecule(C2V), method=method, driver=driver)] * 2) == [None, None]


@pytest.mark.skipif(not mpi.launcher(), reason="there is no mpirun")
def test_tasks_of_one_start_may_run_on_two_ranks():
    molecules = [molecule(turned(CS, seed)) for seed in range(2)]
    together = computed_together([asked(each, driver="gradient", **TIGHT) for each in molecules], cores=2)
    for each, result in zip(molecules, together, strict=True):
        assert ranks(result) == "2"
        assert np.asarray(result.return_result) == pytest.approx(
            np.asarray(computed(each, driver="gradient", **TIGHT).return_result), abs=1e-8
        )


def test_output_that_cannot_be_divided_is_nobodys():
    output = computed(molecule(C2V)).stdout
    decks = ["one", "two"]
    assert nwchem_harness._outputs(output, decks) == [None]  # of the first nobody knows whether it ends there
    assert nwchem_harness._outputs("", decks) == []
    (whole,) = nwchem_harness._outputs(output, ["one"])
    assert whole.count("Total SCF energy") == 1
    marked = output + "  unset: scf:nopen\n  unset: autotune:7\n"
    assert nwchem_harness._outputs(marked, decks) == []


def test_a_run_in_shared_starts_equals_one_in_single_starts_to_the_last_bit(session, three_waters, sharing_starts):
    fields = three_waters("nwchem", "hf", "6-31g*", bsse=("cp", "nocp"), driver="gradient")
    alone = session.run(fields)
    with sharing_starts("nwchem") as shared:
        together = shared.run(fields)
        assert max(record.sharers for record in shared.record.task_records) > 1
    assert together.properties.model_dump_json() == alone.properties.model_dump_json()
    assert np.array_equal(together.return_result, alone.return_result)


def test_a_task_that_does_not_converge_in_a_shared_start_is_told_as_in_one_of_its_own(
    session, three_waters, sharing_starts
):
    fields = three_waters("nwchem", "hf", "6-31g", keywords={"scf__maxiter": 1})
    said = []
    with sharing_starts("nwchem") as shared:
        for each in (session, shared):
            with pytest.raises(TaskError, match=r"convergence: .*NWChem did not converge: scf energy failed"):
                each.run(fields)
            said.append({(record.label, record.error) for record in each.record.task_records})
    assert said[0] == said[1]
