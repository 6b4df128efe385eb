"""The library's front door: `run` for one input, `Session` for many with warm workers.

Rules: one path from input to result, the same for the command line: load, detect, find a tuning, compose, run,
assemble. Programs start to load in the background before the input is validated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autotune import account, machine, policy, store, workload
from autotune.costs import Costs
from autotune.errors import InputError, TaskError
from autotune.execute import Execution, Executor, Snapshot
from autotune.manager import Manager
from autotune.pool import Pool
from autotune.types import Context, Machine, Parameters, Policy, RunRecord, TuningChoice

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

LIBRARIES = ("qc-autotune", "qcmanybody", "qcengine", "qcelemental", "numpy")
NAMED_FAILURES = 5


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
        task_limit_s: A task that runs longer is killed, with everything it started.
        scratch: Folder for scratch files.
    """

    workers: int | None = None
    threads: int | None = None
    cores: int | None = None
    memory_gib: float | None = None
    tuning: str = "auto"
    strategies: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    task_limit_s: float | None = None
    scratch: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for name in ("workers", "threads", "cores", "memory_gib", "task_limit_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"option {name} is {value}, but must be above 0")


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
        self._pool_programs: tuple[str, ...] = ()
        self.record: RunRecord | None = None
        self.machine = machine.detect(cores=self._options.cores)

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
        programs = workload.programs_of(many_body_input)
        self._open_pool(programs, passive_wait=True)
        work = workload.load(many_body_input)
        chosen, plan, costs = self._plan(work)
        if self._on_choice:
            self._on_choice(chosen)
        pool = self._open_pool(programs, passive_wait=plan.passive_wait)
        pool.set_recipe(work.recipe.to_json())
        pool.prepare(min(plan.workers, len(work.tasks)))
        checked = pool.check()
        if checked.problems:
            raise InputError("; ".join(checked.problems))
        budget_gib = self._budget_gib(plan)
        executor = Executor(
            work.tasks,
            pool,
            policy=plan,
            machine=self.machine,
            costs=costs,
            manager=self._manager,
            budget_gib=budget_gib,
            task_limit_s=self._options.task_limit_s,
            started=started,
            on_progress=self._on_progress,
        )
        self._manager.run_started(work.tasks, plan, self.machine)
        try:
            execution = executor.run()
        except BaseException:
            self.close()
            raise
        failed = execution.failed
        result = None if failed else work.assemble(execution.values, execution.results)
        self.record = _record(
            execution,
            policy=plan,
            chosen=chosen,
            machine=self.machine,
            work=work,
            budget_gib=budget_gib,
            wall_s=time.monotonic() - started,
            versions=checked.versions,
        )
        self._manager.run_done(self.record)
        if result is None:
            raise TaskError(_failure_message(execution))
        return result

    def _open_pool(self, programs: Sequence[str], *, passive_wait: bool) -> Pool:
        pool = self._pool
        if pool is not None and (pool.passive_wait != passive_wait or not set(programs) <= set(self._pool_programs)):
            self.close()
            pool = None
        if pool is None:
            scratch = Path(self._options.scratch) if self._options.scratch else None
            pool = Pool(programs=programs, passive_wait=passive_wait, scratch=scratch)
            self._pool, self._pool_programs = pool, tuple(programs)
        return pool

    def _plan(self, work: workload.Workload) -> tuple[TuningChoice, Policy, Costs]:
        options = self._options
        context = Context(machine=self.machine, methods=work.methods, tasks=len(work.tasks))
        found = self._find(work)
        laws = {found.tuning.method: found.tuning.law} if found.tuning else {}
        names = options.strategies
        if names is None and found.tuning:
            names = found.tuning.strategies
        strategies = policy.choose(self._manager.strategies, names, options.without)
        parameters: Parameters = {}
        if found.tuning:
            applied = {strategy.name for strategy in strategies}
            parameters = {k: v for k, v in found.tuning.parameters.items() if k.partition(".")[0] in applied}
        plan = override(policy.compose(strategies, parameters, context), options, self.machine)
        chosen = TuningChoice(
            match=found.match,
            reason=found.reason,
            source=found.source,
            strategies=tuple(strategy.name for strategy in strategies),
            parameters=policy.default_parameters(strategies, context) | parameters,
        )
        return chosen, plan, Costs(laws)

    def _find(self, work: workload.Workload) -> store.Found:
        tuning = self._options.tuning
        if tuning == "none":
            return store.Found(None, "none", "asked for no tuning; the defaults are used", "")
        if tuning != "auto":
            return store.Found(store.load_tuning(Path(tuning)), "given", "given by the user", tuning)
        costs = Costs()
        load_s: dict[Any, float] = {}
        for task in work.tasks:
            load_s[task.method] = load_s.get(task.method, 0.0) + costs.estimate(task).alone_s
        methods = sorted(load_s, key=lambda method: -load_s[method])
        return store.find(self.machine, methods, largest_functions=max(task.size.functions for task in work.tasks))

    def _budget_gib(self, plan: Policy) -> float:
        if self._options.memory_gib is not None:
            return self._options.memory_gib
        return plan.memory_fraction * min(self.machine.memory_gib, machine.available_memory_gib(self.machine))


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


def override(plan: Policy, options: Options, on: Machine) -> Policy:
    """Return the policy with the user's own numbers in place of the strategies'."""
    if options.threads is not None:
        plan = replace(plan, width=options.threads, wide_width=options.threads, widen_tail=False)
        if options.workers is None:
            plan = replace(plan, workers=max(1, on.cores // options.threads), core_slots=max(on.cores, options.threads))
    if options.workers is not None:
        slots = options.workers * plan.width
        plan = replace(plan, workers=options.workers, core_slots=slots, wide_width=min(plan.wide_width, slots))
    return plan


def _record(
    execution: Execution,
    *,
    policy: Policy,
    chosen: TuningChoice,
    machine: Machine,
    work: workload.Workload,
    budget_gib: float,
    wall_s: float,
    versions: Mapping[str, str],
) -> RunRecord:
    done = [record for record in execution.records if record.status == "done"]
    bound_s = account.lower_bound_s(done, machine.cores)
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
        memory_budget_gib=budget_gib,
        policy=policy,
        tuning=chosen,
        versions={**library_versions(), **versions},
        machine=machine,
        methods=work.methods,
        task_records=tuple(execution.records),
    )


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
