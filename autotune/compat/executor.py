"""The older parallel executor's interface, over the same core as everything else.

    from autotune.parallel import ParallelConfig, ParallelManyBodyExecutor      # was: qcmanybody.parallel

Rules: thin. A configuration becomes `Options`, a `ManyBodyCore` a many-body input, and one warm `Session` does the
rest. Results come by label, as before; what happens differently, and why, is in docs/migration.md. Failures are
`RuntimeError`s here, because scripts catch those; their cause is the error that a session raises.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from autotune.base.errors import AutotuneError, InputError
from autotune.base.text import one_line
from autotune.base.types import Task
from autotune.compat.configuration import (
    AdaptiveParallelConfig,
    ParallelConfig,
    Resolved,
    resolve,
)
from autotune.compat.run_statistics import Done, statistics
from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.expansion.workload import Workload
from autotune.session.preparation import prepare
from autotune.session.session import Session

if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult as AtomicResultV1
    from qcelemental.models.v2 import AtomicResult
    from qcmanybody import ManyBodyCore

    from autotune.base.records import Law
    from autotune.base.types import Method


@dataclass(frozen=True)
class FragmentTask:
    """One component calculation of an executor.

    Attributes:
        level: Fragments that are there with nuclei and electrons.
        model_chemistry: Name of its model chemistry.
        label: QCManyBody label.
        program: QCEngine program.
    """

    level: int
    model_chemistry: str
    label: str
    program: str
    _task: Task = field(repr=False)
    _work: Workload = field(repr=False)

    @cached_property
    def atomic_input(self) -> Any:
        """QCSchema `AtomicInput` of the calculation, in the version of the core's molecule; made when asked for."""
        made = atomic_input(self._work.recipe, self.model_chemistry, self._task.real, self._task.basis)
        return made.convert_v(1) if self._work.schema_version == 1 else made


class ParallelManyBodyExecutor:
    """Computes the fragments of a many-body expansion side by side.

    Worker processes start with the first call and stay for the next ones, until `close`, the end of a `with` block, or
    the end of the executor's own life.

    Args:
        core: The expansion. Its `analyze` takes what this executor returns.
        config: What to decide; read once, here.
        driver: `energy`, `gradient` or `hessian` of all fragments. Left out, what all specifications agree on, else the
            configuration's.
        specifications: By model chemistry, `program` and `specification` (`model`, `keywords`, `protocols`, `extras`).
            For a model chemistry without one the configuration says program and basis set, and its name is the method.

    Attributes:
        core: As given.
        config: As given.
        driver: Of all fragments.
        specifications: Of all model chemistries of the core.
        workload: The expansion, planned.

    Raises:
        InputError: The expansion cannot be planned, or placeholder numbers were asked for.
        KeyError: There is no program for a model chemistry.
    """

    def __init__(
        self,
        core: ManyBodyCore,
        config: ParallelConfig | None = None,
        *,
        driver: str | None = None,
        specifications: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        from autotune.compat import manybody_core

        self.config = config if config is not None else ParallelConfig()
        if not self.config.use_qcengine:
            raise InputError(
                "use_qcengine=False made placeholder numbers, which are no longer offered; leave it out to compute"
            )
        manybody_core.adopt(core)
        self.core = core
        given = specifications or {}
        self.specifications = {
            name: dict(given[name]) if name in given else self.config.specification(name) for name in core.mc_levels
        }
        self.driver = driver or _common_driver(self.specifications) or self.config.default_driver
        self.workload = workload.load(manybody_core.input_of(core, self.specifications, driver=self.driver))
        self._by_label = {
            label: FragmentTask(level, chemistry, label, self.workload.recipe.programs[chemistry], task, self.workload)
            for level, chemistry, label, task in manybody_core.label_tasks(self.workload)
        }
        self._tasks_by_level: dict[int, list[FragmentTask]] = {}
        for task in self._by_label.values():
            self._tasks_by_level.setdefault(task.level, []).append(task)
        self._decision = self.config.decide(self.workload)
        self._session = Session(self._decision.options)
        self._calls: list[Done] = []
        weakref.finalize(self, self._session.close)

    @classmethod
    def from_manybodyinput(cls, input_model: Any, config: ParallelConfig | None = None) -> Self:
        """Return the executor of a many-body input.

        Args:
            input_model: A QCManyBody `ManyBodyInput` (v1 or v2), or its fields as a mapping.
            config: What to decide.
        """
        from autotune.compat import manybody_core

        core, driver, specifications = manybody_core.core_of(input_model)
        return cls(core, config, driver=driver, specifications=specifications)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; a later call starts new ones."""
        self._session.close()

    @property
    def tasks_by_level(self) -> Mapping[int, Sequence[FragmentTask]]:
        """All fragments, by n-body level."""
        return self._tasks_by_level

    @cached_property
    def resolved(self) -> Resolved:
        """Everything that was decided about the whole expansion, by the configuration or automatically.

        Raises:
            InputError: The expansion has nothing to compute.
        """
        return resolve(self.workload, self._decision)

    def execute_full_calculation(self) -> dict[str, AtomicResult | AtomicResultV1]:
        """Compute all fragments, no level waiting for another, and return their results by label.

        Statistics start again.

        Raises:
            RuntimeError: A fragment failed; the message names it, and the cause has all that failed and all others.
        """
        self._calls.clear()
        return self._compute(list(self._by_label))

    def execute_level_parallel(
        self, level: int, tasks: Sequence[FragmentTask]
    ) -> dict[str, AtomicResult | AtomicResultV1]:
        """Compute some fragments of a level and return their results by label.

        Args:
            level: N-body level.
            tasks: From `tasks_by_level`.

        Raises:
            InputError: A task is of another level or executor.
            RuntimeError: A fragment failed.
        """
        for task in tasks:
            self._check_own(task)
            if task.level != level:
                raise InputError(f"fragment {task.label} is of level {task.level}, not {level}; compute each by itself")
        return self._compute([task.label for task in tasks])

    def execute_fragment(self, task: FragmentTask) -> tuple[str, AtomicResult | AtomicResultV1]:
        """Compute one fragment and return its label and result.

        Raises:
            InputError: The task is of another executor.
            RuntimeError: It failed.
        """
        self._check_own(task)
        return task.label, self._compute([task.label])[task.label]

    def get_execution_statistics(self) -> dict[str, Any]:
        """Return what was done since the last full calculation began; see `parallel_statistics.statistics`."""
        bins = self.config.histogram_bins if self.config.collect_fragment_timings else None
        tasks = {task.number: task for task in self.workload.tasks}
        return statistics(self._calls, tasks, laws=self._laws if self._calls else {}, histogram_bins=bins)

    @property
    def execution_stats(self) -> dict[str, Any]:
        """The same as `get_execution_statistics`."""
        return self.get_execution_statistics()

    def validate_parallel_correctness(
        self,
        parallel_results: Mapping[str, Any],
        sequential_results: Mapping[str, Any],
        tolerance: float = 1e-12,
    ) -> bool:
        """Return True if two sets of results by label are the same.

        Args:
            parallel_results: Of one run.
            sequential_results: Of another.
            tolerance: Largest difference of two numbers: energies (Eh), gradients (Eh/a0) or Hessians (Eh/a0²).

        Raises:
            ValueError: They are not; the message says which labels are missing where, or which result differs.
        """
        only = {
            "parallel": sorted(parallel_results.keys() - sequential_results.keys()),
            "sequential": sorted(sequential_results.keys() - parallel_results.keys()),
        }
        missing = [f"only {side}: {one_line(', '.join(labels))}" for side, labels in only.items() if labels]
        if missing:
            counts = f"{len(parallel_results)} parallel and {len(sequential_results)} sequential results"
            raise ValueError(f"Labels differ between {counts}; {'; '.join(missing)}")
        for label, result in parallel_results.items():
            _compare(label, result, sequential_results[label], tolerance)
        return True

    def _check_own(self, task: FragmentTask) -> None:
        if not isinstance(task, FragmentTask):
            raise InputError(f"a task is a FragmentTask from tasks_by_level, not {type(task).__name__}")
        if self._by_label.get(task.label) != task:
            raise InputError(f"fragment {task.label} is none of this executor's; take tasks from its tasks_by_level")

    def _compute(self, labels: Sequence[str]) -> dict[str, AtomicResult | AtomicResultV1]:
        if not labels:
            return {}
        try:
            results = self._session.components(self.workload, labels=labels)
        except AutotuneError as error:
            named = str(error) if labels[0] in str(error) or len(labels) > 1 else f"fragment {labels[0]}: {error}"
            raise RuntimeError(named) from error
        if self._session.record is not None:
            levels = tuple(self._by_label[label].level for label in results)
            self._calls.append(Done(self._session.record, levels))
        return results

    @cached_property
    def _laws(self) -> dict[Method, Law]:
        """Fitted times of the methods that were calibrated on this machine."""
        prepared = prepare(self.workload, self._decision.options)
        plan, key = prepared.plan, prepared.machine.key
        elsewhere = plan.chosen.match == "given" and plan.tuning is not None and plan.tuning.machine.key != key
        return {} if elsewhere else plan.costs.laws()


class Placement(NamedTuple):
    """Where and when a fragment would run: its label, worker (from 0), start and length in seconds, and threads."""

    label: str
    worker: int
    start_s: float
    wall_s: float
    threads: int


class DynamicLoadBalancer:
    """Shows how a run would be balanced: the scheduler of every run, on a virtual clock. Nothing is started.

    In a run the scheduler decides again whenever a fragment ends, with the times measured until then; so this is a
    forecast, and there is nothing to switch on.

    Args:
        source: A `ParallelManyBodyExecutor`, or a QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping.
        config: What to decide; the executor's own by default, else everything automatic.

    Attributes:
        placements: Every distinct calculation, in the order of their starts.
        predicted_wall_s: From the first start to the last end.

    Raises:
        InputError: The input or an option cannot be used, or there is nothing to compute.
    """

    def __init__(self, source: Any, config: ParallelConfig | None = None) -> None:
        if isinstance(getattr(source, "workload", None), Workload):
            work, chosen = source.workload, config or source.config
        else:
            work, chosen = workload.load(source), config or AdaptiveParallelConfig()
        forecast = prepare(work, chosen.decide(work).options).simulate()
        self.predicted_wall_s = forecast.makespan_s
        self.placements: list[Placement] = []
        free_s: list[float] = []
        for record in sorted(forecast.records, key=lambda record: record.started_s):
            worker = next((n for n, at_s in enumerate(free_s) if at_s <= record.started_s), len(free_s))
            free_s[worker : worker + 1] = [record.started_s + record.wall_s]
            self.placements.append(Placement(record.label, worker, record.started_s, record.wall_s, record.width))

    @property
    def order(self) -> list[str]:
        """Labels in the order in which the calculations would start."""
        return [placement.label for placement in self.placements]

    @property
    def loads_s(self) -> list[float]:
        """Seconds for which each worker would be busy."""
        loads_s = [0.0] * (1 + max((placement.worker for placement in self.placements), default=-1))
        for placement in self.placements:
            loads_s[placement.worker] += placement.wall_s
        return loads_s


def _common_driver(specifications: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the driver that all specifications name that name one; empty where there is none, or more."""
    named = [given["specification"].get("driver") for given in specifications.values()]
    drivers = {str(getattr(driver, "value", driver)) for driver in named if driver}
    return drivers.pop() if len(drivers) == 1 else ""


def _compare(label: str, result: Any, reference: Any, tolerance: float) -> None:
    import numpy as np

    driver = getattr(result, "driver", None) or result.input_data.specification.driver
    kind = str(getattr(driver, "value", driver)).capitalize()
    ours, theirs = np.asarray(result.return_result, dtype=float), np.asarray(reference.return_result, dtype=float)
    if ours.shape != theirs.shape:
        raise ValueError(f"{kind} of {label} has shape {ours.shape} in parallel and {theirs.shape} in sequence")
    difference = float(np.max(np.abs(ours - theirs)))
    if not difference <= tolerance:  # nor is nothing that is not a number
        raise ValueError(f"{kind} difference of {label} is {difference:.3e}, which exceeds tolerance {tolerance:g}")
