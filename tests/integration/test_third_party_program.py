"""A program of somebody else, in a distribution of its own, states its facts, and a run goes by them."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from installing import install, run_python
from places import ROOT

WATER4 = ROOT / "studies" / "workloads" / "water4.xyz"
CHOSEN = (WATER4, "--program", "slow_starter", "--method", "count", "--max-nbody", "2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return install("slow_starter", tmp_path_factory.mktemp("slow_starter"))


@pytest.fixture
def autotune(installed, tmp_path):
    """Return a function that runs a command where the program is installed: status, output and errors."""

    def call(*arguments):
        log = str(tmp_path / "log")
        return run_python(
            "-m", "autotune", *arguments, cwd=tmp_path, check=False, PYTHONPATH=installed, SLOW_STARTER_LOG=log
        )

    return call


def test_the_doctor_says_how_it_is_kept(autotune):
    done = autotune("doctor", "--json")
    [program] = [one for one in json.loads(done.stdout)["programs"] if one["name"] == "slow_starter"]
    assert (program["found"], program["stays"]) == (True, "stays loaded beside its worker")


def test_ghost_atoms_are_refused_before_anything_runs(autotune, tmp_path):
    done = autotune("run", *CHOSEN, "--bsse", "cp")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("autotune: slow_starter cannot compute fragments with ghost atoms")
    assert not (tmp_path / "log").exists() or "task" not in (tmp_path / "log").read_text()


def test_its_start_is_paid_by_each_worker_and_expected_of_no_task(autotune, tmp_path):
    estimated = json.loads(autotune("estimate", *CHOSEN, "--json").stdout)
    assert estimated["core_s"] < 30.0
    autotune("run", *CHOSEN, "-o", "result.json", "--record", "record.json")
    # Electrons do not interact.
    assert json.loads((tmp_path / "result.json").read_text())["return_result"] == 0.0
    record = json.loads((tmp_path / "record.json").read_text())
    words = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    said = Counter(word for word, *_ in words)
    assert said["task"] == record["tasks"] == 10
    assert 1 <= said["start"] <= record["policy"]["workers"]


def test_it_is_granted_what_its_fastest_algorithm_wants(autotune, tmp_path):
    autotune("run", *CHOSEN, "-o", "result.json")
    granted = {float(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines() if "task" in line}
    assert granted
    assert all(0.777 <= gib < 0.8 for gib in granted)


def test_its_own_words_tell_the_kind_of_a_failure(autotune, tmp_path):
    done = autotune("run", *CHOSEN, "--keywords", "stuck=true", "--record", "record.json")
    assert done.returncode == 1
    tasks = json.loads((tmp_path / "record.json").read_text())["task_records"]
    assert {(task["status"], task["error_type"], task["attempts"]) for task in tasks} == {("failed", "convergence", 1)}
