"""Claims about `autotune.expansion.xyz`."""

import json
import math
import random
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.errors import InputError
from autotune.expansion.bonds import parts
from autotune.expansion.fragments import check_distances, parse_charges, parse_fragments
from autotune.expansion.geometry import MAX_ATOMS, Geometry, covalent_bonds
from autotune.expansion.ions import check_electrons, usual_charges, usual_multiplicities
from autotune.expansion.xyz import read_xyz, split_frames
from autotune.expansion.xyz_comment import Comment

CLUSTERS = sorted(
    (path for path in files("autotune.studies.workloads").iterdir() if path.name.endswith(".xyz")),
    key=lambda path: path.name,
)
WATER = "O 0.0 0.0 0.117\nH 0.0 0.757 -0.471\nH 0.0 -0.757 -0.471\n"


def xyz(*atoms, comment=""):
    return "\n".join([str(len(atoms)), comment, *atoms, ""])


def molecule(*atoms):
    return read_xyz(xyz(*atoms), name="m.xyz")


def bonded_fragments(geometry):
    return parts(len(geometry.symbols), covalent_bonds(geometry))


def message(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def refusal(text):
    return message(read_xyz, text, name="w.xyz")


def outcome(call, *args, **options):
    """Return what a call returns, or None if it refuses its input on one line."""
    try:
        return call(*args, **options)
    except InputError as refused:
        lines = str(refused).splitlines()
    assert len(lines) == 1
    return None


def read_or_refuse(text):
    geometry = outcome(read_xyz, text, name="t.xyz")
    if geometry is not None:
        assert len(geometry.symbols) == len(geometry.coordinates_angstrom) >= 1


# Reading


def test_a_plain_file_gives_symbols_and_positions_and_states_nothing_more():
    assert read_xyz(f"3\nwater\n{WATER}", name="w.xyz") == Geometry(
        symbols=("O", "H", "H"),
        coordinates_angstrom=((0.0, 0.0, 0.117), (0.0, 0.757, -0.471), (0.0, -0.757, -0.471)),
        stated=Comment(),
    )


@pytest.mark.parametrize(
    "text",
    [
        f"3\n\n{WATER}",
        f"\ufeff3\r\n\r\n{WATER}".replace("\n", "\r\n").replace("\r\r", "\r"),
        f"  3  \n\n{WATER}\n \n\n",
        f"3\n\n{WATER}".replace(" ", "\t"),
        f"3\n\n{WATER}".replace("O", "o").replace("H", "h"),
        f"3\n\n{WATER}".replace("O", "8").replace("H", "1"),
        f"3\n\n{WATER}".replace("\n", " 0.1 0.2 extra\n").replace("3 0.1 0.2 extra\n 0.1 0.2 extra\n", "3\n\n"),
        f"3\n\n{WATER}".replace("0.117", "1.17D-01").replace("0.757", "7.57e-1"),
        f"3\n\n{WATER}".rstrip(),
    ],
    ids=["plain", "BOM and CRLF", "blanks", "tabs", "lower case", "numbers", "columns", "Fortran", "no last newline"],
)
def test_common_dialects_read_alike(text):
    assert read_xyz(text, name="w.xyz") == read_xyz(f"3\n\n{WATER}", name="w.xyz")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "w.xyz: the file is empty; it should hold a geometry in XYZ format"),
        (" \n\n", "w.xyz: the file is empty; it should hold a geometry in XYZ format"),
        (WATER, "w.xyz: line 1 should be just the number of atoms (1 to 200000), not 'O 0.0 0.0 0.117'"),
        (f"3 bohr\n\n{WATER}", "w.xyz: line 1 should be just the number of atoms (1 to 200000), not '3 bohr'"),
        ("0\n\n", "w.xyz: line 1 should be just the number of atoms (1 to 200000), not '0'"),
        (
            f"3\n{WATER}",
            (
                "w.xyz: line 1 says 3 atoms, but 2 lines follow the comment in line 2, which looks like an atom itself:"
                " line 2 is for a comment, and may be empty"
            ),
        ),
        (
            "4\n\nO 0 0 0\n\nH 0 0 0.9\n\nH 0 0.9 0",
            (
                "w.xyz: line 1 says 4 atoms, but 5 lines follow the comment in line 2, of which line 4 is empty;"
                " take it out"
            ),
        ),
        (
            f"2\n\n{WATER}",
            "w.xyz: line 1 says 2 atoms, but 3 lines follow the comment in line 2; correct the number or the lines",
        ),
        ("4", "w.xyz: line 1 says 4 atoms, but 0 lines follow the comment in line 2; correct the number or the lines"),
        (
            f"3\n\n{WATER}3\n\n{WATER}",
            "w.xyz: the file holds several frames; `autotune run` computes them all, otherwise keep the 5 lines of one",
        ),
        (
            xyz("Q 0 0 0"),
            "w.xyz: line 3: unknown element 'Q'; write a symbol, O, or atomic number, 8",
        ),
        (
            xyz("119 0 0 0"),
            "w.xyz: line 3: unknown element '119'; write a symbol, O, or atomic number, 8",
        ),
        (
            xyz("O nan 0 0"),
            "w.xyz: line 3: coordinate 'nan' is not a finite number of ångström; write it as -1.25",
        ),
        (
            xyz("O 0 0 0", "O 0,9 0 0"),
            "w.xyz: line 4: coordinate '0,9' is not a finite number of ångström; write it with a point, as -1.25",
        ),
        (
            xyz("O 0 0"),
            "w.xyz: line 3: coordinate '' is not a finite number of ångström; write it as -1.25",
        ),
        (
            xyz("O 0 0 0", "H 0 0 0.9", "o 0.1 0.1 0.1"),
            (
                "w.xyz: atoms 1 (O) and 3 (O) are only 0.173 Å apart; "
                "remove a duplicate, or convert the coordinates to ångström"
            ),
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place_and_its_cure(text, expected):
    assert refusal(text) == expected


@pytest.mark.parametrize("label", ["H2", "H_1", "H_w", "HH"])
def test_labels_are_refused_with_the_element_meant(label):
    meant = "write a symbol" if label in ("H_w", "HH") else "write H (labels are not read)"
    assert meant in refusal(xyz(f"{label} 0 0 0"))


@pytest.mark.parametrize("label", ["@H", "Gh(H)", "Gh", "H:", "Bq", "H-Bq", "X", "Xx", "Du"])
def test_ghosts_and_dummies_are_refused_as_such(label):
    assert refusal(xyz(f"{label} 0 0 0")) == (
        f"w.xyz: line 3: {label!r} is a ghost or dummy atom; remove it: --bsse cp adds the ghosts that it needs"
    )


@pytest.mark.parametrize(
    ("label", "symbol", "mass_number"),
    [
        ("D", "H", 2),
        ("d", "H", 2),
        ("T", "H", 3),
        ("2H", "H", 2),
        ("13C", "C", 13),
        ("18o", "O", 18),
        ("37CL", "Cl", 37),
    ],
)
def test_an_isotope_is_read_as_its_element_and_mass_number(label, symbol, mass_number):
    geometry = molecule("O 0 0 0", f"{label} 0 0 1")
    assert geometry.symbols == ("O", symbol)
    assert geometry.mass_numbers == (-1, mass_number)


def test_without_isotopes_no_mass_numbers_are_given():
    assert molecule("O 0 0 0", "H 0 0 1").mass_numbers == ()


def test_an_isotope_that_does_not_exist_is_refused():
    assert "no isotope '99H' is known" in refusal(xyz("99H 0 0 0"))


# Columns


SHIFTED = ["O 0 0.0 0.1 0.2", "H -1 0.7 0.5 0.2"]


def test_a_column_of_codes_before_three_of_numbers_can_be_read_in_two_ways():
    assert refusal(xyz(*SHIFTED)) == (
        "w.xyz: columns 2-4 or 3-5 may be x, y, z; keep four columns, or name them in line 2 as in "
        "Properties=species:S:1:freeze:I:1:pos:R:3"
    )


def test_flags_of_three_axes_before_the_position_are_refused_too():
    assert "columns 2-4 or 3-5 may be" in refusal(xyz("O 1 1 0 0.0 0.1 0.2", "H 0 0 0 0.7 0.5 0.2"))


@pytest.mark.parametrize(
    "rows",
    [
        ["O 0.0 0.1 0.2 -0.8", "H 0 0.1 1.2 0.4"],
        ["O 0 0 0 residue", "H 0 0 1 residue"],
        ["O 0 0 0", "H 0 0 1"],
        ["O 0.0 0 0 1 2 3", "H 0.0 0 1 1 2 3"],
    ],
    ids=["charges", "words", "four columns", "vectors"],
)
def test_further_columns_are_ignored_where_only_the_first_can_be_the_position(rows):
    assert len(read_xyz(xyz(*rows), name="w.xyz").symbols) == 2


@pytest.mark.parametrize(
    ("layout", "row"),
    [
        ("species:S:1:pos:R:3", "O 1.0 2.0 3.0"),
        ("species:S:1:freeze:I:1:pos:R:3", "O 0 1.0 2.0 3.0"),
        ("id:I:1:forces:R:3:species:S:1:q:R:1:pos:R:3", "1 .1 .2 .3 O -0.5 1.0 2.0 3.0"),
        ("pos:R:3:Z:I:1", "1.0 2.0 3.0 8"),
    ],
)
@pytest.mark.parametrize("key", ["Properties={}", 'properties="{}"', "PROPERTIES = '{}' energy=1.0"])
def test_the_columns_that_the_file_names_are_read_by_their_names(layout, row, key):
    geometry = read_xyz(xyz(row, comment=key.format(layout)), name="w.xyz")
    assert (geometry.symbols, geometry.coordinates_angstrom) == (("O",), ((1.0, 2.0, 3.0),))


# Units


@pytest.mark.parametrize("comment", ["units=bohr", "bohr", "0 1 bohr", "coordinates in a.u.", '{"units": "bohr"}'])
def test_positions_in_bohr_come_out_in_angstrom(comment):
    geometry = read_xyz(xyz("He 0 0 0", "He 0 0 10", comment=comment), name="w.xyz")
    assert geometry.coordinates_angstrom[1][2] == pytest.approx(5.29177210903, abs=1e-8)  # CODATA 2018
    assert geometry.stated.units == "bohr"


# The periodic cell


def across(comment, *atoms):
    return read_xyz(xyz(*atoms, comment=comment), name="w.xyz")


BOX = 'Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3'


def test_a_molecule_that_the_cell_cuts_is_refused_with_the_atoms():
    text = message(across, BOX, "C 0.5 0 0", "O 1.66 0 0", "O 5.34 0 0")
    assert text == (
        "w.xyz: atoms 1 (C) and 3 (O) are bonded across the boundary of the cell; write whole molecules (unwrap them) "
        "and remove Lattice, as no periodic images are computed"
    )


@pytest.mark.parametrize("pbc", ['pbc="F T T"', 'pbc="F F F"', "pbc=[0,1,1]"])
def test_a_boundary_that_does_not_repeat_cuts_nothing(pbc):
    across(f"{BOX} {pbc}", "C 0.5 0 0", "O 1.66 0 0", "O 5.34 0 0")


def test_whole_molecules_may_stick_out_of_the_cell_and_the_user_is_told_that_it_is_ignored():
    geometry = across(BOX, "C 5.9 0 0", "O 7.06 0 0", "O 4.74 0 0")
    assert geometry.notes == ("the periodic cell is ignored: no images are computed",)
    assert molecule("He 0 0 0").notes == ()


def test_a_cut_is_found_in_a_skew_cell_and_far_from_the_origin():
    skew = 'Lattice="6 0 0 3 5 0 0 0 9" Properties=species:S:1:pos:R:3'
    across(skew, "N 20 20 20", "N 20 20 21.1")
    assert "atoms 1 (N) and 2 (N)" in message(across, skew, "N 20 20 20", "N 23.3 25.6 20.7")


def test_a_cell_that_holds_nothing_is_refused():
    flat = 'Lattice="6 0 0 6 0 0 0 0 6" Properties=species:S:1:pos:R:3'
    assert "spans no cell" in message(across, flat, "He 0 0 0")
    assert "spans no cell" in message(across, BOX.replace("6", "0.1"), "He 0 0 0")


def test_a_slab_without_a_third_vector_is_read():
    slab = 'Lattice="6 0 0 0 6 0 0 0 0" pbc="T T F" Properties=species:S:1:pos:R:3'
    assert "bonded across" in message(across, slab, "N 0.2 0 0", "N 5.4 0 0")
    across(slab, "N 0.2 0 0", "N 1.3 0 0")


@given(st.permutations(range(6)), st.tuples(*[st.integers(-2, 2)] * 3))
def test_whole_molecules_are_never_taken_for_cut_ones_wherever_they_lie(order, cells):
    atoms = [
        (0.0, 0.0, 0.0),
        (0.76, 0.59, 0.0),
        (-0.76, 0.59, 0.0),
        (3.0, 3.0, 3.0),
        (3.76, 3.59, 3.0),
        (2.24, 3.59, 3.0),
    ]
    moved = [
        tuple(x + 6 * n * (atom < 3) for x, n in zip(place, cells, strict=True)) for atom, place in enumerate(atoms)
    ]
    rows = [f"{'OHHOHH'[atom]} {' '.join(map(repr, moved[atom]))}" for atom in order]
    assert len(bonded_fragments(across(BOX, *rows))) == 2


@pytest.mark.parametrize("number", ["inf", "-Infinity", "1e999", "1_0", "*****", "0x1", "1e7", "\u0661"])
def test_what_only_resembles_a_coordinate_is_refused(number):
    assert "is not a finite number" in refusal(xyz(f"O 0 {number} 0"))


def test_several_bad_lines_are_reported_together():
    text = refusal(xyz("Q 0 0 0", "H 0 0 1", "R 0 0 2", "O x 0 3", "O y 0 4", "O z 0 5"))
    assert [f"line {number}" in text for number in range(3, 9)] == [True, False, True, True, False, False]
    assert text.endswith("; and 2 more")


def test_too_many_atoms_are_refused_before_they_are_read():
    assert f"1 to {MAX_ATOMS}" in refusal(f"{MAX_ATOMS + 1}\n\nO 0 0 0")


@given(st.text())
def test_arbitrary_text_is_read_or_refused_on_one_line(text):
    read_or_refuse(text)


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["3", "1", "O", "h", "Na", "D", "0.0", "1.5", "-2", "nan", "1e999", "{}", "bohr", "charge=1"]
            )
        )
    )
)
def test_text_of_xyz_like_pieces_is_read_or_refused_on_one_line(lines):
    read_or_refuse("\n".join(map(" ".join, lines)))


@given(st.lists(st.tuples(st.integers(1, 117), *[st.floats(-1e6, 1e6)] * 3), min_size=1, max_size=5))
def test_every_sound_geometry_is_read_unless_its_atoms_overlap(atoms):
    positions = [position for _, *position in atoms]
    overlap = any(math.dist(a, b) < 0.4 for i, a in enumerate(positions) for b in positions[:i])
    geometry = outcome(read_xyz, xyz(*(" ".join(map(repr, atom)) for atom in atoms)), name="t.xyz")
    assert (geometry is None) == overlap
    if geometry is not None:
        assert list(map(list, geometry.coordinates_angstrom)) == positions


# Connectivity


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_connectivity_finds_the_stated_fragments_of_every_packaged_cluster(path):
    text = path.read_text(encoding="utf-8")
    geometry = read_xyz(text, name=path.name)
    fragments, charges = geometry.stated.fragments, geometry.stated.charges
    stated = json.loads(text.split("\n")[1])
    assert [len(atoms) for atoms in fragments] == stated["fragments"]
    assert list(charges) == stated["charges"]
    assert bonded_fragments(geometry) == fragments
    assert usual_charges(geometry, fragments) == charges
    assert usual_multiplicities(geometry, fragments, charges) == (1,) * len(fragments)
    check_electrons(geometry, fragments, charges, (1,) * len(fragments))


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("H", "H", 0.77), ("F", "F", 1.42), ("O", "H", 1.2), ("C", "C", 1.56), ("I", "I", 2.67), ("O", "O", 1.46)],
)
def test_covalent_bonds_are_found(first, second, distance):
    assert len(bonded_fragments(molecule(f"{first} 0 0 0", f"{second} 0 0 {distance}"))) == 1


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("O", "H", 1.5), ("F", "H", 1.4), ("Cl", "H", 2.1), ("Na", "O", 2.3), ("Li", "F", 1.6), ("Mg", "O", 2.0)],
)
def test_hydrogen_bonds_and_contacts_with_cations_are_not(first, second, distance):
    assert len(bonded_fragments(molecule(f"{first} 0 0 0", f"{second} 0 0 {distance}"))) == 2


def test_fragments_are_numbered_by_their_first_atom_and_atoms_ascend():
    geometry = molecule("H 0 0 9", "O 0 0 0", "Na 5 5 5", "O 0 0 9.9", "H 0 0 0.9", "H 0 0.9 9.9", "H 0 0.9 0")
    assert bonded_fragments(geometry) == ((0, 3, 5), (1, 4, 6), (2,))


def test_a_chain_is_one_fragment_in_any_order_of_atoms():
    places = list(range(500))
    random.Random(1).shuffle(places)
    assert bonded_fragments(molecule(*(f"C {1.4 * place} 0 0" for place in places))) == (tuple(range(500)),)


@pytest.fixture
def distances(monkeypatch):
    """Return a list that grows by one entry with each distance computed."""
    computed = []
    dist = math.dist
    monkeypatch.setattr(math, "dist", lambda a, b: computed.append(1) or dist(a, b))
    return computed


def test_the_work_grows_in_proportion_to_the_atoms(distances):
    rows = [f"O {x} {y} {z}" for x in range(0, 45, 3) for y in range(0, 45, 3) for z in range(0, 45, 3)]
    assert len(bonded_fragments(molecule(*rows))) == len(rows)
    assert len(distances) < 13 * len(rows)


def test_the_first_overlap_ends_the_search_for_more(distances):
    assert "atoms 1 (O) and 2 (O)" in refusal(xyz(*["O 0 0 0"] * 1000))
    assert len(distances) == 1


def test_an_element_without_a_radius_is_refused():
    assert message(bonded_fragments, molecule("Lr 0 0 0")) == (
        "no covalent radius is known for Lr; state the fragments"
    )


@given(st.permutations(range(18)))
def test_the_order_of_atoms_does_not_change_the_fragments(order):
    path = next(path for path in CLUSTERS if path.name == "water6.xyz")
    water = read_xyz(path.read_text(encoding="utf-8"), name=path.name)
    shuffled = replace(
        water,
        symbols=tuple(water.symbols[atom] for atom in order),
        coordinates_angstrom=tuple(water.coordinates_angstrom[atom] for atom in order),
    )
    found = {frozenset(order[atom] for atom in atoms) for atoms in bonded_fragments(shuffled)}
    assert found == {frozenset(range(first, first + 3)) for first in range(0, 18, 3)}


# Fragments and charges from options


@pytest.mark.parametrize(
    ("text", "natom", "expected"),
    [
        ("3,3", 6, ((0, 1, 2), (3, 4, 5))),
        (" 2x2 , 1", 5, ((0, 1), (2, 3), (4,))),
        ("1X3", 3, ((0,), (1,), (2,))),
        ("1-3;4-5,6", 6, ((0, 1, 2), (3, 4, 5))),
        ("6,1-2|3-5", 6, ((0, 1, 5), (2, 3, 4))),
        ("2-3;1", 3, ((1, 2), (0,))),
        ("1-3", 3, ((0, 1, 2),)),
    ],
)
def test_fragments_are_read_from_sizes_or_atoms_and_keep_their_numbers(text, natom, expected):
    assert parse_fragments(text, natom) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "fragments '': write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6"),
        ("3,a", "fragments '3,a': write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6"),
        ("0x3,6", "fragments '0x3,6': write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6"),
        ("3", "fragments '3' hold 3 atoms, but the geometry has 6; the sizes must add up to that"),
        (
            "999999x999999",
            (
                "fragments '999999x999999' hold 999998000001 atoms, but the geometry has 6; "
                "the sizes must add up to that"
            ),
        ),
        ("1-3,4-6", "fragments '1-3,4-6': separate fragments with ';', as in 1-3;4-6"),
        ("1-3;5", "fragments '1-3;5' hold 4 of 6 atoms; atom 4 is in none"),
        ("1-4;3-6", "fragments '1-4;3-6': atom 3 is given twice, in fragments 1 and 2"),
        ("1-3;4-7", "fragments '1-3;4-7': '4-7' in fragment 2 is no atom or range within 1-6"),
        ("0-3;4-6", "fragments '0-3;4-6': '0-3' in fragment 1 is no atom or range within 1-6"),
        ("3-1;4-6", "fragments '3-1;4-6': '3-1' in fragment 1 is no atom or range within 1-6"),
        ("1-3;4-6;", "fragments '1-3;4-6;': '' in fragment 3 is no atom or range within 1-6"),
    ],
)
def test_fragments_that_do_not_fit_are_refused_with_counts(text, expected):
    assert message(parse_fragments, text, 6) == expected


@given(st.one_of(st.text(), st.text(alphabet="0123456789x,;|- ")), st.integers(1, 12))
def test_fragments_from_any_text_hold_every_atom_once_or_are_refused(text, natom):
    fragments = outcome(parse_fragments, text, natom)
    if fragments is not None:
        assert sorted(atom for atoms in fragments for atom in atoms) == list(range(natom))
        assert all(fragments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:+1,2:-1", {0: 1, 1: -1}),
        ("3 : 2", {2: 2}),
        ("+1,-1,0", {0: 1, 1: -1, 2: 0}),
        ("2:\N{MINUS SIGN}1", {1: -1}),
    ],
)
def test_charges_are_read_by_fragment_or_for_all(text, expected):
    assert parse_charges(text, 3) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "charge '': write fragment:charge as in 1:2,3:1, or one charge for every fragment as in 1,2"),
        ("1:1,0", "charge '1:1,0': write fragment:charge as in 1:2,3:1, or one charge for every fragment as in 1,2"),
        ("1:0.5", "charge '1:0.5': write fragment:charge as in 1:2,3:1, or one charge for every fragment as in 1,2"),
        ("1,0", "charge '1,0': 2 for 3 fragments; give all, or name some as in 1:2"),
        ("4:1", "charge '4:1': there is no fragment 4; fragments count from 1 to 3"),
        ("0:1", "charge '0:1': there is no fragment 0; fragments count from 1 to 3"),
        ("2:1,2:1", "charge '2:1,2:1': fragment 2 is given twice; keep one"),
    ],
)
def test_charges_that_do_not_fit_are_refused(text, expected):
    assert message(parse_charges, text, 3) == expected


def test_multiplicities_are_read_like_charges_but_start_at_one():
    assert parse_charges("2:3", 2, label="multiplicity") == {1: 3}
    assert message(parse_charges, "1,0", 2, label="multiplicity") == (
        "multiplicity '1,0': a multiplicity is at least 1 (singlet)"
    )


@given(st.one_of(st.text(), st.text(alphabet="0123456789:,+- ")), st.integers(1, 5))
def test_charges_from_any_text_belong_to_fragments_or_are_refused(text, nfragments):
    charges = outcome(parse_charges, text, nfragments)
    if charges is not None:
        assert charges
        assert set(charges) <= set(range(nfragments))


# Electrons


def test_lone_ions_get_their_usual_charges_and_molecules_none():
    geometry = molecule("Li 0 0 0", "Ca 0 0 9", "Br 0 0 18", "He 0 0 27", "Cl 0 0 36", "H 0 0 37.3")
    fragments = bonded_fragments(geometry)
    assert fragments == ((0,), (1,), (2,), (3,), (4, 5))
    assert usual_charges(geometry, fragments) == (1, 2, -1, 0, 0)


def test_an_odd_number_of_electrons_makes_a_doublet():
    geometry = molecule("O 0 0 0", "H 0 0 1", "O 0 0 9", "H 0 0 10")
    assert usual_multiplicities(geometry, ((0, 1), (2, 3)), (0, -1)) == (2, 1)


@pytest.mark.parametrize(
    ("charge", "multiplicity", "expected"),
    [
        (
            1,
            1,
            (
                "charges and multiplicities: fragment 1 (H2O, charge +1) has 9 electrons "
                "and cannot have multiplicity 1; give --multiplicities 1:2 or another charge in --charges"
            ),
        ),
        (
            0,
            13,
            (
                "charges and multiplicities: fragment 1 (H2O, charge 0) has 10 electrons "
                "and cannot have multiplicity 13; give --multiplicities 1:1 or another charge in --charges"
            ),
        ),
        (
            10,
            1,
            (
                "charges and multiplicities: fragment 1 (H2O, charge +10) has no electrons left; "
                "correct its charge, as in --charges 1:0"
            ),
        ),
    ],
)
def test_impossible_electrons_are_refused_with_the_fragment_and_the_cure(charge, multiplicity, expected):
    geometry = read_xyz(f"3\n\n{WATER}", name="w.xyz")
    assert message(check_electrons, geometry, ((0, 1, 2),), (charge,), (multiplicity,)) == expected


@given(st.integers(-3, 9), st.integers(1, 14))
def test_a_multiplicity_is_accepted_exactly_if_spins_can_add_up_to_it(charge, multiplicity):
    geometry = read_xyz(f"3\n\n{WATER}", name="w.xyz")
    electrons = 10 - charge
    possible = {electrons - 2 * down + 1 for down in range(electrons // 2 + 1)}
    if multiplicity in possible:
        check_electrons(geometry, ((0, 1, 2),), (charge,), (multiplicity,))
    else:
        message(check_electrons, geometry, ((0, 1, 2),), (charge,), (multiplicity,))


@given(st.lists(st.tuples(st.integers(1, 112), st.integers(-2, 2)), min_size=1, max_size=6))
def test_guessed_multiplicities_always_fit_the_electrons(atoms):
    geometry = molecule(*(f"{z} 0 0 {9 * place}" for place, (z, _) in enumerate(atoms)))
    fragments = tuple((atom,) for atom in range(len(atoms)))
    charges = [min(charge, z - 1) for z, charge in atoms]
    check_electrons(geometry, fragments, charges, usual_multiplicities(geometry, fragments, charges))


def box_of_helium(atoms):
    """Return the fields of a molecule of atoms 2 bohr apart, in a box."""
    positions = [(2.0 * (n % 20), 2.0 * (n // 20 % 20), 2.0 * (n // 400)) for n in range(atoms)]
    return {"symbols": ["He"] * atoms, "geometry": [value for position in positions for value in position]}


def test_atoms_in_one_place_are_looked_for_among_neighbours_only(monkeypatch):
    measured = []
    distance = math.dist
    monkeypatch.setattr(math, "dist", lambda *ends: measured.append(ends) or distance(*ends))
    check_distances(box_of_helium(8000))
    assert len(measured) <= 8000
    assert message(check_distances, {**box_of_helium(8000), "geometry": [0.0] * 24000}).startswith("atoms 1 (He) and 2")


@pytest.mark.parametrize("between", ["", "\n", " \n\n"])
def test_a_trajectory_is_split_into_its_frames(between):
    frames = [f"3\nstep {number}\n{WATER}" for number in range(3)]
    assert split_frames(between.join(frames)) == frames


@pytest.mark.parametrize(
    "text", ["", "\n", f"3\n\n{WATER}", f"3\n{WATER}", f"2\n\n{WATER}", "3 bohr\n", f"x\n\n{WATER}"]
)
def test_what_is_no_trajectory_is_not_split(text):
    assert split_frames(text) == [text]


def test_what_is_cut_off_is_the_last_frame_and_is_refused_by_itself():
    first, second = split_frames(f"3\n\n{WATER}3\n\nO 0 0 0\n")
    assert len(read_xyz(first, "f").symbols) == 3
    with pytest.raises(InputError, match=r"^f: line 1 says 3 atoms, but 1 line follows"):
        read_xyz(second, "f")


def test_the_comment_of_a_frame_may_be_a_number():
    assert split_frames(f"3\n17\n{WATER}3\n18\n{WATER}") == [f"3\n17\n{WATER}", f"3\n18\n{WATER}"]
