"""Lattice energies: held against sums over a supercell without symmetry, and against published terms."""

from __future__ import annotations

import itertools
from functools import partial
from importlib.resources import files
from pathlib import Path

import ase.io
import numpy as np
import pytest
import qcengine

import autotune

CRYSTALS = Path(str(files("autotune.studies"))) / "crystals"
OPTIONS = {"journal": "none", "threads": 1}
XTB = {"program": "tblite", "method": "gfn2-xtb"}
# Of CrystaLattE's test of its Psi4 mode (crystalatte/tests/test_29_amm_psi4api.py): HF/STO-3G with Psi4's default
# density fitting, without counterpoise correction; Eh.
PUBLISHED = {
    ("2mer", 12, 3.883): 0.00033410465863426,
    ("3mer", 12, 3.883): 1.3679718790626794e-05,
    ("3mer", 4, 3.883): -4.049166795994097e-05,
}


@pytest.fixture(scope="module")
def lattice(private_home):  # noqa: ARG001 - in place before the first worker starts
    """Return a function that computes a lattice energy, components of one shape once."""
    with autotune.Session(autotune.Options(**OPTIONS, reuse_equal_fragments=True)) as reusing:

        def compute(crystal, cutoffs, run=reusing.run_crystal, *, metric="nearest", on_outcome=None, **chosen):
            return run(
                CRYSTALS / f"{crystal}.cif" if isinstance(crystal, str) else crystal,
                expansion=autotune.Expansion(**chosen),
                cutoffs_angstrom=cutoffs,
                metric=metric,
                on_outcome=on_outcome,
            )

        yield compute


def sum_by_hand(crystal, cutoffs, asked):
    """Return the lattice energy of one molecule by all n-mers that have it, none of them taken for another."""
    sites = [(m, cell) for cell in itertools.product(range(-2, 3), repeat=3) for m in range(len(crystal.molecules))]
    places = {site: crystal.positions_angstrom(site) for site in sites}
    kept: dict[tuple, float] = {}

    def nearest(one, other):
        return np.linalg.norm(places[one][:, None] - places[other][None], axis=-1).min()

    def of(*nmer):
        if nmer not in kept:
            symbols = [symbol for m, _ in nmer for symbol in crystal.molecules[m].symbols]
            positions = np.concatenate([places[site] for site in nmer])
            task = asked([(s, *xyz) for s, xyz in zip(symbols, positions, strict=True)], XTB["method"])
            one_core = {"ncores": 1, "memory": 1.0}
            kept[nmer] = qcengine.compute(task, "tblite", raise_error=True, task_config=one_core).return_result
        return kept[nmer]

    def term(*nmer):
        parts = [part for size in range(1, len(nmer)) for part in itertools.combinations(nmer, size)]
        return of(*nmer) - sum(term(*part) for part in parts)

    home, total = (0, (0, 0, 0)), 0.0
    for nbody, cutoff in cutoffs.items():
        near = [site for site in sites if site != home and nearest(home, site) <= cutoff]
        for others in itertools.combinations(near, nbody - 1):
            if all(nearest(*pair) <= cutoff for pair in itertools.combinations(others, 2)):
                total += term(home, *others) / nbody
    return total


@pytest.mark.programs("tblite")
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("name", "cutoffs"), [("carbon_dioxide", {2: 5.0, 3: 3.2}), ("ammonia", {2: 3.0, 3: 2.5})])
def test_a_lattice_energy_is_the_sum_over_all_n_mers_of_a_molecule(session, lattice, asked, name, cutoffs):
    expected = sum_by_hand(autotune.read_crystal(CRYSTALS / f"{name}.cif"), cutoffs, asked)
    found = lattice(name, cutoffs, **XTB)
    assert found.energy_hartree == pytest.approx(expected, abs=1e-8)
    assert lattice(name, cutoffs, session.run_crystal, **XTB).energy_hartree == pytest.approx(
        found.energy_hartree, abs=1e-8
    )


@pytest.mark.programs("psi4")
def test_terms_of_ammonia_are_the_published_ones(lattice):
    run, chosen = partial(autotune.run_crystal, **OPTIONS), {"program": "psi4", "method": "hf", "basis": "sto-3g"}
    found = lattice("ammonia", {2: 3.89, 3: 3.89}, run, metric="centres", **chosen)
    for alike, published in PUBLISHED.items():
        terms = [t for t in found.nmers if (t.name[:4], t.per_cell, round(t.distance_angstrom, 3)) == alike]
        assert min(abs(term.term_hartree - published) for term in terms) < 1e-8


@pytest.mark.programs("pyscf")
def test_counterpoise_corrections_are_those_of_the_n_mers_by_themselves(session, lattice):
    results, chosen = {}, {"program": "pyscf", "method": "hf", "basis": "sto-3g", "bsse": ("cp", "vmfc")}
    found = lattice("ammonia", {2: 2.6, 3: 2.5}, on_outcome=lambda each: results.update({each.name: each}), **chosen)
    for term in found.nmers:
        alone = autotune.tabulate(session.run(results[term.name].result.input_data))
        (row,) = (row for row in alone.rows if (row.bsse, row.nbody) == (term.bsse, term.nbody))
        assert term.term_hartree == pytest.approx(row.contribution_hartree, abs=1e-8)


@pytest.mark.programs("tblite")
def test_a_crystal_without_symmetry_has_the_same_energy(lattice, tmp_path):
    atoms = ase.io.read(CRYSTALS / "carbon_dioxide.cif")
    atoms.wrap()
    atoms.positions[0, 0] += 2e-3  # more than a symmetry operation may be off
    ase.io.write(tmp_path / "off.xyz", atoms, format="extxyz")
    one, other = (lattice(crystal, {2: 5.0}, **XTB) for crystal in ("carbon_dioxide", tmp_path / "off.xyz"))
    assert len(one.nmers) < len(other.nmers)
    assert other.energy_hartree == pytest.approx(one.energy_hartree, abs=1e-5)
