"""Which quantum chemistry programs QCEngine finds on this machine.

Rules: a program that fails when it is asked becomes a record with its problem, and the others are still asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autotune.programs import abilities, mpi
from autotune.programs.facts import facts_of, known_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStatus:
    """One quantum chemistry program, as QCEngine sees it.

    Attributes:
        name: QCEngine's name of the program.
        found: Whether QCEngine can run it here.
        version: Its version, `unknown` where it does not say; empty where the program was not found.
        problem: What it raised when asked, one line; empty where all went well.
        width: How it divides a task over cores: `threads`, `MPI ranks` or `one core`; empty where it was not found.
        stays: How it is kept between tasks, in words; empty where it was not found.
    """

    name: str
    found: bool
    version: str = ""
    problem: str = ""
    width: str = ""
    stays: str = ""


def programs() -> tuple[ProgramStatus, ...]:
    """Return the programs QCEngine finds, then the field's usual ones it does not find, each group by name.

    Plug-ins must have registered their programs before. Some programs are started to tell their version.
    """
    import qcengine

    usual = {name for name, facts in known_facts().items() if facts.usual}
    asked = [_program_status(name) for name in sorted(qcengine.list_all_programs() | usual)]
    missing = [status for status in asked if not status.found and (status.problem or status.name in usual)]
    return (*(status for status in asked if status.found), *missing)


def _program_status(name: str) -> ProgramStatus:
    import qcengine

    if name not in qcengine.list_all_programs():
        return ProgramStatus(name=name, found=False)
    found, version, problem, width = False, "", "", ""
    try:
        harness = qcengine.get_program(name, check=False)
        found = bool(harness.found())
        width = _width(harness) if found else ""
        version = str(harness.get_version() or "unknown") if found else ""
        if not found and facts_of(name).usual:
            problem = _obstacle(name, harness)
    except Exception as error:  # noqa: BLE001 - a broken harness becomes a record, and the others are still asked
        version, problem = "unknown" if found else "", f"{type(error).__name__}: {' '.join(str(error).split())}"
    stays = facts_of(name).stays if found else ""
    return ProgramStatus(name=name, found=found, version=version, problem=problem, width=width, stays=stays)


def _obstacle(name: str, harness: Any) -> str:
    """Return what keeps a program that is not found from being used; empty where it is simply not installed."""
    try:
        harness.found(raise_error=True)
    except ModuleNotFoundError as error:
        return abilities.obstacle(name, error)
    return ""


def _width(harness: Any) -> str:
    """Return how a program gets several cores here: without a launcher an MPI program has one."""
    width = abilities.width_of(harness)
    return width if width != abilities.RANKS or mpi.launcher() else f"{abilities.ONE_CORE} (no mpirun found)"
