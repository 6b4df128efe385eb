"""Calibration: the default is always among the trials, the winner must prove itself, the budget is kept.

The subject is the calibrator, so the tasks sleep instead of computing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from places import ROOT
from tuning_factory import make_tuning

from autotune.base import json_files
from autotune.base.errors import InputError, ResourceError
from autotune.calibration import studies
from autotune.calibration.calibration import Calibration
from autotune.calibration.campaign import calibrate, confirmed_tuning
from autotune.cli.main import cli
from autotune.expansion.readers import Expansion, many_body_fields
from autotune.expansion.workload import load
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.session.session import Options, Session
from autotune.tunings import folders, library

WAITING = """
schema = "autotune.study/1"
budget = "15s"
trials = 8
repeats = 3
strategies = ["adaptive_workers"]
seed = 1
[method]
program = "faulty"
method = "sleep"
keywords = {seconds = SECONDS}
[[search]]
geometry = "water4"
max_nbody = 2
[[confirm]]
geometry = "water4"
max_nbody = 3
"""


@pytest.fixture
def study_file(tmp_path):
    """A study of a program that only waits."""
    path = tmp_path / "waiting.toml"
    path.write_text(WAITING.replace("SECONDS", "0.1"))
    return str(path)


def calibrated(tmp_path, seconds, *, budget_s=15.0, method=None, stored=False, **changes):
    path = tmp_path / "waiting.toml"
    path.write_text(WAITING.replace("SECONDS", str(seconds)))
    chosen = studies.load(str(path))
    if method:
        chosen = studies.with_method(chosen, method=method)
    manager = Manager()
    lines = []
    with Calibration(
        chosen,
        chosen.methods[0],
        machine=detection.detect(),
        manager=manager,
        strategies=composition.choose(manager.strategies, None),
        searched=composition.choose(manager.strategies, ("adaptive_workers",)),
        budget_s=budget_s,
        say=lines.append,
        **changes,
    ) as calibration:
        tuning = calibration.run()
        if stored:
            calibration.stored()
        return calibration, tuning, lines


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A program that only waits: more workers than cores must win, as for NWChem's start-up."""
    folder = tmp_path_factory.mktemp("waiting")
    before = os.environ.get(json_files.HOME_VARIABLE)
    os.environ[json_files.HOME_VARIABLE] = str(folder / "home")
    try:
        return calibrated(folder, 0.1, budget_s=60.0)
    finally:
        del os.environ[json_files.HOME_VARIABLE]
        if before is not None:
            os.environ[json_files.HOME_VARIABLE] = before


def test_the_first_trial_is_the_default(waiting):
    calibration, tuning, lines = waiting
    first = calibration.search.trials[0]
    assert (first.parameters, first.source) == ({"adaptive_workers.per_core": 1.0}, "default")
    assert tuning.evidence.trials[0] == first
    assert any("the default" in line for line in lines if "trial  1" in line)


def test_a_winner_that_is_faster_is_stored_with_its_evidence(waiting):
    _, tuning, _ = waiting
    evidence = tuning.evidence
    assert tuning.parameters.keys() == {"adaptive_workers.per_core"}
    assert tuning.parameters["adaptive_workers.per_core"] > 1.0
    assert evidence.verdict == "faster"
    assert evidence.speed_up > 1.2
    low, high = evidence.interval
    assert 1.0 < low < evidence.speed_up < high
    assert len(evidence.pairs) >= 4
    assert not {pair.workload for pair in evidence.pairs} & set(evidence.search_workloads)
    assert evidence.search_tasks == (10,)
    assert evidence.candidate == tuning.parameters
    (of_default,) = evidence.noise_s
    assert len(of_default) >= 3 + 1  # the look's, and the first trial
    assert evidence.noise > 0.0
    assert evidence.smallest_functions <= evidence.largest_functions
    assert {trial.state for trial in evidence.trials} <= {"done", "pruned", "failed"}
    assert evidence.stopped


def test_a_run_finds_the_stored_tuning_and_says_why(waiting, faulty):
    _, tuning, _ = waiting
    library.save(tuning)
    chosen = []
    with Session(on_choice=chosen.append) as session:
        session.run(faulty("water4", "sleep", seconds=0.1))
        assert session.record.policy.workers == tuning.parameters["adaptive_workers.per_core"] * session.machine.cores
    assert chosen[0].match == "exact"
    assert chosen[0].reason.startswith('measured on this machine for faulty sleep energy {"seconds":0.1} on ')
    with Session(Options(tuning="none"), on_choice=chosen.append) as session:
        session.run(faulty("water4", "sleep", seconds=0.1))
        assert session.record.policy.workers == session.machine.cores
    assert chosen[1].match == "none"


def test_a_run_says_when_its_times_or_its_programs_version_are_not_those_of_the_tuning(waiting, faulty):
    _, tuning, _ = waiting
    slow = {term: 5.0 * seconds for term, seconds in tuning.law.seconds.items()}
    law = dataclasses.replace(tuning.law, seconds=slow, spread=0.05)
    library.save(dataclasses.replace(tuning, law=law, program_version="0.9.1", parameters={}))
    said = []
    with Session(on_notice=said.append) as session:
        session.run(faulty("water4", "sleep", seconds=0.1))
    assert any("the tuning was measured with faulty 0.9.1" in line for line in said)
    assert any("times what the tuning of" in line and "autotune tunings verify" in line for line in said)
    library.save(dataclasses.replace(tuning, parameters={}))
    said.clear()
    with Session(on_notice=said.append) as session:
        session.run(faulty("water4", "sleep", seconds=0.1))
    (understood,) = said
    assert understood.startswith("4 fragments: 4 H2O; ")


def test_the_budget_is_kept(tmp_path):
    _, tuning, _ = calibrated(tmp_path, 0.1, budget_s=7.0)
    assert tuning.evidence.budget_s == 7.0
    assert tuning.evidence.spent_s < 7.0


def test_a_method_that_does_not_exist_is_refused_before_any_trial(tmp_path):
    with pytest.raises(InputError, match="method 'none' is not known"):
        calibrated(tmp_path, 0.1, method="none")


def test_a_calibration_on_the_users_own_input_searches_on_one_half_of_its_tasks(tmp_path, faulty):
    own = load(faulty("water4", "sleep", seconds=0.05))
    calibration, tuning, _ = calibrated(tmp_path, 0.1, budget_s=8.0, own=(own, "mine"))
    assert tuning.method == own.tasks[0].method
    assert tuning.evidence.search_workloads == ("mine, one half",)
    assert {pair.workload for pair in tuning.evidence.pairs} <= {"mine, other half"}
    assert all(len(trial.wall_s) <= 1 for trial in calibration.search.trials)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    json_files.write_json(path, {"value": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match=r"file\.json cannot be written: No space left on device"):
        json_files.write_json(path, {"value": 2})
    assert json.loads(path.read_text()) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.programs("pyscf")
def test_a_calibration_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    # Trials end it, not the budget: on a busy machine one of 15 s is over before there are two.
    study_file = tmp_path / "waiting.toml"
    study_file.write_text(
        WAITING.replace("SECONDS", "0.05").replace('"15s"', '"1m"').replace("trials = 8", "trials = 4")
    )
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    command = [sys.executable, "-m", "autotune", "calibrate", "--study", str(study_file), "--force"]
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        for line in first.stderr:
            lines.append(line)
            if line.strip().startswith("trial  2"):
                os.kill(first.pid, signal.SIGKILL)
                break
    assert first.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on with a calibration that was interrupted after" in done.stderr
    measured = [
        line.split(":", 1)[1].split("speed")[-1] for line in (*lines, *done.stderr.splitlines()) if "trial" in line
    ]
    changes = [line.strip() for line in measured if "trial" not in line]
    assert len(changes) == len(set(changes)), "a configuration was measured twice"
    (_, found), *others = folders.everything()
    assert not others
    assert found.evidence.trials[0].source == "default"
    assert found.evidence.spent_s < 60.0


@pytest.mark.programs("pyscf")
def test_a_calibration_whose_tuning_was_not_stored_is_taken_up_again_until_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    first, found, _ = calibrated(tmp_path, 0.05, budget_s=8.0)
    again, same, lines = calibrated(tmp_path, 0.05, budget_s=8.0, stored=True)
    assert any("going on with a calibration that was interrupted after" in line for line in lines)
    assert not [line for line in lines if line.lstrip().startswith("trial ")]
    assert again.search.trials == first.search.trials[: len(again.search.trials)]
    assert len(again.search.trials) >= len([t for t in first.search.trials if t.source != "final"])
    assert same.parameters == found.parameters
    assert same.evidence.pairs[: len(found.evidence.pairs)] == found.evidence.pairs
    assert same.evidence.candidate == found.evidence.candidate
    again, _, lines = calibrated(tmp_path, 0.05, budget_s=8.0)
    assert not any("going on with" in line for line in lines)
    assert lines[0].startswith("calibrating faulty sleep")
    assert again.search.trials[0].source == "default"
    assert [line for line in lines if line.lstrip().startswith("trial ")]  # on a busy machine perhaps no more than one


@pytest.mark.parametrize(
    ("known", "new", "stays"),
    [
        ({}, {"verdict": "cannot tell"}, True),
        ({}, {"verdict": "faster"}, False),
        ({}, {"verdict": "same"}, False),
        ({}, {"verdict": "slower"}, False),
        ({}, {"verdict": "not confirmed"}, True),
        ({}, {"verdict": "not confirmed", "trials": 3 * make_tuning().evidence.trials}, False),
        ({"verdict": "same"}, {"verdict": "cannot tell"}, False),
        ({"verdict": "cannot tell"}, {"verdict": "cannot tell"}, False),
        ({"program_version": "1.0.0"}, {"verdict": "cannot tell"}, False),
        ({"basis": "sto-3g"}, {"verdict": "cannot tell"}, False),
    ],
)
def test_only_a_confirmed_tuning_of_the_same_method_and_version_stays_where_the_new_one_could_not_tell(
    tmp_path, monkeypatch, known, new, stays
):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    path = library.save(make_tuning(**known))
    assert confirmed_tuning(make_tuning(**new)) == (path if stays else None)


def test_calibrate_says_where_a_confirmed_tuning_stays_and_does_not_touch_it(study_file, tmp_path, monkeypatch):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    confirmed = make_tuning()
    path = library.save(confirmed)
    ended = []

    class Unsure:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def run(self):
            return make_tuning(verdict="cannot tell")

        def stored(self):
            ended.append(1)

    monkeypatch.setattr("autotune.calibration.campaign.Calibration", Unsure)
    arguments = ["calibrate", "--study", study_file, "--force", "--quiet"]
    run = CliRunner().invoke(cli, arguments)
    assert run.exit_code == 0, run.output
    assert f"the tuning in {path} is confirmed and stays" in run.stdout
    assert "stored in" not in run.stdout
    assert [found for _, found in folders.everything()] == [confirmed]
    assert ended == [1]
    # From Python, too.
    (result,) = calibrate(study_file, force=True)
    assert (result.path, result.stored, result.tuning.evidence.verdict) == (path, False, "cannot tell")
    assert [found for _, found in folders.everything()] == [confirmed]
    # Where it is to be stored elsewhere, nothing is replaced.
    run = CliRunner().invoke(cli, [*arguments, "--output", str(tmp_path / "other.json")])
    assert run.exit_code == 0, run.output
    assert f"stored in {tmp_path / 'other.json'}" in run.stdout


@pytest.mark.parametrize(
    ("options", "applied", "searched"),
    [
        ({}, composition.STANDARD, ("adaptive_workers",)),
        ({"strategies": ["hybrid"]}, ("hybrid",), ("hybrid",)),
        ({"search": ["hybrid"]}, composition.STANDARD, ("hybrid",)),
        ({"strategies": ["hybrid", "method_tuning"], "search": ["method_tuning"]}, None, ("method_tuning",)),
    ],
)
def test_strategies_are_those_applied_as_in_a_run_and_search_those_searched(
    study_file, tmp_path, monkeypatch, options, applied, searched
):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    told = {}

    class Told:
        def __init__(self, *_, **named):
            told.update({name: tuple(one.name for one in named[name]) for name in ("strategies", "searched")})
            raise ResourceError("enough is known")

    monkeypatch.setattr("autotune.calibration.campaign.Calibration", Told)
    with pytest.raises(ResourceError, match="enough is known"):
        calibrate(study_file, force=True, **options)
    assert told == {"strategies": applied or tuple(options["strategies"]), "searched": searched}


def test_what_is_not_applied_cannot_be_searched(study_file, tmp_path, monkeypatch):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    with pytest.raises(InputError, match="hybrid is to be searched, but not among the strategies to be applied"):
        calibrate(study_file, force=True, strategies=["memory_scheduling"], search=["hybrid"])


def test_calibrate_stores_says_and_draws(study_file, tmp_path, monkeypatch):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    picture = tmp_path / "found.png"
    run = CliRunner().invoke(
        cli, ["calibrate", "--study", study_file, "--force", "--budget", "8s", "--quiet", "--picture", str(picture)]
    )
    assert run.exit_code == 0, run.output
    assert 'faulty sleep energy {"seconds":0.1}: ' in run.stdout
    assert "stored in " in run.stdout
    assert picture.stat().st_size > 10_000
    (path, found), *others = folders.everything()
    assert not others
    assert str(path) in run.stdout
    assert dataclasses.replace(found, evidence=found.evidence).method.program == "faulty"


def test_an_input_of_ones_own_and_a_method_do_not_go_together(tmp_path, faulty):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(faulty("water4", "sleep", seconds=0.05)))
    assert many_body_fields(path.read_text(), name="mine.json", expansion=None)
    run = CliRunner().invoke(cli, ["calibrate", "--workload", str(path), "--method", "hf"])
    assert isinstance(run.exception, InputError)
    assert "mine.json is a ManyBodyInput, which says itself what to compute; leave out --method" in str(run.exception)
    with pytest.raises(InputError, match="a workload brings its own method"):
        calibrate(workload=path, method="hf")
    for wrong, words in (
        ({"--bsse": "cp"}, "belongs to a geometry"),
        ({"--workload": str(ROOT / "studies" / "workloads" / "water2.xyz")}, "is an XYZ file"),
    ):
        run = CliRunner().invoke(cli, ["calibrate", *(word for pair in wrong.items() for word in pair)])
        assert words in str(run.exception)
    with pytest.raises(InputError, match="give one as the workload"):
        calibrate(expansion=Expansion(program="faulty", method="sleep"))
    with pytest.raises(InputError, match="a method has no basis_set; it has program"):
        calibrate(basis_set="sto-3g")


def test_a_geometry_and_what_to_compute_for_it_are_an_input_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    path = ROOT / "studies" / "workloads" / "water4.xyz"
    expansion = Expansion(program="faulty", method="sleep", keywords={"seconds": 0.02}, max_nbody=2)
    (result,) = calibrate(workload=path, expansion=expansion, budget_s=8.0, force=True)
    assert str(result.tuning.method) == 'faulty sleep energy {"seconds":0.02}'
    assert result.tuning.evidence.search_workloads == ("water4.xyz, one half",)


def test_a_target_of_a_newer_autotune_is_found_before_anything_is_measured(study_file, tmp_path, monkeypatch):
    monkeypatch.setenv(json_files.HOME_VARIABLE, str(tmp_path / "home"))
    path = folders.path_of(detection.detect(), studies.load(study_file).methods[0].as_method)
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "autotune.tunings/9"}')
    result = CliRunner().invoke(cli, ["calibrate", "--study", study_file, "--force"])
    assert "newer autotune" in str(result.exception)
    assert "calibrating" not in result.output
    assert path.read_text() == '{"schema": "autotune.tunings/9"}'
