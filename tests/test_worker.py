"""Claims about `autotune.worker`, of a real worker process and a program that computes nothing."""

from __future__ import annotations

import pytest

from autotune import process, workload
from autotune.messages import Order
from autotune.outcome import Lost
from autotune.pool import Pool
from autotune.worker import TOGETHER_S


@pytest.fixture
def pool(tmp_path):
    environment = process.worker_environment(resident=True, passive_wait=False, one_blas_thread=False, blas_kernel="")
    with Pool(programs=["faulty"], environment=environment, scratch=tmp_path) as made:
        yield made


def events_of(pool, work, numbers):
    """Return what comes of tasks that one worker is told at once, and the lots in which it came."""
    pool.set_recipe(work.recipe.to_json())
    assert not pool.check().problems
    tasks = [work.tasks[number] for number in numbers]
    pool.start([Order(task.number, task.level, task.real, task.basis, 1, 1.0) for task in tasks])
    lots = []
    while sum(map(len, lots)) < len(numbers):
        lots += filter(None, [pool.wait(timeout_s=5.0)])
    return lots


def test_short_tasks_are_answered_and_measured_together(pool, faulty):
    (lot,) = events_of(pool, workload.load(faulty("water4", "nothing")), range(10))
    assert [reply.number for reply in lot] == list(range(10))
    assert all(reply.values for reply in lot)
    (peak_gib,) = {reply.peak_gib for reply in lot}
    assert 0.0 < peak_gib < 1.0
    per_wall = [reply.cpu_s / reply.wall_s for reply in lot]
    assert per_wall == pytest.approx([per_wall[0]] * 10)


def test_tasks_that_take_longer_are_answered_and_measured_each_by_itself(pool, faulty):
    work = workload.load(faulty("water4", "spin", seconds=1.5 * TOGETHER_S))
    lots = events_of(pool, work, range(3))
    assert [len(lot) for lot in lots] == [1, 1, 1]
    assert all(lot[0].cpu_s >= TOGETHER_S for lot in lots)


def test_a_peak_is_not_that_of_tasks_that_were_done_before(pool, faulty):
    # The dimer takes half a second and a quarter of a GiB where its worker was told that it is as short as monomers.
    work = workload.load(faulty("water4", "allocate", at=[6], gib=0.25, seconds=0.5))
    dimer = next(task.number for task in work.tasks if task.nbody == 2)
    (lot,) = events_of(pool, work, [0, 1, 2, dimer])
    assert [reply.peak_gib for reply in lot[:3]] == [0.0, 0.0, 0.0]
    assert lot[3].peak_gib > 0.25


def test_of_a_crash_the_last_lines_are_those_of_its_own_task(pool, faulty):
    work = workload.load(faulty("water4", "last-words", at=[6]))
    dimer = next(task.number for task in work.tasks if task.nbody == 2)
    (event,) = [event for lot in events_of(pool, work, [0, 1, dimer]) for event in lot if isinstance(event, Lost)]
    assert event.number == dimer
    assert "task of 6 atoms" in event.reason
    assert "task of 3 atoms" not in event.reason


def test_the_output_of_a_worker_does_not_grow_without_end(pool, faulty):
    work = workload.load(faulty("water6", "shout", max_nbody=2))
    events_of(pool, work, range(len(work.tasks)))
    events_of(pool, work, range(len(work.tasks)))
    sizes = [path.stat().st_size for path in pool.scratch.glob("worker-*/output")]
    assert 0 < max(sizes) < 2 * 2**20


def test_files_of_a_task_are_gone_when_its_batch_is_done(pool, faulty):
    events_of(pool, workload.load(faulty("water4", "fill", at=[3], gib=0.002)), range(2))
    pool.check()  # the worker has come back to its pipe
    assert [list(folder.iterdir()) for folder in pool.scratch.glob("worker-*/files")] == [[]]
