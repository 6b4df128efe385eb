"""PySCF, Psi4 and NWChem agree on the same molecule, method and basis set, where their conventions are made equal.

Conventional integrals everywhere (Psi4 fits densities unless told otherwise), all electrons correlated (the default of
all three). `b3lyp` is the form with the RPA fit of VWN in all three; what is left there are the grids. The table in
docs/programs.md tells what was measured.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

# By method: keywords of each program, and the largest difference in Eh.
CASES = {
    "hf": (
        {"pyscf": {}, "psi4": {"scf_type": "pk", "d_convergence": 1e-8}, "nwchem": {"scf__thresh": 1e-8}},
        1e-8,
    ),
    "mp2": (
        {
            "pyscf": {},
            "psi4": {"scf_type": "pk", "mp2_type": "conv", "d_convergence": 1e-8},
            "nwchem": {"scf__thresh": 1e-8, "mp2__tight": True},
        },
        1e-8,
    ),
    "ccsd(t)": (
        {
            "pyscf": {},
            "psi4": {"scf_type": "pk", "d_convergence": 1e-8, "r_convergence": 1e-7},
            "nwchem": {"scf__thresh": 1e-8, "ccsd__thresh": 1e-8},
        },
        1e-8,
    ),
    "b3lyp": (
        {
            "pyscf": {"grid_level": 6},
            "psi4": {
                "scf_type": "pk",
                "d_convergence": 1e-8,
                "dft_spherical_points": 590,
                "dft_radial_points": 99,
            },
            "nwchem": {"dft__grid": "xfine", "dft__convergence__energy": 1e-8},
        },
        1e-6,
    ),
}


@pytest.mark.programs("pyscf", "psi4", "nwchem")
@pytest.mark.parametrize("basis", ["6-31g*", "cc-pvdz"])
@pytest.mark.parametrize("method", CASES)
def test_programs_agree(session, two_waters, first_component, method, basis):
    keywords, tolerance = CASES[method]
    energies = {
        program: first_component(
            session, two_waters(program, method, basis, keywords=keywords[program])
        ).properties.return_energy
        for program in keywords
    }
    for one, other in itertools.combinations(energies, 2):
        assert energies[one] == pytest.approx(energies[other], abs=tolerance), (one, other)


@pytest.mark.programs("pyscf", "nwchem")
def test_b3lyp5_is_the_other_form_in_pyscf_and_nwchem(session, two_waters, first_component):
    fifth = [
        first_component(
            session, two_waters(program, "b3lyp5", "6-31g*", keywords=CASES["b3lyp"][0][program])
        ).properties.return_energy
        for program in ("pyscf", "nwchem")
    ]
    assert fifth[0] == pytest.approx(fifth[1], abs=1e-6)


def test_the_table_in_the_docs_has_the_tolerances_of_these_tests():
    document = (Path(__file__).parents[2] / "docs" / "programs.md").read_text()
    for method, (_, tolerance) in CASES.items():
        (row,) = [line for line in document.splitlines() if line.startswith(f"| {method.upper()} |")]
        *measured, allowed = [float(cell) for cell in row.strip("|").split("|")[1:]]
        assert allowed == tolerance
        assert max(measured) < tolerance
