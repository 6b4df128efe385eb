"""Whole runs whose tasks share starts of their program: values, journal, faults and records as with single starts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.base.errors import TaskError
from autotune.session.session import Options, Session
from autotune_plugins import strategy_dynamic_balancing

MOST = 8
APPLY = strategy_dynamic_balancing.DynamicBalancing.apply


def sharing(*told):
    """Apply the strategy, and let at most so many tasks share a start."""
    return dataclasses.replace(APPLY(*told), tunables=(("faulty.tasks_per_start", MOST),))


@pytest.fixture(autouse=True, scope="module")
def shared():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategy_dynamic_balancing.DynamicBalancing, "apply", sharing)
        yield


@pytest.fixture(scope="module")
def session(shared, steady_environment):
    del shared, steady_environment
    with Session(Options(workers=2, journal="none")) as session:
        yield session


def starts(path):
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_run_in_shared_starts_gives_the_same_sum_in_few_starts(session, faulty, tmp_path):
    result = session.run(faulty("water8", max_nbody=3, starts=str(tmp_path / "starts")))
    record = session.record
    assert result.return_result == 0.0
    assert (record.attempts, len(record.task_records)) == (92, 92)
    given = starts(tmp_path / "starts")
    assert max(given) == MOST
    assert sum(given) > 92 / 2
    assert sum(1 / task.sharers for task in record.task_records) < 92 / 3
    lanes = sorted((task.started_s, task.started_s + task.wall_s) for task in record.task_records)
    assert all(at < end for at, end in lanes)


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [("diverge", "convergence", {1}), ("crash", "crash", {3}), ("exit", "crash", {3})],
)
def test_tasks_that_fail_or_kill_workers_in_shared_starts_cost_no_others_result(session, faulty, fault, kind, attempts):
    with pytest.raises(TaskError, match=kind):
        session.run(faulty("water6", fault, at=[9], share=0.2, seed=5, max_nbody=3))
    records = session.record.task_records
    failed = [task for task in records if task.status == "failed"]
    assert 0 < len(failed) < 20
    assert len(records) == 41
    assert {(task.nbody, task.error_type) for task in failed} == {(3, kind)}
    assert {task.attempts for task in failed} == attempts


def written(journal):
    """Return whether there is a journal that holds an answer."""
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database,
    ):
        return database.execute("select count(*) from tasks").fetchone()[0] > 0
    return False


def test_a_run_killed_in_shared_starts_goes_on_from_its_journal(faulty, tmp_path, wait_until):
    log, journal, given = tmp_path / "log", tmp_path / "journal", tmp_path / "input.json"
    script = (
        "import json, sys, test_shared_starts as shared\n"
        "shared.strategy_dynamic_balancing.DynamicBalancing.apply = shared.sharing\n"
        "with shared.Session(shared.Options(workers=2, journal=sys.argv[2])) as session:\n"
        "    session.run(json.loads(open(sys.argv[1]).read()))\n"
    )
    fields = faulty("water6", "spin", seconds=0.03, max_nbody=3, log=str(log))
    given.write_text(json.dumps(fields))
    child = subprocess.Popen([sys.executable, "-c", script, str(given), str(journal)], cwd=Path(__file__).parent)
    wait_until(lambda: written(journal) or child.poll() is not None)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    computed = len(log.read_text().splitlines())
    with Session(Options(workers=2, journal=str(journal), resume=True)) as session:
        assert session.run(fields).return_result == 0.0
        record = session.record
    assert len(record.task_records) < 41
    assert len(log.read_text().splitlines()) <= computed + 41
