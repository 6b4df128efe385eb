"""The configuration of the older parallel executor, and what is decided about a run altogether.

Rules: a configuration becomes `Options` and nothing else; what it leaves open is planned as in every other run. What it
asks for and cannot have is said in its notes. Configurations are mutable and raise `ValueError`, as they always did; an
executor reads its configuration once, when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, NamedTuple

from autotune.base.options import Options
from autotune.base.types import Machine
from autotune.expansion import workload
from autotune.expansion.workload import Workload
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.runtime import planning

MODES = ("multiprocessing", "threading", "serial")
TASK_SETTINGS = ("ncores", "memory", "scratch_directory")  # of QCEngine's task_config; the others have no effect
MB_PER_GIB = 1024.0


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
            workers = options.workers or planned(work, options)[1].policy.workers
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
        return resolved(work, self.decide(work))

    def _wishes(self, work: Workload) -> Options:
        """Return all options but the memory."""
        del work
        return Options(
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


def planned(work: Workload, options: Options) -> tuple[Machine, planning.Plan]:
    """Return machine and plan of a run with these options, as a `Session` makes them.

    Raises:
        InputError: There is nothing to compute, or an option cannot be used.
        ResourceError: An option asks for more than there is.
    """
    limited = detection.detect(cores=options.cores, memory_gib=options.memory_gib)
    here = replace(limited, key=detection.detect().key)
    return here, planning.make(work, machine=here, manager=Manager(), options=options)


def resolved(work: Workload, decision: Decision) -> Resolved:
    """Return everything that is decided about the run of a workload."""
    here, plan = planned(work, decision.options)
    return Resolved(
        workers=plan.policy.workers,
        threads_per_fragment=plan.policy.width,
        widest=plan.policy.widest,
        order=plan.policy.order,
        total_threads=here.cores,
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
