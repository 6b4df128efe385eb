"""Threads may share a session and register together; what is said is logged."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import autotune
from autotune.base.errors import InputError


def test_threads_share_a_session_and_each_gets_its_own_result(cluster, tmp_path):
    names = ["water2", "water4"] * 3
    inputs = [cluster(name, program="faulty", method="nothing", basis="", max_nbody=1) for name in names]
    with (
        autotune.Session(autotune.Options(journal=str(tmp_path / "journal"))) as session,
        ThreadPoolExecutor(3) as threads,
    ):
        results = list(threads.map(session.run, inputs))
    assert [len(result.cluster_results or result.input_data.molecule.fragments) for result in results] == [
        len(fields["molecule"]["fragments"]) for fields in inputs
    ]


def test_a_session_that_is_closed_by_another_thread_ends_its_run_first(faulty):
    began = threading.Event()
    session = autotune.Session(autotune.Options(journal="none"), on_notice=lambda _: began.set())
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(session.run, faulty("water4", "sleep", seconds=0.1))
        assert began.wait(60.0)
        session.close()
        assert running.done()
        assert running.result().return_result == 0.0


def test_what_a_run_calls_back_cannot_start_another_with_its_session(faulty):
    def again(_):
        session.run(faulty("water4"))

    session = autotune.Session(autotune.Options(journal="none"), on_progress=again)
    with session, pytest.raises(InputError, match=r"^this session is computing; what it calls back cannot start"):
        session.run(faulty("water4"))


REGISTER = """
import sys, threading
import autotune
import qcengine.procedures.base as base

sys.setswitchinterval(1e-6)
slow = base.list_all_procedures
failed, threads = [], []
begin = threading.Barrier(8)


def register():
    begin.wait()
    try:
        autotune.register()
    except BaseException as error:
        failed.append(error)


for _ in range(8):
    threads.append(threading.Thread(target=register))
    threads[-1].start()
for thread in threads:
    thread.join()
print(len(failed), "autotune" in slow())
"""


def test_threads_may_register_at_once():
    done = subprocess.run([sys.executable, "-c", REGISTER], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "0 True\n"), done.stderr


def test_what_a_user_should_read_is_logged_under_the_packages_name(faulty, caplog):
    said = []
    with (
        caplog.at_level(logging.INFO, logger="autotune"),
        autotune.Session(autotune.Options(journal="none"), on_notice=said.append) as session,
    ):
        session.run(faulty("water4"))
    logged = [record.getMessage() for record in caplog.records if record.name == "autotune"]
    assert said
    assert set(said) < set(logged)
    assert [line for line in logged if line.startswith("tuning: default - no tuning for faulty")]
