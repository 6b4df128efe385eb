"""Claims about `autotune.expansion.xyz_comment`: what the comment line of an XYZ file states."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.errors import InputError
from autotune.expansion.cell import Cell
from autotune.expansion.xyz_comment import Columns, Comment, read_comment


def read(text, natom=3):
    return read_comment(text, natom=natom, name="w.xyz")


def refusal(text, natom=3):
    with pytest.raises(InputError) as caught:
        read(text, natom)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith("w.xyz: ")
    return message.removeprefix("w.xyz: ")


def outcome(text):
    """Return what is refused, or an empty text."""
    try:
        read(text)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "water",
            "{",
            "[1, 2]",
            "{" * 100_000,
            "i = 12, time = 6.0, E = -17.1",
            "frame 3",
            "1 2 3",
            "0.5 1",
            "100",
        ),
        *("E=-76.4 au", "energy: -1.5 gap: 0.2", "a charged water", "discharge 5", "charges=0.1,0.2", "10 20 30 40"),
        *("http://example.org/charge_transfer", "gradient in hartree/bohr", "2-1 complex", "0 100", "1e5 1", "{water}"),
    ],
)
def test_a_comment_that_states_nothing_is_only_a_comment(text):
    assert read(text) == Comment()


@pytest.mark.parametrize(
    ("text", "charge", "multiplicity"),
    [
        ("0 1", 0, 1),
        ("  -2   1 ", -2, 1),
        ("\N{MINUS SIGN}2 1", -2, 1),
        ("+1, 2", 1, 2),
        ("-1 1 sulphate and water", -1, 1),
        ("charge=-2", -2, None),
        ("Charge = -2.0, Multiplicity = 3", -2, 3),
        ('charge="1" mult="2"', 1, 2),
        ("total_charge=1 spin_multiplicity=1", 1, 1),
        ("anion, charge: -1", -1, None),
        ("charge -1 multiplicity 2", -1, 2),
        ("energy=-1.5 0 1", 0, 1),
        ("0 1 charge=0", 0, 1),
        ('{"charge": -1, "multiplicity": 2}', -1, 2),
    ],
)
def test_charge_and_multiplicity_are_read_in_the_spellings_of_the_field(text, charge, multiplicity):
    assert read(text) == Comment(charge=charge, multiplicity=multiplicity)


def test_a_spin_is_kept_apart_as_it_may_be_2s_or_2s_plus_1():
    assert read("charge=0 spin=1") == Comment(charge=0, spin=1)


def test_charge_and_multiplicity_of_all_and_of_each_fragment_are_read_as_in_counterpoise_inputs():
    assert read("-1 1 0 1 -1 1") == Comment(charge=-1, multiplicity=1, charges=(0, -1), multiplicities=(1, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 1 charge=1", "line 2 states charge 1 and charge 0; keep the right one"),
        ("charge=1 charge=2", "line 2 states charge 1 and charge 2; keep the right one"),
        ("charge=0.5", "line 2 states charge=0.5; write a whole number, as in charge=1"),
        ("charge=neutral", "line 2 states charge=neutral; write a whole number, as in charge=1"),
        ("multiplicity=0", "line 2 states multiplicity 0; write 2S + 1, which is 1 or more"),
        ("0 0", "line 2 states multiplicity 0; write 2S + 1, which is 1 or more"),
        ("0 1 0 2 0 -2", "line 2 states multiplicity -2; write 2S + 1, which is 1 or more"),
        ("units=nm", "line 2 states units 'nm'; convert them to angstrom or bohr"),
        (
            "converted from bohr",
            "line 2 speaks of bohr; say units=bohr or units=angstrom, whichever the positions have",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_cure(text, expected):
    assert refusal(text) == expected


@pytest.mark.parametrize(
    ("text", "units"),
    [
        *(
            (text, "bohr")
            for text in (
                "bohr",
                "units=bohr",
                "unit: au",
                "coordinates in Bohr",
                "(a.u.)",
                "0 1 bohr",
                "AU",
                "Coordinates (A.U.)",
            )
        ),
        *((text, "bohr") for text in ('units="atomic units"', "units = a0", '{"units": "bohr"}', "water, units: bohr")),
        *((text, "angstrom") for text in ("angstrom", "units=Ang", "in Å", "units=angstroms", "0 1 angstrom")),
        *((text, "") for text in ("water", "Au", "optimised geometry Au cluster", "a water", "0 1 Au")),
    ],
)
def test_units_are_read_where_they_are_stated(text, units):
    assert read(text).units == units


# NCI Atlas


def test_selections_charges_and_multiplicities_by_letter_are_fragments():
    text = "charge=-2 charge_a=0 charge_b=-2 multiplicity_b=1 selection_a=1-3 selection_b=4-9"
    assert read(text, natom=9) == Comment(
        charge=-2,
        fragments=((0, 1, 2), (3, 4, 5, 6, 7, 8)),
        charges=(0, -2),
        multiplicities=(None, 1),
    )


def test_a_selection_may_have_several_ranges():
    assert read("selection_a=1,3-4 selection_b=2", natom=4).fragments == ((0, 2, 3), (1,))


def test_charges_by_letter_without_selections_are_of_fragments_in_order():
    assert read("charge_b=-1 charge_a=0") == Comment(charges=(0, -1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("selection_a=1-2", "selections in line 2 hold 2 of 3 atoms; atom 3 is in none"),
        ("selection_a=1-2 selection_b=2-3", "selections in line 2: atom 2 is given twice, in fragments 1 and 2"),
        ("selection_a=1-4", "selections in line 2: '1-4' in fragment 1 is no atom or range within 1-3"),
        ("selection_a=all", "selections in line 2: 'all' in fragment 1 is no atom or range within 1-3"),
        ("selection_a=1-3 charge_b=1", "line 2 has no selection_b; say which atoms it is, as in 1-3"),
        ("selection_a=1-3 charge_a=x", "line 2 states charge_a=x; write a whole number, as in charge_a=1"),
        ("charge_a=1 charge_a=0", "line 2 states charge_a twice; keep the right one"),
        ("multiplicity_a=0", "line 2 states a multiplicity below 1; write 2S + 1, which is 1 or more"),
    ],
)
def test_selections_that_do_not_fit_are_refused(text, expected):
    assert refusal(text) == expected


# Extended XYZ


@pytest.mark.parametrize(
    ("layout", "species", "position"),
    [
        ("species:S:1:pos:R:3", 0, 1),
        ("pos:R:3:species:S:1", 3, 0),
        ("species:S:1:forces:R:3:tags:I:1:pos:R:3:Z:I:1", 0, 5),
        ("Z:I:1:pos:R:3", 0, 1),
    ],
)
@pytest.mark.parametrize("spelling", ["Properties={}", 'properties = "{}"', "x=1 PROPERTIES='{}' y=2"])
def test_columns_are_found_by_their_names(layout, species, position, spelling):
    assert read(spelling.format(layout)).columns == Columns(species=species, position=position)


@pytest.mark.parametrize("layout", ["species:S:1", "pos:R:3", "species:S:1:pos:R:2", "name:S:1:pos:R:3"])
def test_a_layout_without_element_or_position_is_refused(layout):
    assert refusal(f"Properties={layout}") == (
        f"line 2 orders the columns {layout!r}; it must name species:S:1 and pos:R:3"
    )


@pytest.mark.parametrize("layout", ["species", "species:S:pos:R:3", "species:S:1:pos:R:three", "a:S:0:pos:R:3"])
def test_a_layout_that_is_none_is_refused(layout):
    assert "write name:type:count for each" in refusal(f"Properties={layout}")


@pytest.mark.parametrize(
    ("pbc", "periodic"),
    [
        ("", (True, True, True)),
        ('pbc="T F T"', (True, False, True)),
        ("pbc=[1,1,0]", (True, True, False)),
        ('pbc="False False False"', (False, False, False)),
        ("pbc=F", (False, False, False)),
        ('pbc="yes no"', (True, True, True)),
    ],
)
def test_a_cell_repeats_along_each_vector_unless_the_file_says_otherwise(pbc, periodic):
    cell = read(f'LATTICE="5 0 0 1 6 0 0 0 7e0" {pbc}').cell
    assert cell == Cell(vectors=((5.0, 0.0, 0.0), (1.0, 6.0, 0.0), (0.0, 0.0, 7.0)), periodic=periodic)


@pytest.mark.parametrize("lattice", ["", "1 2", "a b c d e f g h i", "nan 0 0 0 1 0 0 0 1", "1e9 0 0 0 1 0 0 0 1"])
def test_a_cell_that_is_none_is_refused(lattice):
    assert refusal(f'Lattice="{lattice}"') == (
        "Lattice in line 2 must be the nine numbers of three vectors; correct or remove it"
    )


# JSON


def test_fragments_charges_and_multiplicities_are_read_from_json():
    text = '{"fragments": [1, 2], "charges": [1, 0], "multiplicities": [1, 3], "species": ["Na+", "O2"]}'
    assert read(text) == Comment(fragments=((0,), (1, 2)), charges=(1, 0), multiplicities=(1, 3))


def test_charges_without_fragments_are_kept():
    assert read('{"charges": [0, -1]}') == Comment(charges=(0, -1))


def test_unknown_keys_are_refused_by_name():
    assert refusal('{"fragments": [3], "chagres": [1], "spin": 2}') == (
        "line 2 states 'chagres', 'spin', which is not known; known are fragments, charges, multiplicities, charge, "
        "multiplicity, units, species"
    )


@pytest.mark.parametrize(
    "text", ['{"fragments": [3', '{"a":' * 100_000, '{"charges": [1], "charges": [0]}', '{"fragments": 3,}']
)
def test_what_is_meant_as_json_and_is_none_is_refused(text):
    assert refusal(text).startswith("line 2 is not valid JSON: ")


@pytest.mark.parametrize("sizes", [[3, 3], [], [0, 3], [-1, 4], [True, 2], [3.0], "3", {"a": 3}, None, [10**30]])
def test_stated_fragments_that_do_not_fit_are_refused(sizes):
    assert refusal(json.dumps({"fragments": sizes})) == (
        '"fragments" in line 2 must list sizes, as in [3, 3], that add up to 3 atoms'
    )


@pytest.mark.parametrize("key", ["charges", "multiplicities"])
@pytest.mark.parametrize("values", [[0, 0], [0.5], "0", [None]])
def test_lists_that_do_not_fit_the_fragments_are_refused(key, values):
    assert refusal(json.dumps({"fragments": [3], key: values})) == (
        f'"{key}" in line 2 must list 1 whole numbers, one per fragment'
    )


@pytest.mark.parametrize("fields", [{"charge": 0.5}, {"charge": "1"}, {"multiplicity": 0}, {"multiplicity": True}])
def test_totals_in_json_are_whole_numbers(fields):
    assert "write a whole number" in refusal(json.dumps(fields))


# Any text


WORDS = [
    "0",
    "1",
    "-2",
    "charge",
    "=",
    ":",
    "mult=1",
    "charge_a=0",
    "selection_a=1-3",
    "{",
    '"',
    "Lattice=",
    "bohr",
    "units=",
]


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join), st.lists(st.sampled_from(WORDS)).map("".join))
)
def test_any_text_is_read_or_refused_in_one_line(text):
    said = outcome(text)
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "piece", ["a", "a ", "a=", "=", '"', "{", "charge ", "1 ", "a={", "bohr ", " ", "\t=", "charge_a=1,", "a=1,"]
)
def test_a_long_line_is_read_in_time_proportional_to_its_length(piece):
    assert len(outcome(piece * 100_000)) < 500
