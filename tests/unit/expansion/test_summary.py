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


def test_units_are_those_that_the_reader_of_the_file_noted():
    noted = molecule(["He", "He"], [[0], [1]], [0, 0], [1, 1], extras={"autotune": {"units": "angstrom"}})
    assert describe(noted).endswith("coordinates in ångström")


def test_notes_of_the_reader_of_the_file_are_told():
    extras = {"autotune": {"units": "angstrom", "notes": ["the periodic cell is ignored:\nno images are computed"]}}
    noted = molecule(["He", "He"], [[0], [1]], [0, 0], [1, 1], extras=extras)
    assert describe(noted).endswith("coordinates in ångström; the periodic cell is ignored: no images are computed")


def test_isotopes_are_named():
    heavy = molecule(["H", "H", "He"], [[0, 1], [2]], [0, 0], [1, 1], mass_numbers=[2, 2, -1])
    assert describe(heavy).endswith("; 2 2H")


def test_of_many_kinds_of_fragments_the_first_are_named():
    elements = ["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si"]
    numbers = range(len(elements))
    many = molecule(elements, [[n] for n in numbers], [0] * 14, [2 if n % 2 == 0 else 1 for n in numbers])
    assert " and 2 more kinds of fragments; in all 14 atoms" in describe(many)


@pytest.mark.parametrize(
    ("symbols", "expected"), [("H H O", "H2O"), ("O C H H H H", "CH4O"), ("Cl Na", "ClNa"), ("C", "C")]
)
def test_formulas_are_in_hills_order(symbols, expected):
    assert formula(symbols.split()) == expected


def test_spins_have_names_as_far_as_chemists_use_them():
    assert [spin_words(number) for number in (1, 2, 3, 9)] == ["singlet", "doublet", "triplet", "multiplicity 9"]


@pytest.fixture
def waters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["6", "", *(f"{s} {x + shift} {y} {z}" for shift in (0.0, 5.0) for s, x, y, z in WATER)]
    (tmp_path / "waters.xyz").write_text("\n".join(lines))
    return ["waters.xyz", "--program", "faulty", "--method", "nothing"]


WATER = (("O", 0.0, 0.0, 0.0), ("H", 0.0, -0.757, 0.587), ("H", 0.0, 0.757, 0.587))
SAID = "2 fragments: 2 H2O; in all 6 atoms, charge 0, singlet; coordinates in "


def test_a_run_says_it_first_and_its_record_and_report_have_it(waters, tmp_path):
    done = CliRunner().invoke(cli, ["run", *waters, "-o", "out.json", "--record", "record.json"])
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(SAID)
    assert json_files.load_run(tmp_path / "record.json").understood.startswith(SAID)
    told = CliRunner().invoke(cli, ["report", "record.json", "--markdown", "report.md"])
    assert told.exit_code == 0, told.output
    assert SAID in (tmp_path / "report.md").read_text()


def test_an_explained_run_says_it_once(waters):
    done = CliRunner().invoke(cli, ["run", *waters, "-o", "out.json", "--explain"])
    assert done.stderr.count(SAID) == 1


def test_an_estimate_says_it(waters):
    assert CliRunner().invoke(cli, ["estimate", *waters]).stdout.startswith(SAID)
    answer = json.loads(CliRunner().invoke(cli, ["estimate", *waters, "--json"]).stdout)
    assert answer["understood"].startswith(SAID)
