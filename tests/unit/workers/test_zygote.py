"""What the zygote is asked to load, and that what it does to QCEngine changes nothing but the time it takes."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest
import qcengine  # noqa: F401 - loads the module below

from autotune.workers import zygote
from autotune.workers.messages import LOAD_REQUEST

MODULE = sys.modules["qcengine.compute"]
ASKED = (
    {"ncores": 1, "memory": 1.0, "scratch_directory": "/tmp/one", "retries": 0},
    {"ncores": 1, "memory": 2.5, "scratch_directory": "/tmp/one", "retries": 0},
    {"ncores": 2, "memory": 1.0, "scratch_directory": "/tmp/other", "retries": 0},
    {"ncores": 2, "memory": 1.0, "use_mpiexec": True, "mpiexec_command": "mpirun -n {total_ranks}", "nnodes": 1},
)


@pytest.fixture
def asked():
    """Return what the zygote takes from a socket that says as much and is closed."""

    def ask(said):
        ours, theirs = socket.socketpair()
        with theirs:
            with ours:
                ours.sendall(said)
            return zygote._asked_to_load(theirs)

    return ask


@pytest.fixture
def environment():
    """Put the environment back afterwards."""
    before = dict(os.environ)
    yield before
    os.environ.clear()
    os.environ.update(before)


def request(programs, environment):
    said = json.dumps({"programs": programs, "environment": environment}).encode()
    return LOAD_REQUEST.pack(len(said)) + said


def test_programs_and_the_whole_environment_are_those_asked_for(asked, environment):
    wanted = {"PATH": environment["PATH"], "OMP_NUM_THREADS": "1", "NAME": "\udcff"}  # no text, as a variable may be
    os.environ["GONE"] = "1"
    assert asked(request(["pyscf"], wanted)) == ("pyscf",)
    assert dict(os.environ) == wanted


def test_a_parent_that_died_while_it_asked_asked_for_nothing(asked, environment):
    whole = request(["pyscf"], {})
    assert [asked(whole[:size]) for size in range(len(whole))] == [None] * len(whole)
    assert environment.keys() == os.environ.keys()


@pytest.fixture
def work_out(monkeypatch):
    """Put QCEngine's own function back afterwards; return it."""
    own = MODULE.get_config
    monkeypatch.setattr(MODULE, "get_config", own)
    return own


def test_remembered_configurations_are_those_that_qcengine_works_out(work_out):
    zygote._remember_configurations()
    assert MODULE.get_config is not work_out
    for asked in (*ASKED, *reversed(ASKED)):
        assert MODULE.get_config(task_config=dict(asked)) == work_out(task_config=dict(asked))


def test_each_configuration_is_worked_out_once(work_out, monkeypatch):
    calls = []
    monkeypatch.setattr(MODULE, "get_config", lambda **asked: calls.append(asked) or work_out(**asked))
    zygote._remember_configurations()
    for asked in (*ASKED, *ASKED):
        MODULE.get_config(task_config=dict(asked))
    assert len(calls) == len(ASKED)


def test_what_one_task_does_to_its_configuration_does_not_reach_the_next(work_out):
    zygote._remember_configurations()
    first = MODULE.get_config(task_config=dict(ASKED[0]))
    object.__setattr__(first, "memory", 99.0)
    assert MODULE.get_config(task_config=dict(ASKED[0])).memory == work_out(task_config=dict(ASKED[0])).memory


def test_no_more_than_so_many_are_kept(work_out, monkeypatch):
    monkeypatch.setattr(zygote, "MOST_CONFIGURATIONS", 2)
    zygote._remember_configurations()
    for number in range(7):
        asked = {**ASKED[0], "memory": 1.0 + number}
        assert MODULE.get_config(task_config=asked) == work_out(task_config=asked)


@pytest.mark.usefixtures("work_out")
def test_a_qcengine_of_another_shape_is_left_alone(monkeypatch):
    monkeypatch.delattr(MODULE, "get_config")
    zygote._remember_configurations()
    assert not hasattr(MODULE, "get_config")
