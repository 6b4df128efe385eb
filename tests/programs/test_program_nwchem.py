"""NWChem through our harness: numbers, frames, open shells, core potentials, ranks of MPI, words about faults."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import qcengine
from places import CASES
from qcengine.config import get_config
from qcengine.exceptions import ResourceError, UnknownError
from scipy.spatial.transform import Rotation

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.base.options import Options
from autotune.programs import mpi
from autotune_plugins import nwchem_faults, nwchem_harness, nwchem_potentials

pytestmark = pytest.mark.programs("nwchem", "pyscf")

DECK = """\
import sys
from qcelemental.models.v2 import AtomicInput
from qcengine.config import get_config
from autotune_plugins.nwchem_harness import CheckedNWChemHarness
config = get_config(task_config={"ncores": 1, "nnodes": 1, "memory": 1.0})
deck = CheckedNWChemHarness().build_input(AtomicInput.model_validate_json(sys.stdin.read()), config)
print(deck["infiles"]["nwchem.nw"])
"""


def test_an_input_in_json_is_computed_as_it_is(session, two_waters, first_component):
    fields = two_waters("nwchem", "hf", "cc-pvdz")
    chemistry = fields["specification"]["specification"]["(auto)"]
    assert chemistry["keywords"] == {"basis__spherical": True}
    chemistry["keywords"] = {}
    cartesian = first_component(session, fields).properties.return_energy
    assert cartesian == pytest.approx(-76.0271072, abs=1e-6)


def test_every_python_process_writes_the_same_input(asked):
    # NWChem's last bits follow the order of elements in it, and sets have another order with another hash seed.
    atoms = [(symbol, 0, 0, 3 * place) for place, symbol in enumerate(("I", "C", "O", "H", "N", "F"))]
    task = asked(atoms, "hf", "def2-svp", basis__spherical=True).model_dump_json()
    written = {
        subprocess.run(
            [sys.executable, "-c", DECK],
            input=task,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    (deck,) = written
    told = [line.split()[0] for line in deck.splitlines() if " library " in line]
    assert sorted(told) == sorted(prefix + symbol for symbol in "ICOHNF" for prefix in ("", "bq"))


@pytest.mark.skipif(not mpi.launcher(), reason="there is no mpirun")
def test_a_task_on_two_cores_runs_on_two_ranks_and_agrees(session, two_waters, first_component):
    fields = two_waters("nwchem", "hf", "cc-pvdz")
    narrow = first_component(session, fields)
    with autotune.Session(Options(tuning="none", journal="none", workers=1, threads=2)) as wide:
        broad = first_component(wide, fields)
        (record,) = wide.record.task_records
    assert record.width == 2
    lines = [[line.split() for line in result.stdout.splitlines()] for result in (narrow, broad)]
    ranks = [next(words[-1] for words in of_one if words[:2] == ["nproc", "="]) for of_one in lines]
    assert ranks == ["1", "2"]
    assert narrow.return_result == pytest.approx(broad.return_result, abs=1e-8)


def test_what_nwchem_does_not_have_or_know_is_refused_before_anything_starts(session, two_waters):
    def refusal(method="hf", basis="6-31g", **keywords):
        with pytest.raises(InputError) as caught:
            session.run(two_waters("nwchem", method, basis, keywords=keywords))
        return str(caught.value).partition("fragment 1: ")[2] or str(caught.value).partition("fragment 2: ")[2]

    assert refusal(basis="cc-pvdzz").startswith("NWChem's library has no basis set 'cc-pvdzz' for ")
    assert refusal(method="hff") == "Method not recognized: hff"
    assert refusal(scf__foo=3) == "NWChem: scf_input: unrecognized directive, at the input line 'foo 3'"
    assert "needs core potentials" in refusal(basis="sdb-cc-pvtz")
    assert "name one, such as b3lyp" in refusal(method="dft")


def test_a_density_functional_that_does_not_converge_is_told_as_that(session, two_waters, first_component):
    with pytest.raises(TaskError, match=r"(?m)convergence: .*NWChem did not converge: dft energy failed$"):
        first_component(session, two_waters("nwchem", "pbe", "6-31g", keywords={"dft__iterations": 1}))


def test_too_little_memory_is_told_as_that():
    dashes, words = " " + 72 * "-", " schwarz_init: insufficient memory             3982061"
    lines = ["", dashes, words, dashes, dashes, "  current input line : ", "     0: ", dashes, dashes]
    fault = nwchem_faults.failure("\n".join([*lines, " This error has no category", dashes, ""]), "")
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


def test_a_molecule_whose_internal_coordinates_nwchem_cannot_make_is_computed_in_cartesian_ones(session, expansion):
    peroxide = [("O", 0, 0, 3), ("H", 0, 0, 3.96), ("O", 0, 0, 4.5), ("H", 0.93, 0, 5.2)]
    atoms = [("O", 0, 0, 0), ("H", 0, 0, 0.96), ("H", 0.93, 0, -0.24), *peroxide]
    chosen = {"method": "hf", "basis": "sto-3g"}
    ours, expected = (session.run(expansion(atoms, program=name, **chosen)) for name in ("nwchem", "pyscf"))
    assert ours.return_result == pytest.approx(expected.return_result, abs=1e-6)


# --- the harness by itself, against PySCF by itself ------------------------------------------------------------------

CS = [(symbol, *map(float, xyz)) for symbol, *xyz in map(str.split, (CASES / "w2_cs.xyz").read_text().splitlines()[2:])]
C1 = [(symbol, x + 0.03 * place, y, z) for place, (symbol, x, y, z) in enumerate(CS)]
C2V = [("O", 0, 0, 0), ("H", 0, -0.757, 0.587), ("H", 0, 0.757, 0.587)]
OH = [("O", 0, 0, 0), ("H", 0, 0, 0.97)]
NO = [("N", 0, 0, 0), ("O", 0, 0, 1.15)]
O2 = [("O", 0, 0, 0), ("O", 0, 0, 1.21)]
HI_HI = [("H", 0, 0, 0), ("I", 0.3, 0.2, 1.6), ("I", 0.9, 0.4, 5.3), ("H", 0.5, 0.1, 6.9)]
AMONG_GHOSTS = {"real": [True] * 3 + [False] * 3}
TIGHT = {"scf__thresh": 1e-8}
# NWChem starts as in a worker, alone and without looking for networks.
ONE_RANK = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}


def turned(atoms, seed):
    """Return atoms in a random orientation."""
    turn = Rotation.random(random_state=seed)
    return [(symbol, *turn.apply(xyz)) for symbol, *xyz in atoms]


def computed(asked):
    """Return our harness's result."""
    with mock.patch.dict(os.environ, ONE_RANK):
        config = get_config(task_config={"ncores": 1, "memory": 1.0})
        return nwchem_harness.CheckedNWChemHarness().compute(asked, config)


def by_pyscf(asked, *, reference=None, ecp=None):
    """Return PySCF's own mean field, converged."""
    from pyscf import gto, scf

    molecule = asked.molecule
    names = [s if real else f"ghost-{s}" for s, real in zip(molecule.symbols, molecule.real, strict=True)]
    mol = gto.M(
        atom=list(zip(names, molecule.geometry.tolist(), strict=True)),
        unit="bohr",
        basis=asked.specification.model.basis,
        ecp=ecp or {},
        spin=round(molecule.molecular_multiplicity) - 1,
        verbose=0,
    )
    field = getattr(scf, reference or ("UHF" if mol.spin else "RHF"))(mol)
    field.conv_tol, field.conv_tol_grad, field.chkfile = 1e-12, 1e-7, None
    return field.run()


DERIVATIVES = {
    **{f"C1 {seed}": ("gradient", turned(C1, seed), {}, 1e-6) for seed in range(3)},
    **{f"Cs {seed}": ("gradient", turned(CS, seed), {}, 1e-6) for seed in range(3)},
    **{f"C2v {seed}": ("gradient", turned(C2V, seed), {}, 1e-6) for seed in range(3)},
    "among ghosts": ("gradient", turned(CS, 4), AMONG_GHOSTS, 1e-6),
    "Hessian": ("hessian", turned(C2V, 1), {}, 5e-6),
    "Hessian OH": ("hessian", turned(OH, 1), {"multiplicity": 2}, 5e-6),
    "Hessian among ghosts": ("hessian", turned(CS, 4), AMONG_GHOSTS, 1e-6),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_a_derivative_in_any_orientation_is_that_of_pyscf(asked, name):
    driver, atoms, of, tolerance = DERIVATIVES[name]
    given = asked(atoms, "hf", "sto-3g", driver, **of, **TIGHT)
    result, field = computed(given), by_pyscf(given)
    if driver == "gradient":
        expected = field.nuc_grad_method().kernel()
    else:
        expected = field.Hessian().kernel().transpose(0, 2, 1, 3).reshape(2 * [3 * len(atoms)])
    assert np.asarray(result.return_result) == pytest.approx(expected, abs=tolerance)
    assert result.input_data.molecule == result.molecule == given.molecule  # and not the one without symmetry
    assert result.input_data.specification.keywords == TIGHT


def test_a_keyword_that_turns_symmetry_on_again_is_no_way_to_a_gradient_in_another_frame(asked):
    with pytest.raises(UnknownError, match=r"NWChem moved the atoms by up to .*leave out keywords that turn symmetry"):
        computed(asked(turned(CS, 0), "hf", "sto-3g", "gradient", geometry__autosym="1d-2"))


@pytest.mark.parametrize(("atoms", "multiplicity"), [(OH, 2), (NO, 2), (O2, 3)], ids=["OH", "NO", "O2"])
def test_a_radical_has_the_unrestricted_energies_of_pyscf(asked, atoms, multiplicity):
    given = asked(turned(atoms, 2), "mp2", "6-31g", multiplicity=multiplicity, **TIGHT)
    result, field = computed(given), by_pyscf(given)
    assert float(result.extras["qcvars"]["HF TOTAL ENERGY"]) == pytest.approx(field.e_tot, abs=1e-8)
    assert result.return_result == pytest.approx(field.MP2().run().e_tot, abs=5e-7)


def test_a_reference_that_is_named_is_taken(asked):
    given = asked(OH, "hf", "6-31g", multiplicity=2, scf__rohf=True, **TIGHT)
    assert computed(given).return_result == pytest.approx(by_pyscf(given, reference="ROHF").e_tot, abs=1e-8)


def test_open_shells_in_a_module_that_has_none_are_refused_with_the_one_that_has(asked):
    with pytest.raises(qcengine.exceptions.InputError, match=r"NWChem's module for ccsd has no open shells; .*=tce"):
        computed(asked(OH, "ccsd", "sto-3g", multiplicity=2))


@pytest.mark.parametrize("real", [[True] * 4, [True, True, False, False]], ids=["two", "one-and-a-ghost"])
def test_iodine_with_its_core_potential_is_that_of_pyscf(asked, real):
    given = asked(HI_HI, "hf", "def2-svp", "gradient", real=real, basis__spherical=True, **TIGHT)
    result, field = computed(given), by_pyscf(given, ecp={"I": "def2-svp"})
    assert result.properties.return_energy == pytest.approx(field.e_tot, abs=1e-7)
    assert np.asarray(result.return_result) == pytest.approx(field.nuc_grad_method().kernel(), abs=1e-6)


def test_a_basis_set_without_core_potentials_leaves_the_input_as_it_is():
    assert nwchem_potentials.keywords("6-31g*", ["O", "H", "Cl"], {}) == {}
    assert nwchem_potentials.keywords("def2-svp", ["O", "H", "Br"], {}) == {}
    assert list(nwchem_potentials.keywords("def2-svp", ["O", "Xe"], {})) == ["ecp__xe"]
    assert nwchem_potentials.keywords("def2-svp", ["Xe"], {"ecp__xe": "library def2-ecp"}) == {}
    assert list(nwchem_potentials.keywords("lanl2dz_ecp", ["I"], {})) == ["ecp__i"]


def test_a_ghost_brings_functions_to_a_density_functional_and_no_dispersion(asked):
    chosen = {"method": "becke97-d", "basis": "sto-3g"}
    alone, ghosts = (computed(asked(atoms, **chosen, **of)) for atoms, of in ((CS[:3], {}), (CS, AMONG_GHOSTS)))
    assert ghosts.return_result < alone.return_result - 1e-5
    dispersion = [each.extras["qcvars"]["DISPERSION CORRECTION ENERGY"] for each in (alone, ghosts)]
    assert dispersion[0] == dispersion[1]
