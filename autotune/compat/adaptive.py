"""The configurations that the older parallel executor was planned to get: automatic, by method, hybrid.

Rules: as for `parallel_config.py`, whose class they extend. What is not said stays automatic; what is said is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autotune.base.options import Options
from autotune.compat.configuration import ParallelConfig, check_least, planned
from autotune.expansion.workload import Workload
from autotune.machine import detection
from autotune.runtime import planning

ALLOCATIONS = ("balanced", "adaptive", "memory_aware")
METHOD_OVERRIDES = ("workers", "threads", "tuning")
_NEEDED = {"adaptive": "hybrid", "memory_aware": "memory_scheduling"}  # strategy of each allocation


@dataclass
class AdaptiveParallelConfig(ParallelConfig):
    """Everything automatic unless it is said here; `resolve`, or an executor's `resolved`, shows what that means.

    Attributes:
        qc_threads_per_fragment: Cores of each fragment.
        max_total_threads: Cores to use of those usable.
        tuning: `auto` finds the best stored one, `none` takes the defaults, anything else is a tuning file.
        strategies: Strategies to apply, in order, instead of the standard ones (or the tuning's).
        without: Strategies to leave out.
    """

    max_workers: int | None = None
    memory_limit_mb: float | None = None
    timeout_seconds: float | None = None
    qc_threads_per_fragment: int | None = None
    max_total_threads: int | None = None
    tuning: str = "auto"
    strategies: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        for name in ("qc_threads_per_fragment", "max_total_threads"):
            check_least(name, getattr(self, name))
        asked = (self.max_workers or 1) * (self.qc_threads_per_fragment or 1)
        if self.max_total_threads is not None and asked > self.max_total_threads:
            raise ValueError(
                f"max_workers × qc_threads_per_fragment is {asked}, but max_total_threads {self.max_total_threads}"
            )

    def _wishes(self, work: Workload) -> Options:
        return replace(
            super()._wishes(work),
            cores=self.max_total_threads,
            tuning=self.tuning,
            strategies=None if self.strategies is None else tuple(self.strategies),
            without=tuple(self.without),
        )

    def _threads(self) -> int | None:
        given = self._settings("task_config").get("ncores")
        return self.qc_threads_per_fragment or (int(given) if given else None)


@dataclass
class MethodAwareConfig(AdaptiveParallelConfig):
    """The tuning of each method, with your own numbers for some of them.

    One plan serves a whole run, so of an input's methods that counts which takes most of the time.

    Attributes:
        method_overrides: By method, such as `mp2`: `workers`, `threads` and `tuning`, which go before what is said for
            all methods.
    """

    method_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        for method, override in self.method_overrides.items():
            unknown = sorted(override.keys() - set(METHOD_OVERRIDES))
            if unknown:
                raise ValueError(
                    f"method_overrides of {method!r} name {', '.join(unknown)}; they have {', '.join(METHOD_OVERRIDES)}"
                )

    def _wishes(self, work: Workload) -> Options:
        return replace(super()._wishes(work), **self._override(work))

    def _notes(self, work: Workload) -> list[str]:
        heaviest, *others = self._methods_by_load(work) or [""]
        idle = [method for method in others if method in self._by_method()]
        said = f"method_overrides of {', '.join(idle)} have no effect: {heaviest} takes most of the time, and one plan"
        return [*super()._notes(work), *([f"{said} serves the whole run"] if idle else [])]

    def _override(self, work: Workload) -> dict[str, Any]:
        heaviest = next(iter(self._methods_by_load(work)), "")
        return dict(self._by_method().get(heaviest, {}))

    def _methods_by_load(self, work: Workload) -> list[str]:
        """Return names of methods in the order in which the plan will rank them."""
        costs = planning.known_costs(work.methods, machine=detection.detect(), options=super()._wishes(work))
        return list(dict.fromkeys(method.method for method in planning.methods_by_load(work.tasks, costs)))

    def _by_method(self) -> dict[str, Mapping[str, Any]]:
        return {method.lower(): override for method, override in self.method_overrides.items()}


@dataclass
class HybridParallelConfig(AdaptiveParallelConfig):
    """Fragments side by side and threads in each of them.

    Attributes:
        enable_thread_affinity: Has no effect here, and the notes say so: widths change while a run goes on, and a
            program pinned to its first cores would wait for them beside idle ones.
        thread_allocation_strategy: `balanced` gives all fragments the same number of cores, the tuning's where none is
            given. `adaptive` gives more to those that would hold up the rest. `memory_aware` does so, too, and starts
            as many at a time as the memory holds.
    """

    enable_thread_affinity: bool = False
    thread_allocation_strategy: str = "balanced"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        allocation = self.thread_allocation_strategy
        if allocation not in ALLOCATIONS:
            raise ValueError(
                f"Invalid thread_allocation_strategy {allocation!r}; it is one of {', '.join(ALLOCATIONS)}"
            )
        needed = _NEEDED.get(allocation)
        if needed and (needed in self.without or (self.strategies is not None and needed not in self.strategies)):
            raise ValueError(f"thread_allocation_strategy {allocation!r} needs strategy {needed!r}, which is left out")

    def _wishes(self, work: Workload) -> Options:
        options = super()._wishes(work)
        if self.thread_allocation_strategy == "balanced" and options.threads is None and work.tasks:
            return replace(options, threads=planned(work, options)[1].policy.width)
        return options

    def _notes(self, work: Workload) -> list[str]:
        notes = super()._notes(work)
        if self.enable_thread_affinity:
            notes.append(
                "enable_thread_affinity has no effect: widths change while a run goes on, and pinned threads would wait"
                " for their cores beside idle ones"
            )
        if self.thread_allocation_strategy != "balanced" and self._threads() is not None:
            notes.append(
                f"thread_allocation_strategy {self.thread_allocation_strategy!r} leaves all fragments at the"
                f" {self._threads()} threads that were asked for"
            )
        return notes
