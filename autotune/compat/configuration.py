"""The configurations of the older parallel executor, those that it was planned to get, and what they decide on a run.

Rules: a configuration becomes `Options` and nothing else; what it leaves open is planned as in every other run. What it
asks for and cannot have is said in its notes. Configurations are mutable and raise `ValueError`, as they always did; an
executor reads its configuration once, when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, NamedTuple

from autotune.base.options import Options
from autotune.expansion import workload
from autotune.expansion.workload import Workload
from autotune.machine import detection
from autotune.runtime import planning
from autotune.session.preparation import prepare

MODES = ("multiprocessing", "threading", "serial")
TASK_SETTINGS = ("ncores", "memory", "scratch_directory")  # of QCEngine's task_config; the others have no effect
MB_PER_GIB = 1024.0
ALLOCATIONS = ("balanced", "adaptive", "memory_aware")
METHOD_OVERRIDES = ("workers", "threads", "tuning")
_NEEDED = {"adaptive": "hybrid", "memory_aware": "memory_scheduling"}  # strategy of each allocation


class Decision(NamedTuple):
    """What a configuration decides about a run, and what has to be said about it."""

    options: Options
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Everything that was decided about a run, by the configuration or automatically.

    Attributes:
        workers: Tasks that run at once.
        threads_per_fragment: Cores of an ordinary task.
        widest: Most cores of a task that would hold up the rest.
        order: `input`, `longest` (first) or `shortest` (first), by predicted time.
        total_threads: Cores that are used.
        memory_gib: What all tasks may hold together.
        timeout_s: After so long a task is killed; None for never.
        tuning_match: Which rung of the ladder the tuning was found on; see `TuningChoice`.
        tuning_reason: Why that one, in one sentence.
        tuning_source: Its file; empty for the defaults.
        strategies: Those that are applied, in order.
        notes: What was asked for and has no effect, or another one, and why.
    """

    workers: int
    threads_per_fragment: int
    widest: int
    order: str
    total_threads: int
    memory_gib: float
    timeout_s: float | None
    tuning_match: str
    tuning_reason: str
    tuning_source: str
    strategies: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class ParallelConfig:
    """What the older executor could be told, with its defaults. None leaves a value to autotune.

    Attributes:
        max_workers: Fragments that run at once.
        execution_mode: `multiprocessing` and `threading` both mean worker processes, `serial` means one of them: only
            a process can be killed when it takes too long or too much memory.
        memory_limit_mb: Memory of each worker, in MiB. All workers share the sum, so that a large fragment may take
            more while small ones take less.
        timeout_seconds: A fragment that runs longer is killed and fails.
        qcengine_config: `keywords`, `protocols` and `extras` of model chemistries without a specification;
            `task_config` with `ncores` (cores of each fragment, 1 by default), `memory` (GiB of each worker, instead of
            `memory_limit_mb`) and `scratch_directory`.
        use_qcengine: False made placeholder numbers once; an executor refuses it.
        qc_program: QCEngine program of model chemistries without a specification.
        basis_set: Basis set of these; empty for methods without one.
        default_driver: `energy`, `gradient` or `hessian`, where neither the executor nor a specification says.
        collect_fragment_timings: Put a histogram of the fragments' times into the statistics.
        histogram_bins: Bins of that.

    Raises:
        ValueError: A value cannot be meant.
        ImportError: QCEngine is not installed.
    """

    max_workers: int | None = 4
    execution_mode: str = "multiprocessing"
    memory_limit_mb: float | None = 1000
    timeout_seconds: float | None = 3600
    qcengine_config: dict[str, Any] | None = None
    use_qcengine: bool = True
    qc_program: str = "psi4"
    basis_set: str | None = "sto-3g"
    default_driver: str = "energy"
    collect_fragment_timings: bool = True
    histogram_bins: int = 10

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if self.execution_mode not in MODES:
            raise ValueError(f"Invalid execution_mode {self.execution_mode!r}; it is one of {', '.join(MODES)}")
        for name in ("max_workers", "histogram_bins"):
            check_least(name, getattr(self, name))
        for name in ("memory_limit_mb", "timeout_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if self.use_qcengine and find_spec("qcengine") is None:
            raise ImportError("QCEngine is not installed, and fragments cannot be computed without it")
        self.qcengine_config = dict(self.qcengine_config or {})

    def decide(self, work: Workload) -> Decision:
        """Return what this configuration decides about the run of a workload.

        Raises:
            InputError: A tuning, strategy or option it names cannot be used.
            ResourceError: It asks for more cores than there are.
        """
        options, notes = self._wishes(work), self._notes(work)
        settings = self._settings("task_config")
        idle = sorted(settings.keys() - set(TASK_SETTINGS))
        if idle:
            notes.append(f"task_config {', '.join(idle)} has no effect: only {', '.join(TASK_SETTINGS)} are used")
        each_gib = self._memory_of_each_gib()
        if each_gib is not None:
            workers = options.workers or prepare(work, options).plan.policy.workers
            asked_gib, usable_gib = workers * each_gib, detection.detect().memory_gib
            if asked_gib <= usable_gib:
                return Decision(replace(options, memory_gib=asked_gib), tuple(notes))
            notes.append(
                f"memory of {workers} × {each_gib:.2f} GiB is more than the {usable_gib:.2f} GiB that this process may"
                " use; what autotune takes by itself is taken"
            )
        return Decision(options, tuple(notes))

    def resolve(self, many_body_input: object) -> Resolved:
        """Return everything that would be decided about the run of a many-body input; nothing is started.

        Args:
            many_body_input: A QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping.
        """
        work = workload.load(many_body_input)
        return resolve(work, self.decide(work))

    def _wishes(self, work: Workload) -> Options:
        """Return all options but the memory."""
        del work
        return Options(
            program_tuning=False,  # the older executor gave the bits of upstream's call
            workers=1 if self.execution_mode == "serial" else self.max_workers,
            threads=self._threads(),
            task_limit_s=self.timeout_seconds,
            scratch=self._settings("task_config").get("scratch_directory"),
        )

    def _threads(self) -> int | None:
        return int(self._settings("task_config").get("ncores") or 1)

    def _memory_of_each_gib(self) -> float | None:
        given = self._settings("task_config").get("memory")
        if given is not None:
            return float(given)
        return None if self.memory_limit_mb is None else self.memory_limit_mb / MB_PER_GIB

    def _notes(self, work: Workload) -> list[str]:
        del work
        return []

    def _settings(self, part: str) -> dict[str, Any]:
        return dict((self.qcengine_config or {}).get(part) or {})

    def specification(self, chemistry: str) -> dict[str, Any]:
        """Return `program` and `specification` of a model chemistry that nothing else is said about.

        Raises:
            KeyError: There is no program to compute it with.
        """
        if not self.qc_program:
            raise KeyError(f"model chemistry {chemistry!r} has no specification, and the configuration no qc_program")
        basis = {"basis": self.basis_set} if self.basis_set else {}
        settings = {part: self._settings(part) for part in ("keywords", "protocols", "extras")}
        return {"program": self.qc_program, "specification": {"model": {"method": chemistry, **basis}, **settings}}


@dataclass
class AdaptiveParallelConfig(ParallelConfig):
    """Everything automatic unless it is said here; `resolve`, or an executor's `resolved`, shows what that means.

    Attributes:
        qc_threads_per_fragment: Cores of each fragment.
        max_total_threads: Cores to use of those usable.
        tuning: `auto` finds the best stored one, `none` takes the defaults, anything else is a tuning file.
        strategies: Strategies to apply, in order, instead of the standard ones (or the tuning's).
        without: Strategies to leave out.
        program_tuning: Use the programs' tunables: faster, and no longer the same in the last digits.
    """

    max_workers: int | None = None
    memory_limit_mb: float | None = None
    timeout_seconds: float | None = None
    qc_threads_per_fragment: int | None = None
    max_total_threads: int | None = None
    tuning: str = "auto"
    strategies: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    program_tuning: bool = False

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
            program_tuning=self.program_tuning,
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
            return replace(options, threads=prepare(work, options).plan.policy.width)
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


def resolve(work: Workload, decision: Decision) -> Resolved:
    """Return everything that is decided about the run of a workload."""
    prepared = prepare(work, decision.options)
    plan = prepared.plan
    return Resolved(
        workers=plan.policy.workers,
        threads_per_fragment=plan.policy.width,
        widest=plan.policy.widest,
        order=plan.policy.order,
        total_threads=prepared.machine.cores,
        memory_gib=plan.budget_gib,
        timeout_s=decision.options.task_limit_s,
        tuning_match=plan.chosen.match,
        tuning_reason=plan.chosen.reason,
        tuning_source=plan.chosen.source,
        strategies=plan.chosen.strategies,
        notes=decision.notes,
    )


def check_least(name: str, value: int | None) -> None:
    """Raise `ValueError` for a number that is given and below 1."""
    if value is not None and value < 1:
        raise ValueError(f"{name} must be >= 1, not {value}")
