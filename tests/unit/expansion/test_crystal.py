"""Crystals: whole molecules out of cells, symmetry as what it does with sites, and files that are none."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest

from autotune.base.errors import InputError, ResourceError
from autotune.expansion.crystal import formula, read_crystal

CRYSTALS = Path(str(files("autotune.studies"))) / "crystals"


def crystal(name):
    return read_crystal(CRYSTALS / f"{name}.cif")


def written(folder, atoms, name="crystal.xyz"):
    ase.io.write(folder / name, atoms, format="extxyz")
    return folder / name


def wrapped(name):
    """Return a crystal's atoms, all within the cell, so that it cuts molecules."""
    atoms = ase.io.read(CRYSTALS / f"{name}.cif")
    atoms.wrap()
    return atoms


def changed(folder, *replacements):
    text = (CRYSTALS / "carbon_dioxide.cif").read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "changed.cif").write_text(text)
    return folder / "changed.cif"


@pytest.mark.parametrize(
    ("name", "unit", "group", "operations"),
    [
        ("benzene", "C6H6", "Pbca (61)", 8),
        ("carbon_dioxide", "CO2", "Pa-3 (205)", 24),
        ("ammonia", "H3N", "P2_13 (198)", 12),
    ],
)
def test_a_cell_has_four_whole_molecules_that_are_images_of_each_other(name, unit, group, operations):
    found = crystal(name)
    assert (found.unit, found.formula_units, found.group, len(found.operations)) == (unit, 4, group, operations)
    assert found.kinds == ((0, 1, 2, 3),)
    assert f"4 {unit} in the unit cell" in found.describe()
    for molecule in found.molecules:
        apart = np.linalg.norm(molecule.positions_angstrom[:, None] - molecule.positions_angstrom[None], axis=-1)
        assert apart.max() < 5.1
        assert (np.sort(apart, axis=1)[:, 1] < 1.5).all()


@pytest.mark.parametrize("name", ["benzene", "carbon_dioxide", "ammonia"])
def test_operations_carry_molecules_onto_molecules(name):
    found = crystal(name)
    lattice = found.vectors_angstrom
    own = [(molecule, cell) for molecule in range(4) for cell in ((0, 0, 0), (1, -2, 3))]
    for operation in found.operations:
        images = operation.apply(own)
        turn = np.linalg.inv(lattice) @ operation.rotation.T @ lattice
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        moves = []
        for site, image in zip(own, images, strict=True):
            there, here = found.positions_angstrom(image), found.positions_angstrom(site) @ turn
            move = there.mean(axis=0) - here.mean(axis=0)
            moves.append(move)
            apart = np.linalg.norm((here + move)[:, None] - there[None], axis=-1)
            assert apart.min(axis=1).max() < 1e-3
        assert np.allclose(moves, moves[0], atol=1e-3)  # one operation for all


def test_files_of_one_crystal_in_other_words_are_one_crystal(tmp_path):
    atoms = wrapped("benzene")
    atoms.translate([1.3, -0.4, 2.2])
    atoms.wrap()
    found = read_crystal(written(tmp_path, atoms))
    assert (found.unit, found.formula_units, found.group) == ("C6H6", 4, "Pbca (61)")
    # A cell of other vectors, which span the same lattice.
    skew = np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]])
    found = read_crystal(written(tmp_path, ase.build.make_supercell(atoms, skew)))
    assert (found.unit, found.formula_units, len(found.operations)) == ("C6H6", 4, 8)
    found = read_crystal(written(tmp_path, atoms.repeat((2, 1, 1))))
    assert (found.formula_units, len(found.operations), len(found.kinds)) == (8, 16, 1)
    ase.io.write(tmp_path / "POSCAR", atoms, format="vasp")
    assert read_crystal(tmp_path / "POSCAR").group == "Pbca (61)"


def test_without_symmetry_every_molecule_is_of_its_own_kind(tmp_path):
    atoms = wrapped("ammonia")
    atoms.rattle(0.05, seed=3)
    found = read_crystal(written(tmp_path, atoms))
    assert (found.group, len(found.operations), found.kinds) == ("P1 (1)", 1, ((0,), (1,), (2,), (3,)))


def test_a_cocrystal_counts_by_its_formula_units(tmp_path):
    atoms = wrapped("carbon_dioxide")
    atoms.extend(ase.Atoms("He2", positions=[[2.812, 2.812, 2.812], [2.812, 0.0, 0.0]]))
    found = read_crystal(written(tmp_path, atoms))
    assert (found.formula_units, found.unit) == (2, "2CO2·He")
    assert len(found.molecules) == 6


def test_formulas_are_in_the_order_of_hill():
    assert formula(["O", "C", "H", "H", "Br"]) == "CH2BrO"
    assert formula(["O", "H", "H", "Al"]) == "AlH2O"


@pytest.mark.parametrize(
    ("replacements", "words"),
    [
        ([("'C O2'", "'C2 H2 O4'")], "says C2 H2 O4, but its atoms are C4O8: H are missing; give a structure with all"),
        (
            [
                ("_atom_site_fract_z\n", "_atom_site_fract_z\n_atom_site_occupancy\n"),
                ("0.1185\n", "0.1185 0.5\n"),
                ("C C 0.0 0.0 0.0\n", "C C 0.0 0.0 0.0 1\n"),
            ],
            "the structure is disordered (occupancies below 1); keep one of the alternatives",
        ),
        ([("_cell_length_a 5.624\n", "")], "does not repeat in three directions"),
        ([("_atom_site_fract_x\n", "_atom_site_fract_w\n")], ""),
        ([("O O 0.1185 0.1185 0.1185", "O O 0.1185 0.1185 nonsense")], "is not understood as CIF: "),
        ([("5.624", "1.2")], "is bonded to an image of its own molecule; this is no crystal of molecules"),
    ],
)
def test_a_cif_that_is_no_whole_crystal_is_refused_in_one_line(tmp_path, replacements, words):
    with pytest.raises(InputError) as refused:
        read_crystal(changed(tmp_path, *replacements))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_files_are_refused_in_one_line(tmp_path):
    two = (CRYSTALS / "carbon_dioxide.cif").read_text()
    (tmp_path / "two.cif").write_text(two + two.replace("data_carbon_dioxide", "data_again"))
    (tmp_path / "text.txt").write_text("hello\n")
    slab = '1\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T F" Properties=species:S:1:pos:R:3\nHe 0 0 0\n'
    (tmp_path / "slab.xyz").write_text(slab)
    (tmp_path / "empty.cif").write_text("")
    for name, words in (
        ("two.cif", "has 2 structures; give a file with one"),
        ("text.txt", "is no crystal that can be read here; give CIF, extended XYZ with Lattice= and POSCAR"),
        ("slab.xyz", "does not repeat in three directions; a cluster is computed by `autotune run`"),
        ("empty.cif", ""),
        ("missing.cif", "is not a file; give a crystal"),
        (".", "is not a file"),
    ):
        with pytest.raises(InputError) as refused:
            read_crystal(tmp_path / name)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


def test_diamond_is_no_crystal_of_molecules(tmp_path):
    with pytest.raises(InputError, match="bonded to an image of its own molecule"):
        read_crystal(written(tmp_path, ase.build.bulk("C")))


@pytest.mark.parametrize("library", ["ase", "spglib"])
def test_without_its_libraries_a_crystal_is_refused_with_how_to_install_them(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ResourceError, match=rf"crystals need {library}.*pip install 'qc-autotune\[crystals\]'"):
        crystal("ammonia")
