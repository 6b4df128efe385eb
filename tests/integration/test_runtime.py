"""The runtime on a program that computes nothing: faults cost one task, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import psutil
import pytest
from processes import below

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.runtime import monitor
from autotune.session.session import Options, Session

ELECTRONS_OF_WATER = 10


def wait_until(condition, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = {p.pid for p in below()}
    yield
    deadline = time.monotonic() + 3.0
    while {p.pid for p in below()} - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert {p.pid for p in below()} - before == set()
    assert list(scratch.iterdir()) == []


def test_a_many_body_sum_of_exact_energies_is_exact(faulty):
    result = autotune.run(faulty("water6", max_nbody=3))
    assert result.return_result == 0.0
    assert result.success


def test_every_task_is_recorded_with_its_width_memory_and_times(faulty):
    with Session(Options(workers=2, threads=1, memory_gib=4.0)) as session:
        session.run(faulty("water4", max_nbody=2))
        record = session.record
    assert record.tasks == record.attempts == len(record.task_records) == 10
    assert {(task.width, task.grant_gib, task.status) for task in record.task_records} == {(1, 2.0, "done")}
    assert all(task.peak_gib > 0 and task.wall_s > 0 for task in record.task_records)
    assert 0 < record.efficiency <= 1
    assert 0 < record.peak_memory_gib <= record.memory_budget_gib
    parts = record.gap
    gap_s = parts.startup + parts.tail + parts.memory + parts.retries + parts.scheduler + parts.assembly
    busy_s = sum(task.wall_s * task.width for task in record.task_records) / record.machine.cores
    assert gap_s + busy_s == pytest.approx(record.wall_s, rel=0.05)


@pytest.mark.parametrize("fault", ["crash", "exit"])
def test_a_crash_that_does_not_repeat_is_survived(faulty, tmp_path, fault):
    with Session() as session:
        result = session.run(faulty("water4", fault, at=[6], once=str(tmp_path / "struck")))
        assert result.success
        assert session.record.attempts == session.record.tasks + 1
        assert sum(task.attempts == 2 for task in session.record.task_records) == 1


@pytest.mark.parametrize("fault", ["hang", "hang-in-grandchild"])
def test_a_task_over_its_time_limit_is_killed_with_its_whole_process_tree(faulty, fault):
    with Session(Options(task_limit_s=1.0)) as session:
        with pytest.raises(TaskError, match=r"longer than the limit of 1 s"):
            session.run(faulty("water2", fault, at=[6]))
        assert [task.status for task in session.record.task_records].count("done") == 2


def test_fresh_workers_for_each_task_give_the_same_result(faulty):
    with Session(Options(without=("method_tuning",))) as session:
        assert session.run(faulty("water4")).return_result == 0.0
        assert session.record.policy.tasks_per_worker == 1


def test_a_warm_session_starts_its_second_run_at_once(faulty):
    with Session() as session:
        session.run(faulty("water4"))
        session.run(faulty("water4"))
        assert session.record.gap.startup < 0.5


def test_turning_all_strategies_off_leaves_the_older_executors_fixed_schedule(faulty):
    with Session(Options(strategies=())) as session:
        session.run(faulty("water4", max_nbody=3))
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
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, autotune\n"
        "print('once')\n"
        "result = autotune.run(json.load(open(sys.argv[1])))\n"
        "print(result.return_result)\n"
    )
    (tmp_path / "input.json").write_text(json.dumps(faulty("water2")))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "input.json")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "once\n0.0\n"


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.1])
def test_a_second_sigterm_does_not_disturb_the_end_that_the_first_has_begun(tmp_path, faulty, after_s):
    # Slurm sends one to the step, and one to the job.
    log = tmp_path / "log"
    (tmp_path / "input.json").write_text(json.dumps(faulty("water8", "sleep", seconds=0.3, max_nbody=2, log=str(log))))
    command = [sys.executable, "-m", "autotune", "run", "input.json", "--journal", "journal.db"]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) >= 4)
    run.send_signal(signal.SIGTERM)
    time.sleep(after_s)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 128 + signal.SIGTERM, said
    assert "finished tasks are kept in journal.db" in said.splitlines()[-1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_or_killed_run_leaves_no_process_and_no_scratch(tmp_path, faulty, how):
    path, scratch = tmp_path / "input.json", tmp_path / "scratch"
    path.write_text(json.dumps(faulty("water4", "sleep", seconds=60)))
    command = [sys.executable, "-m", "autotune", "run", str(path), "--scratch", str(scratch), "--workers", "2"]
    parent = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # In the background or under nohup signals are ignored, and autotune leaves it so; here they must arrive.
        preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in (signal.SIGHUP, signal.SIGINT)],  # noqa: PLW1509
    )
    wait_until(lambda: len(list(scratch.glob("*/worker-*/output"))) == 2)
    orphans = below(parent.pid)
    os.kill(parent.pid, how)
    _, errors = parent.communicate(timeout=20)
    _, alive = psutil.wait_procs(orphans, timeout=10)
    assert alive == []
    wait_until(lambda: list(scratch.iterdir()) == [])
    if how != signal.SIGKILL:
        assert parent.returncode == 128 + how
        ended = "interrupted" if how == signal.SIGINT else f"ended by {how.name}"
        assert errors.splitlines()[-1] == f"autotune: {ended}; no process was left running"


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
    changes = sorted(
        [(r.started_s, 1) for r in records] + [(r.started_s + r.wall_s, -1) for r in records], key=lambda c: c
    )
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def test_a_crash_in_a_batch_costs_its_own_task_and_the_others_of_the_batch_are_run_elsewhere(faulty, tmp_path):
    with Session() as session:
        result = session.run(faulty("water10", "crash", at=[6], once=str(tmp_path / "struck"), max_nbody=2))
        record = session.record
    assert result.return_result == 0.0
    assert record.policy.batch_s > 0
    assert record.attempts == record.tasks + 1
    assert sorted(task.attempts for task in record.task_records) == [1] * (record.tasks - 1) + [2]


def test_while_tasks_wait_and_cores_idle_workers_are_added(faulty, monkeypatch):
    from autotune_plugins import strategy_adaptive_workers

    # Whatever else the machine does here: what the tasks do not use idles.
    monkeypatch.setattr(monitor, "idle_core_s", lambda machine: machine.cores * time.monotonic())
    monkeypatch.setattr(strategy_adaptive_workers, "SETTLE_S", 0.5)
    with Session() as session:
        session.run(faulty("water6", "sleep", seconds=0.2, max_nbody=3))
        record = session.record
    assert record.policy.workers == record.machine.cores
    assert record.machine.cores < overlapping(record.task_records) <= record.policy.most_workers


def test_the_number_of_workers_that_the_user_gave_is_never_exceeded(faulty, monkeypatch):
    from autotune_plugins import strategy_adaptive_workers

    monkeypatch.setattr(strategy_adaptive_workers, "SETTLE_S", 0.5)
    with Session(Options(workers=1)) as session:
        session.run(faulty("water4", "sleep", seconds=0.2, max_nbody=3))
        assert overlapping(session.record.task_records) == 1


def test_busy_tasks_get_no_more_workers_than_cores(faulty, monkeypatch):
    from autotune_plugins import strategy_adaptive_workers

    monkeypatch.setattr(strategy_adaptive_workers, "SETTLE_S", 0.5)
    with Session() as session:
        session.run(faulty("water4", "spin", seconds=0.3, max_nbody=3))
        assert overlapping(session.record.task_records) <= session.record.machine.cores


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
