"""Claims about `autotune.programs.inventory`: what QCEngine finds, and what it says of what fails."""

from dataclasses import asdict

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
    told = {"width": "one core", "stays": "a new process for each task", **told}
    return inventory.ProgramStatus(name=name, found=True, **told)


def test_a_program_that_is_found_tells_its_version(ask):
    assert ask("good") == found("good", version="1.2")


def test_a_program_without_a_version_is_unknown(ask):
    assert ask("shy") == found("shy", version="unknown")


def test_a_program_that_fails_to_tell_its_version_says_why(ask):
    assert ask("mute") == found("mute", version="unknown", problem="RuntimeError: no banner")


def test_a_program_that_cannot_be_looked_for_says_why_in_one_line(ask):
    expected = inventory.ProgramStatus(name="crashing", found=False, problem="OSError: the licence server is away")
    assert ask("crashing") == expected


def test_an_unusual_program_that_is_absent_is_not_listed(ask):
    assert ask("absent") is None


def test_the_usual_programs_that_are_absent_are_listed(ask):
    ask("absent")
    assert inventory.programs() == tuple(inventory.ProgramStatus(name=name, found=False) for name in USUAL)


def test_qcengines_own_programs_can_be_asked():
    assert {status.name for status in inventory.programs()} >= set(USUAL)


def test_programs_that_are_found_come_first(ask):
    ask("zzz")
    found = [status.found for status in inventory.programs()]
    assert found == sorted(found, reverse=True)


def test_a_program_status_is_plain_data():
    status = inventory.ProgramStatus(name="orca", found=False)
    nothing = dict.fromkeys(("version", "problem", "width", "stays"), "")
    assert asdict(status) == {"name": "orca", "found": False, **nothing}


@pytest.fixture
def launchers(tmp_path, monkeypatch):
    """Give the test a PATH of its own, so that it decides whether there is an `mpirun`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    mpi.launcher.cache_clear()
    yield tmp_path
    mpi.launcher.cache_clear()


def test_a_program_tells_how_it_divides_a_task_over_cores(ask):
    assert ask("threaded").width == "threads"
    assert ask("good").width == "one core"


def test_a_program_of_mpi_without_a_launcher_takes_one_core(ask, launchers):
    assert list(launchers.iterdir()) == []
    assert ask("ranked").width == "one core (no mpirun found)"


def test_a_program_of_mpi_with_a_launcher_takes_ranks(ask, launchers):
    launcher = launchers / "mpirun"
    launcher.write_text("#!/bin/sh\necho 'HYDRA build details:'\n")
    launcher.chmod(0o755)
    assert ask("ranked").width == "MPI ranks"


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("tblite", "stays loaded in its worker"),
        ("psi4", "stays loaded beside its worker"),
        ("good", "a new process for each task"),
    ],
)
def test_a_program_tells_how_it_is_kept_between_tasks(ask, name, stays):
    assert ask(name).stays == stays
