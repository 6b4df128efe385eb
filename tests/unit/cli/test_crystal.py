"""`autotune crystal`: what is listed, computed, written and refused."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest
from commands import autotune as command

import autotune

CRYSTALS = Path(str(files("autotune.studies"))) / "crystals"
AMMONIA = CRYSTALS / "ammonia.cif"
HF = ("--program", "pyscf", "--method", "hf", "--basis", "sto-3g", "--threads", "1", "--journal", "none")
NEAR = ("--cutoff", "2=2.6,3=2.5")
NAMES = ["2mer-0001", "2mer-0002", "3mer-0001"]


@pytest.fixture
def call(tmp_path):
    return partial(command, "crystal", cwd=tmp_path)


@pytest.fixture
def here(in_process, tmp_path):
    return partial(in_process, "crystal", cwd=tmp_path)


def test_without_a_program_the_distinct_n_mers_are_listed(here):
    status, output, said = here(AMMONIA, *NEAR)
    assert (status, said) == (0, "")
    lines = output.splitlines()
    assert lines[0].endswith(
        "ammonia.cif: a crystal with 4 H3N in the unit cell, space group P2_13 (198) with 12 operations"
    )
    assert lines[1] == "2 distinct 2-mers of 24 in each cell and 1 distinct 3-mer of 4 in each cell"
    assert lines[-1].split() == ["3mer-0001", "4", "2.428", "2.428", "2.428"]
    status, output, _ = here(AMMONIA, *NEAR, "--json")
    assert status == 0
    assert [(nmer["name"], nmer["per_cell"]) for nmer in json.loads(output)] == list(
        zip(NAMES, (12, 12, 4), strict=True)
    )


@pytest.fixture(scope="module")
def lattice(tmp_path_factory):
    """Return what the command left, its folder and the rows of its terms."""
    folder = tmp_path_factory.mktemp("lattice")
    files_of = ("-o", "lattice.json", "--csv", "terms.csv", "--results", "nmers", "--record", "record.json")
    done = command("crystal", AMMONIA, *NEAR, *HF, *files_of, cwd=folder, environment={"AUTOTUNE_HOME": folder})
    assert done.status == 0, done.errors
    return done, folder, list(csv.DictReader(io.StringIO((folder / "terms.csv").read_text())))


def test_a_lattice_energy_is_shown_by_size_and_by_distance_and_written_with_all_its_terms(lattice):
    done, folder, rows = lattice
    written = json.loads((folder / "lattice.json").read_text())
    assert written["schema"] == "autotune.lattice/1"
    assert [row["name"] for row in rows] == NAMES
    total = sum(float(row["term_hartree"]) * int(row["per_cell"]) / 4 for row in rows)
    assert written["energy_hartree"] == pytest.approx(total, abs=1e-15)
    last = done.output.splitlines()[-1]
    assert last.startswith(f"lattice energy through 3-body (nocp): {total * 2625.499638:.3f} kJ/mol of H3N (")
    assert all(json.loads((folder / "nmers" / f"{name}.json").read_text())["success"] is True for name in NAMES)
    # One monomer, two pairs and a triple: of the triple's pairs each is one of these.
    assert json.loads((folder / "record.json").read_text())["tasks"] == 4
    assert "--reuse-equal-fragments: 6 of 13 tasks of 3 inputs are not computed" in done.errors  # and 3 are there twice


def test_inputs_are_written_to_be_computed_elsewhere(here, lattice, tmp_path):
    status, output, said = here(AMMONIA, *NEAR, *HF, "--inputs", "inputs")
    assert (status, output) == (0, "")
    assert said.startswith("3 inputs in inputs; `autotune run inputs -o RESULTS/` computes them")
    assert sorted(path.name for path in (tmp_path / "inputs").iterdir()) == [f"{name}.json" for name in NAMES]
    outcomes = autotune.run_many([tmp_path / "inputs"], threads=1, journal="none")
    for outcome, term in zip(outcomes, lattice[-1], strict=True):
        assert outcome.name.endswith(term["name"])
        nbody = int(term["name"][0])
        (row,) = (row for row in autotune.tabulate(outcome.result).rows if row.nbody == nbody)
        assert row.contribution_hartree == pytest.approx(float(term["term_hartree"]), abs=1e-9)
        extras = outcome.result.input_data.molecule.extras["autotune"]
        assert extras["nmer"]["per_cell"] == int(term["per_cell"])


def test_what_an_n_mer_fails_at_is_told_and_a_resume_computes_the_rest_only(call, tmp_path):
    # The program fails at the three molecules of twelve atoms, as long as there is no such file.
    keywords = json.dumps({"at": [12], "once": str(tmp_path / "failed"), "log": str(tmp_path / "log")})
    faulty = ("--program", "faulty", "--method", "raise", "--journal", "journal.db", "--keywords", keywords)
    status, output, said = call(AMMONIA, *NEAR, *faulty, "-o", "lattice.json")
    assert (status, output) == (1, "")
    assert "autotune: 1 of 3 inputs failed: 3mer-0001: " in said
    assert not (tmp_path / "lattice.json").exists()
    computed = len((tmp_path / "log").read_text().splitlines())
    status, output, said = call(AMMONIA, *NEAR, *faulty, "-o", "lattice.json", "--resume")
    assert status == 0, said
    assert len((tmp_path / "log").read_text().splitlines()) == computed + 1
    assert json.loads((tmp_path / "lattice.json").read_text())["energy_hartree"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((AMMONIA, "--cutoff", "12"), "--cutoff '12' names no distances in Å by level, as 2=12,3=8"),
        ((AMMONIA, "--cutoff", "2=3,2=4"), "--cutoff names level 2 twice; keep one"),
        ((AMMONIA, "--cutoff", "2=0.1"), "no 2 molecules of"),
        ((AMMONIA, *NEAR, "-o", "x.json"), "-o needs to know what to compute: give --program and --method"),
        ((AMMONIA, *NEAR, *HF, "-o", "x.json", "--json"), "--json prints the result and -o writes it to a file"),
        ((AMMONIA, *NEAR, *HF, "-o", AMMONIA), "is what this command reads; give what it writes another name"),
        ((AMMONIA, *NEAR, *HF, "--results", "dir", "--resume"), "option resume needs a journal"),
        (("none.cif", *NEAR), "none.cif is not a file; give a crystal"),
        ((AMMONIA,), "missing option '--cutoff'; see `autotune crystal --help`"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(here, tmp_path, arguments, words):
    status, output, said = here(*arguments)
    assert (status, output) == (2, "")
    assert words in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_run_says_where_crystals_are_computed(in_process):
    status, _, said = in_process("run", AMMONIA, *HF)
    assert status == 2
    assert "`autotune crystal`" in said
