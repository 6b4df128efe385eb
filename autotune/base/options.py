"""What a user can decide instead of autotune.

Rules: values that cannot be meant are refused when they are made; everything may be left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, TypedDict

from autotune.base.errors import InputError
from autotune.base.text import quote
from autotune.base.types import PAIR

METRICS = ("nearest", "centres", "farthest")
_COUNTS = ("workers", "threads", "cores", "nodes")
_QUANTITIES = ("memory_gib", "task_limit_s", "scratch_gib", "screen_energy")

# Options that leave tasks out, as the command line calls them.
OMISSIONS = {
    "terms": "--terms",
    "around": "--around",
    "screen_distance": "--screen-distance",
    "screen_energy": "--screen-energy",
    "reuse_equal_monomers": "--reuse-equal-monomers",
    "reuse_equal_fragments": "--reuse-equal-fragments",
    "reuse_contained": "--reuse-contained",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user can decide instead of autotune. Everything may be left out.

    Attributes:
        workers: Tasks that run at once.
        threads: Cores of each task.
        cores: Cores to use of those usable.
        memory_gib: Memory all tasks may use together; 80 % of what is usable by default.
        tuning: `auto` finds the best stored one, `none` takes the defaults, anything else is a tuning file.
        strategies: Strategies to apply, in order, instead of the standard ones (or the tuning's).
        without: Strategies to leave out.
        program_tuning: Use the programs' tunables; otherwise each program computes in its own way.
        task_limit_s: A task that runs longer is killed, with everything it started.
        scratch: Folder for scratch files.
        scratch_gib: What scratch files may take together; nine tenths of what is free by default.
        journal: `auto` is this user's journal, `none` keeps finished tasks in memory only, anything else is a file.
        resume: Take tasks that the journal has instead of computing them again.
        fail_fast: Start nothing more once a task has failed for good.
        enforce_memory: Let the kernel hold all workers to the memory budget, by a control group of their own.
        rescue: Keywords laid over a task's own in a second attempt, where the first did not converge.
        backend: `local` is this machine; others run bundles of tasks on several, such as `parsl`.
        backend_config: File that the backend reads.
        executor: A `concurrent.futures.Executor` whose workers are nodes, instead of a backend; it is not shut down.
        nodes: Bundles that run at once; by default what the backend or the executor says.
        reuse_contained: Take energies that a task of a higher method contains, instead of computing them.
        reuse_equal_monomers: Compute one of the monomers that are equal up to rotation, translation and reflection.
        reuse_equal_fragments: The same of components of all sizes, in many inputs of all that are computed together.
        reuse_densities: In a `Session`, let each task start from where the same task of the run before ended, where the
            program can; results then depend, within 1e-9 Eh, on what was computed before. Left out, only the
            procedure for optimisers does so.
        screen_distance: Leave out terms of fragments that are farther apart than this, in Å; they are reported. By
            n-body level, such as `{2: 12.0, 3: 8.0}`, where higher levels reach less far: a level that is not named has
            the distance of the next lower one, and what is below all named ones is computed.
        screen_metric: What a distance of two fragments is: of their `nearest` atoms, of their `centres` of mass, or of
            the two atoms that are `farthest` apart.
        terms: The terms to compute, each by its fragments, counted from 1, such as `((1, 2), (1, 2, 5))`, and what lies
            below them; the rest is reported.
        screen_energy: Take terms from a cheap method where it finds them smaller than this, in kcal/mol, and compute
            the others; the error that this makes is estimated.
        screen_method: The cheap method, as `METHOD/BASIS`, or `PROGRAM METHOD/BASIS` for another program.
        around: Of pairs compute only those of these fragments, counted from 1, with the others; the rest is reported.
    """

    workers: int | None = None
    threads: int | None = None
    cores: int | None = None
    memory_gib: float | None = None
    tuning: str = "auto"
    strategies: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    program_tuning: bool = True
    task_limit_s: float | None = None
    scratch: str | None = None
    scratch_gib: float | None = None
    journal: str = "auto"
    resume: bool = False
    fail_fast: bool = False
    enforce_memory: bool = False
    rescue: Mapping[str, object] = field(default_factory=dict)
    backend: str = "local"
    backend_config: str = ""
    executor: Executor | None = None
    nodes: int | None = None
    reuse_contained: bool = False
    reuse_equal_monomers: bool = False
    reuse_equal_fragments: bool = False
    reuse_densities: bool | None = None
    screen_distance: float | Mapping[int, float] | None = None
    screen_metric: str = "nearest"
    around: tuple[int, ...] = ()
    terms: tuple[tuple[int, ...], ...] = ()
    screen_energy: float | None = None
    screen_method: str = ""

    @property
    def here(self) -> bool:
        """Whether tasks run on this machine alone."""
        return self.executor is None and self.backend == "local"

    @property
    def remembers(self) -> bool:
        """Whether tasks may start from where those of the run before ended."""
        return bool(self.reuse_densities) and self.program_tuning

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for name in (*_COUNTS, *_QUANTITIES):
            if (value := getattr(self, name)) is not None:
                _check_number(name, value)
        _check_screens(self)
        for name in ("strategies", "without"):
            if isinstance(value := getattr(self, name), str):
                raise InputError(f"option {name} is the text {quote(value)}, but must be a tuple of names")
        if self.resume and self.journal == "none":
            raise InputError("option resume needs a journal: leave out journal=none")
        if self.executor is not None and self.backend != "local":
            raise InputError(f"option executor says where tasks run, and so does backend={self.backend!r}: give one")
        if self.here and (self.nodes or self.backend_config):
            name = "nodes" if self.nodes else "backend_config"
            raise InputError(f"option {name} is for several machines: give a backend, such as parsl, or an executor")


def _check_screens(stated: Options) -> None:
    if stated.screen_distance is not None:
        _check_distances(stated.screen_distance)
    _check_fragments("around", stated.around)
    for term in stated.terms:
        _check_fragments("terms", term)
    if stated.screen_metric not in METRICS:
        raise InputError(f"option screen_metric is {quote(stated.screen_metric)}; there are {', '.join(METRICS)}")
    if stated.screen_metric != METRICS[0] and stated.screen_distance is None:
        raise InputError("option screen_metric says what a distance is: give screen_distance with it")
    if (stated.screen_energy is None) != (not stated.screen_method):
        raise InputError("options screen_energy and screen_method go together: a threshold, and the cheap method")


def _check_fragments(name: str, stated: Any) -> None:
    if not isinstance(stated, tuple | list) or not all(type(number) is int and number > 0 for number in stated):
        raise InputError(f"option {name} has {quote(stated)}, which is no tuple of fragments, counted from 1")


def _check_distances(stated: float | Mapping[int, float]) -> None:
    of = stated if isinstance(stated, Mapping) else {PAIR: stated}
    if not of:
        raise InputError("option screen_distance names no level; give Å, or Å by level, such as {2: 12.0, 3: 8.0}")
    for level, distance in of.items():
        _check_number("screen_distance", distance)
        if type(level) is not int or level < PAIR:
            raise InputError(f"option screen_distance names level {level!r}; levels of terms are 2, 3, ...")
    ordered = [of[level] for level in sorted(of)]
    if ordered != sorted(ordered, reverse=True):
        raise InputError(
            "option screen_distance grows with the level; a triple needs its pairs, so give higher levels no more than"
            " lower ones"
        )


class GivenOptions(TypedDict, total=False):
    """The same as `Options`, as functions take them by name: a type checker refuses a name or a value that is wrong."""

    workers: int | None
    threads: int | None
    cores: int | None
    memory_gib: float | None
    tuning: str
    strategies: tuple[str, ...] | None
    without: tuple[str, ...]
    program_tuning: bool
    task_limit_s: float | None
    scratch: str | None
    scratch_gib: float | None
    journal: str
    resume: bool
    fail_fast: bool
    enforce_memory: bool
    rescue: Mapping[str, object]
    backend: str
    backend_config: str
    executor: Executor | None
    nodes: int | None
    reuse_contained: bool
    reuse_equal_monomers: bool
    reuse_equal_fragments: bool
    reuse_densities: bool | None
    screen_distance: float | Mapping[int, float] | None
    screen_metric: str
    around: tuple[int, ...]
    terms: tuple[tuple[int, ...], ...]
    screen_energy: float | None
    screen_method: str


class GivenConditions(GivenOptions, total=False):
    """Options, and what befalls the nodes of a simulation; see `PretendedNodes`."""

    latency_s: float
    start_spread_s: float
    stragglers: float
    slower: float
    lost: int
    noticed_s: float
    back_s: float
    spread: float | None
    seed: int


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral if name in _COUNTS else Real):
        noun = "whole number" if name in _COUNTS else "number"
        raise InputError(f"option {name} is {quote(value)}, but must be a {noun}")
    if not 0 < float(value) < math.inf:
        raise InputError(f"option {name} is {value}, but must be above 0 and finite")
