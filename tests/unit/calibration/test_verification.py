"""A tuning holds while it is not slower than the default and times are what it predicts; only then it is marked so.

The subject is the verification: where times matter the clock is virtual, and tasks on it take what they should.
"""

from __future__ import annotations

import dataclasses
import functools
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from pretended import Clock, Pretended
from tuning_factory import make_tuning

from autotune.base.errors import InputError
from autotune.base.records import Pair
from autotune.calibration import studies, verification
from autotune.calibration.confirmation import LEAST_PAIRS
from autotune.calibration.verification import Verification, _judge, _study, verify
from autotune.cli.main import cli
from autotune.costs.cost_law import fit
from autotune.costs.drift import Drift
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.tunings import library

HERE, LOAD = detection.detect(), studies.load
TASK_S = 0.1
TWICE, HALF = ({"adaptive_workers.per_core": share} for share in (2.0, 0.5))
RUNG = studies.Rung(geometry="water6", max_nbody=1)
SHORT = dataclasses.replace(studies.load("quick"), confirm=(RUNG,))


@pytest.fixture(scope="module", autouse=True)
def _short_study():
    """Verify with six tasks at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "load", lambda _: SHORT)
        yield


@functools.cache
def law_of_sleep(seconds):
    """Return the law of tasks that sleep so long."""
    choice = studies.MethodChoice(program="faulty", method="sleep")
    tasks = workload.load(studies.fields_of(SHORT, RUNG, choice)).tasks
    (law,) = fit([(task, seconds, 1) for task in tasks]).values()
    return law


def tuning(parameters, *, law_s=TASK_S, method="sleep", **changes):
    return make_tuning(
        "faulty",
        method,
        "",
        keywords={"seconds": TASK_S},
        parameters=parameters,
        strategies=("adaptive_workers",),
        verdict="faster" if parameters else "same",
        program_version="0.9",
        law=law_of_sleep(law_s),
        **{"smallest_functions": 0, "largest_functions": 0, **changes},
    )


def waiting(instance, plan, runs_before):
    """Return what tasks that only wait take on two cores, as far as there are workers, give or take a percent."""
    scatter = 1.0 + 0.005 * (7 * runs_before % 5 - 2)
    return scatter * TASK_S * len(instance.tasks) / min(plan.workers, len(instance.tasks))


def verified(of, *, budget_s=8.0, wall_s=waiting):
    """Return the verification and what was said, on a clock that stands still until a task takes `TASK_S`."""
    said = []

    def make(*, machine, manager, strategies, budget, laws):
        del manager
        made = Pretended(wall_s, clock=clock, budget=budget, strategies=strategies, machine=machine, laws=laws)
        made.versions["faulty"] = "1.0"
        return made

    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        patch.setattr(verification, "Timing", make)
        here = dataclasses.replace(HERE, cores=2)
        return verify(of, machine=here, manager=Manager(), budget_s=budget_s, say=said.append), said


@pytest.fixture(scope="module")
def winner(tmp_path_factory):
    """What more workers than cores are worth where tasks only wait, verified."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_HOME", str(tmp_path_factory.mktemp("home")))
        return verified(tuning(TWICE))


def test_a_tuning_that_is_still_faster_holds_by_pairs_on_the_studys_confirmation_and_is_marked(winner):
    found, said = winner
    assert found.verdict == "holds"
    assert found.found.verdict == "faster"
    low, high = found.found.interval
    assert 1.2 < low < found.found.speed_up < high
    assert [line.partition(":")[0] for line in said] == [f"  pair {n}, {RUNG.name}" for n in range(1, LEAST_PAIRS + 1)]
    assert found.program_version == found.tuning.program_version == "1.0"
    assert datetime.now(UTC) - datetime.fromisoformat(found.tuning.verified) < timedelta(minutes=5)
    assert dataclasses.replace(found.tuning, verified="", program_version="0.9") == tuning(TWICE)


def test_tasks_that_take_what_the_law_says_have_not_drifted(winner):
    assert winner[0].drift == (pytest.approx(1.0, abs=0.25), False)


def test_a_tuning_that_is_slower_now_does_not_hold_and_is_not_marked():
    of = tuning(HALF)
    found, _ = verified(of)
    assert found.found.verdict == "slower"
    assert found.verdict == "fails"
    assert found.tuning == of


def test_a_tuning_that_keeps_the_default_holds_while_times_are_what_its_law_says():
    found, said = verified(tuning({}), budget_s=4.0)
    assert found.verdict == "holds"
    assert found.found is None
    assert found.tuning.verified
    assert said[0].startswith(f"  {RUNG.name}: 6 tasks in ")


def test_a_law_that_times_contradict_does_not_hold():
    found, _ = verified(tuning({}, law_s=TASK_S / 3), budget_s=4.0)
    assert found.drift.factor == pytest.approx(3.0, rel=0.25)
    assert found.drift.notable
    assert found.verdict == "fails"
    assert not found.tuning.verified


def test_a_tuning_of_a_study_or_input_that_is_gone_is_verified_with_a_packaged_study(monkeypatch):
    monkeypatch.setattr(studies, "load", LOAD)
    assert _study(tuning({}, study="mine.json")) == LOAD("quick")
    assert _study(tuning({}, study="standard")) == LOAD("standard")


def refuse(*_):
    raise InputError("method 'none' is not known")


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        (
            {"machine": dataclasses.replace(HERE, key="elsewhere-64c")},
            {"wall_s": lambda *_: pytest.fail("a run")},
            r"^this tuning is of machine elsewhere-64c, not of this one \(.*\); calibrate$",
        ),
        ({}, {"wall_s": refuse}, "^method 'none' is not known$"),
        ({"strategies": ("gone",)}, {}, "there is no strategy 'gone'"),
        ({}, {"budget_s": 1.5}, r"^1\.5 s are too short to run default and tuning once each; allow more$"),
    ],
    ids=["another machine", "a method that cannot run any more", "a strategy that is gone", "too short a time"],
)
def test_what_cannot_be_verified_is_refused(changes, options, words):
    of = dataclasses.replace(tuning(TWICE), **changes)
    with pytest.raises(InputError, match=words):
        verified(of, **options)


@pytest.mark.parametrize(
    ("tuned_s", "verdict"),
    [
        ((0.5, 0.501, 0.499, 0.5), "holds"),
        ((1.0, 1.001, 0.999, 1.0), "holds"),
        ((1.002, 1.003, 0.999, 1.002), "holds"),
        ((0.5, 1.9, 0.7, 1.4), "holds"),
        ((0.5, 2.2, 0.7, 1.8), "cannot tell"),
        ((1.5, 1.501, 1.499, 1.5), "fails"),
    ],
    ids=["faster", "same", "same, by a hair below", "unclear, rather faster", "unclear, rather slower", "slower"],
)
def test_a_tuning_holds_where_times_are_met_and_it_seems_no_slower(tuned_s, verdict):
    def judged(seen):
        return _judge(of, [Pair(workload="a", default_s=1.0, tuned_s=s) for s in tuned_s], seen, "1.0", "quick")

    of = tuning(TWICE)
    assert judged(Drift(1.0, notable=False)).verdict == verdict
    assert bool(judged(Drift(1.0, notable=False)).tuning.verified) is (verdict == "holds")
    assert judged(Drift(2.0, notable=True)).verdict == "fails"
    assert judged(None).verdict == ("fails" if verdict == "fails" else "cannot tell")
    assert judged(None).tuning == of


def test_tasks_of_sizes_that_the_evidence_does_not_cover_say_nothing_of_drift():
    of = tuning({}, law_s=TASK_S / 3, smallest_functions=1, largest_functions=99)
    found, _ = verified(of, budget_s=4.0)
    assert (found.drift, found.verdict, found.tuning) == (None, "cannot tell", of)


@pytest.mark.parametrize(("verdict", "status"), [("holds", 0), ("fails", 1), ("cannot tell", 3)])
def test_the_exit_status_of_the_command_says_which(monkeypatch, tmp_path, verdict, status):
    of = tuning({})
    path = library.save(of, tmp_path / "mine.json")
    marked = dataclasses.replace(of, verified="2026-12-01T10:00:00+00:00") if verdict == "holds" else of
    made = Verification(verdict=verdict, found=None, drift=None, program_version="1.0", study="quick", tuning=marked)
    monkeypatch.setattr("autotune.calibration.verification.verify", lambda *_, **__: made)
    run = CliRunner().invoke(cli, ["tunings", "verify", str(path), "--force"])
    assert run.exit_code == status, run.output
    assert library.load(path) == (marked,) or library.load(path) == [marked]
