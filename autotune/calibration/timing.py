"""Times whole runs of a set of tasks under a policy, and learns what tasks cost on the way.

Rules: one run at a time; workers are fresh for each run, programs stay loaded. Calibration searches and confirms with
what is measured here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

from autotune.base.errors import AutotuneError, InputError, TaskError
from autotune.base.records import Law, TaskRecord
from autotune.base.types import Context, Machine, Method, Parameter, Policy, Task
from autotune.calibration.agreement import DisagreementError, deviation
from autotune.calibration.instances import Instance, part
from autotune.costs.cost_law import Costs, by_itself_s, fit
from autotune.machine.detection import available_memory_gib
from autotune.plugin import composition
from autotune.plugin.hookspecs import Strategy
from autotune.plugin.manager import Manager
from autotune.plugin.program_tuning import ProgramTuning
from autotune.programs import abilities
from autotune.runtime import planning
from autotune.runtime.execution import Care
from autotune.runtime.executor import Executor
from autotune.runtime.monitor import Snapshot
from autotune.workers.pool import Pool
from autotune.workers.preflight import question

if TYPE_CHECKING:
    from autotune.journal.values import TaskValues

RESERVE_S = 1.5  # for storing and closing
LEAST_RUN_S = 1.0
Sample: TypeAlias = tuple[int, float, int]  # number of a task, wall seconds, width


class Timed(NamedTuple):
    """One run: its wall time, the most memory its workers held, what they might hold, and every task."""

    wall_s: float
    peak_gib: float
    budget_gib: float
    records: Sequence[TaskRecord]


class Budget:
    """Wall time that is allowed, from now; time spent before an interruption counts.

    Args:
        total_s: Allowed.

    Attributes:
        before_s: Spent before an interruption.
    """

    def __init__(self, total_s: float) -> None:
        self.total_s, self.before_s = total_s, 0.0
        self._started = time.monotonic()

    @property
    def spent_s(self) -> float:
        """What was spent."""
        return self.before_s + time.monotonic() - self._started

    @property
    def left_s(self) -> float:
        """What is left, storing and closing taken off."""
        return self.total_s - RESERVE_S - self.spent_s

    def beyond(self, share: float, seconds: float = 0.0) -> bool:
        """Return whether so many seconds more would be beyond a share of the whole."""
        return self.spent_s + seconds > share * self.total_s


class TooSlowError(AutotuneError):
    """A run was stopped at its limit."""


class OutOfTimeError(TooSlowError):
    """A run was stopped because the whole budget was used."""


class Timing:
    """Keeps programs loaded, one pool for each environment; a context manager.

    Args:
        machine: The machine.
        manager: Told about every task.
        strategies: They adapt the policy in the middle of a run, as they will later.
        budget: No run may take longer than is left of it.
        laws: Fitted before.

    Attributes:
        machine: As given.
        strategies: As given.
        on_run: Called after each run.
        costs: What is known of the costs so far.
        versions: Of the programs that ran.
        deviations: Largest change of an energy (Eh) in runs with a value of a program's tunable, by `NAME=VALUE`.
        wrong: Values of tunables that changed a result.
        others: Cores that other programs used, as seen about twice a second during all runs.
        smallest_functions: Fewest basis functions of a task that was learned from; 0 before any.
        largest_functions: Most of them.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        manager: Manager,
        strategies: Sequence[Strategy],
        budget: Budget,
        laws: Mapping[Method, Law] | None = None,
    ) -> None:
        self.machine, self.strategies = machine, tuple(strategies)
        self._manager, self._budget = manager, budget
        self.on_run: Callable[[], None] = lambda: None
        self._pools: dict[frozenset[tuple[str, str]], Pool] = {}
        self._samples: dict[str, list[tuple[Task, float, int]]] = {}
        self.costs = Costs(laws)
        self.versions: dict[str, str] = {}
        self.deviations: dict[str, float] = {}
        self.others: list[float] = []
        self.wrong: set[tuple[tuple[str, Parameter], ...]] = set()
        self._references: dict[str, TaskValues] = {}
        self.smallest_functions = self.largest_functions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.close()

    def laws(self) -> dict[Method, Law]:
        """Return what the times of all learned tasks fit."""
        return fit([sample for of_instance in self._samples.values() for sample in of_instance])

    def learn(self, instance: Instance, records: Iterable[TaskRecord]) -> None:
        """Take times of tasks into the costs and the law."""
        method = {task.number: task.method for task in instance.tasks}

        def sample(of: TaskRecord) -> Sample:
            wall_s = by_itself_s(method[of.number], of.wall_s, sharers=of.sharers, speed=of.speed)
            return of.number, wall_s, of.width

        self.recall(instance, list(map(sample, records)))

    def recall(self, instance: Instance, samples: Iterable[Sample]) -> None:
        """Take times of an instance's tasks into the costs and the law, as `samples` told them."""
        by_number = {task.number: task for task in instance.tasks}
        for number, wall_s, width in samples:
            task = by_number[number]
            self.costs.observe(task, wall_s=wall_s, width=width, peak_gib=0.0)
            self._samples.setdefault(instance.name, []).append((task, wall_s, width))
            functions = task.size.functions
            self.smallest_functions = min(self.smallest_functions or functions, functions)
            self.largest_functions = max(self.largest_functions, functions)

    def samples(self) -> dict[str, list[Sample]]:
        """Return number, wall seconds and width of all tasks that were learned from, by the name of their instance."""
        return {
            name: [(task.number, wall_s, width) for task, wall_s, width in of_instance]
            for name, of_instance in self._samples.items()
        }

    def context(self, instances: Sequence[Instance], tasks: int = 0) -> Context:
        """Return what strategies may look at."""
        return Context(machine=self.machine, methods=instances[0].methods, tasks=tasks)

    def policy(self, parameters: Mapping[str, Parameter], instance: Instance) -> Policy:
        """Return what the strategies make of parameters for an instance, as for any run; none are the defaults."""
        return composition.compose(self.strategies, parameters, self.context([instance], len(instance.tasks)))

    def refer(self, instance: Instance) -> None:
        """Run an instance with its programs left alone; later runs of its tasks are held against these values.

        Raises as `run`.
        """
        usual = self.policy({}, instance)
        if usual.tunables:
            self.run(instance, replace(usual, tunables=self.untouched(instance)), learn=False)

    def untouched(self, instance: Instance) -> tuple[tuple[str, Parameter], ...]:
        """Return the values of tunables that leave an instance's programs alone."""
        context = self.context([instance])
        return tuple(
            (f"{strategy.name}.{name}", value)
            for strategy in self.strategies
            if isinstance(strategy, ProgramTuning)
            for name, value in strategy.untouched(context).items()
        )

    def _compare(self, instance: Instance, plan: Policy, values: Mapping[str, TaskValues]) -> None:
        """Hold values against those of programs left alone; raises DisagreementError where they differ."""
        untouched = self.untouched(instance)
        if plan.tunables == untouched:
            self._references.update(values)
            return
        found = deviation(values, self._references)
        for name, value in set(plan.tunables) - set(untouched):
            key = f"{name}={value}"
            self.deviations[key] = max(self.deviations.get(key, 0.0), found.energy_hartree)
        try:
            found.check()
        except DisagreementError:
            self.wrong.add(plan.tunables)
            raise

    def predicted_s(self, instance: Instance) -> float:
        """Return the wall time to expect of the default."""
        alone_s = [self.costs.estimate(task).alone_s for task in instance.tasks]
        return max(sum(alone_s) / self.machine.cores, *alone_s)

    def part(self, instance: Instance, allowed_s: float) -> Instance:
        """Return as much of an instance as is expected to take so long."""
        cost = self.costs
        return part(instance, cost_s=lambda task: cost.estimate(task).alone_s, most_s=allowed_s * self.machine.cores)

    def run(self, instance: Instance, plan: Policy, *, learn: bool, limit_s: float | None = None) -> Timed:
        """Run an instance.

        Args:
            instance: What is run.
            plan: How.
            learn: Its times go into the costs and the law.
            limit_s: The run may not take longer; it never may than what is left of the budget.

        Raises:
            InputError: A program, method or basis set cannot be used.
            TaskError: A task failed.
            DisagreementError: It changed results.
            TooSlowError: The run reached its limit.
            OutOfTimeError: It reached the end of the budget.
        """
        pool = self._pool(instance, plan)
        budget_gib = plan.memory_fraction * min(self.machine.memory_gib, available_memory_gib(self.machine))
        # Every run knows as much as the next one: the law so far, not what these very tasks took before.
        costs = Costs(self.costs.laws())
        costs.one_core = self.costs.one_core
        fixed = planning.fixed_plan(plan, costs=costs, budget_gib=budget_gib)
        left_s = max(LEAST_RUN_S, self._budget.left_s)
        started = time.monotonic()

        def within_limit(seen: Snapshot) -> None:
            self.others.append(
                max(0.0, seen.cores - seen.busy_cores - seen.idle_cores) if seen.settled_s > 1.0 else 0.0
            )
            if limit_s is not None and seen.elapsed_s > limit_s:
                raise TooSlowError(f"more than {limit_s:.1f} s")
            if seen.elapsed_s > left_s:
                raise OutOfTimeError("the budget is used up; allow more")

        executor = Executor(
            instance.tasks,
            pool,
            plan=replace(fixed, strategies=self.strategies),
            machine=self.machine,
            manager=self._manager,
            care=Care(task_limit_s=left_s + 1.0, fail_fast=True),
            started=started,
            on_progress=within_limit,
        )
        try:
            execution = executor.run()
            wall_s = time.monotonic() - started
        finally:
            for number in pool.folders():
                pool.stop(number, "timeout", "the run was stopped")
            pool.retire_all()
            self.on_run()
        if execution.failed:
            raise TaskError(f"{execution.failed[0].label}: {execution.failed[0].error}")
        self._compare(instance, plan, execution.values)
        if learn:
            self.learn(instance, execution.records)
        return Timed(wall_s, execution.peak_gib, budget_gib, execution.records)

    def _pool(self, instance: Instance, plan: Policy) -> Pool:
        environment = planning.environment(plan)
        key = frozenset(environment.items())
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(programs=list(instance.recipe.programs.values()), environment=environment)
            pool.brief(planning.briefing(instance.recipe, instance.tasks, plan))
            self._pools[key] = pool
            checked = pool.check(question(instance.tasks, instance.recipe))
            if checked.problems:
                self._pools.pop(key).close()
                raise InputError("; ".join(checked.problems))
            self.versions.update(checked.versions)
            self.costs.one_core |= abilities.on_one_core(checked.widths)
            pool.retire_all()
        pool.brief(planning.briefing(instance.recipe, instance.tasks, plan))
        return pool
