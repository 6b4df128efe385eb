"""Open shells in PySCF end at minima: pairs of radicals far apart are their sum, and second order starts well."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyscf")

import qcengine
from pyscf import gto, scf
from qcelemental.models.v2 import AtomicInput, Molecule
from qcengine.exceptions import ConvergenceError, InputError

from autotune_plugins import pyscf_input, pyscf_stability

pytestmark = [pytest.mark.programs("pyscf"), pytest.mark.usefixtures("registered")]

BOHR = 0.52917721067
# Symbols, positions (Å), multiplicity.
KINDS = {
    "Cl": (["Cl"], [[0, 0, 0]], 2),
    "O": (["O"], [[0, 0, 0]], 3),
    "OH": (["O", "H"], [[0, 0, 0], [0, 0, 0.97]], 2),
    "NO": (["N", "O"], [[0, 0, 0], [0, 0, 1.15]], 2),
    "O2": (["O", "O"], [[0, 0, 0], [0, 0, 1.21]], 3),
    "H2O": (["O", "H", "H"], [[0, 0, 0], [0, -0.757, 0.587], [0, 0.757, 0.587]], 1),
}


def turned(random):
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    return axes * np.sign(np.linalg.det(axes))


def fragments(names, apart, seed):
    """Return fragments in random orientations, the second at a distance (Å) from the first."""
    random, way = np.random.default_rng(seed), np.array([2.2, -1.9, 2.4])
    made = []
    for number, name in enumerate(names):
        symbols, positions, multiplicity = KINDS[name]
        place = number * apart * way / np.linalg.norm(way)
        made.append((symbols, np.array(positions) @ turned(random).T + place, multiplicity))
    return made


def asked(parts, method="hf", basis="6-31g", driver="energy", **keywords):
    multiplicities = [multiplicity for *_, multiplicity in parts]
    ends = np.cumsum([len(symbols) for symbols, *_ in parts]).tolist()
    molecule = Molecule(
        symbols=[symbol for symbols, *_ in parts for symbol in symbols],
        geometry=np.concatenate([positions for _, positions, _ in parts]) / BOHR,
        fragments=[list(range(end - len(part[0]), end)) for part, end in zip(parts, ends, strict=True)],
        fragment_charges=[0.0] * len(parts),
        fragment_multiplicities=multiplicities,
        molecular_multiplicity=sum(m - 1 for m in multiplicities) + 1,
        fix_com=True,
        fix_orientation=True,
    )
    specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
    return AtomicInput(molecule=molecule, specification=specification)


def compute(*args, **kwargs):
    config = {"ncores": 1, "memory": 2.0}
    return qcengine.compute(asked(*args, **kwargs), "pyscf", raise_error=True, task_config=config)


def energy(*args, **kwargs):
    return compute(*args, **kwargs).properties.return_energy


def interaction(parts, **options):
    return energy(parts, **options) - sum(energy([part], **options) for part in parts)


# --- where solutions end ---------------------------------------------------------------------------------------------


CHLORINE = [(["Cl"], np.array([place]), 2) for place in ([0, 0, 0], [3.8, 0.3, 0.2])]


@pytest.mark.parametrize(
    ("method", "minimum", "saddle"),
    [
        ("hf", pytest.approx(-0.000278, abs=2e-6), pytest.approx(0.1263211, abs=1e-6)),  # PySCF's stability analysis
        ("b3lyp", pytest.approx(0, abs=2e-3), pytest.approx(0.01755, abs=1e-3)),
        ("rohf", pytest.approx(0, abs=2e-3), pytest.approx(0.1352, abs=1e-3)),
    ],
)
def test_two_chlorine_atoms_are_not_left_on_a_saddle_point(method, minimum, saddle):
    assert interaction(CHLORINE, method=method) == minimum
    assert interaction(CHLORINE, method=method, stability=False) == saddle


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("names", "most"), [(("NO", "NO"), 3e-3), (("OH", "OH"), 5e-3), (("O", "O2"), 5e-4)])
def test_a_pair_at_3_8_angstrom_is_bound_or_repelled_by_little(names, most, seed):
    assert abs(interaction(fragments(names, 3.8, seed))) < most


@pytest.mark.parametrize("names", [("Cl", "Cl"), ("O", "O2"), ("O2", "O2")])
def test_a_pair_far_apart_is_the_sum_of_its_parts(names):
    assert abs(interaction(fragments(names, 15.0, seed=1))) < 1e-6


@pytest.mark.parametrize("name", ["Cl", "O", "OH", "NO"])
def test_a_radical_has_the_same_energy_in_every_orientation(name):
    energies = [energy(fragments([name], 0, seed)) for seed in range(3)]
    assert np.ptp(energies) < 1e-9


def test_a_start_from_the_parts_densities_ends_at_the_same_minimum():
    parts = fragments(["OH", "OH"], 3.8, seed=4)

    def mean_field(some):
        atoms = [(s, tuple(p)) for symbols, places, _ in some for s, p in zip(symbols, places, strict=True)]
        molecule = gto.M(atom=atoms, basis="6-31g", spin=sum(m - 1 for *_, m in some), verbose=0)
        return scf.UHF(molecule).set(conv_tol=1e-10, chkfile=None, max_cycle=100)

    alone = [mean_field([part]).run().make_rdm1() for part in parts]
    size = [density.shape[-1] for density in alone]
    guess = np.zeros((2, sum(size), sum(size)))
    guess[:, : size[0], : size[0]], guess[:, size[0] :, size[0] :] = alone
    other = mean_field(parts)
    other.kernel(guess)
    lowest = pyscf_stability.minimum(other, other, curvatures=3)
    assert energy(parts) == pytest.approx(lowest.e_tot, abs=1e-7)


@pytest.mark.programs("psi4")
@pytest.mark.parametrize(("names", "seed"), [(["OH", "H2O"], 0), (["O2", "H2O"], 1)])
def test_a_radical_next_to_water_has_the_energy_of_psi4(names, seed):
    parts = fragments(names, 3.0, seed)
    keywords = {"scf_type": "pk", "e_convergence": 1e-9, "d_convergence": 1e-7, "stability_analysis": "follow"}
    config = {"ncores": 1, "memory": 2.0}
    expected = qcengine.compute(asked(parts, **keywords), "psi4", raise_error=True, task_config=config).return_result
    assert energy(parts) == pytest.approx(expected, abs=2e-7)


def test_correlated_energies_and_gradients_start_from_the_minimum_of_which_the_parts_add_up():
    result = compute(CHLORINE, method="mp2", driver="gradient")
    of = result.properties
    assert of.scf_total_energy == pytest.approx(energy(CHLORINE), abs=1e-7)
    parts = of.nuclear_repulsion_energy, of.scf_one_electron_energy, of.scf_two_electron_energy
    assert sum(parts) == pytest.approx(of.scf_total_energy, abs=1e-9)
    one, (symbols, place, multiplicity) = CHLORINE
    moved = [(symbols, place + np.array([step * BOHR, 0, 0]), multiplicity) for step in (1e-3, -1e-3)]
    stretched, squeezed = (energy([one, other], method="mp2") for other in moved)
    slope = (stretched - squeezed) / 2e-3
    assert result.return_result[1, 0] == pytest.approx(slope, abs=1e-5)


def test_a_stable_solution_keeps_its_last_bit():
    hydroxyl = fragments(["OH"], 0, seed=1)
    assert energy(hydroxyl) == energy(hydroxyl, stability=False)


def test_a_way_down_that_never_ends_is_a_convergence_error(monkeypatch):
    monkeypatch.setattr(pyscf_stability, "_DESCENTS", 1)
    with pytest.raises(ConvergenceError, match="still at a saddle point after 1 ways down; try another init_guess"):
        energy(CHLORINE)


# --- second order ----------------------------------------------------------------------------------------------------

IODINE = (["I", "I"], np.array([[0, 0, 0], [0, 0, 2.67]]), 1)
BESIDE = {
    "He": (["He"], np.array([[0, 3.5, 1.3]]), 1),
    "Ne": (["Ne"], np.array([[0, 3.5, 1.3]]), 1),
    "H2": (["H", "H"], np.array([[0, 3.5, 1.3], [0, 3.5, 2.04]]), 1),
    "H2O": (["O", "H", "H"], np.array([[0, 3.5, 1.3], [0, 4.1, 1.9], [0, 4.1, 0.7]]), 1),
}


@pytest.mark.parametrize("name", BESIDE)
def test_second_order_next_to_iodine_ends_where_ordinary_cycles_end(name):
    parts = [IODINE, BESIDE[name]]
    ordinary = energy(parts, basis="def2-svp")
    assert energy(parts, basis="def2-svp", newton=True) == pytest.approx(ordinary, abs=1e-9)


def test_a_closed_shell_in_second_order_is_led_down_where_its_start_was_bad(monkeypatch):
    monkeypatch.setattr(pyscf_stability, "FIRST_CYCLES", 1)
    parts = [IODINE, BESIDE["He"]]
    assert energy(parts, basis="def2-svp", newton=True) == pytest.approx(energy(parts, basis="def2-svp"), abs=1e-7)


# --- what is asked and told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "options", "checked"),
    [
        (["H2O"], {}, False),
        (["H2O"], {"newton": True}, True),
        (["H2O"], {"reference": "uhf"}, True),
        (["OH"], {}, True),
        (["OH"], {"stability": False}, False),
        (["OH"], {"method": "b3lyp"}, True),
        (["H2O"], {"stability": True}, True),
    ],
)
def test_minima_are_looked_for_where_shells_are_open_or_second_order_is_asked_for(names, options, checked):
    assert pyscf_input.read(asked(fragments(names, 0, seed=0), **options)).stable is checked


def test_radicals_that_meet_without_the_check_are_told_of():
    harness = qcengine.get_program("pyscf")
    pair = fragments(["OH", "OH"], 3.8, seed=0)
    (told,) = harness.cautions(asked(pair, stability=False))
    assert told.endswith("may be wrong by tenths of a Hartree; leave out the keyword stability: false")
    assert harness.cautions(asked(pair)) == ()
    assert harness.cautions(asked(pair[:1], stability=False)) == ()


def test_a_functional_without_second_derivatives_cannot_be_checked_on_request(monkeypatch):
    monkeypatch.setattr(pyscf_input.libxc, "test_deriv_order", lambda _, order: order < 2)
    hydroxyls = fragments(["OH", "OH"], 3.8, seed=0)
    assert pyscf_input.read(asked(hydroxyls, method="pbe")).stable is False
    (told,) = qcengine.get_program("pyscf").cautions(asked(hydroxyls, method="pbe"))
    assert told.endswith("take a functional with second derivatives")
    with pytest.raises(InputError, match="no second derivatives of pbe, which stability and newton need"):
        pyscf_input.read(asked(hydroxyls, method="pbe", stability=True))
