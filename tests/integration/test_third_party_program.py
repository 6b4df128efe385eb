"""A program of somebody else, in a distribution of its own, states its facts, and a run goes by them."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from installing import install, run_python
from places import ROOT

pytestmark = pytest.mark.programs("pyscf")  # calibrates

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


def test_its_start_is_paid_by_each_worker_and_expected_of_no_task_which_is_granted_what_is_fastest(autotune, tmp_path):
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
    assert all(0.777 <= float(gib) < 0.8 for word, gib, *_ in words if word == "task")


STUDY = """
schema = "autotune.study/1"
budget = "40s"
trials = 12
method = {program = "slow_starter", method = "count"}
search = [{geometry = "water4"}]
confirm = [{geometry = "ammonia5"}]
"""
UNTOUCHED = ("--no-program-tuning",)


def ways(tmp_path):
    """Return how tasks were counted since the log was last read, with how many each."""
    log = tmp_path / "log"
    found = Counter(line.split()[2] for line in log.read_text().splitlines() if line.startswith("task"))
    log.unlink()
    return found


@pytest.mark.parametrize(
    ("options", "way"),
    [
        (("--tuning", "none"), "head"),
        (("--no-strategy", "slow_starter"), "fingers"),
        (("--tuning", "none", "--strategies", "hybrid"), "fingers"),
        (("--strategies", "hybrid,slow_starter"), "head"),
    ],
)
def test_its_tunables_are_used_unless_the_user_says_otherwise(autotune, tmp_path, options, way):
    check_way(autotune, tmp_path, way, *options)


def check_way(autotune, tmp_path, way, *options):
    """Check in which way a run counts, and what it says of that."""
    autotune("run", *CHOSEN, "-o", "result.json", "--record", "record.json", *options)
    assert ways(tmp_path) == {way: 10}
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["policy"]["tunables"] == ([["slow_starter.how", way]] if way == "head" else [])
    assert record["tuning"]["parameters"].get("slow_starter.how") == (way if way == "head" else None)


def test_what_was_computed_in_one_way_is_not_resumed_in_the_other(autotune, tmp_path):
    for options, way in [((), "head"), (UNTOUCHED, "fingers")]:
        resuming = ("--journal", "journal.sqlite3", "--resume", *options)
        check_way(autotune, tmp_path, way, *resuming)
        autotune("run", *CHOSEN, "-o", "result.json", *resuming)
        assert not (tmp_path / "log").exists() or not ways(tmp_path)


def test_a_calibration_searches_its_tunables_and_never_keeps_one_that_changes_an_energy(autotune, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    done = autotune("calibrate", "--study", "study.toml", "--force", "--search", "slow_starter", "-o", "tuning.json")
    assert done.returncode == 0, done.stderr
    [tuning] = json.loads((tmp_path / "tuning.json").read_text())["tunings"]
    assert "slow_starter" in tuning["strategies"]
    assert tuning["parameters"].get("slow_starter.how") != "guess"
    evidence = tuning["evidence"]
    tried = {trial["parameters"]["slow_starter.how"]: trial["state"] for trial in evidence["trials"]}
    # On a busy machine a trial may be given up before its energies are there.
    assert tried["guess"] in ("failed", "pruned")
    assert "slow_starter.speed" not in evidence["trials"][0]["parameters"]
    assert evidence["deviations"]["slow_starter.how=head"] == 0.0
    if tried["guess"] == "failed":
        assert evidence["deviations"]["slow_starter.how=guess"] == pytest.approx(1e-6, rel=1e-3)
        assert "changes results: energy by 1.0e-06" in done.stderr


def test_a_calibration_may_start_from_the_program_left_alone(autotune, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY.replace("trials = 12", "trials = 1"))
    done = autotune("calibrate", "--study", "study.toml", "--force", "--untouched", "-o", "tuning.json")
    assert done.returncode == 0, done.stderr
    [tuning] = json.loads((tmp_path / "tuning.json").read_text())["tunings"]
    assert tuning["evidence"]["trials"][0]["parameters"]["slow_starter.how"] == "fingers"
    assert not tuning["parameters"]  # nothing was shown to be faster, so runs take what the plugin states


def test_its_own_words_tell_the_kind_of_a_failure(autotune, tmp_path):
    done = autotune("run", *CHOSEN, "--keywords", "stuck=true", "--record", "record.json")
    assert done.returncode == 1
    tasks = json.loads((tmp_path / "record.json").read_text())["task_records"]
    assert {(task["status"], task["error_type"], task["attempts"]) for task in tasks} == {("failed", "convergence", 1)}
