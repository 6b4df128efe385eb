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


def written(folder, atoms):
    ase.io.write(folder / "crystal.xyz", atoms, format="extxyz")
    return folder / "crystal.xyz"


def wrapped(name):
    """Return a crystal's atoms, all within the cell, so that it cuts molecules."""
    atoms = ase.io.read(CRYSTALS / f"{name}.cif")
    atoms.wrap()
    return atoms


def refusal(path):
    with pytest.raises(InputError) as refused:
        read_crystal(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "unit", "group", "operations"),
    [
        ("benzene", "C6H6", "Pbca (61)", 8),
        ("carbon_dioxide", "CO2", "Pa-3 (205)", 24),
        ("ammonia", "H3N", "P2_13 (198)", 12),
    ],
)
def test_a_cell_has_four_whole_molecules_that_operations_carry_onto_each_other(name, unit, group, operations):
    found = crystal(name)
    assert (found.unit, found.formula_units, found.group, len(found.operations)) == (unit, 4, group, operations)
    assert found.kinds == ((0, 1, 2, 3),)
    assert f"4 {unit} in the unit cell" in found.describe()
    for molecule in found.molecules:
        apart = np.linalg.norm(molecule.positions_angstrom[:, None] - molecule.positions_angstrom[None], axis=-1)
        assert apart.max() < 5.1
        assert (np.sort(apart, axis=1)[:, 1] < 1.5).all()
    lattice = found.vectors_angstrom
    own = [(molecule, cell) for molecule in range(4) for cell in ((0, 0, 0), (1, -2, 3))]
    for operation in found.operations:
        turn = np.linalg.inv(lattice) @ operation.rotation.T @ lattice
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        moves = []
        for site, image in zip(own, operation.apply(own), strict=True):
            there, here = found.positions_angstrom(image), found.positions_angstrom(site) @ turn
            moves.append(there.mean(axis=0) - here.mean(axis=0))
            apart = np.linalg.norm((here + moves[-1])[:, None] - there[None], axis=-1)
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


def test_without_symmetry_every_molecule_is_of_its_own_kind_and_a_cocrystal_counts_by_its_formula_units(tmp_path):
    atoms = wrapped("ammonia")
    atoms.rattle(0.05, seed=3)
    found = read_crystal(written(tmp_path, atoms))
    assert (found.group, len(found.operations), found.kinds) == ("P1 (1)", 1, ((0,), (1,), (2,), (3,)))
    atoms = wrapped("carbon_dioxide")
    atoms.extend(ase.Atoms("He2", positions=[[2.812, 2.812, 2.812], [2.812, 0.0, 0.0]]))
    found = read_crystal(written(tmp_path, atoms))
    assert (found.formula_units, found.unit, len(found.molecules)) == (2, "2CO2·He", 6)


def test_formulas_are_in_the_order_of_hill():
    assert formula(["O", "C", "H", "H", "Br"]) == "CH2BrO"
    assert formula(["O", "H", "H", "Al"]) == "AlH2O"


DISORDERED = {
    "_atom_site_fract_z\n": "_atom_site_fract_z\n_atom_site_occupancy\n",
    "0.1185\n": "0.1185 0.5\n",
    "C C 0.0 0.0 0.0\n": "C C 0.0 0.0 0.0 1\n",
}


@pytest.mark.parametrize(
    ("replacements", "words"),
    [
        ({"'C O2'": "'C2 H2 O4'"}, "says C2 H2 O4, but its cell has C4 O8: H are missing; give a structure with all"),
        (DISORDERED, "the structure is disordered (occupancies below 1); keep one of the alternatives"),
        ({"_cell_length_a 5.624\n": ""}, "does not repeat in three directions"),
        ({"_atom_site_fract_x\n": "_atom_site_fract_w\n"}, ""),
        ({"O O 0.1185 0.1185 0.1185": "O O 0.1185 0.1185 nonsense"}, "is not understood as CIF: "),
        ({"5.624": "1.2"}, "is bonded to an image of its own molecule; this is no crystal of molecules"),
    ],
    ids=["incomplete", "disordered", "no length", "no x", "nonsense", "bonded"],
)
def test_a_cif_that_is_no_whole_crystal_is_refused_in_one_line(tmp_path, replacements, words):
    text = (CRYSTALS / "carbon_dioxide.cif").read_text()
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "changed.cif").write_text(text)
    assert words in refusal(tmp_path / "changed.cif")


CARBON_DIOXIDE = (CRYSTALS / "carbon_dioxide.cif").read_text()
ATOM = '1\nLattice="{}" pbc="{}" Properties=species:S:1:pos:R:3\n{} 0 0\n'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "two.cif",
            CARBON_DIOXIDE + CARBON_DIOXIDE.replace("data_carbon_dioxide", "data_again"),
            "has 2 structures; give a file with one",
        ),
        ("two.xyz", ATOM.format("9 0 0 0 9 0 0 0 9", "T T T", "He 0") * 2, "has 2 structures; give a file with one"),
        ("a.txt", "hello\n", "is no crystal that can be read here; give CIF, extended XYZ with Lattice= and POSCAR"),
        (
            "slab.xyz",
            ATOM.format("9 0 0 0 9 0 0 0 9", "T T F", "He 0"),
            "does not repeat in three directions; a cluster is computed by `autotune run`",
        ),
        ("empty.cif", "", ""),
        ("missing.cif", None, "is not a file; give a crystal"),
        (".", None, "is not a file"),
        ("x.xyz", ATOM.format("0 0 0 0 0 0 0 0 0", "T T T", "He 0"), ""),
        ("x.xyz", ATOM.format("9 0 0 9 0 0 0 0 9", "T T T", "He 0"), ""),
        ("x.xyz", ATOM.format("nan 0 0 0 9 0 0 0 9", "T T T", "He 0"), ""),
        ("x.xyz", ATOM.format("9 0 0 0 9 0 0 0 9", "T T T", "He nan"), ""),
        ("x.xyz", ATOM.format("9 0 0 0 9 0 0 0 9", "T T T", "Bk 0"), ""),
    ],
)
def test_files_cells_and_atoms_that_are_no_crystal_are_refused_in_one_line(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert words in refusal(tmp_path / name)


SITES = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""
MONOCLINIC = """data_x
{symmetry}
_cell_length_a 7.1
_cell_length_b 6.3
_cell_length_c 8.2
_cell_angle_alpha 90
_cell_angle_beta 101
_cell_angle_gamma 90
{more}
{sites}N1 N 0.1000 0.1000 0.1000
N2 N 0.1700(2) 0.1500 0.1900
"""
LISTED = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'1/2-x,1/2+y,1/2-z'\n'-x,-y,-z'\n'1/2+x,1/2-y,1/2+z'\n"
TRIGONAL = """data_test
_cell_length_a 20.0
_cell_length_b 20.0
_cell_length_c 6.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
loop_
_symmetry_equiv_pos_as_xyz
{symmetry}
{sites}N1 N {third} {two_thirds} 0.10
H1 H 0.3803 0.6700 0.16
"""
FOUR_UNITS = "_cell_formula_units_Z 4\n_chemical_formula_sum 'N2'"
OPERATIONS = "loop_\n_symmetry_equiv_pos_as_xyz\n"
NAME, NUMBER = "_symmetry_space_group_name_H-M", "_space_group_IT_number"


def monoclinic(folder, symmetry, more=""):
    (folder / "x.cif").write_text(MONOCLINIC.format(sites=SITES, symmetry=symmetry, more=more))
    return folder / "x.cif"


@pytest.mark.parametrize(
    "symmetry",
    [
        LISTED,
        f"{NAME} 'P2(1)/n'\n{LISTED}",
        f"{NAME} ?\n_symmetry_Int_Tables_number ?\n{LISTED}",
        f"{NAME} 'P 21/n'\n{NUMBER} 14",
        f"{NAME} 'P 1 21/n 1'",
        f"{NAME} 'P2(1)/n'",
        "_symmetry_space_group_name_Hall '-P 2yn'",
    ],
    ids=["listed", "named and listed", "unknown and listed", "short", "full", "as SHELX", "Hall"],
)
def test_a_space_group_is_understood_as_its_setting(tmp_path, symmetry):
    expected = read_crystal(monoclinic(tmp_path, LISTED))
    found = read_crystal(monoclinic(tmp_path, symmetry, FOUR_UNITS))
    assert (found.formula_units, found.group) == (4, "P2_1/c (14)")
    places = [
        sorted(tuple(np.round(molecule.positions_angstrom.mean(axis=0), 6)) for molecule in each.molecules)
        for each in (found, expected)
    ]
    assert places[0] == places[1]


@pytest.mark.parametrize(
    ("symmetry", "words"),
    [
        ("", "states no symmetry; give a file that lists its operations"),
        (f"{NAME} 'P 21/n'\n{NUMBER} 15", "'P 21/n' and '15' are not known together; give a file that lists"),
        (f"{NAME} 'P nonsense'", "'P nonsense' are not known together"),
        (f"{NAME} 'F d -3 m'", "'F d -3 m' stand for several settings; give a file that lists its operations"),
        (f"{OPERATIONS}x,y,z\n-x,-y,-z\n", "says 4 times N2, but its cell has N4; its symmetry is incomplete"),
        (f"{OPERATIONS}-x,-y,-z\n", "lists symmetry operations without x,y,z, which leaves atoms where they are"),
    ],
    ids=["none", "two", "unknown", "several settings", "incomplete", "no identity"],
)
def test_symmetry_that_could_only_be_guessed_or_is_incomplete_is_refused(tmp_path, symmetry, words):
    assert words in refusal(monoclinic(tmp_path, symmetry, FOUR_UNITS))


@pytest.mark.parametrize(
    ("third", "two_thirds"), [("0.3333", "0.6667"), ("0.333", "0.667"), ("0.33333333", "0.66666667")]
)
def test_thirds_of_few_digits_keep_the_symmetry_that_the_file_states(tmp_path, third, two_thirds):
    symmetry = "x,y,z\n-y,x-y,z\n-x+y,-x,z"
    (tmp_path / "x.cif").write_text(TRIGONAL.format(sites=SITES, symmetry=symmetry, third=third, two_thirds=two_thirds))
    found = read_crystal(tmp_path / "x.cif")
    assert (found.unit, found.group, len(found.operations)) == ("H3N", "P3 (143)", 3)
    positions = found.molecules[0].positions_angstrom
    assert np.ptp(np.linalg.norm(positions[1:] - positions[0], axis=1)) < 1e-9
    assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(0.977, abs=0.001)


def test_an_atom_that_only_some_operations_leave_near_is_put_where_all_of_them_leave_it(tmp_path):
    """0.03 Å off a fourfold axis, its image by the half turn is 0.06 Å away."""
    fourfold = "x,y,z\n-x,-y,z\n-y,x,z\ny,-x,z"
    text = TRIGONAL.replace("angle_gamma 120", "angle_gamma 90").format(
        sites=SITES, symmetry=fourfold, third="0.0015", two_thirds="0.0"
    )
    (tmp_path / "x.cif").write_text(text.replace("H1 H 0.3803 0.6700 0.16\n", ""))
    (molecule,) = read_crystal(tmp_path / "x.cif").molecules
    assert np.abs(molecule.positions_angstrom[0, :2]).max() < 1e-9


def test_deuterium_counts_as_hydrogen(tmp_path):
    text = (CRYSTALS / "ammonia.cif").read_text().replace("'H3 N'", "'D2 H N'")
    (tmp_path / "d.cif").write_text("\ufeff" + text)
    assert read_crystal(tmp_path / "d.cif").unit == "H3N"


def test_diamond_is_no_crystal_of_molecules(tmp_path):
    assert "bonded to an image of its own molecule" in refusal(written(tmp_path, ase.build.bulk("C")))


@pytest.mark.parametrize("library", ["ase", "spglib"])
def test_without_its_libraries_a_crystal_is_refused_with_how_to_install_them(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ResourceError, match=rf"crystals need {library}.*pip install 'qc-autotune\[crystals\]'"):
        crystal("ammonia")
