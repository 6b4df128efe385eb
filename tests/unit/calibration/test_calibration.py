"""Calibration: the default is always among the trials, the winner must prove itself, the budget is kept.

The subject is the calibrator, so tasks only wait, and but for two tests on a clock that stands still until they do.
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
from pretended import Clock, Pretended
from tuning_factory import make_tuning

from autotune.base import json_files
from autotune.base.errors import InputError, ResourceError
from autotune.calibration import calibration, studies
from autotune.calibration.campaign import calibrate, confirmed_tuning
from autotune.cli.main import cli
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.session.session import Options, Session
from autotune.tunings import folders, library

TASK_S = 0.1
WATERS = ROOT / "studies" / "workloads" / "water4.xyz"
WAITING = """
schema = "autotune.study/1"
budget = "1m"
trials = 4
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


def write_study(folder, *, seconds=TASK_S):
    """Write a study of a program that only waits."""
    path = folder / "waiting.toml"
    path.write_text(WAITING.replace("SECONDS", str(seconds)))
    return path


@pytest.fixture
def study_file(tmp_path):
    return str(write_study(tmp_path))


def pretend_times(monkeypatch, wall_s=None):
    """Let tasks that only wait take `TASK_S` each on every worker, give or take a percent: more workers are faster."""
    clock = Clock(monkeypatch)

    def waiting(instance, plan, runs_before):
        return (1.0 + 0.005 * (7 * runs_before % 5 - 2)) * TASK_S * len(instance.tasks) / plan.workers

    def make(*, machine, manager, strategies, budget):
        del manager
        made = Pretended(wall_s or waiting, clock=clock, budget=budget, strategies=strategies, machine=machine)
        made.versions["faulty"] = "1.0"
        return made

    monkeypatch.setattr(calibration, "Timing", make)


def calibrated(study, *, stored=True):
    """Return the calibration with a study, its tuning and what it said."""
    chosen, manager, lines = studies.load(str(study)), Manager(), []
    with calibration.Calibration(
        chosen,
        chosen.methods[0],
        machine=detection.detect(),
        manager=manager,
        strategies=composition.choose(manager.strategies, None),
        searched=composition.choose(manager.strategies, ("adaptive_workers",)),
        say=lines.append,
    ) as made:
        tuning = made.run()
        if stored:
            made.stored()
        return made, tuning, lines


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """What is found for a program that only waits: more workers than cores must win, as for NWChem's start-up."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("waiting")
        patch.setenv(json_files.HOME_VARIABLE, str(folder / "home"))
        pretend_times(patch)
        return calibrated(write_study(folder))


def test_the_first_trial_is_the_default(waiting):
    made, tuning, lines = waiting
    first = made.search.trials[0]
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
    chosen, said = [], []
    fields = faulty("water4", "sleep", seconds=TASK_S)
    with Session(on_choice=chosen.append, on_notice=said.append) as session:
        session.run(fields)
        assert session.record.policy.workers == tuning.parameters["adaptive_workers.per_core"] * session.machine.cores
    assert chosen[0].match == "exact"
    assert chosen[0].reason.startswith('measured on this machine for faulty sleep energy {"seconds":0.1} on ')
    (understood,) = said
    assert understood.startswith("4 fragments: 4 H2O; ")
    without = planning.make(
        workload.load(fields), machine=tuning.machine, manager=Manager(), options=Options(tuning="none")
    )
    assert (without.chosen.match, without.policy.workers) == ("none", tuning.machine.cores)


def test_a_run_says_when_its_times_and_its_programs_version_are_not_those_of_the_tuning(waiting, faulty):
    _, tuning, _ = waiting
    slow = {term: 5.0 * seconds for term, seconds in tuning.law.seconds.items()}
    law = dataclasses.replace(tuning.law, seconds=slow, spread=0.05)
    library.save(dataclasses.replace(tuning, law=law, program_version="0.9.1", parameters={}))
    said = []
    with Session(on_notice=said.append) as session:
        session.run(faulty("water4", "sleep", seconds=TASK_S))
    assert any("the tuning was measured with faulty 0.9.1" in line for line in said)
    assert any("times what the tuning of" in line and "autotune tunings verify" in line for line in said)


def test_a_method_that_does_not_exist_is_refused_before_any_trial(study_file, monkeypatch):
    def refuse(*_):
        raise InputError("method 'none' is not known")

    pretend_times(monkeypatch, refuse)
    with pytest.raises(InputError, match=r"^method 'none' is not known$"):
        calibrated(study_file)


def test_on_a_geometry_of_ones_own_one_half_of_its_tasks_is_searched_on_and_the_budget_is_kept(study_file, monkeypatch):
    pretend_times(monkeypatch)
    expansion = Expansion(program="faulty", method="sleep", keywords={"seconds": 0.02}, max_nbody=2)
    (result,) = calibrate(study_file, workload=WATERS, expansion=expansion, budget_s=8.0, force=True)
    evidence = result.tuning.evidence
    assert str(result.tuning.method) == 'faulty sleep energy {"seconds":0.02}'
    assert evidence.search_workloads == ("water4.xyz, one half",)
    assert {pair.workload for pair in evidence.pairs} == {"water4.xyz, other half"}
    assert all(len(trial.wall_s) <= 1 for trial in evidence.trials)
    assert evidence.budget_s == 8.0
    assert 4.0 < evidence.spent_s < 8.0


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    json_files.write_json(path, {"value": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match=r"file\.json cannot be written: No space left on device"):
        json_files.write_json(path, {"value": 2})
    assert json.loads(path.read_text()) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_calibration_whose_tuning_was_not_stored_is_taken_up_again_until_it_was(study_file, monkeypatch):
    pretend_times(monkeypatch)
    first, found, _ = calibrated(study_file, stored=False)
    again, same, lines = calibrated(study_file)
    assert any("going on with a calibration that was interrupted after" in line for line in lines)
    assert not [line for line in lines if line.lstrip().startswith("trial ")]
    assert again.search.trials == [trial for trial in first.search.trials if trial.source != "final"]
    assert same.parameters == found.parameters
    assert same.evidence.pairs == found.evidence.pairs
    assert same.evidence.candidate == found.evidence.candidate
    again, _, lines = calibrated(study_file)
    assert lines[0].startswith("calibrating faulty sleep")
    assert not any("going on with" in line for line in lines)
    assert again.search.trials[0].source == "default"
    assert [line for line in lines if line.lstrip().startswith("trial ")]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.programs("pyscf")
def test_a_calibration_that_was_killed_goes_on_where_it_was(tmp_path):
    # Trials end it, not the budget: on a busy machine one of 15 s is over before there are two.
    study_file = str(write_study(tmp_path, seconds=0.05))
    command = [sys.executable, "-m", "autotune", "calibrate", "--study", study_file, "--force"]
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
    known, new, stays
):
    path = library.save(make_tuning(**known))
    assert confirmed_tuning(make_tuning(**new)) == (path if stays else None)


def test_calibrate_says_where_a_confirmed_tuning_stays_and_does_not_touch_it(study_file, tmp_path, monkeypatch):
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
    study_file, monkeypatch, options, applied, searched
):
    told = {}

    class Told:
        def __init__(self, *_, **named):
            told.update({name: tuple(one.name for one in named[name]) for name in ("strategies", "searched")})
            raise ResourceError("enough is known")

    monkeypatch.setattr("autotune.calibration.campaign.Calibration", Told)
    with pytest.raises(ResourceError, match="enough is known"):
        calibrate(study_file, force=True, **options)
    assert told == {"strategies": applied or tuple(options["strategies"]), "searched": searched}


def test_what_is_not_applied_cannot_be_searched(study_file):
    with pytest.raises(InputError, match="hybrid is to be searched, but not among the strategies to be applied"):
        calibrate(study_file, force=True, strategies=["memory_scheduling"], search=["hybrid"])


def test_calibrate_measures_stores_says_and_draws(tmp_path):
    study, picture = write_study(tmp_path, seconds=0.02), tmp_path / "found.png"
    run = CliRunner().invoke(cli, ["calibrate", "--study", str(study), "--force", "--quiet", "--picture", str(picture)])
    assert run.exit_code == 0, run.output
    assert 'faulty sleep energy {"seconds":0.02}: ' in run.stdout
    assert picture.stat().st_size > 10_000
    (path, found), *others = folders.everything()
    assert not others
    assert f"stored in {path}" in run.stdout
    assert (found.evidence.trials[0].source, found.program_version) == ("default", "1.0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload", "mine.json", "--method", "hf"], "mine.json is a ManyBodyInput, which says itself what to"),
        (["--workload", str(WATERS)], "is an XYZ file"),
        (["--bsse", "cp"], "belongs to a geometry"),
    ],
)
def test_an_input_of_ones_own_and_what_is_said_besides_it_must_go_together(
    tmp_path, monkeypatch, faulty, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(faulty("water4", "sleep", seconds=0.05)))
    run = CliRunner().invoke(cli, ["calibrate", *arguments])
    assert isinstance(run.exception, InputError)
    assert words in str(run.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"workload": WATERS, "method": "hf"}, "a workload brings its own method"),
        ({"expansion": Expansion(program="faulty", method="sleep")}, "give one as the workload"),
        ({"basis_set": "sto-3g"}, "a method has no basis_set; it has program"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        calibrate(**arguments)


def test_a_target_of_a_newer_autotune_is_found_before_anything_is_measured(study_file):
    path = folders.path_of(detection.detect(), studies.load(study_file).methods[0].as_method)
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "autotune.tunings/9"}')
    result = CliRunner().invoke(cli, ["calibrate", "--study", study_file, "--force"])
    assert "newer autotune" in str(result.exception)
    assert "calibrating" not in result.output
    assert path.read_text() == '{"schema": "autotune.tunings/9"}'
