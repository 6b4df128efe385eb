"""Times whole runs of a workload under a policy, and learns what tasks cost on the way.

Rules: one run at a time; workers are fresh for each run, programs stay loaded. Calibration searches and confirms with
what is measured here.
"""

from __future__ import annotations

import time
from typing import Self

from autotune import planning, workload
from autotune.costs import Costs, fit
from autotune.errors import InputError, TaskError
from autotune.execute import Executor
from autotune.execution import Care
from autotune.machine import available_memory_gib
from autotune.manager import Manager
from autotune.pool import Pool
from autotune.records import Law
from autotune.types import Machine, Method, Policy, Task


class Timing:
    """Keeps programs loaded, one pool for each environment; a context manager.

    Args:
        machine: The machine.
        manager: Told about every task.

    Attributes:
        costs: What is known of the costs so far.
        versions: Of the programs that ran.
        largest_functions: Most basis functions of a task that was learned from.
    """

    def __init__(self, *, machine: Machine, manager: Manager) -> None:
        self._machine, self._manager = machine, manager
        self._pools: dict[frozenset[tuple[str, str]], Pool] = {}
        self._samples: list[tuple[Task, float, int]] = []
        self.costs = Costs()
        self.versions: dict[str, str] = {}
        self.largest_functions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.close()

    def laws(self) -> dict[Method, Law]:
        """Return what the times of all learned tasks fit."""
        return fit(self._samples)

    def run_s(self, work: workload.Workload, plan: Policy, *, learn: bool, task_limit_s: float) -> float:
        """Run a workload and return the wall time in seconds.

        Raises:
            InputError: A program, method or basis set cannot be used.
            TaskError: A task failed.
        """
        pool = self._pool(work, plan)
        budget_gib = plan.memory_fraction * min(self._machine.memory_gib, available_memory_gib(self._machine))
        started = time.monotonic()
        executor = Executor(
            work.tasks,
            pool,
            plan=planning.fixed(plan, costs=self.costs if learn else Costs(), budget_gib=budget_gib),
            machine=self._machine,
            manager=self._manager,
            care=Care(task_limit_s=task_limit_s, fail_fast=True),
            started=started,
        )
        execution = executor.run()
        wall_s = time.monotonic() - started
        pool.retire_all()
        if execution.failed:
            raise TaskError(f"{execution.failed[0].label}: {execution.failed[0].error}")
        if learn:
            self._samples += [(work.tasks[r.number], r.wall_s, r.width) for r in execution.records]
            self.largest_functions = max(self.largest_functions, *(task.size.functions for task in work.tasks))
        return wall_s

    def _pool(self, work: workload.Workload, plan: Policy) -> Pool:
        environment = planning.environment(plan)
        key = frozenset(environment.items())
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(programs=list(work.recipe.programs.values()), environment=environment)
            self._pools[key] = pool
            pool.set_recipe(work.recipe.to_json())
            checked = pool.check()
            if checked.problems:
                raise InputError("; ".join(checked.problems))
            self.versions.update(checked.versions)
            pool.retire_all()
        pool.set_recipe(work.recipe.to_json())
        return pool
