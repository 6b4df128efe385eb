"""Lattice energies: held against sums over a supercell without symmetry, and against published terms."""

from __future__ import annotations

import itertools
from importlib.resources import files
from pathlib import Path

import ase.io
import pytest
import qcengine
from qcelemental.models.v2 import AtomicInput, Molecule

import autotune
from autotune.plugin.manager import Manager

CRYSTALS = Path(str(files("autotune.studies"))) / "crystals"
OPTIONS = {"journal": "none", "threads": 1}
# Of CrystaLattE's test of its Psi4 mode (crystalatte/tests/test_29_amm_psi4api.py): HF/STO-3G with Psi4's default
# density fitting, without counterpoise correction; Eh.
PUBLISHED = {
    ("2mer", 12, 3.883): 0.00033410465863426,
    ("3mer", 12, 3.883): 1.3679718790626794e-05,
    ("3mer", 4, 3.883): -4.049166795994097e-05,
}


def energy(positions, symbols):
    molecule = Molecule(symbols=symbols, geometry=positions / 0.529177210903, fix_com=True, fix_orientation=True)
    specification = {"driver": "energy", "model": {"method": "gfn2-xtb"}}
    task = AtomicInput(molecule=molecule, specification=specification)
    return qcengine.compute(
        task, "tblite", raise_error=True, return_version=2, task_config={"ncores": 1, "memory": 1.0}
    ).return_result


def sum_by_hand(crystal, cutoffs):
    """Return the lattice energy of one molecule by all n-mers that have it, none of them taken for another."""
    import numpy as np

    sites = [(m, cell) for cell in itertools.product(range(-2, 3), repeat=3) for m in range(len(crystal.molecules))]
    places = {site: crystal.positions_angstrom(site) for site in sites}
    kept: dict[tuple, float] = {}

    def nearest(one, other):
        return np.linalg.norm(places[one][:, None] - places[other][None], axis=-1).min()

    def of(*nmer):
        if nmer not in kept:
            symbols = [symbol for m, _ in nmer for symbol in crystal.molecules[m].symbols]
            kept[nmer] = energy(np.concatenate([places[site] for site in nmer]), symbols)
        return kept[nmer]

    def term(*nmer):
        return of(*nmer) - sum(
            term(*part) for size in range(1, len(nmer)) for part in itertools.combinations(nmer, size)
        )

    home, total = (0, (0, 0, 0)), 0.0
    for nbody, cutoff in cutoffs.items():
        near = [site for site in sites if site != home and nearest(home, site) <= cutoff]
        for others in itertools.combinations(near, nbody - 1):
            if all(nearest(*pair) <= cutoff for pair in itertools.combinations(others, 2)):
                total += term(home, *others) / nbody
    return total


@pytest.mark.programs("tblite")
@pytest.mark.parametrize(("name", "cutoffs"), [("carbon_dioxide", {2: 5.0, 3: 3.2}), ("ammonia", {2: 3.0, 3: 2.5})])
def test_a_lattice_energy_is_the_sum_over_all_n_mers_of_a_molecule(name, cutoffs):
    Manager().register_programs()
    crystal = autotune.read_crystal(CRYSTALS / f"{name}.cif")
    method = autotune.Expansion(program="tblite", method="gfn2-xtb")
    expected = sum_by_hand(crystal, cutoffs)
    found = autotune.run_crystal(crystal, expansion=method, cutoffs_angstrom=cutoffs, **OPTIONS)
    assert found.energy_hartree == pytest.approx(expected, abs=1e-8)
    all_computed = autotune.run_crystal(
        crystal, expansion=method, cutoffs_angstrom=cutoffs, reuse_equal_fragments=False, **OPTIONS
    )
    assert all_computed.energy_hartree == pytest.approx(found.energy_hartree, abs=1e-8)


@pytest.mark.programs("psi4")
def test_terms_of_ammonia_are_the_published_ones():
    crystal = autotune.read_crystal(CRYSTALS / "ammonia.cif")
    found = autotune.run_crystal(
        crystal,
        expansion=autotune.Expansion(program="psi4", method="hf", basis="sto-3g"),
        cutoffs_angstrom={2: 3.89, 3: 3.89},
        metric="centres",
        **OPTIONS,
    )
    terms = {(term.name[:4], term.per_cell, round(term.distance_angstrom, 3)): [] for term in found.nmers}
    for term in found.nmers:
        terms[term.name[:4], term.per_cell, round(term.distance_angstrom, 3)].append(term.term_hartree)
    for key, published in PUBLISHED.items():
        assert min(abs(term - published) for term in terms[key]) < 1e-8


@pytest.mark.programs("pyscf")
def test_counterpoise_corrections_are_those_of_the_n_mers_by_themselves():
    crystal = autotune.read_crystal(CRYSTALS / "ammonia.cif")
    method = autotune.Expansion(program="pyscf", method="hf", basis="sto-3g", bsse=("cp", "vmfc"))
    results = {}
    found = autotune.run_crystal(
        crystal,
        expansion=method,
        cutoffs_angstrom={2: 2.6, 3: 2.5},
        on_outcome=lambda outcome: results.update({outcome.name: outcome.result}),
        **OPTIONS,
    )
    for term in found.nmers:
        alone = autotune.run(results[term.name].input_data, **OPTIONS)
        (row,) = (row for row in autotune.tabulate(alone).rows if (row.bsse, row.nbody) == (term.bsse, term.nbody))
        assert term.term_hartree == pytest.approx(row.contribution_hartree, abs=1e-8)


@pytest.mark.programs("tblite")
def test_a_crystal_without_symmetry_has_the_same_energy(tmp_path):
    atoms = ase.io.read(CRYSTALS / "carbon_dioxide.cif")
    atoms.wrap()
    atoms.positions[0, 0] += 2e-3  # more than a symmetry operation may be off
    ase.io.write(tmp_path / "off.xyz", atoms, format="extxyz")
    method = autotune.Expansion(program="tblite", method="gfn2-xtb")
    one, other = (
        autotune.run_crystal(path, expansion=method, cutoffs_angstrom={2: 5.0}, **OPTIONS)
        for path in (CRYSTALS / "carbon_dioxide.cif", tmp_path / "off.xyz")
    )
    assert len(one.nmers) < len(other.nmers)
    assert other.energy_hartree == pytest.approx(one.energy_hartree, abs=1e-5)
