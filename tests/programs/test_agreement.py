"""PySCF, Psi4 and NWChem agree on the same molecule, method and basis set, where their conventions are made equal.

Conventional integrals everywhere (Psi4 fits densities unless told otherwise), all electrons correlated (the default of
all three). `b3lyp` is the form with the RPA fit of VWN in all three; what is left there are the grids. The table in
docs/programs.md tells what was measured.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from places import ROOT

pytestmark = pytest.mark.programs("pyscf")

# What makes numbers of different programs comparable, by HF.
TIGHT = {"pyscf": {}, "psi4": {"scf_type": "pk", "d_convergence": 1e-8}, "nwchem": {"scf__thresh": 1e-8}}
POINTS = {"dft_spherical_points": 590, "dft_radial_points": 99}
FINE = {
    "pyscf": {"grid_level": 6},
    "psi4": {**TIGHT["psi4"], **POINTS},
    "nwchem": {"dft__grid": "xfine", "dft__convergence__energy": 1e-8},
}


def and_of(**more):
    """Return those keywords with more for some programs."""
    return {program: {**tight, **more.get(program, {})} for program, tight in TIGHT.items()}


# By method: keywords of each program, and the largest difference in Eh.
CASES = {
    "hf": (TIGHT, 1e-8),
    "mp2": (and_of(psi4={"mp2_type": "conv"}, nwchem={"mp2__tight": True}), 1e-8),
    "ccsd(t)": (and_of(psi4={"r_convergence": 1e-7}, nwchem={"ccsd__thresh": 1e-8}), 1e-8),
    "b3lyp": (FINE, 1e-6),
}
ALL_THREE = pytest.mark.programs(*TIGHT)
# Of water by HF, each basis set with functions as it means them.
PUBLISHED = {"6-31g*": -76.0104965, "cc-pvdz": -76.0267657}


@ALL_THREE
@pytest.mark.parametrize("basis", PUBLISHED)
@pytest.mark.parametrize("method", CASES)
def test_programs_agree(session, two_waters, first_component, method, basis):
    keywords, tolerance = CASES[method]
    energies = {
        program: first_component(session, two_waters(program, method, basis, keywords=tight)).return_result
        for program, tight in keywords.items()
    }
    for one, other in itertools.combinations(energies, 2):
        assert energies[one] == pytest.approx(energies[other], abs=tolerance), (one, other)
    if method == "hf":
        assert list(energies.values()) == pytest.approx([PUBLISHED[basis]] * 3, abs=1e-6)


@pytest.mark.programs("pyscf", "nwchem")
def test_b3lyp5_is_the_other_form_in_pyscf_and_nwchem(session, two_waters, first_component):
    fifth = [
        first_component(session, two_waters(program, "b3lyp5", "6-31g*", keywords=FINE[program])).return_result
        for program in ("pyscf", "nwchem")
    ]
    assert fifth[0] == pytest.approx(fifth[1], abs=1e-6)


def test_the_table_in_the_docs_has_the_tolerances_of_these_tests():
    document = (ROOT / "docs" / "programs.md").read_text()
    for method, (_, tolerance) in CASES.items():
        (row,) = [line for line in document.splitlines() if line.startswith(f"| {method.upper()} |")]
        *measured, allowed = [float(cell) for cell in row.strip("|").split("|")[1:]]
        assert allowed == tolerance
        assert max(measured) < tolerance


# --- what programs get wrong in their own ways: frames, charges, spins ------------------------------------------------

# Atoms (Å) and fragments.
WATER_AND_HF = (
    *(("O", 0, 0, 0), ("H", 0.757, 0.586, 0), ("H", -0.7, 0.62, 0.1)),
    *(("F", 0.2, -2.6, 0.3), ("H", 0.1, -1.7, 0.2)),
)
MIRRORED_WATERS = (
    *(("O", 0, 0, 0), ("H", 0.757, 0.586, 0), ("H", -0.757, 0.586, 0)),
    *(("O", 0, 0.4, 3.0), ("H", 0.757, 0.986, 3.0), ("H", -0.757, 0.986, 3.0)),
)
WATER_AND_HF_C2V = (*MIRRORED_WATERS[:3], ("F", 0, -2.66, 0), ("H", 0, -1.73, 0))
SYMMETRIES = {
    "C1": (WATER_AND_HF, "3,2"),
    "Cs": (MIRRORED_WATERS, "3,3"),
    "C2v": (WATER_AND_HF_C2V, "3,2"),
}
SODIUM = (("Na", 0, 0, 0), ("O", 0, 0, 2.3), ("H", 0.757, 0, 2.886), ("H", -0.757, 0, 2.886))
CHLORIDE = (("Cl", 0, 0, 0), ("O", 0, 0.1, 3.15), ("H", 0, 0.1, 2.19), ("H", 0, 0.95, 3.55))
HYDROXYL = (("O", 0, 0, 0), ("H", 0, 0, -0.97), ("O", 0, 0, 2.9), ("H", 0.757, 0, 3.486), ("H", -0.757, 0, 3.486))
HELIUM_XENON = (("He", 0, 0, 0), ("Xe", 0, 0, 3.8))
CHARGED = {
    "Na+": (SODIUM, {"fragments": "1,3", "charges": "1:1"}),
    "Cl-": (CHLORIDE, {"fragments": "1,3", "charges": "1:-1"}),
    "OH": (HYDROXYL, {"fragments": "2,3", "multiplicities": "1:2"}),
}


def turned(atoms, seed):
    """Return atoms in a random orientation, and the rotation."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn = q * np.sign(np.diag(r))
    turn = turn * np.sign(np.linalg.det(turn))
    return [(symbol, *(turn @ xyz)) for symbol, *xyz in atoms], turn


@pytest.fixture
def by_all(session, expansion):
    """Return a function that returns the results of one HF input by all three programs."""

    def compute(atoms, **others):
        return [
            session.run(expansion(atoms, program=program, method="hf", keywords=tight, **others))
            for program, tight in TIGHT.items()
        ]

    return compute


@ALL_THREE
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_gradients_agree_in_a_random_orientation(by_all, symmetry):
    atoms, fragments = SYMMETRIES[symmetry]
    anyhow, _ = turned(atoms, seed=len(symmetry))
    first, *others = by_all(anyhow, basis="6-31g", fragments=fragments, driver="gradient")
    for other in others:
        assert np.asarray(first.return_result) == pytest.approx(np.asarray(other.return_result), abs=1e-6)


@pytest.mark.parametrize(
    ("program", "method"),
    [
        pytest.param(program, method, marks=pytest.mark.programs(program))
        for program, method in {"mopac": "pm6", "tblite": "gfn2-xtb", "dftd4": "b3lyp-d4"}.items()
    ],
)
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_gradients_turn_with_the_molecules(session, expansion, program, method, symmetry):
    atoms, fragments = SYMMETRIES[symmetry]
    anyhow, turn = turned(atoms, seed=7)
    asked = {"program": program, "method": method, "fragments": fragments, "driver": "gradient"}
    before, after = (np.asarray(session.run(expansion(each, **asked)).return_result) for each in (atoms, anyhow))
    # MOPAC ends its SCF where it has begun near enough, which depends on the orientation.
    assert after == pytest.approx(before @ turn.T, abs=2e-5 if program == "mopac" else 1e-6)


@ALL_THREE
@pytest.mark.parametrize("system", CHARGED)
def test_interactions_of_ions_and_radicals_agree(by_all, system):
    atoms, fragments = CHARGED[system]
    first, *others = by_all(atoms, basis="6-31g", **fragments)
    for other in others:
        assert first.return_result == pytest.approx(other.return_result, abs=1e-7)


@ALL_THREE
def test_core_potentials_agree(by_all):
    known = {"cp": (0.0001734, -331.153381), "nocp": (0.0000709, -331.153483)}
    found = [each.properties for each in by_all(HELIUM_XENON, basis="def2-svp", bsse=tuple(known))]
    for kind, (interaction, total) in known.items():
        energies = [getattr(each, f"{kind}_corrected_interaction_energy") for each in found]
        assert energies == pytest.approx([interaction] * 3, abs=1e-7)
        assert energies == pytest.approx([energies[0]] * 3, abs=1e-8)
        totals = [getattr(each, f"{kind}_corrected_total_energy") for each in found]
        assert totals == pytest.approx([total] * 3, abs=1e-6)


@pytest.mark.programs("psi4")
@pytest.mark.parametrize("one", [[("Cl", 0, 0, 0)], [("O", 0, 0, 0), ("H", 0.3, 0.8, 0.46)]], ids=["Cl", "OH"])
def test_radicals_far_apart_do_not_interact_in_psi4_or_the_user_is_told_to_doubt_it(session, expansion, one):
    other, _ = turned(one, seed=1)
    atoms = [*one, *((symbol, x + 3.8, y + 0.3, z + 0.2) for symbol, x, y, z in other)]
    chosen = {"method": "hf", "basis": "6-31g", "keywords": TIGHT["psi4"]}
    radicals = {"fragments": f"{len(one)}x2", "charges": "0,0", "multiplicities": "2,2"}
    energy = session.run(expansion(atoms, program="psi4", **chosen, **radicals)).return_result
    assert abs(energy) < 0.01 or session.record.doubts


@pytest.mark.programs("pyscf", "psi4")
@pytest.mark.parametrize("basis", ["6-311+G(3df,2p)", "6-311G(2d)", "6-311++g(2df,2pd)"])
def test_sets_of_pople_with_polarisation_of_ones_choice_agree(session, two_waters, first_component, basis):
    ours, theirs = (
        first_component(session, two_waters(program, "hf", basis, keywords=TIGHT[program])).properties
        for program in ("pyscf", "psi4")
    )
    assert ours.calcinfo_nbasis == theirs.calcinfo_nbasis
    assert ours.return_energy == pytest.approx(theirs.return_energy, abs=1e-7)
