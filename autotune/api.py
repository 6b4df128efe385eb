"""The library's front door: `run` for one input, `Session` for many with warm workers.

Rules: one path from input to result, the same for the command line: load, detect, find a tuning, compose, run,
assemble. Programs start to load in the background before the input is validated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autotune import account, machine, planning, workload
from autotune.errors import InputError, TaskError
from autotune.execute import Execution, Executor
from autotune.manager import Manager
from autotune.monitor import Snapshot
from autotune.planning import Options
from autotune.pool import Pool
from autotune.records import RunRecord, TaskRecord, TuningChoice
from autotune.types import Estimate, Machine, Policy

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

LIBRARIES = ("qc-autotune", "qcmanybody", "qcengine", "qcelemental", "numpy")
NAMED_FAILURES = 5


class Session:
    """Keeps programs loaded and workers warm over several inputs; a context manager.

    Attributes:
        record: What the last run did; None before the first.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        on_progress: Callable[[Snapshot], None] | None = None,
        on_choice: Callable[[TuningChoice], None] | None = None,
    ) -> None:
        self._options = options or Options()
        self._on_progress, self._on_choice = on_progress, on_choice
        self._manager = Manager()
        self._pool: Pool | None = None
        self._programs: tuple[str, ...] = ()
        self._environment: dict[str, str] = {}
        self.record: RunRecord | None = None
        # The whole machine's key: a tuning measured on all cores is still the nearest for fewer.
        limited = machine.detect(cores=self._options.cores, memory_gib=self._options.memory_gib)
        self.machine = replace(limited, key=machine.detect().key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def run(self, many_body_input: object) -> ManyBodyResult | ManyBodyResultV1:
        """Return the result of a many-body input, in the schema version it came in.

        Args:
            many_body_input: A QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping.

        Raises:
            InputError: The input or an option cannot be used; nothing was computed.
            TaskError: A program failed on at least one fragment; the others were computed.
        """
        started = time.monotonic()
        methods = workload.methods_of(many_body_input)
        programs = sorted({method.program for method in methods})
        guess = planning.guess(methods, machine=self.machine, manager=self._manager, options=self._options)
        self._open_pool(programs, guess)
        work = workload.load(many_body_input)
        if not work.tasks:
            # Counterpoise up to 1-body: all is zero by definition, and upstream says so without computing.
            self.record = None
            return work.assemble({}, {})
        plan = planning.make(work, machine=self.machine, manager=self._manager, options=self._options)
        if self._on_choice:
            self._on_choice(plan.chosen)
        pool = self._open_pool(programs, plan.policy)
        try:
            pool.set_recipe(work.recipe.to_json())
            pool.prepare(min(plan.policy.workers, len(work.tasks)))
            checked = pool.check()
        except BaseException:
            self.close()
            raise
        if checked.problems:
            raise InputError("; ".join(checked.problems))
        executor = Executor(
            work.tasks,
            pool,
            plan=plan,
            machine=self.machine,
            manager=self._manager,
            task_limit_s=self._options.task_limit_s,
            started=started,
            on_progress=self._on_progress,
        )
        self._manager.run_started(work.tasks, plan.policy, self.machine)
        try:
            execution = executor.run()
        except BaseException:
            self.close()
            raise
        failed = execution.failed
        result = None if failed else work.assemble(execution.values, execution.results)
        self.record = _record(
            execution,
            plan=plan,
            machine=self.machine,
            work=work,
            wall_s=time.monotonic() - started,
            versions=checked.versions,
        )
        self._manager.run_done(self.record)
        if result is None:
            raise TaskError(_failure_message(execution))
        return result

    def _open_pool(self, programs: Sequence[str], plan: Policy) -> Pool:
        environment = planning.environment(plan)
        if self._pool is not None and (self._environment != environment or not set(programs) <= set(self._programs)):
            self.close()
        if self._pool is None:
            scratch = Path(self._options.scratch) if self._options.scratch else None
            self._pool = Pool(programs=programs, environment=environment, scratch=scratch)
            self._programs, self._environment = tuple(programs), environment
        return self._pool


def run(many_body_input: object, **options: Any) -> ManyBodyResult | ManyBodyResultV1:
    """Return the result of a many-body input, computed in parallel; see `Options` for what may be decided.

    Raises:
        InputError: The input or an option cannot be used; nothing was computed.
        TaskError: A program failed on at least one fragment.
    """
    known = Options.__dataclass_fields__
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise InputError(f"run() has no option {', '.join(unknown)}; it has {', '.join(known)}")
    with Session(Options(**options)) as session:
        return session.run(many_body_input)


def _record(
    execution: Execution,
    *,
    plan: planning.Plan,
    machine: Machine,
    work: workload.Workload,
    wall_s: float,
    versions: Mapping[str, str],
) -> RunRecord:
    done = [record for record in execution.records if record.status == "done"]
    # Where workers outnumber cores, task times are stretched by sharing them: no bound for fewer slots follows.
    tasks = {task.number: task for task in work.tasks}
    bound_s = account.lower_bound_s(
        done,
        cores=max(machine.cores, plan.policy.core_slots),
        memory_gib=plan.budget_gib,
        narrow_s={r.number: _alone_s(r, plan.costs.estimate(tasks[r.number])) for r in done if r.width > 1},
    )
    return RunRecord(
        wall_s=wall_s,
        tasks=len(work.tasks),
        attempts=execution.attempts,
        lower_bound_s=bound_s,
        efficiency=bound_s / wall_s,
        gap=account.gap(
            done,
            cores=machine.cores,
            wall_s=wall_s,
            memory_idle_core_s=execution.memory_idle_core_s,
            lost_core_s=execution.lost_core_s,
        ),
        cpu_utilisation=sum(record.cpu_s for record in execution.records) / (wall_s * machine.cores),
        peak_memory_gib=execution.peak_gib,
        memory_budget_gib=plan.budget_gib,
        policy=plan.policy,
        tuning=plan.chosen,
        versions={**library_versions(), **versions},
        machine=machine,
        methods=work.methods,
        task_records=tuple(execution.records),
    )


def _alone_s(record: TaskRecord, expected: Estimate) -> float:
    """Return what a task that ran wide would have taken on one core, by the share that divides."""
    return record.wall_s * expected.wall_s(1) / expected.wall_s(record.width)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries a result depends on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _failure_message(execution: Execution) -> str:
    failed = execution.failed
    named = [f"{record.label}: {' '.join(record.error.split())[-400:]}" for record in failed[:NAMED_FAILURES]]
    more = f"; and {len(failed) - NAMED_FAILURES} more" if len(failed) > NAMED_FAILURES else ""
    return f"{len(failed)} of {len(execution.records)} fragments failed: {'; '.join(named)}{more}"
