"""Whole runs whose tasks share starts of their program: values, journal, faults and records as with single starts."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from autotune.base.errors import TaskError
from autotune.session.session import Options, Session
from autotune_plugins import strategy_dynamic_balancing

pytestmark = pytest.mark.usefixtures("shared")

MOST = 8


@pytest.fixture
def shared(monkeypatch):
    """Let at most so many tasks share a start."""
    apply = strategy_dynamic_balancing.DynamicBalancing.apply

    def sharing(strategy, policy, params, context):
        made = apply(strategy, policy, params, context)
        return dataclasses.replace(made, tunables=(("faulty.tasks_per_start", MOST),))

    monkeypatch.setattr(strategy_dynamic_balancing.DynamicBalancing, "apply", sharing)


def starts(path):
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_run_in_shared_starts_gives_the_same_sum_in_few_starts(faulty, tmp_path):
    with Session(Options(workers=2, journal="none")) as session:
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


def test_one_that_fails_among_others_costs_its_own_result_only(faulty, tmp_path):
    path = str(tmp_path / "starts")
    with Session(Options(workers=2, journal="none")) as session:
        with pytest.raises(TaskError, match=r"convergence: .*did not converge"):
            session.run(faulty("water6", "diverge", at=[9], share=0.2, seed=5, max_nbody=3, starts=path))
        record = session.record
    failed = [task for task in record.task_records if task.status == "failed"]
    assert 0 < len(failed) < 20
    assert len(record.task_records) == 41
    assert {(task.nbody, task.error_type, task.attempts) for task in failed} == {(3, "convergence", 1)}


@pytest.mark.parametrize("fault", ["crash", "exit"])
def test_workers_that_die_in_shared_starts_cost_the_tasks_that_kill_them(faulty, tmp_path, fault):
    fields = faulty("water6", fault, at=[9], share=0.2, seed=5, max_nbody=3, starts=str(tmp_path / "starts"))
    with Session(Options(workers=2, journal="none")) as session:
        with pytest.raises(TaskError, match="crash"):
            session.run(fields)
        record = session.record
    failed = [task for task in record.task_records if task.status == "failed"]
    assert 0 < len(failed) < 20
    assert {(task.nbody, task.error_type) for task in failed} == {(3, "crash")}
    assert len(record.task_records) == 41


def test_a_task_beyond_its_time_limit_is_the_only_one_to_end_for_it(faulty):
    fields = faulty("water6", "sleep", at=[6], share=0.2, seed=5, seconds=3600, max_nbody=2)
    with Session(Options(workers=2, journal="none", task_limit_s=1.0)) as session:
        with pytest.raises(TaskError, match="timeout"):
            session.run(fields)
        record = session.record
    failed = [task for task in record.task_records if task.status == "failed"]
    assert 0 < len(failed) < 8
    assert {task.error_type for task in failed} == {"timeout"}


def written(journal):
    """Return whether the journal holds an answer; it has no table until its first one."""
    if not journal.exists():
        return False
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
        try:
            return bool(database.execute("select count(*) from tasks").fetchone()[0])
        except sqlite3.OperationalError:
            return False


def test_a_run_killed_in_shared_starts_goes_on_from_its_journal(faulty, tmp_path):
    log = tmp_path / "log"
    script = (
        "import dataclasses, json, sys\n"
        "from autotune_plugins import strategy_dynamic_balancing as balancing\n"
        "from autotune.session.session import Options, Session\n"
        "apply = balancing.DynamicBalancing.apply\n"
        "balancing.DynamicBalancing.apply = lambda *a: dataclasses.replace(\n"
        f"    apply(*a), tunables=(('faulty.tasks_per_start', {MOST}),))\n"
        "with Session(Options(workers=2, journal=sys.argv[2])) as session:\n"
        "    session.run(json.loads(open(sys.argv[1]).read()))\n"
    )
    fields = faulty("water6", "spin", seconds=0.03, max_nbody=3, log=str(log))
    (tmp_path / "input.json").write_text(json.dumps(fields))
    journal = tmp_path / "journal"
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "input.json"), str(journal)])
    while not written(journal):
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    computed = len(log.read_text().splitlines())
    with Session(Options(workers=2, journal=str(journal), resume=True)) as session:
        assert session.run(fields).return_result == 0.0
        record = session.record
    assert len(record.task_records) < 41
    assert len(log.read_text().splitlines()) <= computed + 41
