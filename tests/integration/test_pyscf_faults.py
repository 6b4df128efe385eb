"""The same faults in real PySCF: killed workers, no convergence, too little memory, long life."""

from __future__ import annotations

import os
import signal

import pytest

from autotune.base.errors import InputError
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.session.session import Options, Session


def test_a_pyscf_worker_that_is_killed_costs_one_attempt_and_not_one_bit(cluster):
    given = cluster("water4", basis="cc-pvdz", max_nbody=3)
    killed = []

    def kill(snapshot):
        workers = [w for w in session._place._pool._workers.values() if w.begun]
        # Monomers and pairs are done, and a trimer takes longer than this look at it.
        if workers and snapshot.done >= 10 and not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    with Session(Options(workers=2, threads=1), on_progress=kill) as session:
        struck = session.run(given)
        assert session.record.attempts == session.record.tasks + len(killed)
    with Session(Options(workers=2, threads=1)) as session:
        whole = session.run(given)
    assert struck.properties == whole.properties


def test_an_scf_that_does_not_converge_fails_and_is_tried_with_other_keywords_where_the_user_allows_them(cluster):
    with Session(Options(rescue={"max_cycle": 50}, threads=1)) as session:
        rescued = session.run(cluster("water2", max_nbody=2, keywords={"max_cycle": 3}))
        assert {task.attempts for task in session.record.task_records} == {2}
        usual = session.run(cluster("water2", max_nbody=2))
        assert {task.attempts for task in session.record.task_records} == {1}
    assert rescued.return_result == usual.return_result


def test_rescue_keywords_that_the_program_does_not_know_are_refused_before_anything_runs(cluster):
    with (
        pytest.raises(InputError, match="keyword 'max_cycles' is not known"),
        Session(Options(rescue={"max_cycles": 50})) as session,
    ):
        session.run(cluster("water2"))


def test_five_hundred_tasks_in_one_resident_worker_keep_its_memory_bounded():
    # Atoms are small and cheap, so what each task may leave behind is little: 50 kB.
    neon = "16\n\n" + "".join(f"Ne {3 * (n // 4)} {3 * (n % 4)} 0\n" for n in range(16))
    stated = Expansion(program="pyscf", method="hf", basis="sto-3g", max_nbody=2)
    resident = []
    with Session(Options(workers=1, threads=1)) as session:
        for _ in range(4):
            session.run(many_body_fields(neon, name="neon", expansion=stated))
            (worker,) = session._place._pool._workers.values()
            resident.append(worker.resident_gib)
        assert worker.tasks == 4 * 136
    assert max(resident[1:]) - resident[0] < 0.02
