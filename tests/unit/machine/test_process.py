"""Claims about `autotune.machine.process`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from autotune.machine import process

# A child started by the main thread, and one by another; all end with their input.
FAMILY = """
import subprocess, sys, threading
def start():
    subprocess.Popen(["cat"], stdout=subprocess.DEVNULL)
def elsewhere():
    start()
    sys.stdin.read()
start()
threading.Thread(target=elsewhere).start()
while len(__import__("psutil").Process().children()) < 2: pass
print("ready", flush=True)
"""


@pytest.fixture
def family():
    """A process with two children, one of them started by a thread that still runs."""
    parent = subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    yield parent
    parent.communicate()


def test_the_tree_of_a_process_is_it_and_all_below_it_whichever_thread_started_them(family):
    below = psutil.Process(os.getpid()).children(recursive=True)
    assert family.pid in [child.pid for child in below]
    assert len(below) >= 3
    assert set(process.tree(os.getpid())) == {os.getpid(), *(child.pid for child in below)}
    assert process.tree(family.pid)[0] == family.pid
    assert len(process.tree(family.pid)) == 3


def test_memory_of_a_tree_is_that_of_all_its_processes(family):
    pids = process.tree(family.pid)
    assert process.usage(pids)[0] == pytest.approx(sum(process.usage([pid])[0] for pid in pids), rel=0.02)
    assert process.usage(pids)[0] > process.usage([family.pid])[0] > 0.0


def test_the_tree_of_a_process_that_has_ended_is_empty_and_uses_nothing():
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert process.tree(ended.pid) == []
    assert process.usage([ended.pid]) == process.usage([]) == (0.0, 0.0)


def test_cpu_time_of_a_process_holds_that_of_its_ended_children():
    before = process.usage([os.getpid()])[1]
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    assert process.usage([os.getpid()])[1] - before > 0.15


@pytest.mark.parametrize(
    ("end", "killed"),
    [(f"os.kill(os.getpid(), {int(number)})", number == signal.SIGKILL) for number in (signal.SIGKILL, signal.SIGTERM)]
    + [("os._exit(9)", False), ("os._exit(0)", False)],
)
def test_only_a_process_that_was_ended_by_sigkill_was_killed(end, killed):
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", f"import os; {end}"], os.environ)
    assert process.was_killed(os.waitpid(pid, 0)[1]) == killed
    assert not process.was_killed(None)  # nobody can say that it was


def test_marked_processes_end_with_what_they_started_and_others_do_not():
    def started(mark):
        code = "import os, signal; os.setsid(); signal.signal(15, signal.SIG_IGN); os.fork(); signal.pause()"
        return subprocess.Popen([sys.executable, "-S", "-c", code], env={**os.environ, "MARK": mark})

    ours, others = started("ours"), started("others")
    try:
        while not (below := process.tree(ours.pid)[1:]):
            pass
        process.kill_marked("MARK", "ours")
        assert ours.wait() == -signal.SIGKILL
        left = [each.pid for each in psutil.process_iter() if each.status() != psutil.STATUS_ZOMBIE]
        assert not set(below) & set(left)
        assert others.poll() is None
    finally:
        process.kill_marked("MARK", "others")
        others.wait()


@pytest.mark.parametrize("resident", [True, False])
def test_workers_are_told_whether_programs_stay(monkeypatch, resident):
    monkeypatch.setenv(process.RESIDENT_VARIABLE, "0")
    told = process.worker_environment(resident=resident, passive_wait=True, one_blas_thread=True, blas_kernel="")
    assert told.get(process.RESIDENT_VARIABLE) == (None if resident else "0")
