"""Claims about `autotune.expansion.xyz_comment`: what the comment line of an XYZ file states."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.errors import InputError
from autotune.expansion.cell import Cell
from autotune.expansion.xyz_comment import Comment, read_comment


def read(text):
    return read_comment(text, natom=3, name="w.xyz")


def outcome(text):
    """Return what is refused, in one line, or an empty text."""
    try:
        read(text)
    except InputError as error:
        message = str(error)
    else:
        return ""
    assert message.isprintable()
    assert message.startswith("w.xyz: ")
    return message.removeprefix("w.xyz: ")


@pytest.mark.parametrize(
    "text",
    [
        *("", "water", "{", "{water}", "[1, 2]", "{" * 100_000, "frame 3", "1 2 3", "0.5 1", "100", "10 20 30 40"),
        *("i = 12, time = 6.0, E = -17.1", "E=-76.4 au", "energy: -1.5 gap: 0.2", "a charged water", "discharge 5"),
        *("http://example.org/charge_transfer", "charges=0.1,0.2", "gradient in hartree/bohr", "2-1 complex", "0 100"),
        "1e5 1",
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


WHOLE = "write a whole number, as in"
MULTIPLICITY = "write 2S + 1, which is 1 or more"
JSON_SIZES = '"fragments" in line 2 must list sizes, as in [3, 3], that add up to 3 atoms'
SIZES = [[3, 3], [], [0, 3], [-1, 4], [True, 2], [3.0], "3", {"a": 3}, None, [10**30]]
REFUSED = {
    "line 2 states charge 1 and charge 0; keep the right one": ["0 1 charge=1"],
    "line 2 states charge 1 and charge 2; keep the right one": ["charge=1 charge=2"],
    f"line 2 states charge=0.5; {WHOLE} charge=1": ["charge=0.5"],
    f"line 2 states charge=neutral; {WHOLE} charge=1": ["charge=neutral"],
    f"line 2 states multiplicity 0; {MULTIPLICITY}": ["multiplicity=0", "0 0"],
    f"line 2 states multiplicity -2; {MULTIPLICITY}": ["0 1 0 2 0 -2"],
    "line 2 states units 'nm'; convert them to angstrom or bohr": ["units=nm"],
    "line 2 speaks of bohr; say units=bohr or units=angstrom, whichever the positions have": ["converted from bohr"],
    # Of selections by letter
    "selections in line 2 hold 2 of 3 atoms; atom 3 is in none": ["selection_a=1-2"],
    "selections in line 2: atom 2 is given twice, in fragments 1 and 2": ["selection_a=1-2 selection_b=2-3"],
    "selections in line 2: '1-4' in fragment 1 is no atom or range within 1-3": ["selection_a=1-4"],
    "selections in line 2: 'all' in fragment 1 is no atom or range within 1-3": ["selection_a=all"],
    "line 2 has no selection_b; say which atoms it is, as in 1-3": ["selection_a=1-3 charge_b=1"],
    f"line 2 states charge_a=x; {WHOLE} charge_a=1": ["selection_a=1-3 charge_a=x"],
    "line 2 states charge_a twice; keep the right one": ["charge_a=1 charge_a=0"],
    f"line 2 states a multiplicity below 1; {MULTIPLICITY}": ["multiplicity_a=0"],
    # Of extended XYZ
    "Lattice in line 2 must be the nine numbers of three vectors; correct or remove it": [
        f'Lattice="{lattice}"'
        for lattice in ("", "1 2", "a b c d e f g h i", "nan 0 0 0 1 0 0 0 1", "1e9 0 0 0 1 0 0 0 1")
    ],
    # Of JSON
    JSON_SIZES: [json.dumps({"fragments": sizes}) for sizes in SIZES],
    **{
        f'"{key}" in line 2 must list 1 whole numbers, one per fragment': [
            json.dumps({"fragments": [3], key: values}) for values in ([0, 0], [0.5], "0", [None])
        ]
        for key in ("charges", "multiplicities")
    },
    "line 2 states 'chagres', 'spin', which is not known; known are fragments, charges, multiplicities, charge, "
    "multiplicity, units, species": ['{"fragments": [3], "chagres": [1], "spin": 2}'],
}


@pytest.mark.parametrize("expected", REFUSED)
def test_what_cannot_be_meant_is_refused_with_the_cure(expected):
    for text in REFUSED[expected]:
        assert outcome(text) == expected, text


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        *(
            (f"line 2 orders the columns {layout!r}; it must name species:S:1 and pos:R:3", [f"Properties={layout}"])
            for layout in ("species:S:1", "pos:R:3", "species:S:1:pos:R:2", "name:S:1:pos:R:3")
        ),
        (
            "write name:type:count for each",
            [
                f"Properties={layout}"
                for layout in ("species", "species:S:pos:R:3", "species:S:1:pos:R:three", "a:S:0:pos:R:3")
            ],
        ),
        (
            "line 2 is not valid JSON: ",
            ['{"fragments": [3', '{"a":' * 100_000, '{"charges": [1], "charges": [0]}', '{"fragments": 3,}'],
        ),
        (
            "write a whole number",
            ['{"charge": 0.5}', '{"charge": "1"}', '{"multiplicity": 0}', '{"multiplicity": true}'],
        ),
    ],
)
def test_layouts_json_and_totals_in_json_that_are_none_are_refused(words, texts):
    for text in texts:
        assert words in outcome(text)


UNITS = {
    "bohr": (
        *("bohr", "units=bohr", "unit: au", "coordinates in Bohr", "(a.u.)", "coordinates in a.u.", "0 1 bohr", "AU"),
        *("Coordinates (A.U.)", 'units="atomic units"', "units = a0", '{"units": "bohr"}', "water, units: bohr"),
    ),
    "angstrom": ("angstrom", "units=Ang", "in Å", "units=angstroms", "0 1 angstrom"),
    "": ("water", "Au", "optimised geometry Au cluster", "a water", "0 1 Au"),
}


@pytest.mark.parametrize("units", UNITS)
def test_units_are_read_where_they_are_stated(units):
    for text in UNITS[units]:
        assert read(text).units == units, text


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("charge=0 spin=1", {"charge": 0, "spin": 1}),  # 2S or 2S + 1
        ("-1 1 0 1 -1 1", {"charge": -1, "multiplicity": 1, "charges": (0, -1), "multiplicities": (1, 1)}),
        (
            "charge=-2 charge_a=0 charge_b=-2 multiplicity_b=1 selection_a=1 selection_b=2-3",
            {"charge": -2, "fragments": ((0,), (1, 2)), "charges": (0, -2), "multiplicities": (None, 1)},
        ),
        ("selection_a=1,3 selection_b=2", {"fragments": ((0, 2), (1,))}),
        ("selection_a=1,2-3", {"fragments": ((0, 1, 2),)}),
        ("charge_b=-1 charge_a=0", {"charges": (0, -1)}),
        (
            '{"fragments": [1, 2], "charges": [1, 0], "multiplicities": [1, 3], "species": ["Na+", "O2"]}',
            {"fragments": ((0,), (1, 2)), "charges": (1, 0), "multiplicities": (1, 3)},
        ),
        ('{"charges": [0, -1]}', {"charges": (0, -1)}),
    ],
    ids=[
        "spin",
        "counterpoise input",
        "NCI Atlas",
        "atoms",
        "ranges",
        "letters alone",
        "JSON",
        "JSON without fragments",
    ],
)
def test_charges_multiplicities_and_atoms_of_fragments_are_read_in_the_forms_of_the_field(text, stated):
    assert read(text) == Comment(**stated)


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


# Any text


WORDS = ["0", "1", "-2", "charge", "=", ":", "mult=1", "charge_a=0", "selection_a=1-3", "{", '"', "Lattice=", "bohr"]
SOME_WORDS = st.lists(st.sampled_from([*WORDS, "units="]))


@given(st.one_of(st.text(), SOME_WORDS.map(" ".join), SOME_WORDS.map("".join)))
def test_any_text_is_read_or_refused_in_one_line(text):
    assert len(outcome(text)) < 500


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "piece", ["a", "a ", "a=", "=", '"', "{", "charge ", "1 ", "a={", "bohr ", " ", "\t=", "charge_a=1,", "a=1,"]
)
def test_a_long_line_is_read_in_time_proportional_to_its_length(piece):
    assert len(outcome(piece * 100_000)) < 500
