"""What a pool and its workers tell each other over their pipe.

Rules: records only. The pool sends a recipe (JSON text), a `Check`, a list of `Order`, or None for the end; a worker
sends its process's number first, then a `Checked` or lists of `Reply`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from autotune.base.types import Resources


class Order(NamedTuple):
    """One task for a worker; with `rescue`, the recipe's other keywords are laid over its own.

    The program is told the memory of `resources`, and takes their cores.
    """

    number: int
    level: str
    real: tuple[int, ...]
    basis: tuple[int, ...]
    resources: Resources
    rescue: bool = False


class Reply(NamedTuple):
    """What became of an `Order`; times are CLOCK_MONOTONIC seconds, comparable on one machine.

    Short tasks that are answered together are measured together: they share their CPU time by wall time, and the peak
    is that of all; 0 where it is not known whose it is. `resident_gib` is what the worker holds afterwards: it grows
    where a program leaks. `contained` are energies (Eh) of lower methods that the task computed on its way, by
    property.
    """

    number: int
    values: dict[str, Any] | None
    result: str | None
    error_type: str
    error: str
    started: float
    wall_s: float
    cpu_s: float
    peak_gib: float
    resident_gib: float
    contained: dict[str, float] | None = None


class Check(NamedTuple):
    """Ask whether every model chemistry of the recipe can run; answered by `Checked`.

    Asked of every kind of fragment, and of the components `(level, real, basis)` that are given.
    """

    components: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()


class Checked(NamedTuple):
    """One line for each thing that is wrong; by program, its version and how it divides a task over cores.

    `cautions` are sentences about what can be computed but deserves doubt.
    """

    problems: tuple[str, ...]
    versions: dict[str, str]
    widths: dict[str, str]
    cautions: tuple[str, ...] = ()
