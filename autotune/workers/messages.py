"""What a pool, its workers, their zygote, and whoever gives the pool tasks tell each other.

Rules: records only. Over its pipe a worker is sent a `Briefing`, a `Check`, a list of `Order`, or None for the end; it
sends its process's number first, then a `Checked` or lists of `Reply`. Over the control socket the zygote is sent what
to load, then requests for forks, and reports how workers ended. A pool hands on each `Outcome`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from autotune.base.types import Parameter, Resources

LOAD_REQUEST = struct.Struct("!I")  # bytes of JSON that follow: programs, and the environment of workers
FORK_REQUEST = struct.Struct("!I")  # worker number; the worker's end of its pipe travels beside it
EXIT_REPORT = struct.Struct("!Ii")  # worker number, wait status
NO_FORK = 1 << 8  # the wait status of a worker that could not be started: that of an exit with 1


class Briefing(NamedTuple):
    """What all orders that follow have in common: the recipe of their inputs (JSON text), and programs' tunables."""

    recipe: str
    tunables: tuple[tuple[str, Parameter], ...] = ()


class Together(NamedTuple):
    """That a task is computed with others in one start of its program, which may take `limit_s`.

    `part_s` is what the task is expected to take of it: what the start takes is shared out by these.
    """

    part_s: float
    limit_s: float = math.inf


class Order(NamedTuple):
    """One task for a worker; with `rescue`, the recipe's other keywords are laid over its own.

    The program is told the memory of `resources`, and takes their cores. With `together`, its neighbours that say so
    too and are of the same level are computed in the same start of the program, where its harness can. The
    `environment` are variables that name the GPU it may use, the same for all orders of a worker that have any.
    """

    number: int
    level: str
    real: tuple[int, ...]
    basis: tuple[int, ...]
    resources: Resources
    rescue: bool = False
    together: Together | None = None
    environment: tuple[tuple[str, str], ...] = ()


class Reply(NamedTuple):
    """What became of an `Order`; times are CLOCK_MONOTONIC seconds, comparable on one machine.

    Of a worker that ended with its task unfinished the pool says so in its place: then `error_type` is `crash`,
    `memory`, `timeout`, or what `Pool.stop` was told.

    Short tasks that are answered together are measured together: they share their CPU time by wall time, and the peak
    is that of all; 0 where it is not known whose it is. `resident_gib` is what the worker holds afterwards: it grows
    where a program leaks. `contained` are energies (Eh) of lower methods that the task computed on its way, by
    property. `sharers` are the tasks computed in the same start of the program, this one included: they share its wall
    time. `fallback` says why the program did without one of its tunables, if it did.
    """

    number: int
    started: float
    wall_s: float
    values: dict[str, Any] | None = None
    result: str | None = None
    error_type: str = ""
    error: str = ""
    cpu_s: float = 0.0
    peak_gib: float = 0.0
    resident_gib: float = 0.0
    contained: dict[str, float] | None = None
    sharers: int = 1
    fallback: str = ""


class Returned(NamedTuple):
    """A task that its worker did not come to, because it ended with an earlier one of the same batch.

    A `suspect` was computed in one start with others when the worker ended, so nobody knows which of them is to blame.
    """

    number: int
    suspect: bool = False


Outcome: TypeAlias = Reply | Returned


class Usage(NamedTuple):
    """What all workers and their children use together; what the workers share with each other counts once.

    `cpu_s` is the CPU time of the living ones since their start; `by_task` is the resident memory of each worker that
    is at work, by the task it is at; what it shares is in it, as in the peaks from which predictions learn.
    """

    resident_gib: float
    cpu_s: float
    by_task: Mapping[int, float]


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
