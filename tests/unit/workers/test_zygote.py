"""What the zygote is asked to load, and that what it does to QCEngine changes nothing but the time it takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
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


def asked(said):
    """Return what the zygote takes from a socket that says as much and is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(said)
        return zygote._asked_to_load(theirs)


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


def test_programs_and_the_whole_environment_are_those_asked_for(environment):
    wanted = {"PATH": environment["PATH"], "OMP_NUM_THREADS": "1", "NAME": "\udcff"}  # no text, as a variable may be
    os.environ["GONE"] = "1"
    assert asked(request(["pyscf"], wanted)) == ("pyscf",)
    assert dict(os.environ) == wanted


READY = """\
import sys
from autotune.workers import zygote
zygote._import_ahead()
zygote._prepare(["pyscf"])
loaded = set(sys.modules)
late = [name for name, module in sys.modules.items() if type(module).__name__ == "_Waiting"]
from scipy import optimize
assert optimize.rosen([1.0, 1.0]) == 0.0
import pyscf.scf.diis
assert pyscf.scf.diis.scipy.optimize is optimize
import qcmanybody
print(*late, *(name for name in ("qcmanybody", "autotune.base.records", "autotune.session") if name in loaded))
"""


def test_what_tasks_do_not_use_is_loaded_when_somebody_uses_it():
    ready = subprocess.run([sys.executable, "-c", READY], capture_output=True, text=True, check=True)
    assert {"asyncio", "jsonschema", "numpy.f2py", "scipy.optimize"} <= set(ready.stdout.split())
    assert not {"qcmanybody", "autotune.base.records", "autotune.session"} & set(ready.stdout.split())


def test_a_parent_that_died_while_it_asked_asked_for_nothing(environment):
    whole = request(["pyscf"], {})
    assert [asked(whole[:size]) for size in range(len(whole))] == [None] * len(whole)
    assert environment.keys() == os.environ.keys()


@pytest.fixture
def work_out(monkeypatch):
    """Put QCEngine's own function back afterwards; return it."""
    own = MODULE.get_config
    monkeypatch.setattr(MODULE, "get_config", own)
    return own


@pytest.mark.parametrize("most", [2, 100])
def test_remembered_configurations_are_those_of_qcengine_and_each_is_worked_out_once_unless_they_are_too_many(
    work_out, monkeypatch, most
):
    calls = []
    monkeypatch.setattr(MODULE, "get_config", lambda **asked: calls.append(asked) or work_out(**asked))
    monkeypatch.setattr(zygote, "MOST_CONFIGURATIONS", most)
    zygote._remember_configurations()
    for asked in (*ASKED, *reversed(ASKED), *ASKED):
        assert MODULE.get_config(task_config=dict(asked)) == work_out(task_config=dict(asked))
    assert len(calls) == len(ASKED) or most < len(ASKED) < len(calls)


def test_what_one_task_does_to_its_configuration_does_not_reach_the_next(work_out):
    zygote._remember_configurations()
    first = MODULE.get_config(task_config=dict(ASKED[0]))
    object.__setattr__(first, "memory", 99.0)
    assert MODULE.get_config(task_config=dict(ASKED[0])).memory == work_out(task_config=dict(ASKED[0])).memory


@pytest.mark.usefixtures("work_out")
def test_a_qcengine_of_another_shape_is_left_alone(monkeypatch):
    monkeypatch.delattr(MODULE, "get_config")
    zygote._remember_configurations()
    assert not hasattr(MODULE, "get_config")
