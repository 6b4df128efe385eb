"""Faults of every kind in single tasks: only the struck ones suffer, the result is right, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import commands
import psutil
import pytest
from processes import below

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.base.types import Estimate
from autotune.plugin.hookspecs import hookimpl
from autotune.session.session import Options, Session
from autotune.workers import pool

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

MONOMER, DIMER = 3, 6  # atoms


def statuses(record):
    return {(task.nbody, task.status, task.error_type) for task in record.task_records}


# --- the journal -----------------------------------------------------------------------------------------------------


def computed(log):
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_with_resume_nothing_is_computed_again_in_a_larger_input_or_after_another_program(faulty, cluster, tmp_path):
    log = tmp_path / "log"
    small, large = (faulty("water4", max_nbody=nbody, log=str(log)) for nbody in (2, 3))
    with Session(Options(resume=True)) as session:
        first = session.run(small)
        assert session.run(small).properties == first.properties
        assert session.record.recalled == session.record.tasks == 10
        pairs = cluster("water2", max_nbody=2)
        for given, recalled in ((large, 10), (cluster("water2", max_nbody=1), 0), (pairs, 2), (small, 10)):
            session.run(given)
            assert session.record.recalled == recalled
    assert computed(log) == 14


def test_results_of_another_version_of_the_program_are_computed_again(faulty, tmp_path, monkeypatch):
    log = tmp_path / "log"
    for version, recalled in (("1.0", 0), ("2.0", 0), ("1.0", 10)):
        monkeypatch.setenv("FAULTY_VERSION", version)
        with Session(Options(resume=True)) as session:
            session.run(faulty("water4", log=str(log)))
            assert session.record.recalled == recalled
    assert computed(log) == 20


def test_a_resume_after_failures_computes_only_those(faulty, tmp_path):
    log, struck = tmp_path / "log", tmp_path / "struck"
    given = faulty("water4", "diverge", at=[DIMER], once=str(struck), log=str(log))
    with Session(Options(workers=1, resume=True)) as session:
        with pytest.raises(TaskError, match=r"^1 of 10 tasks failed: .*convergence: .*did not converge") as caught:
            session.run(given)
        assert len(caught.value.done) == 9
        assert [kind for kind, _ in caught.value.failed.values()] == ["convergence"]
        cure, kept = caught.value.__notes__
        assert cure == "`--rescue` gives what did not converge a second attempt with other keywords"
        assert "9 finished tasks are kept in" in kept
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


@pytest.mark.parametrize(
    ("fault", "mark", "repeated"),
    [("crash", "once", 1), ("exit", "once", 1), ("stubborn", "once", 1), ("random", "first", 45), ("shout", "log", 0)],
)
def test_a_fault_that_passes_costs_the_task_that_it_struck_another_attempt(
    warm, faulty, tmp_path, fault, mark, repeated
):
    # Stubborn: a process is left that ignores signals. Shout: noise on the output channels. Short tasks go in batches.
    where = tmp_path if mark == "first" else tmp_path / "struck"
    assert warm.run(faulty("water10", fault, at=[DIMER], **{mark: str(where)})).return_result == 0.0
    assert warm.record.policy.batch_s > 0
    assert sorted(task.attempts for task in warm.record.task_records) == [1] * (55 - repeated) + [2] * repeated


@pytest.mark.parametrize(
    ("fault", "kind", "attempts", "said"),
    [
        ("crash", "crash", 3, "the worker process was ended by SIGSEGV"),
        ("exit", "crash", 3, ""),
        ("raise", "program", 1, "planted"),
        ("garbage", "program", 1, "reported success, but its energy holds a number that is not finite"),
    ],
)
def test_what_always_fails_is_given_up_after_its_attempts_and_the_others_go_on(
    warm, faulty, fault, kind, attempts, said
):
    with pytest.raises(TaskError, match=rf"^6 of 10 tasks failed.*{said}"):
        warm.run(faulty("water4", fault, at=[DIMER]))
    assert statuses(warm.record) == {(1, "done", ""), (2, "failed", kind)}
    assert {task.attempts for task in warm.record.task_records if task.nbody == 2} == {attempts}
    assert warm.run(faulty("water4")).success


def test_a_task_over_its_time_limit_is_killed_with_its_whole_process_tree(faulty):
    with Session(Options(task_limit_s=1.0)) as session:
        for fault in ("hang", "hang-in-grandchild"):
            with pytest.raises(TaskError, match=r"longer than the limit of 1 s"):
                session.run(faulty("water2", fault, at=[DIMER]))
            assert statuses(session.record) == {(1, "done", ""), (2, "failed", "timeout")}


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


# --- memory ----------------------------------------------------------------------------------------------------------


def test_a_task_that_ran_out_of_memory_is_repeated_with_more_and_fails_where_there_is_no_more(faulty):
    with Session(Options(workers=2, memory_gib=2.0)) as session:
        assert session.run(faulty("water2", "allocate", at=[DIMER], gib=1.25)).return_result == 0.0
        (dimer,) = [t for t in session.record.task_records if t.nbody == 2]
        assert (dimer.attempts, dimer.grant_gib) == (2, 2.0)
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
        session.run(faulty("water4", "leak", gib=0.2, max_nbody=2))
        assert session.record.tasks == 10
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
    what = ("--program", "faulty", "--method", "nothing", "--basis", "", "--budget", "8s", "--quiet", "--force")
    status, _, errors = commands.autotune("calibrate", *what, environment={"AUTOTUNE_HOME": small_disk / "home"})
    assert status == 2
    assert "Traceback" not in errors
    assert "No space left on device" in errors or "full" in errors
    assert list(small_disk.glob("home/tunings/**/*.json")) == []


# --- interruption ----------------------------------------------------------------------------------------------------


def ended(run, scratch, *signals, after_s=0.0):
    """Send signals to a run; return its last lines when it and all its processes are gone, and their scratch files."""
    family = below(run.pid)
    for number, how in enumerate(signals):
        time.sleep(after_s * bool(number))
        run.send_signal(how)
    _, errors = run.communicate(timeout=50)  # less than a task takes
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert list(scratch.iterdir()) == []
    assert run.returncode == (-signals[0] if signals[0] == signal.SIGKILL else 128 + signals[0]), errors
    return errors.splitlines()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_ended_or_killed_run_leaves_no_process_and_no_scratch(faulty, tmp_path, begin, wait_until, how):
    scratch = tmp_path / "scratch"
    run = begin(faulty("water4", "sleep", seconds=60), "--scratch", scratch, "--workers", "2")
    wait_until(lambda: len(list(scratch.glob("*/worker-*/output"))) == 2)
    errors = ended(run, scratch, how)
    assert how == signal.SIGKILL or errors[-1] == f"autotune: ended by {how.name}; no process was left running"


def test_an_interrupted_run_leaves_nothing_but_its_journal_and_a_resume_finishes_it(
    faulty, tmp_path, begin, wait_until
):
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    options = ("--scratch", scratch, "--resume")
    run = begin(faulty("water4", "sleep", seconds=0.5, at=[DIMER], log=str(log)), *options)
    wait_until(lambda: computed(log) >= 5)
    *_, stopped, kept = ended(run, scratch, signal.SIGINT)
    assert stopped == "autotune: interrupted; no process was left running"
    assert "finished tasks are kept in" in kept
    assert kept.endswith("the same command with --resume goes on from there")
    done = commands.autotune("run", "input.json", "-o", "result.json", *options, cwd=tmp_path)
    assert "of 10 tasks are in the journal" in done.errors
    assert computed(log) <= 12  # two were at work when it was interrupted
    assert json.loads((tmp_path / "result.json").read_text())["return_result"] == 0.0


# Slurm sends one SIGTERM to the step, and one to the job.
@pytest.mark.parametrize(
    ("how", "after_s"),
    [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.005), (signal.SIGTERM, 0.02), (signal.SIGTERM, 0.1)],
)
def test_a_second_signal_ends_a_run_at_once_and_a_second_sigterm_does_not_disturb_what_the_first_has_begun(
    faulty, tmp_path, begin, wait_until, how, after_s
):
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    fields = faulty("water8", "sleep", seconds=60, at=[MONOMER], log=str(log))  # pairs, which are longer, come first
    run = begin(fields, "--scratch", scratch, "--journal", "journal.db")
    wait_until(lambda: computed(log) >= 4)
    errors = ended(run, scratch, how, how, after_s=after_s)
    assert how == signal.SIGINT or "finished tasks are kept in journal.db" in errors[-1]


# --- what a failed run leaves to the user ----------------------------------------------------------------------------


def test_the_command_line_names_what_failed_keeps_the_rest_and_exits_with_1(faulty, tmp_path):
    path, output = tmp_path / "input.json", tmp_path / "out.json"
    path.write_text(json.dumps(faulty("water4", "crash", at=[DIMER])))
    status, _, errors = commands.autotune("run", path, "-o", output, "--quiet")
    assert status == 1
    first, partial, kept = errors.splitlines()
    assert first.startswith("autotune: 6 of 10 tasks failed: ")
    assert "crash: the worker process was ended by SIGSEGV" in first
    assert "components that were computed are in" in partial + kept
    assert "4 finished tasks are kept in" in partial + kept
    kept = json.loads((tmp_path / "out.json.partial").read_text())
    assert len(kept["done"]) == 4
    assert len(kept["failed"]) == 6
    assert not output.exists()


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
