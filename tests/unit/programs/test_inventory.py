"""Claims about `autotune.programs.inventory`: what QCEngine finds, and what it says of what fails."""

import pytest
import qcengine
from qcengine.programs.model import ProgramHarness

from autotune.programs import inventory, mpi
from autotune.programs.facts import known_facts

USUAL = sorted(name for name, facts in known_facts().items() if facts.usual)


class Program(ProgramHarness):
    """A program that behaves as its name says."""

    def __init__(self, name):
        super().__init__(
            name=name,
            scratch=False,
            thread_safe=False,
            thread_parallel=name == "threaded",
            node_parallel=name == "ranked",
            managed_memory=False,
        )

    def found(self, raise_error=False):  # noqa: ARG002 - QCEngine's signature
        if self.name == "crashing":
            raise OSError("the licence\nserver is away")
        return self.name != "absent"

    def get_version(self):
        if self.name == "mute":
            raise RuntimeError("no banner")
        return None if self.name == "shy" else "1.2"

    def compute(self, input_data, config):
        raise NotImplementedError


@pytest.fixture
def ask(monkeypatch):
    """Register a program of this name beside no other, ask for all, and return what was said about it."""
    monkeypatch.setattr(qcengine.programs.base, "programs", {})

    def ask(name):
        qcengine.register_program(Program(name))
        return next((status for status in inventory.programs() if status.name == name), None)

    return ask


def found(name, **told):
    """Return the status of a program that takes one core and is a new process for each task."""
    told = {"found": True, "width": "one core", "stays": "a new process for each task", **told}
    return inventory.ProgramStatus(name=name, **told)


LOST = {"found": False, "width": "", "stays": ""}


@pytest.mark.parametrize(
    "expected",
    [
        found("good", version="1.2"),
        found("shy", version="unknown"),
        found("mute", version="unknown", problem="RuntimeError: no banner"),
        found("crashing", **LOST, problem="OSError: the licence server is away"),
        found("threaded", version="1.2", width="threads"),
        found("tblite", version="1.2", stays="stays loaded in its worker"),
        found("psi4", version="1.2", stays="stays loaded beside its worker"),
    ],
    ids=lambda expected: expected.name,
)
def test_a_program_tells_its_version_or_what_is_amiss_in_one_line_and_how_it_is_used(ask, expected):
    assert ask(expected.name) == expected


def test_of_programs_that_are_absent_the_usual_are_listed(ask):
    assert ask("absent") is None
    assert inventory.programs() == tuple(found(name, **LOST) for name in USUAL)


def test_qcengines_own_programs_can_be_asked():
    assert {status.name for status in inventory.programs()} >= set(USUAL)


def test_programs_that_are_found_come_first(ask):
    ask("zzz")
    found = [status.found for status in inventory.programs()]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(("launcher", "width"), [(None, "one core (no mpirun found)"), ("mpirun", "MPI ranks")])
def test_a_program_of_mpi_takes_ranks_where_there_is_a_launcher(ask, tmp_path, monkeypatch, launcher, width):
    monkeypatch.setenv("PATH", str(tmp_path))
    if launcher:
        (tmp_path / launcher).write_text("#!/bin/sh\necho 'HYDRA build details:'\n")
        (tmp_path / launcher).chmod(0o755)
    mpi.launcher.cache_clear()
    assert ask("ranked").width == width
    mpi.launcher.cache_clear()
