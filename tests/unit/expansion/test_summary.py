"""What was understood of an input is said in one line, before and after a run."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from qcelemental.models.v2 import Molecule

from autotune.base import json_files
from autotune.cli.main import cli
from autotune.expansion.summary import describe, formula, spin_words


def molecule(symbols, fragments, charges, multiplicities, **others):
    positions = [x for atom in range(len(symbols)) for x in (4.0 * atom, 0.0, 0.0)]
    return Molecule(
        symbols=symbols,
        geometry=positions,
        fragments=fragments,
        fragment_charges=charges,
        fragment_multiplicities=multiplicities,
        **others,
    )


def test_charges_and_spins_that_are_not_ordinary_stand_beside_their_fragments():
    mixed = molecule(["Na", "O", "O", "He", "He"], [[0], [1, 2], [3], [4]], [1, 0, 0, 0], [1, 3, 1, 1])
    assert describe(mixed) == (
        "4 fragments: Na (charge +1), O2 (triplet) and 2 He; in all 5 atoms, charge +1, triplet; coordinates in bohr"
    )


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"extras": {"autotune": {"units": "angstrom"}}}, "coordinates in ångström"),
        (
            {"extras": {"autotune": {"units": "angstrom", "notes": ["the cell is ignored:\nno images"]}}},
            "coordinates in ångström; the cell is ignored: no images",
        ),
        ({"mass_numbers": [2, 2, -1]}, "; 2 2H"),
    ],
    ids=["units", "notes", "isotopes"],
)
def test_units_and_notes_of_the_reader_and_isotopes_are_told(others, said):
    assert describe(molecule(["H", "H", "He"], [[0, 1], [2]], [0, 0], [1, 1], **others)).endswith(said)


def test_of_many_kinds_of_fragments_the_first_are_named():
    elements = ["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si"]
    many = molecule(elements, [[n] for n in range(14)], [0] * 14, [2, 1] * 7)
    assert " and 2 more kinds of fragments; in all 14 atoms" in describe(many)


@pytest.mark.parametrize(
    ("symbols", "expected"), [("H H O", "H2O"), ("O C H H H H", "CH4O"), ("Cl Na", "ClNa"), ("C", "C")]
)
def test_formulas_are_in_hills_order(symbols, expected):
    assert formula(symbols.split()) == expected


def test_spins_have_names_as_far_as_chemists_use_them():
    assert [spin_words(number) for number in (1, 2, 3, 9)] == ["singlet", "doublet", "triplet", "multiplicity 9"]


SAID = "2 fragments: 2 H2O; in all 6 atoms, charge 0, singlet; coordinates in "
WATERS = "6\n\n" + "".join(f"O {x} 0 0\nH {x} -0.757 0.587\nH {x} 0.757 0.587\n" for x in (0.0, 5.0))


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Return a function that calls a verb for two waters, and returns what came of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "waters.xyz").write_text(WATERS)

    def done(verb, *arguments):
        waters = ["waters.xyz", "--program", "faulty", "--method", "nothing"] if verb != "report" else []
        found = CliRunner().invoke(cli, [verb, *waters, *arguments])
        assert found.exit_code == 0, found.output
        return found

    return done


def test_a_run_says_it_first_and_its_record_and_report_have_it(call, tmp_path):
    assert call("run", "-o", "out.json", "--record", "record.json").stderr.startswith(SAID)
    assert json_files.load_run(tmp_path / "record.json").understood.startswith(SAID)
    call("report", "record.json", "--markdown", "report.md")
    assert SAID in (tmp_path / "report.md").read_text()


def test_an_explained_run_says_it_once(call):
    assert call("run", "-o", "out.json", "--explain").stderr.count(SAID) == 1


def test_an_estimate_says_it(call):
    assert call("estimate").stdout.startswith(SAID)
    assert json.loads(call("estimate", "--json").stdout)["understood"].startswith(SAID)
