"""Claims about `autotune.workers.worker`, of a real worker process and a program that computes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from autotune.base.errors import AutotuneError, ResourceError
from autotune.base.types import Resources
from autotune.expansion import workload
from autotune.machine import process
from autotune.plugin.manager import Manager
from autotune.workers.calculation import compute, compute_together
from autotune.workers.messages import Briefing, Check, Order, Reply, Returned, Together
from autotune.workers.pool import Pool
from autotune.workers.worker import TOGETHER_S

ONE_CORE = Resources(cores=1, memory_gib=1.0)


def opened(scratch):
    environment = process.worker_environment(resident=True, passive_wait=False, one_blas_thread=False, blas_kernel="")
    return Pool(programs=["faulty"], environment=environment, scratch=scratch)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("pool")) as made:
        yield made


@pytest.fixture
def pool(warm):
    """A pool without workers."""
    warm.retire_all()
    assert not warm._workers
    return warm


def orders(work, numbers):
    tasks = [work.tasks[number] for number in numbers]
    return [Order(task.number, task.level, task.real, task.basis, ONE_CORE) for task in tasks]


def dimers(work):
    return [task.number for task in work.tasks if task.nbody == 2]


def briefed(pool, fields):
    """Return the workload of an input of which a pool's workers know."""
    work = workload.load(fields)
    pool.brief(Briefing(work.recipe.to_json()))
    assert not pool.check(Check()).problems
    return work


def lots_of(pool, told, **limits):
    """Return what comes of orders, in the lots in which it comes."""
    pool.start(told)
    lots = []
    while sum(map(len, lots)) < len(told):
        lots += filter(None, [pool.wait(timeout_s=5.0, **limits)])
    return lots


def events_of(pool, told, **limits):
    return [event for lot in lots_of(pool, told, **limits) for event in lot]


def waits(pool, events):
    while True:
        events += pool.wait(timeout_s=1.0)


def test_short_tasks_are_answered_and_measured_together(pool, faulty):
    work = briefed(pool, faulty("water4", "nothing"))
    lots = lots_of(pool, orders(work, range(10)))
    assert [reply.number for lot in lots for reply in lot] == list(range(10))
    assert all(reply.values for lot in lots for reply in lot)
    assert any(len(lot) > 1 for lot in lots)
    for lot in lots:
        # On a busy machine ten of them may take longer than answers wait for one another.
        together_s = [reply.started + reply.wall_s - lot[0].started for reply in lot]
        assert all(since_s < TOGETHER_S for since_s in together_s[:-1])
        per_wall = [reply.cpu_s / reply.wall_s for reply in lot]
        assert per_wall == pytest.approx([per_wall[0]] * len(lot))
        assert 0.0 < lot[-1].peak_gib < 1.0


def test_tasks_that_take_longer_are_answered_and_measured_each_by_itself(pool, faulty):
    work = briefed(pool, faulty("water4", "spin", seconds=1.5 * TOGETHER_S))
    lots = lots_of(pool, orders(work, range(3)))
    assert [len(lot) for lot in lots] == [1, 1, 1]
    assert all(lot[0].cpu_s >= TOGETHER_S for lot in lots)


def test_a_peak_is_not_that_of_tasks_that_were_done_before(pool, faulty):
    # The dimer takes half a second and a quarter of a GiB where its worker was told that it is as short as monomers.
    work = briefed(pool, faulty("water4", "allocate", at=[6], gib=0.25, seconds=0.5))
    *before, last = events_of(pool, orders(work, [0, 1, 2, dimers(work)[0]]))
    assert all(reply.peak_gib < 0.25 for reply in before)
    assert last.peak_gib > 0.25


def test_of_a_crash_the_last_lines_are_those_of_its_own_task(pool, faulty):
    work = briefed(pool, faulty("water4", "last-words", at=[6]))
    dimer = dimers(work)[0]
    events = events_of(pool, orders(work, [0, 1, dimer]))
    (event,) = [each for each in events if isinstance(each, Reply) and each.error]
    assert event.number == dimer
    assert "task of 6 atoms" in event.error
    assert "task of 3 atoms" not in event.error


def test_the_output_of_a_worker_does_not_grow_without_end(pool, faulty):
    work = briefed(pool, faulty("water6", "shout", max_nbody=2))
    for _ in range(2):
        events_of(pool, orders(work, range(len(work.tasks))))
    sizes = [path.stat().st_size for path in pool.scratch.glob("worker-*/output")]
    assert 0 < max(sizes) < 2 * 2**20


def test_files_of_a_task_are_gone_when_its_batch_is_done(pool, faulty):
    work = briefed(pool, faulty("water4", "fill", at=[3], gib=0.002))
    events_of(pool, orders(work, range(2)))
    pool.check(Check())  # the worker has come back to its pipe
    assert [list(folder.iterdir()) for folder in pool.scratch.glob("worker-*/files")] == [[]]


# --- what a pool makes of workers that end ----------------------------------------------------------------------------


def test_a_worker_that_ends_before_it_takes_up_a_task_blames_none(pool, faulty):
    work = briefed(pool, faulty("water2", "nothing"))
    (worker,) = pool._workers.values()
    os.kill(worker.pid, signal.SIGSTOP)  # it will not get to the orders
    pool.start(orders(work, [0, 1]))
    os.kill(worker.pid, signal.SIGKILL)
    events = []
    while len(events) < 2:
        events += pool.wait(timeout_s=5.0)
    assert sorted(events) == [Returned(0), Returned(1)]
    assert all(reply.values for reply in events_of(pool, orders(work, [0, 1])))


def test_workers_that_all_end_before_they_take_up_a_task_end_the_run_with_a_reason(tmp_path, faulty, monkeypatch):
    monkeypatch.setattr("autotune.workers.pool.PAUSE_S", 0.001)
    with opened(tmp_path) as pool:
        work = briefed(pool, faulty("water2", "nothing"))
        pool.retire_all()
        for number in range(100):  # where the next workers' folders should be, there is something else
            (pool.scratch / f"worker-{number + 1}").touch()
        told = orders(work, [0]) * 11
        with pytest.raises(ResourceError, match=r"10 workers in a row ended before .* a task: .*NotADirectoryError"):
            [events_of(pool, [order]) for order in told]


def test_what_was_answered_is_there_when_a_wait_is_interrupted(pool, faulty, monkeypatch):
    work = briefed(pool, faulty("water2", "nothing"))
    pool.start(orders(work, [0, 1, 2]))
    (worker,) = pool._workers.values()
    assert worker.pipe.poll(5.0)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "_bury", interrupted)
    worker.exit_status = 0
    answered = []
    with pytest.raises(KeyboardInterrupt):
        waits(pool, answered)
    worker.exit_status = None
    kept = pool.drain()
    assert kept
    answered += kept
    while len(answered) < 3:  # on a busy machine they are answered one by one
        assert worker.pipe.poll(60.0)
        answered += pool.drain()
    assert [reply.number for reply in answered] == [0, 1, 2]
    assert pool.drain() == []


def test_a_task_that_is_done_when_it_is_to_be_stopped_counts(pool, faulty):
    work = briefed(pool, faulty("water2", "nothing"))
    pool.start(orders(work, [0]))
    (worker,) = pool._workers.values()
    assert worker.pipe.poll(5.0)
    (reply,) = pool.stop(0, "memory", "held too much")
    assert reply.values
    assert list(pool._workers.values()) == [worker]


def test_where_no_process_can_be_made_the_run_goes_on_when_it_can_again(tmp_path, faulty, monkeypatch):
    # The zygote's own limit of processes, set from outside; root has none, so the fork itself is made to fail.
    folder = tmp_path / "patch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "if 'autotune.workers.zygote' in ' '.join(sys.orig_argv):\n"
        "    fork, mark = os.fork, pathlib.Path(os.environ['NO_FORK'])\n"
        "    def refusing():\n"
        "        if mark.exists():\n"
        "            mark.unlink()\n"
        "            raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "        return fork()\n"
        "    os.fork = refusing\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("NO_FORK", str(tmp_path / "mark"))
    with opened(tmp_path) as pool:
        work = briefed(pool, faulty("water2", "nothing"))
        pool.retire_all()
        (tmp_path / "mark").touch()
        assert events_of(pool, orders(work, [0])) == [Returned(0)]
        assert events_of(pool, orders(work, [0]))[0].values


def test_when_the_zygote_dies_what_its_workers_started_dies_too(tmp_path, faulty):
    with opened(tmp_path) as pool:
        work = briefed(pool, faulty("water2", "hang-in-grandchild"))
        pool.start(orders(work, [0]))
        (worker,) = pool._workers.values()
        while (below := left_the_session(worker.pid)) is None:
            pool.wait(timeout_s=0.1)
        os.kill(pool._forks.pid, signal.SIGKILL)
        with pytest.raises(AutotuneError, match="ended unexpectedly: the process they come from was ended by SIGKILL"):
            waits(pool, [])
    assert not psutil.pid_exists(below) or psutil.Process(below).status() == psutil.STATUS_ZOMBIE


def left_the_session(worker):
    """Return the process below a worker that has a session of its own; None while there is none."""
    for pid in process.tree(worker):
        # What QCEngine starts to look at the processor comes and goes.
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == pid != worker:
                return pid
    return None


def test_a_result_that_cannot_be_written_down_is_a_failure_and_nothing_else(faulty, monkeypatch):
    from qcelemental.models.v2 import AtomicResult

    def unwritable(_):
        raise ValueError("not serialisable")

    monkeypatch.setattr(AtomicResult, "model_dump_json", unwritable)
    fields = faulty("water2", "nothing")
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    work = workload.load(fields)
    Manager().register_programs()
    reply = compute(work.recipe, orders(work, [0])[0], Path())
    assert (reply.values, reply.result, reply.contained) == (None, None, None)
    assert "ValueError: not serialisable" in reply.error


# --- several tasks in one start of their program ---------------------------------------------------------------------


def sharing(work, numbers, *, part_s=lambda _: 1.0, limit_s=60.0):
    return [each._replace(together=Together(part_s(each.number), limit_s)) for each in orders(work, numbers)]


def answers(pool, told):
    """Return what comes of orders, by number."""
    return {event.number: event for event in events_of(pool, told)}


def starts(folder):
    """Return how many tasks each start was given."""
    return [int(line) for line in (folder / "starts").read_text().split()]


def test_tasks_that_go_together_have_the_values_that_each_has_by_itself_and_share_the_time_by_their_parts(
    pool, faulty, tmp_path
):
    work = briefed(pool, faulty("water4", "spin", seconds=0.02, starts=str(tmp_path / "starts")))
    apart = answers(pool, orders(work, range(6)))
    (together,) = lots_of(pool, sharing(work, range(6), part_s=lambda number: 1.0 + number % 2))
    assert [reply.number for reply in together] == [0, 1, 2, 3, 4, 5]
    assert starts(tmp_path) == [6]
    for number, reply in enumerate(together):
        assert reply.values == apart[number].values
        assert reply.sharers == 6
        assert reply.wall_s == pytest.approx(together[0].wall_s * (1 + number % 2))
        assert reply.cpu_s / reply.wall_s == pytest.approx(together[0].cpu_s / together[0].wall_s)
    assert together[1].started == pytest.approx(together[0].started + together[0].wall_s)
    assert together[0].peak_gib > 0.0 == together[1].peak_gib
    assert sum(reply.wall_s for reply in together) >= 6 * 0.02


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_task_that_fails_among_others_has_its_own_words_and_costs_the_others_nothing(pool, faulty, tmp_path, place):
    work = briefed(pool, faulty("water4", "diverge", at=[6], starts=str(tmp_path / "starts")))
    numbers = [0, 1, 2, 3]
    bad = dimers(work)[0]
    numbers.insert(place, bad)
    alone = answers(pool, orders(work, [bad]))
    together = answers(pool, sharing(work, numbers))
    assert (together[bad].error_type, together[bad].error) == (alone[bad].error_type, alone[bad].error)
    assert alone[bad].error_type == "convergence_error"
    assert all(together[number].values for number in (0, 1, 2, 3))
    assert starts(tmp_path) == [5, *([4 - place] if 4 - place > 1 else [])]  # what was done before it is not done again


def test_where_every_task_fails_each_says_so_by_itself(pool, faulty, tmp_path):
    work = briefed(pool, faulty("water4", "raise", starts=str(tmp_path / "starts")))
    together = answers(pool, sharing(work, range(4)))
    assert ["planted" in together[number].error for number in range(4)] == [True] * 4
    assert starts(tmp_path) == [4, 3, 2]


def test_a_worker_that_dies_in_a_shared_start_blames_none_of_its_tasks(pool, faulty):
    work = briefed(pool, faulty("water4", "crash", at=[6]))
    events = answers(pool, sharing(work, [0, 1, dimers(work)[0], 2]))
    assert sorted(events.values()) == sorted(Returned(n, suspect=True) for n in (0, 1, 2, dimers(work)[0]))
    assert not pool._workers


def test_what_a_start_did_before_its_time_limit_counts_and_the_task_it_was_at_has_a_start_of_its_own(
    pool, faulty, tmp_path
):
    work = briefed(pool, faulty("water4", "sleep", seconds=0.02, starts=str(tmp_path / "starts")))
    first, *others = lots_of(pool, sharing(work, range(4), limit_s=0.05))
    assert [reply.number for reply in first] == [0, 1]
    together = sorted([*first, *(reply for lot in others for reply in lot)], key=lambda reply: reply.number)
    assert all(reply.values for reply in together)
    assert [reply.sharers for reply in together] == [3, 3, 1, 1]
    assert starts(tmp_path) == [4]


def test_the_time_limit_of_a_task_counts_from_its_own_start_behind_a_shared_one(pool, faulty):
    work = briefed(pool, faulty("water4", "sleep", at=[6], seconds=3600))
    first, second = dimers(work)[:2]
    events = events_of(pool, sharing(work, [first, 0, second], limit_s=0.5), task_limit_s=1.0)
    (late,) = [event for event in events if isinstance(event, Reply) and event.error_type == "timeout"]
    assert late.number == first
    assert late.wall_s >= 1.0
    assert {event.number for event in events if isinstance(event, Returned) and not event.suspect} == {0, second}


def test_tasks_with_other_resources_or_another_level_do_not_share_a_start(pool, faulty, tmp_path):
    work = briefed(pool, faulty("water4", "nothing", starts=str(tmp_path / "starts")))
    told = sharing(work, range(5))
    told[3:] = [each._replace(resources=Resources(cores=1, memory_gib=2.0)) for each in told[3:]]
    together = answers(pool, told)
    assert starts(tmp_path) == [3, 2]
    assert [together[number].sharers for number in range(5)] == [3, 3, 3, 2, 2]


def test_a_result_of_a_shared_start_is_kept_whole(faulty):
    fields = faulty("water2", "nothing")
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    work = workload.load(fields)
    Manager().register_programs()
    replies, begun = compute_together(work.recipe, sharing(work, range(3)), Path())
    assert begun == 3
    for reply, order in zip(replies, orders(work, range(3)), strict=True):
        ours, alone = json.loads(reply.result), json.loads(compute(work.recipe, order, Path()).result)
        for each in (ours, alone):
            assert each["provenance"].pop("wall_time") > 0.0
        assert ours == alone


def test_a_harness_that_breaks_among_several_tasks_is_asked_for_each(faulty, monkeypatch):
    import qcengine

    work = workload.load(faulty("water2", "nothing"))
    Manager().register_programs()

    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(type(qcengine.get_program("faulty")), "compute_together", broken)
    assert compute_together(work.recipe, sharing(work, range(3)), Path()) == ([], 1)
