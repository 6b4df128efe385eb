"""This machine as the place of a run: one pool of workers, kept over several inputs.

Rules: what `fleet.py` is for several machines: plans, checks, executes; whoever holds it decides what with the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.base.types import Machine, Method, Policy, Task
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.programs import abilities
from autotune.runtime import planning
from autotune.runtime.execution import Care, Execution
from autotune.runtime.executor import Executor
from autotune.runtime.monitor import Snapshot
from autotune.runtime.planning import Plan, Work
from autotune.workers.messages import Checked
from autotune.workers.pool import Pool
from autotune.workers.preflight import question


class Local:
    """Runs tasks on this machine.

    Args:
        options: What the user decided.
        manager: The plugins.

    Attributes:
        machine: What may be used, under the whole machine's key.
        nodes: How many machines work together: this one.
    """

    nodes = 1

    def __init__(self, options: Options, *, manager: Manager) -> None:
        self._options, self._manager = options, manager
        self._pool: Pool | None = None
        self._checked: object = None  # the recipe that the workers have
        self._programs: tuple[str, ...] = ()
        self._environment: dict[str, str] = {}
        # The whole machine's key: a tuning measured on all cores is still the nearest for fewer.
        limited = detection.detect(cores=options.cores, memory_gib=options.memory_gib)
        self.machine: Machine = replace(limited, key=detection.detect().key)

    def load(self, programs: Sequence[str], methods: tuple[Method, ...]) -> None:
        """Start to load programs, and do not wait for them."""
        # Programs load while stored tunings are read; a tuning that wants another environment has them load again.
        for look_up in (False, True) if self._pool is None else (True,):
            policy = planning.guess(
                methods, machine=self.machine, manager=self._manager, options=self._options, look_up=look_up
            )
            self._open_pool(programs, policy)

    def plan(self, work: Work) -> Plan:
        """Return the plan for a workload; raises InputError as `planning.make` does."""
        return planning.make(work, machine=self.machine, manager=self._manager, options=self._options)

    def check(self, work: Work, plan: Plan, *, most_nbody: int = 0, goes_on: bool = False) -> Checked:
        """Bring the workers to where they can start and return what one of them says of the programs.

        The plan learns from it which programs take one core whatever they are given.

        Args:
            work: What is to be computed.
            plan: For it.
            most_nbody: Fragments of the largest task of the run that the work is a part of.
            goes_on: Another part of that run was here before, and what workers share is kept.

        Raises:
            InputError: A task cannot run.
        """
        pool = self._open_pool(sorted(set(work.recipe.programs.values())), plan.policy)
        try:
            remember = self._options.remembers
            recipe = replace(work.recipe, rescue=self._options.rescue)
            briefing = planning.briefing(recipe, work.tasks, plan.policy, remember=remember, most_nbody=most_nbody)
            pool.brief(briefing, keep_shared=remember or goes_on)
            if self._options.enforce_memory:
                pool.enforce(plan.budget_gib)
            pool.prepare(min(plan.policy.workers, len(work.tasks)))
            checked = pool.check(question(work.tasks, work.recipe))
        except BaseException:
            self.close()
            raise
        if checked.problems:
            raise InputError("; ".join(checked.problems))
        plan.costs.one_core = abilities.on_one_core(checked.widths)
        self._checked = work.recipe
        return checked

    def execute(
        self,
        tasks: Sequence[Task],
        *,
        work: Work,
        plan: Plan,
        care: Care,
        execution: Execution,
        started: float,
        on_progress: Callable[[Snapshot], None] | None = None,
    ) -> None:
        """Run tasks of a workload, after a check where its recipe is not the one that was checked last.

        Args:
            tasks: Those to be computed.
            work: The workload they are of, or one of the same recipe.
            plan: For it.
            care: What to do about faults.
            execution: Filled with what comes out, also where the run does not come to its end.
            started: CLOCK_MONOTONIC second from which the run's times count.
            on_progress: Called with a `Snapshot` about twice a second and at the end.

        Raises:
            InputError: As for `check`.
            ResourceError: The journal cannot be written.
        """
        if not tasks:
            return
        if self._checked is not work.recipe:
            self.check(work, plan)
        assert self._pool is not None
        executor = Executor(
            tasks,
            self._pool,
            plan=plan,
            machine=self.machine,
            manager=self._manager,
            care=care,
            execution=execution,
            started=started,
            on_progress=on_progress,
        )
        executor.run()

    def close(self) -> None:
        """End the worker processes; safe to call twice."""
        if self._pool is not None:
            self._pool.close()
            self._pool = self._checked = None

    def _open_pool(self, programs: Sequence[str], plan: Policy) -> Pool:
        environment = planning.environment(plan)
        if self._pool is not None and (self._environment != environment or not set(programs) <= set(self._programs)):
            self.close()
        if self._pool is None:
            scratch = Path(self._options.scratch) if self._options.scratch else None
            self._pool = Pool(programs=programs, environment=environment, scratch=scratch)
            self._programs, self._environment = tuple(programs), environment
        return self._pool
