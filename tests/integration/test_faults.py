"""Faults of every kind in single tasks: only the struck ones suffer, the result is right, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import processes
import psutil
import pytest

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.base.types import Estimate
from autotune.plugin.hookspecs import hookimpl
from autotune.session.session import Options, Session
from autotune.workers import pool

DIMER = 6


def below():
    return {process.pid for process in processes.below()}


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = below()
    yield
    deadline = time.monotonic() + 3.0
    while below() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert below() - before == set()
    assert list(scratch.iterdir()) == []


def statuses(record):
    return {(task.nbody, task.status, task.error_type) for task in record.task_records}


# --- the journal -----------------------------------------------------------------------------------------------------


def computed(log):
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_second_run_with_resume_computes_nothing_again(faulty, tmp_path):
    log = tmp_path / "log"
    with Session(Options(resume=True)) as session:
        first = session.run(faulty("water4", log=str(log)))
        second = session.run(faulty("water4", log=str(log)))
        assert session.record.recalled == session.record.tasks == 10
    assert computed(log) == 10
    assert first.properties == second.properties


def test_results_of_another_version_of_the_program_are_computed_again(faulty, tmp_path, monkeypatch):
    log = tmp_path / "log"
    for version, recalled in (("1.0", 0), ("2.0", 0), ("1.0", 10), ("2.0", 10)):
        monkeypatch.setenv("FAULTY_VERSION", version)
        with Session(Options(resume=True)) as session:
            session.run(faulty("water4", log=str(log)))
            assert session.record.recalled == recalled
    assert computed(log) == 20


def test_a_session_that_changes_programs_keeps_its_journal(faulty, cluster, tmp_path):
    log = tmp_path / "log"
    with Session(Options(resume=True)) as session:
        session.run(faulty("water4", log=str(log)))
        session.run(cluster("water2", max_nbody=1))
        session.run(cluster("water2", max_nbody=2))
        assert session.record.recalled == 2
        session.run(faulty("water4", log=str(log)))
        assert session.record.recalled == 10
    assert computed(log) == 10


def test_without_resume_a_second_run_computes_afresh(faulty, tmp_path):
    log = tmp_path / "log"
    with Session() as session:
        session.run(faulty("water4", log=str(log)))
        session.run(faulty("water4", log=str(log)))
        assert session.record.recalled == 0
    assert computed(log) == 20


def test_another_input_that_shares_tasks_takes_them_from_the_journal(faulty, tmp_path):
    log = tmp_path / "log"
    with Session(Options(resume=True)) as session:
        session.run(faulty("water4", max_nbody=2, log=str(log)))
        session.run(faulty("water4", max_nbody=3, log=str(log)))
        assert session.record.recalled == 10
    assert computed(log) == 14


def test_a_resume_after_failures_computes_only_those(faulty, tmp_path):
    log, struck = tmp_path / "log", tmp_path / "struck"
    given = faulty("water4", "diverge", at=[DIMER], once=str(struck), log=str(log))
    with Session(Options(workers=1, resume=True)) as session:
        with pytest.raises(TaskError, match=r"^1 of 10 tasks failed: .*convergence: .*did not converge") as caught:
            session.run(given)
        assert len(caught.value.done) == 9
        assert [kind for kind, _ in caught.value.failed.values()] == ["convergence"]
        assert "9 finished tasks are kept in" in caught.value.__notes__[0]
        assert session.run(given).return_result == 0.0
        assert session.record.recalled == 9
    assert computed(log) == 10


def test_a_journal_that_cannot_be_written_stops_only_a_run_that_asked_for_it(faulty, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "home"
    monkeypatch.setenv("AUTOTUNE_HOME", str(blocked))
    said = []
    with Session(on_notice=said.append) as session:
        assert session.run(faulty("water2")).success
    assert said[0].startswith("finished tasks are kept in memory only: the journal")
    with (
        pytest.raises(ResourceError, match=r"cannot be written \(Not a directory\)"),
        Session(Options(resume=True)) as session,
    ):
        session.run(faulty("water2"))


def test_resume_without_a_journal_is_refused():
    with pytest.raises(InputError, match="resume needs a journal"):
        Options(resume=True, journal="none")


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_random_error_is_repeated_until_it_passes(faulty, tmp_path):
    with Session() as session:
        assert session.run(faulty("water4", "random", at=[DIMER], first=str(tmp_path))).return_result == 0.0
        assert session.record.attempts == 16


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"), [("crash", "crash", 3), ("exit", "crash", 3), ("raise", "program", 1)]
)
def test_what_always_fails_is_given_up_after_its_attempts_and_the_others_go_on(faulty, fault, kind, attempts):
    with Session() as session:
        with pytest.raises(TaskError, match=r"^6 of 10 tasks failed"):
            session.run(faulty("water4", fault, at=[DIMER]))
        assert statuses(session.record) == {(1, "done", ""), (2, "failed", kind)}
        assert {t.attempts for t in session.record.task_records if t.nbody == 2} == {attempts}
        assert session.run(faulty("water4")).success


def test_with_fail_fast_nothing_starts_after_the_first_failure(faulty):
    with Session(Options(fail_fast=True, workers=1, strategies=("adaptive_workers",))) as session:
        with pytest.raises(TaskError, match=r"1 of 10 tasks failed; [1-9] were not started after that"):
            session.run(faulty("water4", "diverge", at=[DIMER]))
        assert len(session.record.task_records) < 10


def test_a_number_that_is_not_finite_is_a_failure_and_no_result(faulty):
    with (
        pytest.raises(TaskError, match=r"6 of 10 .*reported success, but its energy holds a number that is not finite"),
        Session() as session,
    ):
        session.run(faulty("water4", "garbage", at=[DIMER]))


def test_noise_on_the_output_channels_harms_nothing(faulty):
    with Session() as session:
        assert session.run(faulty("water4", "shout")).return_result == 0.0


def test_what_did_not_converge_is_tried_with_other_keywords_where_the_user_gave_some(faulty):
    given = faulty("water4", "diverge", at=[DIMER])
    with Session(Options(rescue={"at": [999]}, resume=True)) as session:
        assert session.run(given).return_result == 0.0
        assert {t.attempts for t in session.record.task_records if t.nbody == 2} == {2}
        session.run(given)
        assert session.record.recalled == 10
    # Rescued results are not those of the input: a run without the rescue does not take them.
    with Session(Options(resume=True)) as session:
        with pytest.raises(TaskError, match="6 of 10"):
            session.run(given)
        assert session.record.recalled == 4


def test_a_crash_leaves_no_grandchild_that_ignores_signals(faulty, tmp_path):
    with Session() as session:
        assert session.run(faulty("water4", "stubborn", at=[DIMER], once=str(tmp_path / "struck"))).success


# --- memory ----------------------------------------------------------------------------------------------------------


def test_a_task_that_ran_out_of_memory_is_repeated_with_more(faulty):
    with Session(Options(workers=2, memory_gib=2.0)) as session:
        assert session.run(faulty("water2", "allocate", at=[DIMER], gib=1.25)).return_result == 0.0
        (dimer,) = [t for t in session.record.task_records if t.nbody == 2]
    assert (dimer.attempts, dimer.grant_gib) == (2, 2.0)


def test_a_task_that_needs_more_than_there_is_fails_with_the_reason_and_the_others_are_done(faulty):
    with Session(Options(workers=2, memory_gib=1.5)) as session:
        with pytest.raises(TaskError, match=r"6 of 10 tasks failed: .*memory: .*GiB"):
            session.run(faulty("water4", "allocate", at=[DIMER], gib=3.0))
        assert statuses(session.record) == {(1, "done", ""), (2, "failed", "memory")}


@pytest.mark.parametrize("wrong", [0.25, 4.0])
def test_estimates_that_are_wrong_by_four_do_not_break_the_budget(faulty, wrong):
    real_gib, budget_gib = 0.6, 1.6

    class Oracle:
        @hookimpl
        def autotune_estimate(self, task, machine):
            del machine
            memory_gib = (real_gib if task.nbody == 2 else 0.15) * wrong
            return Estimate(alone_s=0.5 * task.nbody, parallel=0.0, memory_gib=memory_gib, spread=0.1)

    with Session(Options(workers=4, memory_gib=budget_gib)) as session:
        session._manager._pluggy.register(Oracle())
        result = session.run(faulty("water4", "allocate-anyway", at=[DIMER], gib=real_gib - 0.15, seconds=0.5))
        record = session.record
    assert result.return_result == 0.0
    assert record.peak_memory_gib <= budget_gib


def test_where_the_kernel_enforces_the_budget_a_task_that_exceeds_it_is_killed_and_repeated(
    faulty, tmp_path, monkeypatch
):
    from autotune.runtime import guard

    monkeypatch.setattr(guard, "SLOW_S", 1e6)  # only the kernel is to act
    monkeypatch.setattr(guard, "FAST_S", 1e6)
    given = faulty("water2", "allocate-anyway", at=[DIMER], gib=3.0, once=str(tmp_path / "struck"))
    options = Options(enforce_memory=True, memory_gib=0.8, workers=1)
    try:
        with Session(options) as session:
            assert session.run(given).return_result == 0.0
            folder = session._place._pool._enclosure.folder
            assert folder.exists()
            assert session.record.attempts == 4
    except ResourceError as error:
        pytest.skip(str(error))
    assert not folder.exists()


def test_a_leaking_program_is_replaced_before_it_holds_much(faulty):
    with Session(Options(workers=1, memory_gib=6.0)) as session:
        session.run(faulty("water6", "leak", gib=0.2, max_nbody=2))
        assert session.record.tasks == 21
        assert session.record.peak_memory_gib < 1.4


# --- disk ------------------------------------------------------------------------------------------------------------


def test_a_task_that_takes_more_scratch_than_allowed_is_stopped_and_the_others_are_done(faulty, monkeypatch):
    from autotune.runtime import executor

    monkeypatch.setattr(executor, "SCRATCH_LOOK_S", 0.2)
    with Session(Options(scratch_gib=0.2, workers=2)) as session:
        with pytest.raises(TaskError, match=r"1 of 3 .*disk: no space left on device: held"):
            session.run(faulty("water2", "fill", at=[DIMER], gib=20.0))
        assert statuses(session.record) == {(1, "done", ""), (2, "failed", "disk")}


@pytest.fixture
def small_disk(tmp_path):
    where = tmp_path / "small"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_under_the_journal_ends_the_run_clearly_and_a_resume_goes_on(faulty, small_disk, tmp_path):
    log = tmp_path / "log"
    journal = small_disk / "journal.sqlite3"
    given = faulty("water10", "sleep", seconds=0.02, max_nbody=3, log=str(log))
    given["specification"]["protocols"] = {"cluster_results": "all"}
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 3 * 2**19)
    full = pytest.raises(ResourceError, match=r"journal .* cannot be written \(.*full\).*--resume")
    with full as caught, Session(Options(journal=str(journal), resume=True)) as session:
        session.run(given)
    assert caught.value.exit_code == 2
    before = computed(log)
    assert before < 175
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    with Session(Options(journal=str(journal), resume=True)) as session:
        assert session.run(given).return_result == 0.0
        assert 0 < session.record.recalled <= before
        assert computed(log) == before + 175 - session.record.recalled


def test_a_full_disk_during_calibration_is_said_clearly_and_leaves_no_half_file(small_disk):
    (small_disk / "ballast").write_bytes(b"x" * (2**21 - 2**14))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "autotune",
            "calibrate",
            "--program",
            "faulty",
            "--method",
            "nothing",
            "--basis",
            "",
            "--budget",
            "8s",
            "--quiet",
            "--force",
        ],
        env={**os.environ, "AUTOTUNE_HOME": str(small_disk / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr or "full" in done.stderr
    assert list(small_disk.glob("home/tunings/**/*.json")) == []


# --- interruption ----------------------------------------------------------------------------------------------------


def test_an_interrupted_run_says_where_its_journal_is_and_a_resume_finishes_it(faulty, tmp_path):
    log, path = tmp_path / "log", tmp_path / "input.json"
    path.write_text(json.dumps(faulty("water4", "sleep", seconds=0.5, at=[DIMER], log=str(log))))
    command = [sys.executable, "-m", "autotune", "run", str(path), "-o", str(tmp_path / "out.json"), "--resume"]
    run = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 60
    while computed(log) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    *_, stopped, kept = errors.splitlines()
    assert stopped == "autotune: interrupted; no process was left running"
    assert "finished tasks are kept in" in kept
    assert kept.endswith("the same command with --resume goes on from there")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "of 10 tasks are in the journal" in done.stderr
    assert computed(log) <= 12  # two were at work when it was interrupted
    assert json.loads((tmp_path / "out.json").read_text())["return_result"] == 0.0


def test_a_second_interruption_ends_at_once(faulty, tmp_path):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(faulty("water4", "sleep", seconds=60)))
    scratch = tmp_path / "scratch"
    run = subprocess.Popen(
        [sys.executable, "-m", "autotune", "run", str(path), "--scratch", str(scratch)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 60
    while not list(scratch.glob("*/worker-*/output")) and time.monotonic() < deadline:
        time.sleep(0.02)
    children = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=50)  # less than a task takes
    assert run.returncode == 130
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


# --- what a failed run leaves to the user ----------------------------------------------------------------------------


def test_the_command_line_names_what_failed_keeps_the_rest_and_exits_with_1(faulty, tmp_path):
    path, output = tmp_path / "input.json", tmp_path / "out.json"
    path.write_text(json.dumps(faulty("water4", "crash", at=[DIMER])))
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "run", str(path), "-o", str(output), "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    first, partial, kept = done.stderr.splitlines()
    assert first.startswith("autotune: 6 of 10 tasks failed: ")
    assert "crash: the worker process was ended by SIGSEGV" in first
    assert "components that were computed are in" in partial + kept
    assert "4 finished tasks are kept in" in partial + kept
    kept = json.loads((tmp_path / "out.json.partial").read_text())
    assert len(kept["done"]) == 4
    assert len(kept["failed"]) == 6
    assert not output.exists()


def test_workers_are_replaced_by_number_of_tasks_growth_and_age(faulty):
    with Session(Options(workers=1)) as session:
        session.run(faulty("water2"))
        pool = session._place._pool
        worker = next(iter(pool._workers.values()))
        for limits in ({"tasks": worker.tasks + 1}, {"growth_gib": 1.0}, {"age_s": 3600.0}):
            pool.retire(**{"tasks": 0, "growth_gib": 0.0, "age_s": 0.0, **limits})
            assert worker.number in pool._workers
        pool.retire(tasks=worker.tasks, growth_gib=0.0, age_s=0.0)
        assert worker.number not in pool._workers
        assert replace(session.record.policy).tasks_per_worker > 1


def test_what_is_done_is_kept_where_the_next_start_is_interrupted(faulty, monkeypatch):
    start, interrupted = pool.Pool.start, []

    def start_once(self, orders, **seat):
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(len(orders))
        start(self, orders, **seat)

    monkeypatch.setattr(pool.Pool, "start", start_once)
    with Session(Options(cores=1)) as session, pytest.raises(KeyboardInterrupt) as caught:
        session.run(faulty("water4", "sleep", seconds=0.3))
    count = "1 finished task is" if interrupted == [1] else f"{interrupted[0]} finished tasks are"
    assert any(note.startswith(f"{count} kept in") for note in caught.value.__notes__)
