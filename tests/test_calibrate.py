"""Calibration: the default is always among the trials, the winner must prove itself, the budget is kept.

The subject is the calibrator, so the tasks sleep instead of computing.
"""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from autotune import machine, policy, store, study
from autotune.api import Options, Session
from autotune.calibrate import Calibration
from autotune.errors import InputError
from autotune.manager import Manager


def calibrated(keywords, *, budget_s=25.0, **changes):
    chosen = study.with_method(
        study.load("quick"), program="faulty", method="sleep", basis="", keywords=keywords, **changes
    )
    chosen = dataclasses.replace(chosen, trials=8)
    manager = Manager()
    lines = []
    searched = policy.choose(manager.strategies, ("adaptive_workers",))
    with Calibration(
        chosen,
        machine=machine.detect(),
        manager=manager,
        strategies=policy.choose(manager.strategies, None),
        searched=searched,
        budget_s=budget_s,
        say=lines.append,
    ) as calibration:
        return calibration, calibration.run(), lines


@pytest.fixture(scope="module")
def waiting():
    """A program that only waits: more workers than cores must win, as for NWChem's start-up."""
    return calibrated({"seconds": 0.1})


def test_the_first_trial_is_the_default(waiting):
    calibration, _, lines = waiting
    assert calibration.trials[0].parameters == {"adaptive_workers.per_core": 1.0}
    assert any("the default" in line for line in lines if "trial  1" in line)


def test_a_winner_that_is_faster_is_stored_with_its_evidence(waiting):
    _, tuning, _ = waiting
    assert tuning.parameters == {"adaptive_workers.per_core": 2.0}
    assert tuning.evidence.verdict == "faster"
    assert tuning.evidence.speed_up > 1.2
    low, high = tuning.evidence.interval
    assert 1.0 < low < tuning.evidence.speed_up < high
    assert len(tuning.evidence.default_s) == len(tuning.evidence.tuned_s) >= 3
    assert tuning.evidence.search_workload != tuning.evidence.workload


def test_a_run_finds_the_stored_tuning_and_says_why(waiting, faulty):
    _, tuning, _ = waiting
    store.save_tuning(tuning)
    chosen = []
    with Session(on_choice=chosen.append) as session:
        session.run(faulty("water4", "sleep", seconds=0.1))
        assert session.record.policy.workers == 2 * session.machine.cores
    assert chosen[0].match == "exact"
    assert chosen[0].reason.startswith('measured on this machine for faulty sleep energy {"seconds":0.1} on ')
    with Session(Options(tuning="none"), on_choice=chosen.append) as session:
        session.run(faulty("water4", "sleep", seconds=0.1))
        assert session.record.policy.workers == session.machine.cores
    assert chosen[1].match == "none"


def test_a_tuning_of_another_method_of_the_program_is_near(waiting, faulty):
    store.save_tuning(waiting[1])
    chosen = []
    with Session(on_choice=chosen.append) as session:
        session.run(faulty("water4", "nothing"))
    assert chosen[0].match == "near"


def test_the_budget_is_kept():
    started = time.monotonic()
    _, tuning, _ = calibrated({"seconds": 0.2}, budget_s=12.0)
    assert time.monotonic() - started < 12.0 * 1.1
    assert tuning.evidence.budget_s == 12.0
    assert tuning.evidence.spent_s < 12.0


def test_a_method_that_does_not_exist_is_refused_before_any_trial():
    chosen = study.with_method(study.load("quick"), program="faulty", method="none", basis="")
    with (
        Calibration(chosen, machine=machine.detect(), manager=Manager(), strategies=[]) as calibration,
        pytest.raises(InputError, match="method 'none' is not known"),
    ):
        calibration.run()


def test_a_tuning_survives_being_written_and_read(waiting, tmp_path):
    path = store.save_tuning(waiting[1], tmp_path / "tuning.json")
    assert store.load_tuning(path) == waiting[1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "is not valid JSON"),
        (lambda text: text.replace("autotune.tuning/2", "autotune.tuning/9"), "has schema 'autotune.tuning/9'"),
        (lambda text: text.replace('"trials": ', '"trials": "many", "x": '), "field evidence.trials"),
        (lambda _: "[1, 2]", "has schema None"),
        (lambda _: "[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_damaged_tuning_is_refused_by_name_and_passed_over_in_look_up(waiting, faulty, damage, message):
    path = store.save_tuning(waiting[1])
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=r"\.json") as caught:
        store.load_tuning(path)
    assert message in str(caught.value)
    chosen = []
    with Session(on_choice=chosen.append) as session:
        session.run(faulty("water4", "nothing"))
    assert chosen[0].match == "default"
    assert message in chosen[0].reason


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    store.write_json(path, {"value": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match=r"file\.json cannot be written: No space left on device"):
        store.write_json(path, {"value": 2})
    assert json.loads(path.read_text()) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
