"""What programs can do with cores, and what they cannot do at all: facts by name, and QCEngine's flags for the rest.

Rules: knows programs by name and nothing heavier; `flagged` takes a QCEngine harness, wherever one was loaded. What is
not known here or by a flag counts as one core: a width that a program ignores would only keep cores from others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autotune.base.errors import InputError
from autotune.base.types import Task

THREADS, RANKS, ONE_CORE = "threads", "MPI ranks", "one core"
# How a program stays between tasks; all others are a new process for each.
IMPORTED = frozenset(
    {"adcc", "dftd4", "mace", "openmm", "orb", "pyscf", "rdkit", "s-dftd3", "tblite", "torchani", "aimnet2", "mctc-gcp"}
)
SERVED = frozenset({"psi4"})
# They read every atom as a real one, so counterpoise fragments would come out as another molecule's energy. dftd4 and
# s-dftd3 leave ghosts out themselves, which is right: the correction has no basis set.
WITHOUT_GHOSTS = frozenset({"dftd3", "mace", "mopac", "openmm", "orb", "rdkit", "tblite", "torchani", "aimnet2", "xtb"})
# They take every basis set as Cartesian unless this keyword says otherwise; see `inputs.from_xyz`.
SPHERICAL_KEYWORD: Mapping[str, str] = {"nwchem": "basis__spherical"}
CARTESIAN_KEYWORD = "basis__cartesian"
# Seconds until a program that is a new process for each task begins to compute, before anything was measured.
PROCESS_START_S: Mapping[str, float] = {"mopac": 0.02, "xtb": 0.02, "nwchem": 0.2}
USUAL_PROCESS_START_S = 0.5


def flagged(harness: Any) -> str:
    """Return how a program divides a task over cores, by the flags of its QCEngine harness."""
    if harness.node_parallel:
        return RANKS
    return THREADS if harness.thread_parallel else ONE_CORE


def stays(program: str) -> str:
    """Return how a program is kept between tasks, in words."""
    if program in IMPORTED:
        return "stays loaded in its worker"
    return "stays loaded beside its worker" if program in SERVED else "a new process for each task"


def start_s(program: str) -> float:
    """Return the seconds a program takes to start for each task, before anything was measured."""
    if program in IMPORTED | SERVED:
        return 0.0
    return PROCESS_START_S.get(program, USUAL_PROCESS_START_S)


def obstacle(program: str, error: BaseException | None) -> str:
    """Return why a program that may be here cannot be used; empty where it is simply not installed.

    Args:
        program: QCEngine's name of it.
        error: What its harness's `found(raise_error=True)` raised.
    """
    words = " ".join(str(error or "").split())
    plain = ("command ", f"python module '{program}'", f"{program} is not in path")
    return "" if words.lower().startswith(plain) else words


def check_ghosts(tasks: Iterable[Task]) -> None:
    """Raise InputError where a task has ghost atoms and its program would take them for real ones."""
    wrong = sorted({t.method.program for t in tasks if len(t.basis) > len(t.real)} & WITHOUT_GHOSTS)
    if wrong:
        raise InputError(
            f"{' and '.join(wrong)} cannot compute fragments with ghost atoms, which bsse cp and vmfc need;"
            " use nocp, or another program"
        )


def on_one_core(widths: Mapping[str, str]) -> frozenset[str]:
    """Return the programs that take one core whatever they are given."""
    return frozenset(program for program, width in widths.items() if width == ONE_CORE)
