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

pytestmark = pytest.mark.programs("pyscf")

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
    "symbols": ["H", "F", "He"],
    "geometry": [0.1, -0.2, 1.7, 0.0, 0.1, 0.0, 1.5, 2.0, -1.0],
    "real": [True, True, False],
    "fix_com": True,
    "fix_orientation": True,
}
# A radical in the basis set of a neighbour.
OXYGEN_HYDRIDE = {
    "symbols": ["O", "H", "O"],
    "geometry": [0.0, 0.0, 0.0, 0.0, 0.1, 1.83, 4.0, 0.0, 0.3],
    "molecular_multiplicity": 2,
    "fix_com": True,
    "fix_orientation": True,
}
FLUORIDE_CATION = {**FLUORIDE, "molecular_charge": 1, "molecular_multiplicity": 2}


@pytest.fixture(autouse=True, scope="module")
def registered():
    autotune_register_programs()


def atom(symbol, charge=0, multiplicity=1):
    return {
        "symbols": [symbol],
        "geometry": [0, 0, 0],
        "molecular_charge": charge,
        "molecular_multiplicity": multiplicity,
    }


def task(method, basis, molecule=WATER, driver="energy", **keywords):
    specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
    return AtomicInput(molecule=Molecule(**molecule), specification=specification)


def attempt(*args, cores=1, memory=2.0, scratch=None, **kwargs):
    config = {"ncores": cores, "memory": memory}
    if scratch is not None:
        config["scratch_directory"] = str(scratch)
    return qcengine.compute(task(*args, **kwargs), "pyscf", task_config=config)


def compute(*args, **kwargs):
    result = attempt(*args, **kwargs)
    assert result.success, result.error.error_message
    return result


def energy(*args, **kwargs):
    return compute(*args, **kwargs).properties.return_energy


def plain_molecule(fields, basis, **options):
    atoms = [
        (symbol if real else f"GHOST-{symbol}", position)
        for symbol, real, position in zip(
            fields["symbols"],
            fields.get("real", [True] * len(fields["symbols"])),
            np.reshape(fields["geometry"], (-1, 3)).tolist(),
            strict=True,
        )
    ]
    spin = fields.get("molecular_multiplicity", 1) - 1
    charge = fields.get("molecular_charge", 0)
    return gto.M(atom=atoms, unit="Bohr", basis=basis, charge=charge, spin=spin, verbose=0, **options)


def plain_scf(molecule, functional=None, conv_tol_grad=None):
    if functional:
        mean_field = dft.KS(molecule, xc=functional)
    else:
        mean_field = scf.UHF(molecule) if molecule.spin else scf.RHF(molecule)
    mean_field.conv_tol = 1e-10
    mean_field.conv_tol_grad = conv_tol_grad
    mean_field.chkfile = None
    mean_field.kernel()
    return mean_field


def displaced(fields, direction, step):
    return {**fields, "geometry": (np.ravel(fields["geometry"]) + step * direction.ravel()).tolist()}


# --- energies --------------------------------------------------------------------------------------------------------


def test_energies_are_those_that_pyscf_publishes_for_water_in_cc_pvdz():
    properties = compute("ccsd(t)", "cc-pvdz").properties
    assert properties.scf_total_energy == pytest.approx(-76.0267656731, abs=1e-7)
    assert properties.mp2_correlation_energy == pytest.approx(-0.2040199673, abs=1e-7)
    assert properties.ccsd_correlation_energy == pytest.approx(-0.2133432342, abs=1e-7)
    triples = properties.ccsd_prt_pr_correlation_energy - properties.ccsd_correlation_energy
    assert triples == pytest.approx(-0.0030600226, abs=1e-7)


@pytest.mark.parametrize("functional", ["pbe", "wb97x", "tpss"])
def test_a_functional_gives_the_energy_of_plain_pyscf(functional):
    expected = plain_scf(plain_molecule(WATER, "6-31g"), functional).e_tot
    assert energy(functional, "6-31g") == pytest.approx(expected, abs=1e-9)


def test_b3lyp_is_the_form_of_gaussian_and_psi4():
    gaussian = energy("b3lyp", "sto-3g")
    assert gaussian == pytest.approx(energy("0.2*HF + .08*LDA + .72*B88, .81*LYP + .19*VWN_RPA", "sto-3g"), abs=1e-9)
    assert gaussian - energy("b3lyp5", "sto-3g") < -0.02


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


def test_electrons_and_reference_follow_charge_and_multiplicity():
    hydroxide = {**FLUORIDE, "symbols": ["H", "O", "He"], "molecular_charge": -1}
    radical = compute("hf", "6-31g", FLUORIDE_CATION)
    assert energy("hf", "6-31g", hydroxide) == plain_scf(plain_molecule(hydroxide, "6-31g")).e_tot
    assert radical.properties.return_energy == plain_scf(plain_molecule(FLUORIDE_CATION, "6-31g")).e_tot
    assert (radical.properties.calcinfo_nalpha, radical.properties.calcinfo_nbeta) == (5, 4)


def test_the_restricted_open_shell_energy_lies_above_the_unrestricted_one():
    above = energy("rohf", "6-31g", WATER_CATION) - energy("hf", "6-31g", WATER_CATION)
    assert 1e-4 < above < 1e-2


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
    assert energy("hf", "6-31g", WATER_CATION, **setting) == pytest.approx(
        energy("hf", "6-31g", WATER_CATION), abs=1e-8
    )


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


def test_core_potentials_come_with_the_basis_set_but_not_to_ghosts():
    iodide = {**atom("I", -1), "symbols": ["I", "I"], "geometry": [0, 0, 0, 0, 0, 6.0], "real": [True, False]}
    expected = plain_scf(plain_molecule(iodide, "def2-svp", ecp={"I": "def2-svp"}))
    result = compute("hf", "def2-svp", iodide)
    assert result.properties.return_energy == pytest.approx(expected.e_tot, abs=1e-10)
    assert result.properties.calcinfo_nalpha == 13


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
    ("hf", FLUORIDE, {}, 1e-6),
    ("hf", FLUORIDE_CATION, {}, 1e-6),
    ("hf", FLUORIDE, {"density_fit": True, "auxbasis": "def2-universal-jkfit"}, 1e-6),
    ("hf", FLUORIDE, {"newton": True}, 1e-6),
    ("b3lyp", FLUORIDE, {}, 2e-5),
    ("wb97x", FLUORIDE_CATION, {"density_fit": True, "auxbasis": "def2-universal-jkfit"}, 2e-5),
    ("mp2", FLUORIDE, {"frozen_core": True}, 1e-6),
    ("mp2", FLUORIDE_CATION, {}, 2e-6),
    ("ccsd", FLUORIDE, {}, 1e-6),
    ("ccsd", FLUORIDE_CATION, {"frozen_core": True}, 2e-6),
    ("ccsd(t)", FLUORIDE, {"frozen_core": True}, 1e-6),
]


@pytest.mark.parametrize(("method", "molecule", "keywords", "tolerance"), GRADIENTS)
def test_a_gradient_is_the_slope_of_the_energy_in_all_atoms_and_ghosts(method, molecule, keywords, tolerance):
    direction = np.random.default_rng(7).normal(size=(3, 3))
    result = compute(method, "6-31g", molecule, "gradient", **keywords)
    step = 2e-3
    up, down = (energy(method, "6-31g", displaced(molecule, direction, s), **keywords) for s in (step, -step))
    assert result.return_result.shape == (3, 3)
    assert abs(result.return_result[2]).max() > 1e-5
    assert np.vdot(result.return_result, direction) == pytest.approx((up - down) / (2 * step), abs=5 * tolerance)
    assert (result.properties.return_gradient == result.return_result).all()
    assert result.properties.return_energy == pytest.approx(energy(method, "6-31g", molecule, **keywords), abs=1e-12)


def test_a_gradient_under_a_core_potential_is_the_slope_of_the_energy():
    molecule = {**FLUORIDE, "symbols": ["H", "I", "H"], "geometry": [0.1, -0.2, 3.0, 0.0, 0.1, 0.0, 1.5, 3.0, -1.0]}
    direction = np.random.default_rng(3).normal(size=(3, 3))
    gradient = compute("hf", "def2-svp", molecule, "gradient").return_result
    up, down = (energy("hf", "def2-svp", displaced(molecule, direction, s)) for s in (2e-3, -2e-3))
    assert np.vdot(gradient, direction) == pytest.approx((up - down) / 4e-3, abs=5e-6)


def test_the_gradient_of_an_uncorrelatable_system_is_its_hartree_fock_gradient():
    proton = {**FLUORIDE, "symbols": ["H", "H", "He"], "molecular_charge": 1, "molecular_multiplicity": 2}
    expected = compute("hf", "6-31g", proton, "gradient").return_result
    assert (compute("ccsd", "6-31g", proton, "gradient").return_result == expected).all()


@pytest.mark.parametrize(
    ("method", "molecule", "keywords", "tolerance"),
    [
        ("hf", FLUORIDE, {}, 1e-5),
        ("hf", FLUORIDE_CATION, {"density_fit": True, "auxbasis": "def2-universal-jkfit"}, 3e-5),
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
    inputs = [task("b3lyp", "6-31g", driver="gradient"), task("ccsd(t)", "6-31g", WATER_CATION)]
    config = {"ncores": 1, "memory": 2.0}
    runs = [
        [qcengine.compute(each, "pyscf", raise_error=True, task_config=config).return_result for each in inputs]
        for _ in range(2)
    ]
    assert (runs[0][0] == runs[1][0]).all()
    assert runs[0][1] == runs[1][1]
    code = (
        "import sys, json, qcengine\n"
        "from autotune_plugins.program_pyscf import autotune_register_programs as register\n"
        "register()\n"
        f"r = qcengine.compute(json.load(sys.stdin), 'pyscf', raise_error=True, task_config={config!r})\n"
        "print(r.return_result.hex())"
    )
    text = inputs[1].model_dump_json()
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == runs[0][1].hex()


def test_two_cores_change_only_the_last_digits():
    assert energy("ccsd(t)", "6-31g", cores=2) == pytest.approx(energy("ccsd(t)", "6-31g"), abs=1e-10)


def test_the_initial_guess_is_pyscfs_own():
    load = gto.basis.load
    assert energy("hf", "6-31g") == plain_scf(plain_molecule(WATER, "6-31g")).e_tot
    assert gto.basis.load is load


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


# --- results ---------------------------------------------------------------------------------------------------------


def test_a_result_says_what_was_computed_and_by_what():
    result = compute("ccsd(t)", "6-31g*", frozen_core=True)
    properties = result.properties
    parts = ("nuclear_repulsion_energy", "scf_one_electron_energy", "scf_two_electron_energy")
    assert sum(getattr(properties, part) for part in parts) == pytest.approx(properties.scf_total_energy, abs=1e-9)
    for method in ("mp2", "ccsd", "ccsd_prt_pr"):
        correlation = getattr(properties, f"{method}_correlation_energy")
        assert getattr(properties, f"{method}_total_energy") == properties.scf_total_energy + correlation
    assert properties.return_energy == properties.ccsd_prt_pr_total_energy == result.return_result
    counts = ("calcinfo_nbasis", "calcinfo_nmo", "calcinfo_nalpha", "calcinfo_nbeta", "calcinfo_natom")
    assert [getattr(properties, name) for name in counts] == [19, 19, 5, 5, 3]
    assert (result.provenance.creator, result.provenance.routine) == ("PySCF", "pyscf ccsd(t)")
    assert result.provenance.version == qcengine.get_program("pyscf").get_version()
    json.loads(result.model_dump_json())


def test_the_parts_of_a_density_functional_energy_add_up():
    properties = compute("b3lyp", "sto-3g").properties
    parts = ("nuclear_repulsion_energy", "scf_one_electron_energy", "scf_two_electron_energy", "scf_xc_energy")
    assert sum(getattr(properties, part) for part in parts) == pytest.approx(properties.scf_total_energy, abs=1e-9)


def test_mp2_splits_into_spins():
    properties = compute("mp2", "6-31g", WATER_CATION).properties
    spins = properties.mp2_same_spin_correlation_energy + properties.mp2_opposite_spin_correlation_energy
    assert spins == pytest.approx(properties.mp2_correlation_energy, abs=1e-10)


# --- resources -------------------------------------------------------------------------------------------------------


def test_no_file_is_left_behind_where_arrays_went_to_disk(tmp_path, monkeypatch):
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    opened = []
    original = lib.H5TmpFile.__init__
    monkeypatch.setattr(
        lib.H5TmpFile, "__init__", lambda self, *a, **k: (original(self, *a, **k), opened.append(self.filename))[0]
    )
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


def test_a_grant_below_what_pyscf_itself_takes_is_a_resource_error():
    failed = attempt("hf", "sto-3g", memory=0.1)
    assert failed.error.error_type == "resource_error"
    message = "QCEngine Resource Error: 0.1 GiB is less than PySCF and its libraries take, 150 MB"
    assert failed.error.error_message == message


def test_coupled_cluster_of_a_radical_keeps_all_in_memory_at_the_grant_of_its_size(monkeypatch):
    judged = []
    fits = pyscf_calculation._fits_in_memory

    def watched(mean_field):
        judged.append(fits(mean_field))
        return judged[-1]

    monkeypatch.setattr(pyscf_calculation, "_fits_in_memory", watched)
    method = Method(program="pyscf", method="ccsd", basis="cc-pvtz", driver="energy")
    radical = TaskSize(atoms=2, ghost_atoms=0, electrons=9, functions=74, unpaired=1)
    for size in (radical, replace(radical, unpaired=0)):
        molecule = {**OXYGEN_HYDRIDE, "real": [True, True, False]}
        compute("ccsd", "cc-pvtz", molecule, memory=need(method, size).grant_gib, cc_max_cycle=100)
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


@pytest.mark.parametrize(
    ("method", "keywords", "message"),
    [
        ("hf", {"max_cycle": 1}, "the SCF did not converge in 1 cycles to 1e-10 Eh"),
        ("b3lyp", {"max_cycle": 2, "newton": False}, "the SCF did not converge in 2 cycles to 1e-10 Eh"),
        ("ccsd(t)", {"cc_max_cycle": 2}, "CCSD did not converge in 2 cycles to 1e-09 Eh"),
    ],
)
def test_what_does_not_converge_is_a_convergence_error_and_no_number(method, keywords, message):
    failed = attempt(method, "6-31g", **keywords)
    assert failed.error.error_type == "convergence_error"
    assert failed.error.error_message == f"QCEngine Convergence Error: {message}"


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
REFUSED = [
    (task("b3lypp", "6-31g"), f"method 'b3lypp': did you mean b3lyp or b3lypg or b3lyp5? {KNOWN}"),
    (task("ccsd[t]", "6-31g"), f"method 'ccsd[t]': did you mean ccsd or ccsd(t)? {KNOWN}"),
    (task("pbe0-2", "6-31g"), f"method 'pbe0-2': did you mean pbe0 or pbe50 or pbe? {KNOWN}"),
    (task("101", "6-31g"), f"method '101': {KNOWN}"),
    (task("RI-MP2", "6-31g"), "method 'RI-MP2': write 'mp2' and the keyword density_fit: true"),
    (task("b3lyp-d3", "6-31g"), "method 'b3lyp-d3': d3 does not say which damping; write b3lyp-d3bj or b3lyp-d3zero"),
    (task("wB97X-D", "6-31g"), f"method 'wB97X-D': {D2}"),
    (task("cf22d", "6-31g"), f"method 'cf22d': {D3}"),
    (task("pbeh-3c", "6-31g"), f"method 'pbeh-3c': {UNKNOWN_CORRECTION}"),
    (
        task("lda", "6-31g"),
        "method 'lda': this is exchange without correlation; write 'lda,vwn' or the like, or 'lda,' if that is meant",
    ),
    (
        task("b3lyp,lyp", "6-31g"),
        (
            "method 'b3lyp,lyp': B3LYP is not only exchange, which stands before the comma; a whole functional is "
            "written without one"
        ),
    ),
    (task("zlp", "6-31g"), f"method 'zlp': it may mean lda_xc_zlp or mgga_xc_zlp; {KNOWN}"),
    (
        task("b3lyp-d3bj", "6-31g", driver="hessian"),
        "dispersion corrections have no Hessians here, only energies and gradients",
    ),
    (task("mgga_x_br89", "6-31g"), "method 'mgga_x_br89': PySCF has no density Laplacian"),
    (
        task("hf", "6-31g", conv_tool=1e-8),
        f"keyword 'conv_tool' is not known; did you mean conv_tol? known are {KEYWORDS}",
    ),
    (task("hf", "6-31g", zzz=1), f"keyword 'zzz' is not known; known are {KEYWORDS}"),
    (task("hf", "6-31g", conv_tol="tight"), "keyword conv_tol takes a number, not 'tight' (SCF energy change, Eh)"),
    (
        task("hf", "6-31g", newton=1),
        "keyword newton takes true or false, not 1 (second-order SCF after a few ordinary cycles)",
    ),
    (task("hf", "6-31g", max_cycle=True), "keyword max_cycle takes an integer, not True (most SCF cycles)"),
    (task("hf", "6-31g", conv_tol=0), "keyword conv_tol is at least 1e-16, not 0 (SCF energy change, Eh)"),
    (
        task("pbe", "6-31g", grid_level=12),
        "keyword grid_level is at most 9, not 12 (DFT grid; default 3, Hessians 5)",
    ),
    (
        task("hf", "6-31g", init_guess="best"),
        "keyword init_guess takes minao, atom, huckel, mod_huckel, hcore, not 'best' (initial density of the SCF)",
    ),
    (task("hf", "6-31g", frozen_core=True), "keyword frozen_core has no effect on hf, only on mp2, ccsd, ccsd(t)"),
    (task("mp2", "6-31g", auxbasis="weigend"), "keyword auxbasis has no effect without density_fit: true"),
    (task("uhf", "6-31g", reference="rhf"), "method 'uhf' contradicts the keyword reference: rhf; drop one"),
    (task("rhf", "6-31g", WATER_CATION), "reference rhf needs a singlet, not multiplicity 2; use uhf"),
    (task("mp2", "6-31g", reference="rohf"), "reference rohf gives HF energies only; use uhf"),
    (task("rohf", "6-31g", driver="gradient"), "reference rohf gives HF energies only; use uhf"),
    (task("mp2", "6-31g", driver="hessian"), "PySCF has no mp2 Hessians"),
    (task("ccsd(t)", "6-31g", driver="hessian"), "PySCF has no ccsd(t) Hessians"),
    (
        task("mp2", "6-31g", driver="gradient", density_fit=True),
        "PySCF has no density-fitted mp2 gradients; drop the keyword density_fit",
    ),
    (
        task("ccsd(t)", "6-31g", WATER_CATION, "gradient"),
        "PySCF's UHF-CCSD(T) gradients are wrong by some 1e-4 Eh/a0 (tested in 2.14), so they are refused",
    ),
    (
        task("hf", "6-31g", driver="properties"),
        "the PySCF harness has no driver 'properties', only energy, gradient, hessian",
    ),
    (task("hf", None), "method hf needs the name of a basis set as model.basis, such as 'cc-pvdz'"),
    (
        task("hf", "cc-pvdzz"),
        "basis set 'cc-pvdzz' is not known to Basis Set Exchange; close to it: cc-pVDZ, ccJ-pVDZ, cc-pCVDZ, cc-pwCVDZ",
    ),
    (
        task("hf", "cc-pvdz", atom("I", -1)),
        "basis set cc-pVDZ has no I; sets that have: cc-pVDZ-PP, cc-pwCVDZ-PP, cc-pVTZ-PP, cc-pVQZ-PP",
    ),
    (
        task("hf", "6-31g*", atom("Sc", 0, 2)),
        (
            "basis set '6-31g*' means some shells of Sc as Cartesian and some as spherical, PySCF does only one kind "
            "at a time; choose with the keyword cart"
        ),
    ),
    (
        task("mp2", "pcseg-1", density_fit=True),
        "no usual jkfit fitting basis set for 'pcseg-1' is known; name one with keyword auxbasis",
    ),
    (
        task("hf", "cc-pvdz", density_fit=True, auxbasis="cc-pvdz-jk"),
        (
            "fitting basis set 'cc-pvdz-jk' (keyword auxbasis) is not known; close to it: "
            "cc-pvdz-jkfit, cc-pvdz-ri, cc-pvtz-jkfit, cc-pvqz-jkfit"
        ),
    ),
    (
        task("hf", "cc-pvdz", atom("Na", 1), density_fit=True),
        "fitting basis set 'cc-pvdz-jkfit' has no Na; choose one with keyword auxbasis",
    ),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_what_cannot_be_computed_is_refused_before_computing_in_one_line(asked, message, monkeypatch):
    monkeypatch.setattr(gto.Mole, "build", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError) as refusal:
        qcengine.get_program("pyscf").preflight(asked)
    assert refusal.value.raw_message == message
    failed = qcengine.compute(asked, "pyscf", task_config={"ncores": 1, "memory": 1.0})
    assert failed.error.error_type == "input_error"
    assert failed.error.error_message == f"QCEngine Input Error: {message}"


@pytest.mark.parametrize(("charge", "multiplicity"), [(0, 2), (1, 1), (12, 1), (8, 5)])
def test_charge_and_multiplicity_must_fit_the_nuclei(charge, multiplicity):
    # QCElemental refuses such a molecule itself, unless told that it was validated, as the runtime does.
    fields = {**WATER, "molecular_charge": charge, "molecular_multiplicity": multiplicity}
    molecule = Molecule(**{**Molecule(**WATER).model_dump(), **fields, "validated": True})
    asked = AtomicInput(
        molecule=molecule, specification={"driver": "energy", "model": {"method": "uhf", "basis": "sto-3g"}}
    )
    with pytest.raises(InputError) as refusal:
        pyscf_input.read(asked)
    expected = f"charge {charge} and multiplicity {multiplicity} do not fit nuclei of total charge 10"
    assert refusal.value.raw_message == expected


def test_a_wavefunction_is_refused():
    specification = {
        "driver": "energy",
        "model": {"method": "hf", "basis": "sto-3g"},
        "protocols": {"wavefunction": "orbitals_and_eigenvalues"},
    }
    with pytest.raises(InputError) as refusal:
        pyscf_input.read(AtomicInput(molecule=Molecule(**WATER), specification=specification))
    message = "the PySCF harness returns no wavefunctions; leave the protocol wavefunction at none"
    assert refusal.value.raw_message == message


def test_triples_without_virtual_orbitals_of_one_spin_are_refused():
    failed = attempt("ccsd(t)", "sto-3g", atom("N", 0, 4))
    assert failed.error.error_type == "input_error"
    message = "PySCF has no (T) where one spin has no virtual orbitals; use a larger basis set"
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
