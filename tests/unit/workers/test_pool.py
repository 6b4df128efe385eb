"""What a pool knows of its workers: at which task each is, what they hold, that short tasks are answered together."""

from __future__ import annotations

import os
from multiprocessing import Pipe

import pytest

from autotune.base.errors import TaskError
from autotune.base.types import Resources
from autotune.expansion import workload
from autotune.machine import process
from autotune.session.session import Options, Session
from autotune.workers import pool
from autotune.workers.beacon import Beacon
from autotune.workers.messages import Briefing, Check, Order, Reply
from autotune.workers.pool import Pool, Worker


def order(number):
    return Order(number, "(auto)", (1,), (1,), Resources(cores=1, memory_gib=1.0))


def reply(number, *, resident_gib=0.1):
    return Reply(number, 0.0, 0.0, values={"energy": 0.0}, resident_gib=resident_gib)


@pytest.fixture
def worker(tmp_path):
    ours, theirs = Pipe()
    made = Worker(number=0, pipe=ours, output=tmp_path / "output", pid=1)
    yield made
    made.close()
    theirs.close()


def test_both_sides_of_a_beacon_see_the_same(tmp_path):
    ours, theirs = Beacon(tmp_path), Beacon(tmp_path)
    assert (ours.number, theirs.number) == (-1, -1)
    theirs.begin(2**40, printed_bytes=7)
    assert (ours.number, ours.printed_bytes) == (2**40, 7)
    for each in (ours, theirs):
        each.close()


def test_a_worker_is_at_the_task_that_its_beacon_names_and_at_its_first_order_until_it_has_begun(worker, tmp_path):
    assert worker.at is None
    worker.orders.extend(map(order, (4, 5, 6)))
    assert worker.at == 4  # without a beacon, as where its folder is gone
    beacon = Beacon(tmp_path)
    for began, at in ((3, 4), (5, 5)):  # the first is of an earlier batch
        beacon.begin(began, printed_bytes=0)
        assert worker.at == at
    worker.answered([reply(4), reply(5)])
    assert worker.at == 6  # it may not have taken up the next one
    beacon.begin(6, printed_bytes=0)
    assert worker.at == 6
    worker.answered([reply(6)])
    assert worker.at is None
    beacon.close()


def test_answers_are_counted_and_what_the_worker_holds_is_that_of_the_last(worker):
    worker.orders.extend(map(order, (1, 2, 3)))
    worker.peak_gib = 5.0
    worker.answered([reply(1, resident_gib=0.2), reply(2, resident_gib=0.3)])
    assert (worker.tasks, worker.fresh_gib, worker.resident_gib, worker.peak_gib) == (2, 0.2, 0.3, 0.0)
    assert [each.number for each in worker.orders] == [3]


def test_short_tasks_of_a_run_are_answered_together_and_one_that_kills_its_worker_costs_only_itself(
    faulty, monkeypatch
):
    together = []
    answered = pool.Worker.answered

    def noted(worker, replies):
        together.append(len(replies))
        answered(worker, replies)

    monkeypatch.setattr(pool.Worker, "answered", noted)
    with Session(Options(journal="none", workers=1)) as session:
        session.run(faulty("water8", max_nbody=3))
        session.run(faulty("water8", max_nbody=3))
        assert sum(together) == 2 * 92
        assert len(together) < 92
        with pytest.raises(TaskError) as caught:
            session.run(faulty("water6", "crash", at=[9], share=0.3, seed=3, max_nbody=3))
        record = session.record
    failed = {task.number for task in record.task_records if task.status == "failed"}
    assert len(caught.value.failed) == len(failed) > 0
    assert all(task.nbody == 3 for task in record.task_records if task.status == "failed")
    assert len(record.task_records) == record.tasks == 41
    assert len({task.number for task in record.task_records}) == 41
    assert all(task.attempts == 1 for task in record.task_records if task.status == "done")


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    environment = process.worker_environment(resident=True, passive_wait=False, one_blas_thread=False, blas_kernel="")
    with Pool(programs=["faulty"], environment=environment, scratch=tmp_path_factory.mktemp("pool")) as made:
        yield made


def prepared(pool, workers):
    pool.prepare(workers)
    while not all(worker.pid for worker in pool._workers.values()):
        pool.wait(timeout_s=1.0)


@pytest.fixture
def started(warm, faulty):
    """A pool of four workers that have started, and do nothing."""
    warm.retire_all()
    warm._shares_due = 0.0
    warm.brief(Briefing(workload.load(faulty("water2")).recipe.to_json()))
    warm.check(Check())
    prepared(warm, 4)
    return warm


needs_shares = pytest.mark.skipif(process.resident_shares(os.getpid()) is None, reason="the system does not tell")


@needs_shares
def test_what_forked_workers_share_counts_once(started):
    shares = [process.resident_shares(worker.pid) for worker in started._workers.values()]
    zygote = process.resident_shares(started._forks.pid)
    held_gib = started.usage().resident_gib
    assert held_gib == pytest.approx(sum(share for _, share in shares) + zygote[1], rel=0.05)
    assert held_gib < 0.6 * sum(resident for resident, _ in shares)


@needs_shares
def test_what_is_shared_is_looked_at_seldom_and_a_new_worker_is_like_the_others(started, monkeypatch):
    before_gib = started.usage().resident_gib
    monkeypatch.setattr(process, "resident_shares", lambda pid: pytest.fail(f"looked at {pid} again"))
    prepared(started, 8)
    alone_gib = process.usage([started._forks.pid])[0]
    assert started.usage().resident_gib - before_gib < 4 * 0.7 * alone_gib


def test_where_the_system_does_not_tell_what_is_shared_it_counts_for_each(started, monkeypatch):
    monkeypatch.setattr(process, "resident_shares", lambda _pid: None)
    pids = [worker.pid for worker in started._workers.values()]
    assert started.usage().resident_gib == pytest.approx(process.usage(pids)[0], rel=0.05)


def at_work_on(started, number, seat=None):
    """Have a worker compute a task; return it."""
    started.start([order(number)], seat=seat)
    (worker,) = [each for each in started._workers.values() if each.orders]
    while worker.orders:
        started.wait(timeout_s=1.0)
    return worker


def test_a_seat_is_one_workers_as_long_as_it_lives(started):
    pids = {seat: at_work_on(started, number, seat).pid for number, seat in enumerate((3, 0, "gpu"))}
    assert len(set(pids.values())) == 3
    assert {seat: at_work_on(started, 10 + number, seat).pid for number, seat in enumerate(pids)} == pids
    started.retire_all()
    assert at_work_on(started, 20, 0).pid not in pids.values()
    assert len(started._workers) == 1


def test_workers_are_replaced_by_number_of_tasks_growth_and_age(started):
    worker = at_work_on(started, 0)
    no_limits = {"tasks": 0, "growth_gib": 0.0, "age_s": 0.0}
    for limits in ({"tasks": 2}, {"growth_gib": 1.0}, {"age_s": 3600.0}):
        started.retire(**{**no_limits, **limits})
        assert worker.number in started._workers
    started.retire(**{**no_limits, "tasks": 1})
    assert worker.number not in started._workers


needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has none")


@needs_affinity
def test_workers_stay_on_cores_of_their_own_until_they_are_let_go(started):
    everywhere = os.sched_getaffinity(0)
    cores = [frozenset({cpu}) for cpu in sorted(everywhere)][:2]
    workers = list(started._workers.values())
    for seat, worker in enumerate(workers):
        worker.seat = seat
    started.pin(cores)
    there = [os.sched_getaffinity(worker.pid) for worker in workers]
    assert there[: len(cores)] == cores
    assert there[len(cores) :] == [everywhere] * (len(workers) - len(cores))  # there are no cores for these
    started.retire_all()
    worker = at_work_on(started, 1, seat=1)
    assert os.sched_getaffinity(worker.pid) == (cores[1] if len(cores) > 1 else everywhere)
    started.pin(())
    assert os.sched_getaffinity(worker.pid) == everywhere
