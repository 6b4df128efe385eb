"""What programs can do with cores and with ghost atoms: by the flags of QCEngine's harnesses and the facts of plugins.

Rules: a width that a program ignores would only keep cores from others, so what no flag says counts as one core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autotune.base.errors import InputError
from autotune.base.types import Machine, Task
from autotune.programs.facts import facts_of

THREADS, RANKS, ONE_CORE = "threads", "MPI ranks", "one core"


def width_of(harness: Any) -> str:
    """Return how a program divides a task over cores, by the flags of its QCEngine harness."""
    if harness.node_parallel:
        return RANKS
    return THREADS if harness.thread_parallel else ONE_CORE


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
    with_ghosts = {task.method.program for task in tasks if len(task.basis) > len(task.real)}
    wrong = sorted(program for program in with_ghosts if not facts_of(program).ghosts)
    if wrong:
        raise InputError(
            f"{' and '.join(wrong)} cannot compute fragments with ghost atoms, which bsse cp and vmfc need;"
            " use nocp, or another program"
        )


def check_gpus(tasks: Iterable[Task], machine: Machine) -> None:
    """Raise InputError where a program computes on GPUs and the machine has none."""
    wanting = sorted({task.method.program for task in tasks if facts_of(task.method.program).gpu is not None})
    if wanting and not machine.gpus:
        raise InputError(
            f"{' and '.join(wanting)} needs a GPU, and none may be used here (see `autotune doctor`); take a machine"
            " with one, or another program"
        )


def on_one_core(widths: Mapping[str, str]) -> frozenset[str]:
    """Return the programs that take one core whatever they are given."""
    return frozenset(program for program, width in widths.items() if width == ONE_CORE)
