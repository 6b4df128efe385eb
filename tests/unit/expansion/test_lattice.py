"""The n-mers of crystals: counts of the literature, counts by hand, and what their terms add up to."""

from __future__ import annotations

import itertools
import math
from importlib.resources import files
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest

import autotune
from autotune.base.errors import InputError
from autotune.expansion.crystal import read_crystal
from autotune.expansion.exactness import error_of
from autotune.expansion.expansion import Expansion
from autotune.expansion.lattice import find_nmers, lattice_energy
from autotune.expansion.nmer_inputs import nmer_inputs

CRYSTALS = Path(str(files("autotune.studies"))) / "crystals"
TOLD = {"program": "pyscf", "method": "hf", "basis": "sto-3g"}
HF = Expansion(**TOLD)
CUTOFFS = {2: 3.5, 3: 2.5}


def written(folder, atoms):
    """Return the crystal of ASE's atoms by way of a file."""
    ase.io.write(folder / "x.xyz", atoms, format="extxyz")
    return read_crystal(folder / "x.xyz")


def energy_of(crystal, **terms):
    """Return the lattice energy of these terms by treatment, each a function of the n-mer, and the n-mers."""
    nmers = find_nmers(crystal, CUTOFFS)
    values = {nmer.name: {bsse: term(nmer) for bsse, term in terms.items()} for nmer in nmers}
    methods = dict.fromkeys(CUTOFFS, HF.models[0])
    return lattice_energy(crystal, nmers, values, cutoffs_angstrom=CUTOFFS, metric="nearest", methods=methods), nmers


@pytest.fixture(scope="module")
def benzene():
    return read_crystal(CRYSTALS / "benzene.cif")


@pytest.fixture(scope="module")
def ammonia():
    return read_crystal(CRYSTALS / "ammonia.cif")


def test_benzene_has_the_dimers_and_trimers_of_the_literature(benzene):
    # 88 and 689 of a supercell of 9x9x9, github.com/carlosborca/CrystaLattE/pull/2: molecules within 20 Å of centres
    # of mass, trimers within 12 Å of nearest atoms (which is less than 20 Å of centres).
    assert len(find_nmers(benzene, {2: 20.0}, metric="centres")) == 88
    assert len(find_nmers(benzene, {3: 12.0})) == 689


def by_hand(crystal, nbody, cutoff, distance):
    """Return how many n-mers there are for each cell, from a supercell that is large enough, without symmetry."""
    cells = list(itertools.product(range(-2, 3), repeat=3))
    sites = [(molecule, cell) for cell in cells for molecule in range(len(crystal.molecules))]
    places = {site: crystal.positions_angstrom(site) for site in sites}
    found = 0
    for molecule in range(len(crystal.molecules)):
        home = (molecule, (0, 0, 0))
        near = [site for site in sites if site != home and distance(places[home], places[site]) <= cutoff]
        found += sum(
            all(distance(places[a], places[b]) <= cutoff for a, b in itertools.combinations(others, 2))
            for others in itertools.combinations(near, nbody - 1)
        )
    return found / nbody


def between(of_all):
    return lambda one, other: of_all(np.linalg.norm(one[:, None] - other[None], axis=-1))


def centres(one, other):
    masses = np.array([14.00307400443] + 3 * [1.00782503223])
    return np.linalg.norm(masses @ one / masses.sum() - masses @ other / masses.sum())


@pytest.mark.parametrize(
    ("metric", "distance", "cutoff"),
    [("nearest", between(np.min), 4.0), ("farthest", between(np.max), 6.0), ("centres", centres, 4.4)],
)
@pytest.mark.parametrize("nbody", [2, 3, 4])
def test_all_n_mers_are_counted_as_a_supercell_counts_them(ammonia, nbody, metric, distance, cutoff):
    found = find_nmers(ammonia, {nbody: cutoff}, metric=metric)
    assert sum(nmer.per_cell for nmer in found) == by_hand(ammonia, nbody, cutoff, distance)
    for nmer in found:
        places = [ammonia.positions_angstrom(site) for site in nmer.sites]
        apart = sorted(distance(*pair) for pair in itertools.combinations(places, 2))
        assert nmer.distances_angstrom == pytest.approx(apart)
        assert nmer.sites[0][1] == (0, 0, 0)


def shape(crystal, nmer):
    """Return what equal n-mers, mirror images too, have in common."""
    atoms = np.concatenate([crystal.positions_angstrom(site) for site in nmer.sites])
    charges = np.array([{"N": 7.0, "H": 1.0}[s] for site in nmer.sites for s in crystal.molecules[site[0]].symbols])
    apart = np.linalg.norm(atoms[:, None] - atoms[None], axis=-1)
    return tuple(np.round(np.linalg.eigvalsh(apart * charges[:, None] * charges[None]), 4))


def test_distinct_n_mers_differ_and_no_two_of_them_are_equal_without_symmetry_too(ammonia, tmp_path):
    found = find_nmers(ammonia, {2: 4.0, 3: 3.0})
    assert len({(nmer.nbody, *shape(ammonia, nmer)) for nmer in found}) == len(found)
    # A supercell of which one atom is off has no symmetry: all its n-mers are distinct, and of the same shapes.
    atoms = ase.io.read(CRYSTALS / "ammonia.cif")
    atoms.positions[0, 0] += 2e-3
    all_of_them = find_nmers(written(tmp_path, atoms), {2: 4.0, 3: 3.0})
    assert {nmer.per_cell for nmer in all_of_them} == {1}
    assert len(all_of_them) == sum(nmer.per_cell for nmer in found)


def test_a_supercell_and_other_vectors_have_the_same_n_mers(benzene, tmp_path):
    atoms = ase.io.read(CRYSTALS / "benzene.cif")
    expected = find_nmers(benzene, {2: 6.0, 3: 4.0})
    skew = ase.build.make_supercell(atoms, [[1, 0, 1], [0, 1, 0], [0, 0, 1]])
    for times, other in ((2, atoms.repeat((1, 2, 1))), (1, skew)):
        found = find_nmers(written(tmp_path, other), {2: 6.0, 3: 4.0})
        assert [nmer.per_cell for nmer in found] == [nmer.per_cell * times for nmer in expected]
        for one, same in zip(found, expected, strict=True):
            assert one.distances_angstrom == pytest.approx(same.distances_angstrom, abs=1e-6)


def test_n_mers_whose_images_straddle_the_cutoff_count_as_one(benzene, tmp_path):
    """Where a file's digits put images on both sides, all of them are within."""
    atoms = ase.io.read(CRYSTALS / "benzene.cif")
    atoms.rattle(5e-5, seed=1)
    noisy = written(tmp_path, atoms)
    assert len(noisy.operations) == 8
    exact = find_nmers(benzene, {2: 9.0})

    def within(cutoff):
        return sum(nmer.per_cell for nmer in exact if nmer.distances_angstrom[-1] < cutoff)

    for nmer in exact[3:]:
        cutoff = nmer.distances_angstrom[-1]
        found = find_nmers(noisy, {2: cutoff})
        assert within(cutoff - 1e-3) <= sum(each.per_cell for each in found) <= within(cutoff + 1e-3)
        assert {each.per_cell for each in found} <= {4, 8}


def test_terms_add_up_by_how_often_they_occur(ammonia):
    found, nmers = energy_of(ammonia, nocp=lambda nmer: 0.001 * nmer.nbody, cp=lambda _: -0.001)
    pairs, triples = (sum(n.per_cell for n in nmers if n.nbody == size) for size in (2, 3))
    assert (found.unit, found.units_per_cell) == ("H3N", 4)
    rows = {(level.bsse, level.nbody): level for level in found.levels}
    assert list(rows) == [("nocp", 2), ("nocp", 3), ("cp", 2), ("cp", 3)]
    assert rows["nocp", 3].through_hartree == pytest.approx((0.002 * pairs + 0.003 * triples) / 4)
    assert rows["cp", 2].contribution_hartree == pytest.approx(-0.001 * pairs / 4)
    assert found.energy_hartree == rows["nocp", 3].through_hartree
    last = [term for term in found.nmers if (term.bsse, term.nbody) == ("cp", 3)][-1]
    assert last.running_hartree == pytest.approx(rows["cp", 3].contribution_hartree)


@pytest.mark.parametrize(
    ("cutoffs", "metric", "words"),
    [
        ({}, "nearest", "a crystal needs cutoffs in Å by level, such as 2=12,3=8"),
        ({1: 3.0}, "nearest", "a cutoff names level 1; n-mers have 2 molecules or more"),
        ({2: -1.0}, "nearest", "the cutoff of level 2 is -1.0; give a distance in Å"),
        ({2: math.inf}, "nearest", "the cutoff of level 2 is inf; give a distance in Å"),
        ({2: math.nan}, "nearest", "the cutoff of level 2 is nan; give a distance in Å"),
        ({2: 3.0}, "widest", "the metric is 'widest'; there are nearest, centres, farthest"),
        ([4], "nearest", "a crystal needs cutoffs in Å by level"),
        ({2: 1e9}, "nearest", "there are more than .* 2-mers within 1e"),
        ({2: 0.5}, "nearest", "no 2 molecules of .* lie within 0.5 Å of each other .nearest.; give a larger cutoff"),
    ],
)
def test_cutoffs_that_cannot_be_meant_are_refused(ammonia, cutoffs, metric, words):
    with pytest.raises(InputError, match=words):
        find_nmers(ammonia, cutoffs, metric=metric)


def test_too_many_n_mers_are_refused_and_not_counted_to_the_end(ammonia, monkeypatch):
    monkeypatch.setattr("autotune.expansion.lattice.MOST_NMERS", 1000)
    with pytest.raises(InputError, match="there are more than 1,000 4-mers within 12 Å; give a smaller cutoff"):
        find_nmers(ammonia, {4: 12.0})


def test_the_input_of_an_n_mer_is_its_own_expansion(ammonia):
    nmers = find_nmers(ammonia, CUTOFFS)
    several = Expansion(program="pyscf", levels={2: "mp2/cc-pvdz", 3: "psi4 hf/sto-3g"}, bsse=("cp", "nocp"))
    inputs = nmer_inputs(ammonia, nmers, several)
    assert list(inputs) == [nmer.name for nmer in nmers]
    for nmer in nmers:
        molecule, specification = inputs[nmer.name]["molecule"], inputs[nmer.name]["specification"]
        (chemistry,) = specification["specification"].values()
        assert specification["keywords"] == {"bsse_type": ["cp", "nocp"], "max_nbody": nmer.nbody}
        assert chemistry["program"] == {2: "pyscf", 3: "psi4"}[nmer.nbody]
        assert len(molecule["fragments"]) == nmer.nbody
        assert molecule["fragment_charges"] == [0.0] * nmer.nbody
        positions = np.array(molecule["geometry"]).reshape(-1, 3) * 0.529177210903
        expected = np.concatenate([ammonia.positions_angstrom(site) for site in nmer.sites])
        assert np.allclose(positions, expected, atol=1e-8)


BY_LEVEL = {"method": "", "basis": ""}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"driver": "gradient"}, "a lattice energy is a sum of energies; leave out driver gradient"),
        ({"max_nbody": 2}, "the cutoffs of a crystal say which levels there are; leave out max_nbody"),
        ({"fragments": "4x2"}, "the fragments of a crystal are its molecules; leave out the fragments"),
        ({**BY_LEVEL, "levels": {2: "hf/sto-3g", "supersystem": "hf/sto-3g"}}, "no supersystem"),
        ({**BY_LEVEL, "levels": {2: "hf/sto-3g"}}, "levels name no method for 3-mers; name level 3, too"),
        (
            {"multiplicities": "1:3"},
            "molecules 1, 2, 3, 4 of the cell are equal by symmetry.*1:3,2:3,3:3,4:3",
        ),
    ],
)
def test_expansions_that_a_crystal_cannot_have_are_refused(ammonia, changes, words):
    with pytest.raises(InputError, match=words):
        nmer_inputs(ammonia, find_nmers(ammonia, CUTOFFS), Expansion(**{**TOLD, **changes}))


def test_multiplicities_of_molecules_that_are_images_are_the_same(ammonia):
    same = Expansion(**TOLD, multiplicities="1:3,2:3,3:3,4:3")
    (fields,) = nmer_inputs(ammonia, find_nmers(ammonia, {2: 2.5}), same).values()
    assert fields["molecule"]["fragment_multiplicities"] == [3, 3]


@pytest.mark.parametrize(
    ("cutoffs", "option", "words"),
    [
        *(
            ({2: 3.0}, option, "leaves terms out, and a crystal's cutoffs say which there are")
            for option in ({"screen_distance": 3.0}, {"terms": ((1, 2),)}, {"around": (1,)})
        ),
        ({3: 3.0}, {}, "through 3-body has its 2-mers in it; give a cutoff for them, too"),
    ],
    ids=str,
)
def test_runs_of_crystals_without_pairs_or_with_options_that_leave_terms_out_are_refused(
    ammonia, cutoffs, option, words
):
    with pytest.raises(InputError, match=words):
        autotune.run_crystal(ammonia, expansion=HF, cutoffs_angstrom=cutoffs, **option)


def test_what_a_lattice_energy_is_off_by_counts_molecules_once(ammonia):
    found, _ = energy_of(ammonia, nocp=lambda _: 0.0)
    # 6 and 6 pairs and 1 triple for each molecule, a share of it each: 12 times half, 4 times a third of three.
    molecules = -2 * (3 + 3) + 3 * 1
    others = 3**2 + 3**2 + 1**2 * (3 + 1)
    assert found.off_hartree == pytest.approx(error_of(HF.models[0]) * math.sqrt(molecules**2 + others))


def test_salts_are_refused(tmp_path):
    salt = written(tmp_path, ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    with pytest.raises(InputError, match=r"has 8 ions in the cell, Na first: their interactions fall off too slowly"):
        nmer_inputs(salt, find_nmers(salt, {2: 3.0}), HF)
