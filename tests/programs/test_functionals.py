"""Names of density functionals in PySCF: the numbers of Psi4 and of Grimme's program, or a refusal."""

from __future__ import annotations

import importlib.util
import itertools
import re

import numpy as np
import pytest

pytest.importorskip("pyscf")
pytest.importorskip("pyscf.dispersion")

import qcengine
from pyscf import dft, gto
from pyscf.dft import libxc

from autotune_plugins import pyscf_dispersion, pyscf_functionals, pyscf_grid
from autotune_plugins.pyscf_functionals import FunctionalError

pytestmark = [pytest.mark.programs("pyscf"), pytest.mark.usefixtures("registered")]

BOHR = 0.52917721067

# A helium atom in 6-31G, by Psi4 1.3.2 with 590 x 99 points: `psi4.energy(name)`.
PSI4_HELIUM = {
    "b3lyp": -2.9070489745,
    "b3lyp5": -2.8999203528,
    "b3p86": -2.9072701151,
    "b97-1": -2.8993765640,
    "b97m-v": -2.9193609629,
    "blyp": -2.8978450784,
    "bop": -2.9059096099,
    "bp86": -2.8981160414,
    "cam-b3lyp": -2.8929883290,
    "hse06": -2.8890818348,
    "lc-vv10": -2.8890867609,
    "lrc-wpbe": -2.8911207141,
    "m06-2x": -2.8991532274,
    "m06-l": -2.9039314444,
    "mn15": -2.9102241120,
    "o3lyp": -2.9023157314,
    "pbe": -2.8844562627,
    "pbe0": -2.8876941986,
    "pw6b95": -2.9093727197,
    "pw91": -2.8913986758,
    "revpbe": -2.8994979255,
    "rpbe": -2.9022551199,
    "tpss": -2.9025123259,
    "tpssh": -2.9020970195,
    "vv10": -2.9075460989,
    "wb97m-v": -2.8903052019,
    "wb97x": -2.8964549701,
    "wb97x-v": -2.8955227552,
    "x3lyp": -2.9001009902,
    "lda,vwn_rpa": -2.8641468826,  # which is Psi4's svwn
}
# Ethene and ethyne, 22nd pair but six of S22 (Å); corrections of the pair by Grimme's dftd3 as Psi4's test
# `dftd3/energy` has them.
ETHENE = (
    *(("C", 0.0, y, -2.124659) for y in (-0.667578, 0.667578)),
    *(("H", x, y, -2.126185) for x, y in itertools.product((0.923621, -0.923621), (-1.232253, 1.232253))),
)
ETHYNE = (("C", 0.0, 0.0, 2.900503), ("C", 0.0, 0.0, 1.693240), ("H", 0.0, 0.0, 0.627352), ("H", 0.0, 0.0, 3.963929))
GRIMME = {"b3lyp-d3zero": -0.00285088, "b3lyp-d3bj": -0.00784595, "pbe-d3zero": -0.00175474, "pbe-d3bj": -0.00475937}


def in_bohr(atoms):
    return [(symbol, [x / BOHR for x in position]) for symbol, *position in atoms]


PAIR = in_bohr([*ETHENE, *ETHYNE])
HELIUM = [("He", 0, 0, 0)]


@pytest.fixture
def compute(asked):
    """Return a function that computes atoms by a functional."""

    def by(atoms, method, driver="energy", **keywords):
        given = asked(atoms, method, "6-31g", driver, **keywords)
        return qcengine.compute(given, "pyscf", raise_error=True, task_config={"ncores": 1, "memory": 2.0})

    return by


@pytest.mark.parametrize("name", PSI4_HELIUM)
def test_a_name_means_the_functional_that_it_means_to_psi4(compute, name):
    assert compute(HELIUM, name, grid_level=5).return_result == pytest.approx(PSI4_HELIUM[name], abs=2e-6)


def test_a_name_that_psi4_understands_otherwise_is_told(asked):
    told = qcengine.get_program("pyscf").cautions(asked(HELIUM, "SVWN", "6-31g"))
    assert told == (
        "svwn has VWN's fit 5 in PySCF, and VWN's RPA fit in Psi4 and Gaussian, which is 'lda,vwn_rpa' here",
    )


# What libxc itself says of a functional: made with dispersion, or with the non-local part of another program.
NEEDS = re.compile(r"-D\b|-D3\b|dispersion$|3c\b|vdW\b|rVV10", re.IGNORECASE)


def test_no_functional_whose_title_names_a_dispersion_correction_is_accepted():
    accepted = []
    for name in {key.lower() for key in (*libxc.XC_CODES, *libxc.XC_ALIAS)}:
        for spelling in (name, f"{name},", f",{name}"):
            try:
                found = pyscf_functionals.read(spelling)
            except FunctionalError:
                continue
            titles = [pyscf_functionals._term(int(number)).title for number, _ in libxc.parse_xc(found.name)[1]]
            accepted += [(spelling, title) for title in titles if NEEDS.search(title)]
    assert accepted == []


def test_no_bare_name_that_is_accepted_is_exchange_or_correlation_alone():
    for name in {key.lower() for key in (*libxc.XC_CODES, *libxc.XC_ALIAS)}:
        try:
            found = pyscf_functionals.read(name)
        except FunctionalError:
            continue
        (exact, *_), terms = libxc.parse_xc(found.name)
        kinds = {pyscf_functionals._term(int(number)).kind for number, _ in terms}
        assert kinds & {1, 2}, name
        assert kinds & {0, 2} or exact, name
        assert kinds <= {0, 1, 2}, name


IN_PART = """
wb97xd wb97x-d wb97x_d hyb_gga_xc_wb97x_d b97d b97-d gga_xc_b97_d opbed gga_xc_opbe_d wb97xd3 wb97x-d3
hyb_gga_xc_wb97x_d3 cf22d hyb_mgga_x_cf22d,mgga_c_cf22d s12g,pbe b97-3c gga_xc_b97_3c hf-3c pbeh-3c r2scan-3c wb97x-3c
pbe-d pbe-d2 m06-2x-d3bj b3lyp-d3 wb97x-d4 mp2-d3 scan_rvv10 gga_xc_beefvdw optb88_vdw,pbe lda slater b88 gga_x_pbe
gga_c_lyp 0.5*b88+0.5*lda gga_k_tfvw lda_x_2d camyb3lyp gga_x_lb, pbe0,lyp tauhcth,tauhcth 471 1.0*471 1*101
"""


@pytest.mark.parametrize("name", IN_PART.split())
def test_what_pyscf_would_compute_in_part_is_refused(name):
    with pytest.raises(FunctionalError):
        pyscf_functionals.read(name)


@pytest.mark.parametrize(
    "name", ["slater,", ",vwn", "pbe,", "hf,lyp", "0.25*hf + 0.75*pbe, pbe", "b97m-v", "scan_vv10"]
)
def test_a_part_that_a_comma_asks_for_and_a_nonlocal_term_that_pyscf_computes_are_accepted(name):
    assert pyscf_functionals.read(name).name == name


@pytest.mark.parametrize("name", GRIMME)
def test_a_d3_correction_is_that_of_grimmes_program(name):
    energy, _ = pyscf_dispersion.correction(pyscf_functionals.read(name), PAIR, 0, gradient=False)
    assert energy == pytest.approx(GRIMME[name], abs=1e-8)


@pytest.mark.programs("dftd4")
@pytest.mark.parametrize(("name", "charge"), [("b3lyp-d4", 0), ("pbe0-d4", 1), ("r2scan-d4", -1)])
def test_a_d4_correction_is_that_of_dftd4_for_every_charge(asked, name, charge):
    given = asked([*ETHENE, *ETHYNE], name, driver="gradient", charge=charge, multiplicity=1 + abs(charge))
    expected = qcengine.compute(given, "dftd4", raise_error=True)
    found = pyscf_dispersion.correction(pyscf_functionals.read(name), PAIR, charge, gradient=True)
    assert found[0] == pytest.approx(expected.properties.return_energy, abs=1e-10)
    assert found[1] == pytest.approx(expected.return_result, abs=1e-10)


@pytest.mark.parametrize("name", pyscf_functionals._CORRECTED)
def test_every_correction_on_offer_has_parameters(name):
    for version in ("d3bj", "d3zero", "d4"):
        if getattr(pyscf_functionals._CORRECTED[name], version):
            found = pyscf_functionals.read(f"{name}-{version}")
            energy, _ = pyscf_dispersion.correction(found, PAIR, 0, gradient=False)
            assert energy < 0
            assert libxc.parse_xc(found.name)[1]


def test_ghosts_have_no_dispersion():
    functional = pyscf_functionals.read("b3lyp-d3bj")
    among_ghosts = [*PAIR[:6], *((f"GHOST-{symbol}", place) for symbol, place in PAIR[6:])]
    alone, _ = pyscf_dispersion.correction(functional, PAIR[:6], 0, gradient=True)
    energy, gradient = pyscf_dispersion.correction(functional, among_ghosts, 0, gradient=True)
    assert energy == alone
    assert (gradient[6:] == 0).all()


@pytest.mark.parametrize("name", ["b3lyp-d3bj", "pbe-d4"])
def test_the_gradient_of_a_correction_is_its_slope(name):
    symbols, places = zip(*PAIR, strict=True)
    direction = np.random.default_rng(3).normal(size=(10, 3))

    def shifted(step, *, gradient=False):
        atoms = list(zip(symbols, places + step * direction, strict=True))
        return pyscf_dispersion.correction(pyscf_functionals.read(name), atoms, 0, gradient=gradient)

    slope = (shifted(1e-3)[0] - shifted(-1e-3)[0]) / 2e-3
    assert np.vdot(shifted(0, gradient=True)[1], direction) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize(("name", "bare"), [("pbe-d3bj", "pbe"), ("wb97x-d3bj", "wb97x_v")])
def test_a_correction_is_part_of_energy_and_gradient_and_replaces_a_nonlocal_term(compute, name, bare):
    result, atoms = compute(ETHYNE, name, "gradient"), in_bohr(ETHYNE)
    plain = dft.RKS(gto.M(atom=atoms, unit="Bohr", basis="6-31g", verbose=0), xc=bare)
    plain.set(nlc=False, conv_tol=1e-10).run()
    energy, gradient = pyscf_dispersion.correction(pyscf_functionals.read(name), atoms, 0, gradient=True)
    assert result.properties.return_energy == pytest.approx(plain.e_tot + energy, abs=1e-8)
    assert result.return_result == pytest.approx(plain.nuc_grad_method().kernel() + gradient, abs=1e-6)
    assert result.properties.scf_dispersion_correction_energy == pytest.approx(energy, abs=1e-9)


@pytest.mark.parametrize("atoms", [1, 2, 5])
@pytest.mark.parametrize("level", [0, 3])
def test_grid_points_have_the_order_that_pyscf_gives_them(atoms, level):
    # Another copy of PySCF's module, because in the one that is used our order has the place of its own.
    spec = importlib.util.find_spec("pyscf.dft.gen_grid")
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    assert dft.gen_grid.arg_group_grids is pyscf_grid.group_points is not original.arg_group_grids
    chance = np.random.default_rng(atoms)
    places = [("O" if number % 2 else "H", 2.0 * chance.normal(size=3)) for number in range(atoms)]
    molecule = gto.M(atom=places, basis="sto-3g", spin=None, unit="Bohr")
    grids = dft.gen_grid.Grids(molecule)
    grids.level = level
    grids.build(sort_grids=False)
    points = np.concatenate([grids.coords, 30.0 * chance.normal(size=(500, 3))])
    expected = original.arg_group_grids(molecule, points)
    assert (pyscf_grid.group_points(molecule, points) == expected).all()
