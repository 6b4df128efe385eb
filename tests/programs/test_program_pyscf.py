"""PySCF through QCEngine: numbers against plain PySCF, published ones and finite differences; refusals word by word."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyscf")

import qcengine
from pyscf import cc, dft, gto, lib, mp, scf
from qcelemental.models.v2 import AtomicInput, Molecule
from qcengine.exceptions import InputError

from autotune.base.types import Method, TaskSize
from autotune.costs.memory import need
from autotune_plugins import pyscf_basis, pyscf_calculation, pyscf_harness, pyscf_input, pyscf_threads
from autotune_plugins.program_pyscf import autotune_register_programs

pytestmark = [pytest.mark.programs("pyscf"), pytest.mark.usefixtures("registered")]

ANGSTROM = 1 / lib.param.BOHR
# The water molecule of PySCF's own tests.
WATER = {
    "symbols": ["O", "H", "H"],
    "geometry": [round(x * ANGSTROM, 6) for x in (0, 0, 0, 0, -0.757, 0.587, 0, 0.757, 0.587)],
    "fix_com": True,
    "fix_orientation": True,
}
WATER_CATION = {**WATER, "molecular_charge": 1, "molecular_multiplicity": 2}
# Hydrogen fluoride next to a ghost helium, nothing on an axis of symmetry.
FLUORIDE = {
    **WATER,
    "symbols": ["H", "F", "He"],
    "geometry": [0.1, -0.2, 1.7, 0.0, 0.1, 0.0, 1.5, 2.0, -1.0],
    "real": [True, True, False],
}
FLUORIDE_CATION = {**FLUORIDE, "molecular_charge": 1, "molecular_multiplicity": 2}
IODIDE = {**FLUORIDE, "symbols": ["H", "I", "H"], "geometry": [0.1, -0.2, 3.0, 0.0, 0.1, 0.0, 1.5, 3.0, -1.0]}
# A radical in the basis set of a neighbour.
OXYGEN_HYDRIDE = {
    **FLUORIDE,
    "symbols": ["O", "H", "O"],
    "geometry": [0.0, 0.0, 0.0, 0.0, 0.1, 1.83, 4.0, 0.0, 0.3],
    "molecular_multiplicity": 2,
}
FITTED = {"density_fit": True, "auxbasis": "def2-universal-jkfit"}


def atom(symbol, charge=0, multiplicity=1):
    state = {"molecular_charge": charge, "molecular_multiplicity": multiplicity}
    return {"symbols": [symbol], "geometry": [0, 0, 0], **state}


def task(method, basis="6-31g", molecule=WATER, driver="energy", *, protocols=None, **keywords):
    specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
    specification["protocols"] = protocols or {}
    return AtomicInput(molecule=Molecule(**molecule), specification=specification)


def attempt(*args, cores=1, memory=2.0, scratch=None, **kwargs):
    config = {"ncores": cores, "memory": memory, "scratch_directory": scratch and str(scratch)}
    return qcengine.compute(task(*args, **kwargs), "pyscf", task_config=config)


def compute(*args, **kwargs):
    result = attempt(*args, **kwargs)
    assert result.success, result.error.error_message
    return result


def energy(*args, **kwargs):
    return compute(*args, **kwargs).properties.return_energy


def plain_molecule(fields, basis, **options):
    real = fields.get("real", [True] * len(fields["symbols"]))
    names = [symbol if there else f"GHOST-{symbol}" for symbol, there in zip(fields["symbols"], real, strict=True)]
    atoms = list(zip(names, np.reshape(fields["geometry"], (-1, 3)).tolist(), strict=True))
    state = {"charge": fields.get("molecular_charge", 0), "spin": fields.get("molecular_multiplicity", 1) - 1}
    return gto.M(atom=atoms, unit="Bohr", basis=basis, verbose=0, **state, **options)


def plain_scf(molecule, functional=None, conv_tol_grad=None):
    mean_field = dft.KS(molecule, xc=functional) if functional else scf.HF(molecule)
    return mean_field.set(conv_tol=1e-10, conv_tol_grad=conv_tol_grad, chkfile=None).run()


def displaced(fields, direction, step):
    return {**fields, "geometry": (np.ravel(fields["geometry"]) + step * direction.ravel()).tolist()}


# --- energies --------------------------------------------------------------------------------------------------------


def test_energies_are_those_that_pyscf_publishes_and_a_result_says_what_was_computed_and_by_what():
    result = compute("ccsd(t)", "cc-pvdz")
    of = result.properties
    assert of.scf_total_energy == pytest.approx(-76.0267656731, abs=1e-7)
    assert of.mp2_correlation_energy == pytest.approx(-0.2040199673, abs=1e-7)
    assert of.ccsd_correlation_energy == pytest.approx(-0.2133432342, abs=1e-7)
    triples = of.ccsd_prt_pr_correlation_energy - of.ccsd_correlation_energy
    assert triples == pytest.approx(-0.0030600226, abs=1e-7)
    for method in ("mp2", "ccsd", "ccsd_prt_pr"):
        correlation = getattr(of, f"{method}_correlation_energy")
        assert getattr(of, f"{method}_total_energy") == of.scf_total_energy + correlation
    assert of.return_energy == of.ccsd_prt_pr_total_energy == result.return_result
    counts = ("calcinfo_nbasis", "calcinfo_nmo", "calcinfo_nalpha", "calcinfo_nbeta", "calcinfo_natom")
    assert [getattr(of, name) for name in counts] == [24, 24, 5, 5, 3]
    assert (result.provenance.creator, result.provenance.routine) == ("PySCF", "pyscf ccsd(t)")
    assert result.provenance.version == qcengine.get_program("pyscf").get_version()
    json.loads(result.model_dump_json())


MEAN_FIELD = ["nuclear_repulsion_energy", "scf_one_electron_energy", "scf_two_electron_energy"]
SPINS = ["mp2_same_spin_correlation_energy", "mp2_opposite_spin_correlation_energy"]
HYDROXIDE = {**FLUORIDE, "symbols": ["H", "O", "He"], "molecular_charge": -1}
AMONG_GHOSTS = {**atom("I", -1), "symbols": ["I", "I"], "geometry": [0, 0, 0, 0, 0, 6.0], "real": [True, False]}


@pytest.mark.parametrize(
    ("molecule", "basis", "functional", "ecp", "tolerance"),
    [
        (WATER, "6-31g", None, {}, 0),
        (HYDROXIDE, "6-31g", None, {}, 0),
        (FLUORIDE_CATION, "6-31g", None, {}, 0),
        (AMONG_GHOSTS, "def2-svp", None, {"I": "def2-svp"}, 1e-10),
        (WATER, "6-31g", "pbe", {}, 1e-9),
        (WATER, "6-31g", "wb97x", {}, 1e-9),
        (WATER, "6-31g", "tpss", {}, 1e-9),
    ],
)
def test_electrons_functional_and_core_potentials_are_those_of_plain_pyscf(molecule, basis, functional, ecp, tolerance):
    load = gto.basis.load
    mean_field = plain_scf(plain_molecule(molecule, basis, ecp=ecp), functional)
    of = compute(functional or "hf", basis, molecule).properties
    assert gto.basis.load is load
    assert abs(of.return_energy - mean_field.e_tot) <= tolerance
    assert (of.calcinfo_nalpha, of.calcinfo_nbeta) == mean_field.mol.nelec


@pytest.mark.parametrize(
    ("method", "molecule", "total", "parts"),
    [
        ("hf", WATER, "scf_total_energy", MEAN_FIELD),
        ("b3lyp", WATER, "scf_total_energy", [*MEAN_FIELD, "scf_xc_energy"]),
        ("mp2", WATER_CATION, "mp2_correlation_energy", SPINS),
    ],
)
def test_the_parts_of_an_energy_add_up(method, molecule, total, parts):
    of = compute(method, molecule=molecule).properties
    assert sum(getattr(of, part) for part in parts) == pytest.approx(getattr(of, total), abs=1e-9)


@pytest.mark.parametrize(("molecule", "reference"), [(WATER, "rhf"), (WATER, "uhf"), (WATER_CATION, "uhf")])
@pytest.mark.parametrize("method", ["mp2", "ccsd(t)"])
def test_frozen_core_correlation_is_that_of_plain_pyscf(method, molecule, reference):
    mean_field = plain_scf(plain_molecule(molecule, "6-31g"), conv_tol_grad=1e-7)
    if method == "mp2":
        expected = mp.MP2(mean_field, frozen=1).run().e_tot
    else:
        coupled = cc.CCSD(mean_field, frozen=1).set(conv_tol=1e-10, conv_tol_normt=1e-8).run()
        expected = coupled.e_tot + coupled.ccsd_t()
    assert energy(method, "6-31g", molecule, frozen_core=True, reference=reference) == pytest.approx(expected, abs=1e-8)


def test_a_ghost_brings_functions_and_nothing_else():
    water_in_dimer = {
        **WATER,
        "symbols": ["O", "H", "H"] * 2,
        "geometry": [*WATER["geometry"], *(x + 3.0 for x in WATER["geometry"])],
        "real": [True] * 3 + [False] * 3,
    }
    result = compute("mp2", "6-31g*", water_in_dimer, frozen_core=True)
    mean_field = plain_scf(plain_molecule(water_in_dimer, "6-31g*", cart=True), conv_tol_grad=1e-6)
    assert result.properties.scf_total_energy == mean_field.e_tot
    assert result.properties.return_energy == pytest.approx(mp.MP2(mean_field, frozen=1).run().e_tot, abs=1e-12)
    alone = compute("mp2", "6-31g*", frozen_core=True).properties
    assert alone.return_energy > result.properties.return_energy
    assert alone.nuclear_repulsion_energy == result.properties.nuclear_repulsion_energy
    assert (alone.calcinfo_nbasis, result.properties.calcinfo_nbasis) == (19, 38)


@pytest.mark.parametrize(("method", "error"), [("hf", 1e-4), ("b3lyp", 1e-4), ("mp2", 2e-4), ("ccsd(t)", 5e-4)])
def test_density_fitting_changes_energies_a_little(method, error):
    difference = energy(method, "cc-pvdz", density_fit=True) - energy(method, "cc-pvdz")
    assert 1e-7 < abs(difference) < error


@pytest.mark.parametrize("molecule", [WATER, WATER_CATION])
def test_fitted_mp2_uses_its_own_fitting_basis(molecule):
    from pyscf.mp import dfmp2_native, dfump2_native

    mean_field = (scf.UHF if molecule is WATER_CATION else scf.RHF)(plain_molecule(molecule, "cc-pvdz"))
    fitted = mean_field.density_fit(auxbasis="cc-pvdz-jkfit").set(conv_tol=1e-11, conv_tol_grad=1e-7).run()
    native = dfump2_native.DFUMP2 if molecule is WATER_CATION else dfmp2_native.DFRMP2
    expected = native(fitted, auxbasis="cc-pvdz-ri")
    expected.kernel()
    assert energy("mp2", "cc-pvdz", molecule, density_fit=True) == pytest.approx(expected.e_tot, abs=1e-8)


def test_the_named_fitting_basis_is_the_one_used():
    usual = energy("mp2", "cc-pvdz", density_fit=True)
    named = {"auxbasis": "cc-pvdz-jkfit", "auxbasis_correlation": "cc-pVDZ-RIFIT"}
    assert energy("mp2", "cc-pvdz", density_fit=True, **named) == pytest.approx(usual, abs=1e-9)
    assert energy("mp2", "cc-pvdz", density_fit=True, auxbasis="def2-universal-jkfit") != pytest.approx(usual, abs=1e-7)


@pytest.mark.parametrize("setting", [{"newton": True}, {"level_shift": 0.3}, {"damp": 0.2}, {"init_guess": "hcore"}])
def test_ways_to_converge_lead_to_the_same_energy(setting):
    usual = energy("hf", "6-31g", WATER_CATION)
    assert energy("hf", "6-31g", WATER_CATION, **setting) == pytest.approx(usual, abs=1e-8)


@pytest.mark.parametrize(
    ("molecule", "basis", "keywords"),
    [
        (atom("H", 0, 2), "cc-pvdz", {}),
        (atom("B", 3), "6-31g", {"frozen_core": True}),
        (atom("He"), "sto-3g", {}),
        (atom("H", 1), "6-31g", {}),
    ],
)
@pytest.mark.parametrize("method", ["mp2", "ccsd(t)"])
def test_where_no_pair_can_be_excited_the_correlation_energy_is_zero(method, molecule, basis, keywords):
    properties = compute(method, basis, molecule, **keywords).properties
    assert properties.return_energy == properties.scf_total_energy == energy("hf", basis, molecule)


# --- basis sets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["6-31G*", "6-31g*", "6-31G(d)", "6-31g(d)", "631g*"])
def test_6_31g_star_is_cartesian_in_every_spelling(spelling):
    result = compute("hf", spelling)
    assert result.properties.return_energy == pytest.approx(-76.0104965, abs=1e-6)
    assert result.properties.calcinfo_nbasis == 19


def test_the_keyword_cart_overrules_the_basis_set():
    assert energy("hf", "6-31g*", cart=False) == pytest.approx(-76.0090986, abs=1e-6)
    assert energy("hf", "cc-pvdz", cart=True) == pytest.approx(-76.0271072, abs=1e-6)


@pytest.mark.parametrize(
    ("basis", "functions"),
    [("cc-pVTZ", 58), ("aug-cc-pvdz", 41), ("def2-SVP", 24), ("def2svp", 24), ("6-31G**", 25), ("6-311G(2df,2pd)", 58)],
)
def test_functions_are_counted_in_the_basis_sets_own_convention(basis, functions):
    plan = pyscf_input.read(task("hf", basis))
    molecule = plain_molecule(WATER, {s: e.shells for s, e in plan.basis.items()}, cart=plan.cartesian)
    assert molecule.nao == functions


def test_a_set_that_only_the_exchange_has_is_converted_and_computes():
    assert not pyscf_basis._pyscf_shells("def2-SV(P)", "O")
    assert -76.0 < energy("hf", "def2-SV(P)") < -75.8
    shells, potential = pyscf_basis._exchange_data("def2-SVP", "I")
    assert potential == gto.basis.load_ecp("def2-svp", "I")
    assert len(shells) == len(gto.basis.load("def2-svp", "I"))


def test_a_file_with_the_name_of_a_basis_set_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "3-21g").write_text("H S\n 1.0 1.0\n")
    (tmp_path / "321g").write_text("H S\n 1.0 1.0\n")
    assert len(pyscf_basis.orbital_basis("3-21g", ["H"])["H"].shells) == 2


# --- derivatives -----------------------------------------------------------------------------------------------------

GRADIENTS = [
    ("hf", "6-31g", FLUORIDE, {}, 1e-6),
    ("hf", "6-31g", FLUORIDE_CATION, {}, 1e-6),
    ("hf", "6-31g", FLUORIDE, FITTED, 1e-6),
    ("hf", "6-31g", FLUORIDE, {"newton": True}, 1e-6),
    ("hf", "def2-svp", IODIDE, {}, 1e-6),
    ("b3lyp", "6-31g", FLUORIDE, {}, 2e-5),
    ("wb97x", "6-31g", FLUORIDE_CATION, FITTED, 2e-5),
    ("mp2", "6-31g", FLUORIDE, {"frozen_core": True}, 1e-6),
    ("mp2", "6-31g", FLUORIDE_CATION, {}, 2e-6),
    ("ccsd", "6-31g", FLUORIDE, {}, 1e-6),
    ("ccsd", "6-31g", FLUORIDE_CATION, {"frozen_core": True}, 2e-6),
    ("ccsd(t)", "6-31g", FLUORIDE, {"frozen_core": True}, 1e-6),
]


@pytest.mark.parametrize(("method", "basis", "molecule", "keywords", "tolerance"), GRADIENTS)
def test_a_gradient_is_the_slope_of_the_energy_in_all_atoms_and_ghosts(method, basis, molecule, keywords, tolerance):
    direction = np.random.default_rng(7).normal(size=(3, 3))
    result = compute(method, basis, molecule, "gradient", **keywords)
    up, down = (energy(method, basis, displaced(molecule, direction, step), **keywords) for step in (2e-3, -2e-3))
    assert result.return_result.shape == (3, 3)
    assert abs(result.return_result[2]).max() > 1e-5
    assert np.vdot(result.return_result, direction) == pytest.approx((up - down) / 4e-3, abs=5 * tolerance)
    assert (result.properties.return_gradient == result.return_result).all()
    assert result.properties.return_energy == pytest.approx(energy(method, basis, molecule, **keywords), abs=1e-12)


def test_the_gradient_of_an_uncorrelatable_system_is_its_hartree_fock_gradient():
    proton = {**FLUORIDE, "symbols": ["H", "H", "He"], "molecular_charge": 1, "molecular_multiplicity": 2}
    expected = compute("hf", "6-31g", proton, "gradient").return_result
    assert (compute("ccsd", "6-31g", proton, "gradient").return_result == expected).all()


@pytest.mark.parametrize(
    ("method", "molecule", "keywords", "tolerance"),
    [
        ("hf", FLUORIDE, {}, 1e-5),
        ("hf", FLUORIDE_CATION, FITTED, 3e-5),
        ("pbe", FLUORIDE, {}, 5e-4),
    ],
)
def test_a_hessian_is_the_slope_of_the_gradient_in_all_atoms_and_ghosts(method, molecule, keywords, tolerance):
    direction = np.random.default_rng(7).normal(size=(3, 3))
    result = compute(method, "6-31g", molecule, "hessian", **keywords)
    grid = {"grid_level": 5} if method == "pbe" else {}
    slopes = [
        compute(method, "6-31g", displaced(molecule, direction, s), "gradient", **keywords, **grid).return_result
        for s in (2e-3, -2e-3)
    ]
    hessian = result.return_result
    assert hessian.shape == (9, 9)
    assert (hessian == hessian.T).all()
    assert hessian @ direction.ravel() == pytest.approx(((slopes[0] - slopes[1]) / 4e-3).ravel(), abs=tolerance)
    assert result.properties.return_gradient.shape == (3, 3)
    assert result.properties.return_energy is not None


# --- the same again --------------------------------------------------------------------------------------------------


def test_one_core_gives_the_same_bits_again_and_in_a_fresh_process():
    gradients = [compute("b3lyp", driver="gradient").return_result for _ in range(2)]
    energies = [energy("ccsd(t)", molecule=WATER_CATION) for _ in range(2)]
    assert (gradients[0] == gradients[1]).all()
    assert energies[0] == energies[1]
    config = {"ncores": 1, "memory": 2.0}
    code = (
        "import sys, json, qcengine\n"
        "from autotune_plugins.program_pyscf import autotune_register_programs as register\n"
        "register()\n"
        f"r = qcengine.compute(json.load(sys.stdin), 'pyscf', raise_error=True, task_config={config!r})\n"
        "print(r.return_result.hex())"
    )
    text = task("ccsd(t)", molecule=WATER_CATION).model_dump_json()
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == energies[0].hex()


def test_two_cores_change_only_the_last_digits():
    assert energy("ccsd(t)", "6-31g", cores=2) == pytest.approx(energy("ccsd(t)", "6-31g"), abs=1e-10)


def test_a_qcschema_v1_input_gets_a_v1_result():
    from qcelemental.models.v1 import AtomicInput as AtomicInputV1
    from qcelemental.models.v1 import Molecule as MoleculeV1

    model = {"method": "hf", "basis": "6-31g"}
    old = AtomicInputV1(molecule=MoleculeV1(**WATER), driver="gradient", model=model)
    result = qcengine.compute(old, "pyscf", raise_error=True, task_config={"ncores": 1, "memory": 2.0})
    assert result.schema_version == 1
    assert result.properties.return_energy == pytest.approx(energy("hf", "6-31g"), abs=1e-10)
    assert np.reshape(result.return_result, (3, 3)) == pytest.approx(
        compute("hf", "6-31g", driver="gradient").return_result, abs=1e-8
    )


# --- resources -------------------------------------------------------------------------------------------------------


def test_no_file_is_left_behind_where_arrays_went_to_disk(tmp_path, monkeypatch):
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    opened, original = [], lib.H5TmpFile.__init__

    def opening(self, *args, **kwargs):
        original(self, *args, **kwargs)
        opened.append(self.filename)

    monkeypatch.setattr(lib.H5TmpFile, "__init__", opening)
    small = compute("ccsd(t)", "cc-pvdz", driver="gradient", memory=0.25, scratch=scratch).return_result
    assert opened
    assert all(name.startswith(str(scratch)) for name in opened)
    assert [*scratch.iterdir(), *here.iterdir()] == []
    assert small == pytest.approx(compute("ccsd(t)", "cc-pvdz", driver="gradient").return_result, abs=1e-9)


def test_a_task_without_a_scratch_folder_does_not_use_that_of_the_task_before(tmp_path):
    usual = pyscf_harness._usual_scratch()
    compute("hf", "sto-3g", scratch=tmp_path)
    assert str(tmp_path) == lib.param.TMPDIR
    compute("hf", "sto-3g")
    assert usual == lib.param.TMPDIR


def test_a_task_sets_all_thread_pools_to_its_cores():
    for cores in (2, 1):
        compute("hf", "sto-3g", cores=cores)
        assert lib.num_threads() == cores
        pools = pyscf_threads.pools().select(user_api="blas").info()
        assert {pool["num_threads"] for pool in pools if pool["threading_layer"] != "disabled"} == {cores}


def test_coupled_cluster_of_a_radical_keeps_all_in_memory_at_the_grant_of_its_size(monkeypatch):
    judged = []
    fits = pyscf_calculation._fits_in_memory

    def watched(mean_field):
        judged.append(fits(mean_field))
        raise MemoryError  # the amplitudes take a minute and show nothing more

    monkeypatch.setattr(pyscf_calculation, "_fits_in_memory", watched)
    method = Method(program="pyscf", method="ccsd", basis="cc-pvtz", driver="energy")
    radical = TaskSize(atoms=2, ghost_atoms=0, electrons=9, functions=74, unpaired=1)
    for size in (radical, replace(radical, unpaired=0)):
        attempt("ccsd", "cc-pvtz", OXYGEN_HYDRIDE, memory=need(method, size).grant_gib)
    # What closed shells are granted is too little, or the first would show nothing.
    assert judged == [True, False]


def test_running_out_of_memory_is_a_resource_error(monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(scf.hf.RHF, "get_init_guess", full)
    failed = attempt("hf", "sto-3g", memory=3)
    assert failed.error.error_type == "resource_error"
    message = "QCEngine Resource Error: PySCF needs more than the 3 GiB granted: its arrays do not fit"
    assert failed.error.error_message == message


# --- refusals --------------------------------------------------------------------------------------------------------

NO_VIRTUALS = "PySCF has no (T) where one spin has no virtual orbitals; use a larger basis set"


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ({"method": "hf", "max_cycle": 1}, "Convergence", "the SCF did not converge in 1 cycles to 1e-10 Eh"),
        ({"method": "b3lyp", "max_cycle": 2}, "Convergence", "the SCF did not converge in 2 cycles to 1e-10 Eh"),
        ({"method": "ccsd(t)", "cc_max_cycle": 2}, "Convergence", "CCSD did not converge in 2 cycles to 1e-09 Eh"),
        ({"method": "hf", "memory": 0.1}, "Resource", "0.1 GiB is less than PySCF and its libraries take, 150 MB"),
        ({"method": "ccsd(t)", "basis": "sto-3g", "molecule": atom("N", 0, 4)}, "Input", NO_VIRTUALS),
    ],
)
def test_what_ends_without_a_number_says_why(asked, kind, message):
    failed = attempt(**asked)
    assert failed.error.error_type == f"{kind.lower()}_error"
    assert failed.error.error_message == f"QCEngine {kind} Error: {message}"


KNOWN = "known are hf, scf, rhf, uhf, rohf, mp2, ccsd, ccsd(t) and the functionals of libxc"
INSTEAD = "; take b3lyp-d3bj, wb97x-d3bj or wb97m-v for example, or a program that has this one, such as psi4"
D2 = f"this functional was made with the D2 correction, which PySCF leaves out{INSTEAD}"
D3 = f"this functional was made with a D3 correction, which PySCF leaves out{INSTEAD}"
UNKNOWN_CORRECTION = f"PySCF cannot compute this dispersion correction{INSTEAD}"
KEYWORDS = (
    "reference, cart, density_fit, auxbasis, auxbasis_correlation, frozen_core, conv_tol, conv_tol_grad, max_cycle, "
    "level_shift, damp, diis_space, init_guess, direct_scf_tol, newton, stability, grid_level, cc_conv_tol, "
    "cc_max_cycle"
)
REFUSED_METHODS = {
    "b3lypp": f"did you mean b3lyp or b3lypg or b3lyp5? {KNOWN}",
    "ccsd[t]": f"did you mean ccsd or ccsd(t)? {KNOWN}",
    "pbe0-2": f"did you mean pbe0 or pbe50 or pbe? {KNOWN}",
    "101": KNOWN,
    "RI-MP2": "write 'mp2' and the keyword density_fit: true",
    "b3lyp-d3": "d3 does not say which damping; write b3lyp-d3bj or b3lyp-d3zero",
    "wB97X-D": D2,
    "cf22d": D3,
    "pbeh-3c": UNKNOWN_CORRECTION,
    "lda": "this is exchange without correlation; write 'lda,vwn' or the like, or 'lda,' if that is meant",
    "b3lyp,lyp": "B3LYP is not only exchange, which stands before the comma; a whole functional is written without one",
    "zlp": f"it may mean lda_xc_zlp or mgga_xc_zlp; {KNOWN}",
    "mgga_x_br89": "PySCF has no density Laplacian",
}


def misfit(charge, multiplicity):
    """Return the input of a molecule that QCElemental refuses unless told that it was validated, as runtimes do."""
    fields = {"molecular_charge": charge, "molecular_multiplicity": multiplicity, "validated": True}
    return task("uhf", molecule={**Molecule(**WATER).model_dump(), **fields})


NO_TRIPLES = "PySCF's UHF-CCSD(T) gradients are wrong by some 1e-4 Eh/a0 (tested in 2.14), so they are refused"
CLOSE = "close to it: cc-pVDZ, ccJ-pVDZ, cc-pCVDZ, cc-pwCVDZ"
TWO_KINDS = (
    "basis set '6-31g*' means some shells of Sc as Cartesian and some as spherical, PySCF does only one kind at a "
    "time; choose with the keyword cart"
)
NO_JKFIT = "no usual jkfit fitting basis set for 'pcseg-1' is known; name one with keyword auxbasis"
CLOSE_JKFIT = "close to it: cc-pvdz-jkfit, cc-pvdz-ri, cc-pvtz-jkfit, cc-pvqz-jkfit"
REFUSED = {
    **{f"method '{name}': {words}": task(name) for name, words in REFUSED_METHODS.items()},
    **{
        f"charge {charge} and multiplicity {many} do not fit nuclei of total charge 10": misfit(charge, many)
        for charge, many in ((0, 2), (1, 1), (12, 1), (8, 5))
    },
    f"keyword 'conv_tool' is not known; did you mean conv_tol? known are {KEYWORDS}": task("hf", conv_tool=1e-8),
    f"keyword 'zzz' is not known; known are {KEYWORDS}": task("hf", zzz=1),
    "keyword conv_tol takes a number, not 'tight' (SCF energy change, Eh)": task("hf", conv_tol="tight"),
    "keyword newton takes true or false, not 1 (second-order SCF after a few ordinary cycles)": task("hf", newton=1),
    "keyword max_cycle takes an integer, not True (most SCF cycles)": task("hf", max_cycle=True),
    "keyword conv_tol is at least 1e-16, not 0 (SCF energy change, Eh)": task("hf", conv_tol=0),
    "keyword grid_level is at most 9, not 12 (DFT grid; default 3, Hessians 5)": task("pbe", grid_level=12),
    "keyword init_guess takes minao, atom, huckel, mod_huckel, hcore, not 'best' (initial density of the SCF)": task(
        "hf", init_guess="best"
    ),
    "keyword frozen_core has no effect on hf, only on mp2, ccsd, ccsd(t)": task("hf", frozen_core=True),
    "keyword auxbasis has no effect without density_fit: true": task("mp2", auxbasis="weigend"),
    "method 'uhf' contradicts the keyword reference: rhf; drop one": task("uhf", reference="rhf"),
    "reference rhf needs a singlet, not multiplicity 2; use uhf": task("rhf", molecule=WATER_CATION),
    "PySCF has no mp2 Hessians": task("mp2", driver="hessian"),
    "PySCF has no ccsd(t) Hessians": task("ccsd(t)", driver="hessian"),
    "dispersion corrections have no Hessians here, only energies and gradients": task("b3lyp-d3bj", driver="hessian"),
    "PySCF has no density-fitted mp2 gradients; drop the keyword density_fit": task(
        "mp2", driver="gradient", density_fit=True
    ),
    NO_TRIPLES: task("ccsd(t)", "6-31g", WATER_CATION, "gradient"),
    "the PySCF harness has no driver 'properties', only energy, gradient, hessian": task("hf", driver="properties"),
    "the PySCF harness returns no wavefunctions; leave the protocol wavefunction at none": task(
        "hf", protocols={"wavefunction": "orbitals_and_eigenvalues"}
    ),
    "method hf needs the name of a basis set as model.basis, such as 'cc-pvdz'": task("hf", None),
    f"basis set 'cc-pvdzz' is not known to Basis Set Exchange; {CLOSE}": task("hf", "cc-pvdzz"),
    "basis set cc-pVDZ has no I; sets that have: cc-pVDZ-PP, cc-pwCVDZ-PP, cc-pVTZ-PP, cc-pVQZ-PP": task(
        "hf", "cc-pvdz", atom("I", -1)
    ),
    TWO_KINDS: task("hf", "6-31g*", atom("Sc", 0, 2)),
    NO_JKFIT: task("mp2", "pcseg-1", density_fit=True),
    f"fitting basis set 'cc-pvdz-jk' (keyword auxbasis) is not known; {CLOSE_JKFIT}": task(
        "hf", "cc-pvdz", density_fit=True, auxbasis="cc-pvdz-jk"
    ),
    "fitting basis set 'cc-pvdz-jkfit' has no Na; choose one with keyword auxbasis": task(
        "hf", "cc-pvdz", atom("Na", 1), density_fit=True
    ),
}


ROHF = "reference rohf gives HF energies only; use uhf"
NO_ROHF = [(ROHF, task("mp2", reference="rohf")), (ROHF, task("rohf", driver="gradient"))]


@pytest.mark.parametrize(
    ("message", "asked"), [*REFUSED.items(), *NO_ROHF], ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_what_cannot_be_computed_is_refused_before_computing_in_one_line(message, asked, monkeypatch):
    monkeypatch.setattr(gto.Mole, "build", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError) as refusal:
        qcengine.get_program("pyscf").preflight(asked)
    assert refusal.value.raw_message == message
    failed = qcengine.compute(asked, "pyscf", task_config={"ncores": 1, "memory": 1.0})
    assert failed.error.error_type == "input_error"
    assert failed.error.error_message == f"QCEngine Input Error: {message}"


# --- the plugin ------------------------------------------------------------------------------------------------------


def test_the_plugin_loads_nothing_heavy_until_it_registers():
    heavy = ["pyscf", "numpy", "qcengine", "qcelemental", "basis_set_exchange"]
    code = f"import sys, autotune_plugins.program_pyscf; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_registering_twice_keeps_the_first_harness():
    first = qcengine.get_program("pyscf")
    autotune_register_programs()
    assert qcengine.get_program("PySCF") is first
    assert first.found()
