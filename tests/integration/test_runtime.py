"""The runtime on a program that computes nothing: what is recorded, how many workers there are, what changes them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from installing import run_python

import autotune
from autotune.base.errors import InputError
from autotune.runtime import monitor
from autotune.session.session import Options, Session

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


def test_a_sum_of_exact_energies_is_exact_and_every_task_is_recorded_with_its_width_memory_and_times(faulty):
    with Session(Options(workers=2, threads=1, memory_gib=4.0)) as session:
        assert session.run(faulty("water6", max_nbody=3)).return_result == 0.0
        record = session.record
    assert record.tasks == record.attempts == len(record.task_records) == 41
    assert {(task.width, task.grant_gib, task.status) for task in record.task_records} == {(1, 2.0, "done")}
    assert all(task.peak_gib > 0 and task.wall_s > 0 for task in record.task_records)
    assert 0 < record.efficiency <= 1
    assert 0 < record.peak_memory_gib <= record.memory_budget_gib
    parts = record.gap
    gap_s = parts.startup + parts.tail + parts.memory + parts.retries + parts.scheduler + parts.assembly
    busy_s = sum(task.wall_s * task.width for task in record.task_records) / record.machine.cores
    assert gap_s + busy_s == pytest.approx(record.wall_s, rel=0.05)


def test_without_resume_a_warm_session_computes_its_second_run_afresh_in_the_same_workers(faulty, tmp_path):
    fields = faulty("water4", log=str(tmp_path / "log"))
    with Session() as session:
        session.run(fields)
        workers = set(session._place._pool._workers)
        session.run(fields)
        assert session.record.recalled == 0
        assert workers <= set(session._place._pool._workers)
    assert len((tmp_path / "log").read_text().splitlines()) == 20


def test_turning_all_strategies_off_leaves_the_older_executors_fixed_schedule(faulty):
    with Session(Options(strategies=())) as session:
        assert session.run(faulty("water4", max_nbody=3)).return_result == 0.0
        policy = session.record.policy
        finished = [task.nbody for task in sorted(session.record.task_records, key=lambda task: task.started_s)]
    assert (policy.workers, policy.width, policy.level_barriers, policy.tasks_per_worker) == (4, 1, True, 1)
    assert finished == sorted(finished)


def test_a_strategy_can_change_the_policy_in_the_middle_of_a_run(faulty):
    with Session() as session:
        strategy = session._manager.strategies["dynamic_balancing"]
        seen = []

        class Narrowing:
            name = "dynamic_balancing"
            defaults, space, apply = strategy.defaults, strategy.space, strategy.apply

            def adapt(self, policy, progress):
                seen.append(progress.done)
                return replace(policy, workers=1)

        session._manager._strategies["dynamic_balancing"] = Narrowing()
        session.run(faulty("water4", "sleep", seconds=0.3))
        tasks = sorted(session.record.task_records, key=lambda task: task.started_s)
    late = [task for task in tasks if task.started_s > tasks[0].started_s + 1.5]
    assert len(late) > 2
    assert all(a.started_s + a.wall_s <= b.started_s for a, b in pairwise(late))
    assert seen


def test_workers_are_not_given_the_users_main_script_again(tmp_path, faulty):
    (tmp_path / "script.py").write_text(
        "import json, sys, autotune\n"
        "print('once')\n"
        "result = autotune.run(json.load(open(sys.argv[1])))\n"
        "print(result.return_result)\n"
    )
    (tmp_path / "input.json").write_text(json.dumps(faulty("water2")))
    assert run_python("script.py", "input.json", cwd=tmp_path).stdout == "once\n0.0\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "option workers is 0, but must be above 0"),
        ({"wrokers": 2}, "run() has no option wrokers; it has"),
        ({"strategies": ("hybird",)}, "there is no strategy 'hybird'; did you mean hybrid?"),
        ({"tuning": "/nowhere.json"}, "/nowhere.json cannot be read: No such file or directory"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_computed(faulty, options, message):
    with pytest.raises(InputError) as caught:
        autotune.run(faulty(), **options)
    assert str(caught.value).startswith(message)


def overlapping(records):
    """Return the most tasks that ran at one time."""
    return max(sum(r.started_s <= at.started_s < r.started_s + r.wall_s for r in records) for at in records)


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("sleep", {}, lambda most, record: record.machine.cores < most <= record.policy.most_workers),
        ("sleep", {"workers": 1}, lambda most, _: most == 1),
        ("spin", {}, lambda most, record: most <= record.machine.cores),
    ],
    ids=["while tasks wait and cores idle", "never more than the user gave", "busy tasks get no more than cores"],
)
def test_workers_are_added(faulty, monkeypatch, method, options, expected):
    from autotune_plugins import strategy_adaptive_workers

    if method == "sleep":  # whatever else the machine does here: what the tasks do not use idles
        monkeypatch.setattr(monitor, "idle_core_s", lambda machine: machine.cores * time.monotonic())
    monkeypatch.setattr(strategy_adaptive_workers, "SETTLE_S", 0.5)
    with Session(Options(**options)) as session:
        session.run(faulty("water4", method, seconds=0.3, max_nbody=3))
        record = session.record
    assert record.policy.workers == options.get("workers", record.machine.cores)
    assert expected(overlapping(record.task_records), record)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is no core to take away")
def test_when_cores_are_taken_away_in_mid_run_the_run_follows(faulty, monkeypatch):
    from autotune.runtime import executor

    monkeypatch.setattr(executor, "LOOK_AROUND_S", 0.2)
    whole = os.sched_getaffinity(0)
    seen = []

    def shrink(snapshot):
        seen.append(snapshot.cores)
        os.sched_setaffinity(0, {min(whole)})

    try:
        with Session(Options(strategies=("hybrid", "dynamic_balancing")), on_progress=shrink) as session:
            session.run(faulty("water4", "sleep", seconds=0.3, max_nbody=3))
    finally:
        os.sched_setaffinity(0, whole)
    assert seen[0] == len(whole)
    assert seen[-1] == 1


def test_where_a_program_did_without_a_tunable_the_record_and_a_notice_say_why(faulty):
    said = []
    with Session(Options(workers=1), on_notice=said.append) as session:
        session.run(faulty("water4", "fall-back", at=[6]))
        records = session.record.task_records
    assert {record.fallback for record in records if record.nbody == 1} == {""}
    assert {record.fallback for record in records if record.nbody == 2} == {"it was told so"}
    first = next(record.label for record in records if record.nbody == 2)
    assert f"6 of 10 tasks started as with --no-program-tuning, {first} first: it was told so" in said
