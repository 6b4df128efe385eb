"""Claims about `autotune.expansion.xyz`."""

import json
import math
import random
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given, settings
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


def attempt(call, *args, **options):
    """Return what a call returns and an empty text, or None and the one line with which it refuses its input."""
    try:
        return call(*args, **options), ""
    except InputError as refused:
        said = str(refused)
    assert said.splitlines() == [said]
    return None, said


def message(call, *args, **options):
    return attempt(call, *args, **options)[1]


def refusal(text):
    said = message(read_xyz, text, name="w.xyz")
    assert said.startswith("w.xyz: ")
    return said.removeprefix("w.xyz: ")


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
        f"\ufeff3\r\n\r\n{WATER}".replace("\n", "\r\n").replace("\r\r", "\r"),
        f"  3  \n\n{WATER}\n \n\n",
        f"3\n\n{WATER}".replace(" ", "\t"),
        f"3\n\n{WATER}".replace("O", "o").replace("H", "h"),
        f"3\n\n{WATER}".replace("O", "8").replace("H", "1"),
        f"3\n\n{WATER}".replace("\n", " 0.1 0.2 extra\n").replace("3 0.1 0.2 extra\n 0.1 0.2 extra\n", "3\n\n"),
        f"3\n\n{WATER}".replace("0.117", "1.17D-01").replace("0.757", "7.57e-1"),
        f"3\n\n{WATER}".rstrip(),
    ],
    ids=["BOM and CRLF", "blanks", "tabs", "lower case", "numbers", "columns", "Fortran", "no last newline"],
)
def test_common_dialects_read_alike(text):
    assert read_xyz(text, name="w.xyz") == read_xyz(f"3\n\n{WATER}", name="w.xyz")


LINES = "line 1 says {} atoms, but {} lines follow the comment in line 2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty; it should hold a geometry in XYZ format"),
        (" \n\n", "the file is empty; it should hold a geometry in XYZ format"),
        (WATER, "line 1 should be just the number of atoms (1 to 200000), not 'O 0.0 0.0 0.117'"),
        (f"3 bohr\n\n{WATER}", "line 1 should be just the number of atoms (1 to 200000), not '3 bohr'"),
        ("0\n\n", "line 1 should be just the number of atoms (1 to 200000), not '0'"),
        (
            f"3\n{WATER}",
            LINES.format(3, 2) + ", which looks like an atom itself: line 2 is for a comment, and may be empty",
        ),
        ("4\n\nO 0 0 0\n\nH 0 0 0.9\n\nH 0 0.9 0", LINES.format(4, 5) + ", of which line 4 is empty; take it out"),
        (f"2\n\n{WATER}", LINES.format(2, 3) + "; correct the number or the lines"),
        ("4", LINES.format(4, 0) + "; correct the number or the lines"),
        (
            f"3\n\n{WATER}3\n\n{WATER}",
            "the file holds several frames; `autotune run` computes them all, otherwise keep the 5 lines of one",
        ),
        (xyz("Q 0 0 0"), "line 3: unknown element 'Q'; write a symbol, O, or atomic number, 8"),
        (xyz("119 0 0 0"), "line 3: unknown element '119'; write a symbol, O, or atomic number, 8"),
        (xyz("O nan 0 0"), "line 3: coordinate 'nan' is not a finite number of ångström; write it as -1.25"),
        (
            xyz("O 0 0 0", "O 0,9 0 0"),
            "line 4: coordinate '0,9' is not a finite number of ångström; write it with a point, as -1.25",
        ),
        (xyz("O 0 0"), "line 3: coordinate '' is not a finite number of ångström; write it as -1.25"),
        (
            xyz("O 0 0 0", "H 0 0 0.9", "o 0.1 0.1 0.1"),
            "atoms 1 (O) and 3 (O) are only 0.173 Å apart; remove a duplicate, or convert the coordinates to ångström",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place_and_its_cure(text, expected):
    assert refusal(text) == expected


GHOST = "line 3: '{}' is a ghost or dummy atom; remove it: --bsse cp adds the ghosts that it needs"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("H2 H_1", "write H (labels are not read)"),
        ("H_w HH", "write a symbol"),
        ("@H Gh(H) Gh H: Bq H-Bq X Xx Du", GHOST),
        ("99H", "no isotope '99H' is known"),
    ],
)
def test_labels_ghosts_and_unknown_isotopes_are_refused_as_such(labels, words):
    for label in labels.split():
        assert words.format(label) in refusal(xyz(f"{label} 0 0 0"))


def test_an_isotope_is_read_as_its_element_and_mass_number():
    labels = ["O", "D", "d", "T", "2H", "13C", "18o", "37CL"]
    geometry = molecule(*(f"{label} 0 0 {9 * place}" for place, label in enumerate(labels)))
    assert geometry.symbols == ("O", "H", "H", "H", "H", "C", "O", "Cl")
    assert geometry.mass_numbers == (-1, 2, 2, 3, 2, 13, 18, 37)
    assert molecule("O 0 0 0", "H 0 0 1").mass_numbers == ()


# Columns


def test_a_column_of_codes_or_flags_before_three_of_numbers_can_be_read_in_two_ways():
    assert refusal(xyz("O 0 0.0 0.1 0.2", "H -1 0.7 0.5 0.2")) == (
        "columns 2-4 or 3-5 may be x, y, z; keep four columns, or name them in line 2 as in "
        "Properties=species:S:1:freeze:I:1:pos:R:3"
    )
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
        ("species:S:1:forces:R:3:tags:I:1:pos:R:3:Z:I:1", "O .1 .2 .3 7 1.0 2.0 3.0 9"),
    ],
)
@pytest.mark.parametrize("key", ["Properties={}", 'properties = "{}"', "x=1 PROPERTIES='{}' energy=1.0"])
def test_the_columns_that_the_file_names_are_read_by_their_names(layout, row, key):
    geometry = read_xyz(xyz(row, comment=key.format(layout)), name="w.xyz")
    assert (geometry.symbols, geometry.coordinates_angstrom) == (("O",), ((1.0, 2.0, 3.0),))


# Units


def test_positions_in_bohr_come_out_in_angstrom():
    geometry = read_xyz(xyz("He 0 0 0", "He 0 0 10", comment="units=bohr"), name="w.xyz")
    assert geometry.coordinates_angstrom[1][2] == pytest.approx(5.29177210903, abs=1e-8)  # CODATA 2018
    assert geometry.stated.units == "bohr"


# The periodic cell


BOX = 'Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3'
SKEW = 'Lattice="6 0 0 3 5 0 0 0 9" Properties=species:S:1:pos:R:3'
SLAB = 'Lattice="6 0 0 0 6 0 0 0 0" pbc="T T F" Properties=species:S:1:pos:R:3'
CUT = (
    "are bonded across the boundary of the cell; write whole molecules (unwrap them) and remove Lattice, as no periodic"
    " images are computed"
)
CARBON_DIOXIDE = ("C 0.5 0 0", "O 1.66 0 0", "O 5.34 0 0")


@pytest.mark.parametrize(
    ("comment", "atoms", "words"),
    [
        (BOX, CARBON_DIOXIDE, f"atoms 1 (C) and 3 (O) {CUT}"),
        (SKEW, ("N 20 20 20", "N 23.3 25.6 20.7"), f"atoms 1 (N) and 2 (N) {CUT}"),
        (SLAB, ("N 0.2 0 0", "N 5.4 0 0"), f"atoms 1 (N) and 2 (N) {CUT}"),
        (BOX.replace("0 6 0 0 0 6", "6 0 0 0 0 6"), ("He 0 0 0",), "spans no cell"),
        (BOX.replace("6", "0.1"), ("He 0 0 0",), "spans no cell"),
    ],
    ids=["box", "skew", "slab", "flat", "tiny"],
)
def test_a_molecule_that_the_cell_cuts_and_a_cell_that_holds_nothing_are_refused(comment, atoms, words):
    assert words in refusal(xyz(*atoms, comment=comment))


@pytest.mark.parametrize(
    ("comment", "atoms"),
    [
        *((f"{BOX} {pbc}", CARBON_DIOXIDE) for pbc in ('pbc="F T T"', 'pbc="F F F"', "pbc=[0,1,1]")),
        (BOX, ("C 5.9 0 0", "O 7.06 0 0", "O 4.74 0 0")),
        (SKEW, ("N 20 20 20", "N 20 20 21.1")),
        (SLAB, ("N 0.2 0 0", "N 1.3 0 0")),
    ],
)
def test_molecules_that_no_repeating_boundary_cuts_are_read_and_a_cell_that_is_ignored_is_told(comment, atoms):
    ignored = () if "F F F" in comment else ("the periodic cell is ignored: no images are computed",)
    assert read_xyz(xyz(*atoms, comment=comment), name="w.xyz").notes == ignored
    assert molecule("He 0 0 0").notes == ()


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
    assert len(bonded_fragments(read_xyz(xyz(*rows, comment=BOX), name="w.xyz"))) == 2


@pytest.mark.parametrize("number", ["inf", "-Infinity", "1e999", "1_0", "*****", "0x1", "1e7", "\u0661"])
def test_what_only_resembles_a_coordinate_is_refused(number):
    assert "is not a finite number" in refusal(xyz(f"O 0 {number} 0"))


def test_several_bad_lines_are_reported_together():
    text = refusal(xyz("Q 0 0 0", "H 0 0 1", "R 0 0 2", "O x 0 3", "O y 0 4", "O z 0 5"))
    assert [f"line {number}" in text for number in range(3, 9)] == [True, False, True, True, False, False]
    assert text.endswith("; and 2 more")


def test_too_many_atoms_are_refused_before_they_are_read():
    assert f"1 to {MAX_ATOMS}" in refusal(f"{MAX_ATOMS + 1}\n\nO 0 0 0")


PIECES = ["3", "1", "O", "h", "Na", "D", "0.0", "1.5", "-2", "nan", "1e999", "{}", "bohr", "charge=1"]
XYZ_LIKE = st.lists(st.lists(st.sampled_from(PIECES)).map(" ".join)).map("\n".join)


@given(st.one_of(st.text(), XYZ_LIKE))
@settings(max_examples=200)
def test_any_text_is_read_or_refused_on_one_line(text):
    geometry, _ = attempt(read_xyz, text, name="t.xyz")
    if geometry is not None:
        assert len(geometry.symbols) == len(geometry.coordinates_angstrom) >= 1


@given(st.lists(st.tuples(st.integers(1, 117), *[st.floats(-1e6, 1e6)] * 3), min_size=1, max_size=5))
def test_every_sound_geometry_is_read_unless_its_atoms_overlap(atoms):
    positions = [position for _, *position in atoms]
    overlap = any(math.dist(a, b) < 0.4 for i, a in enumerate(positions) for b in positions[:i])
    geometry, _ = attempt(read_xyz, xyz(*(" ".join(map(repr, atom)) for atom in atoms)), name="t.xyz")
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
    ("pairs", "fragments"),
    [
        ("H H 0.77, F F 1.42, O H 1.2, C C 1.56, I I 2.67, O O 1.46", 1),
        ("O H 1.5, F H 1.4, Cl H 2.1, Na O 2.3, Li F 1.6, Mg O 2.0", 2),
    ],
)
def test_covalent_bonds_are_found_and_hydrogen_bonds_and_contacts_with_cations_are_not(pairs, fragments):
    for pair in pairs.split(", "):
        first, second, distance = pair.split()
        assert len(bonded_fragments(molecule(f"{first} 0 0 0", f"{second} 0 0 {distance}"))) == fragments, pair


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
        ("", ": write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6"),
        ("3,a", ": write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6"),
        ("0x3,6", ": write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6"),
        ("3", " hold 3 atoms, but the geometry has 6; the sizes must add up to that"),
        ("999999x999999", " hold 999998000001 atoms, but the geometry has 6; the sizes must add up to that"),
        ("1-3,4-6", ": separate fragments with ';', as in 1-3;4-6"),
        ("1-3;5", " hold 4 of 6 atoms; atom 4 is in none"),
        ("1-4;3-6", ": atom 3 is given twice, in fragments 1 and 2"),
        ("1-3;4-7", ": '4-7' in fragment 2 is no atom or range within 1-6"),
        ("0-3;4-6", ": '0-3' in fragment 1 is no atom or range within 1-6"),
        ("3-1;4-6", ": '3-1' in fragment 1 is no atom or range within 1-6"),
        ("1-3;4-6;", ": '' in fragment 3 is no atom or range within 1-6"),
    ],
)
def test_fragments_that_do_not_fit_are_refused_with_counts(text, expected):
    assert message(parse_fragments, text, 6) == f"fragments '{text}'{expected}"


@given(st.one_of(st.text(), st.text(alphabet="0123456789x,;|- ")), st.integers(1, 12))
def test_fragments_from_any_text_hold_every_atom_once_or_are_refused(text, natom):
    fragments, _ = attempt(parse_fragments, text, natom)
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
    charges, _ = attempt(parse_charges, text, nfragments)
    if charges is not None:
        assert charges
        assert set(charges) <= set(range(nfragments))


# Electrons


ONE_WATER = read_xyz(f"3\n\n{WATER}", name="w.xyz")


@pytest.mark.parametrize(
    ("charge", "multiplicity", "fault"),
    [
        (
            "+1",
            1,
            "9 electrons and cannot have multiplicity 1; give --multiplicities 1:2 or another charge in --charges",
        ),
        (
            "0",
            13,
            "10 electrons and cannot have multiplicity 13; give --multiplicities 1:1 or another charge in --charges",
        ),
        ("+10", 1, "no electrons left; correct its charge, as in --charges 1:0"),
    ],
)
def test_impossible_electrons_are_refused_with_the_fragment_and_the_cure(charge, multiplicity, fault):
    assert message(check_electrons, ONE_WATER, ((0, 1, 2),), (int(charge),), (multiplicity,)) == (
        f"charges and multiplicities: fragment 1 (H2O, charge {charge}) has {fault}"
    )


@given(st.integers(-3, 9), st.integers(1, 14))
def test_a_multiplicity_is_accepted_exactly_if_spins_can_add_up_to_it(charge, multiplicity):
    electrons = 10 - charge
    possible = {electrons - 2 * down + 1 for down in range(electrons // 2 + 1)}
    refused = message(check_electrons, ONE_WATER, ((0, 1, 2),), (charge,), (multiplicity,))
    assert bool(refused) == (multiplicity not in possible)


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


def test_atoms_in_one_place_are_looked_for_among_neighbours_only(distances):
    check_distances(box_of_helium(8000))
    assert len(distances) <= 8000
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
