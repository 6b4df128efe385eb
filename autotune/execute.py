"""The loop between the scheduler, which decides, and the pool, which acts.

Rules: one pass of the loop takes what happened, tells the scheduler, starts what it decides. A task that fails does not
stop the others. Interruption (Ctrl-C) leaves as an exception; whoever owns the pool closes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autotune.costs import Costs
from autotune.hookspecs import Strategy
from autotune.manager import Manager
from autotune.planning import estimate
from autotune.pool import Lost, Pool
from autotune.scheduler import Adapted, Failed, Finished, Learned, Planned, Scheduler, Start
from autotune.types import Estimate, Machine, Policy, Task, TaskRecord
from autotune.worker import Order, Reply

MAX_ATTEMPTS = 2  # a crash may be the machine's fault once
TICK_S = 0.5
GRANT_MARGIN = 1.5  # over the predicted peak, where grants follow predictions
LEAST_GRANT_GIB = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run in the middle.

    Attributes:
        done: Tasks finished, failed ones included.
        total: Tasks.
        running: Tasks running now.
        cores_in_use: Sum of their widths.
        cores: Usable cores.
        resident_gib: Resident memory of the workers, sampled.
        budget_gib: What tasks may be granted together.
        elapsed_s: Since the run started.
        eta_s: Predicted seconds to the end; None until something has finished.
    """

    done: int
    total: int
    running: int
    cores_in_use: int
    cores: int
    resident_gib: float
    budget_gib: float
    elapsed_s: float
    eta_s: float | None


@dataclass(slots=True, kw_only=True)
class Execution:
    """What came out of a run, in the order of completion.

    Attributes:
        values: Energy, gradient and Hessian by task key.
        results: AtomicResult JSON by task key, where the input keeps component results.
        records: What happened to each task.
        attempts: Starts of tasks.
        peak_gib: Largest sampled resident memory of all workers together.
        memory_idle_core_s: Core-seconds idle while a ready task waited for memory.
        lost_core_s: Core-seconds of attempts that failed.
    """

    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    records: list[TaskRecord] = field(default_factory=list)
    attempts: int = 0
    peak_gib: float = 0.0
    memory_idle_core_s: float = 0.0
    lost_core_s: float = 0.0

    @property
    def failed(self) -> list[TaskRecord]:
        """Tasks that failed for good."""
        return [record for record in self.records if record.status == "failed"]


class Executor:
    """Runs the tasks of one workload on a pool.

    Args:
        tasks: Distinct tasks.
        pool: Where they run; its recipe must be set.
        policy: What to do.
        machine: Cores and memory.
        costs: Predictions; learns while running.
        manager: Told about every task.
        budget_gib: What tasks may be granted together.
        task_limit_s: Time limit of one task, None for no limit.
        started: CLOCK_MONOTONIC second from which the run's times count.
        on_progress: Called with a `Snapshot` about twice a second and at the end.
        strategies: Asked about twice a second whether to go on with another policy.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        pool: Pool,
        *,
        policy: Policy,
        machine: Machine,
        costs: Costs,
        manager: Manager,
        budget_gib: float,
        task_limit_s: float | None = None,
        started: float | None = None,
        on_progress: Callable[[Snapshot], None] | None = None,
        strategies: Sequence[Strategy] = (),
    ) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._pool, self._policy, self._machine, self._costs, self._manager = pool, policy, machine, costs, manager
        self._budget_gib = budget_gib
        self._task_limit_s = task_limit_s
        self._started = time.monotonic() if started is None else started
        self._on_progress = on_progress
        self._strategies = strategies
        self._estimates = {task.number: self._estimate(task) for task in tasks}
        self._scheduler = Scheduler(
            [Planned(number=t.number, level=t.nbody, estimate=self._estimates[t.number]) for t in tasks],
            policy,
            cores=machine.cores,
            memory_budget_gib=budget_gib,
        )
        self._starts: dict[int, Start] = {}
        self._attempts: dict[int, int] = {}
        self._grants: dict[int, float] = {}
        self._expected_s = sum(estimate.alone_s for estimate in self._estimates.values())
        self._expected_done_s = 0.0
        self._resident_gib = 0.0
        self._next_rank = 1
        self.execution = Execution()

    def run(self) -> Execution:
        """Run all tasks and return what came out."""
        scheduler, execution = self._scheduler, self.execution
        self._pool.prepare(min(self._policy.workers, len(self._tasks)))
        first, ticked, at = time.monotonic(), 0.0, time.monotonic()
        while not scheduler.done:
            for start in scheduler.decide():
                self._start(start)
            was_bound = scheduler.memory_bound
            events = self._pool.wait(timeout_s=TICK_S, task_limit_s=self._task_limit_s)
            now = time.monotonic()
            if was_bound:
                idle = max(0, self._machine.cores - sum(s.width for s in scheduler.running.values()))
                execution.memory_idle_core_s += idle * (now - at)
            at = now
            for event in events:
                self._take(event)
            self._pool.retire_after(self._policy.tasks_per_worker)
            if now - ticked >= TICK_S:
                self._tick(first)
                ticked = now
        self._tick(first)
        return execution

    def _estimate(self, task: Task) -> Estimate:
        return estimate(task, costs=self._costs, manager=self._manager, machine=self._machine)

    def _start(self, start: Start) -> None:
        task = self._tasks[start.number]
        self._starts[start.number] = start
        self._attempts[start.number] = self._attempts.get(start.number, 0) + 1
        self.execution.attempts += 1
        grant_gib = self._grants[start.number] = self._grant_gib(start)
        self._pool.start(Order(start.number, task.level, task.real, task.basis, start.width, grant_gib))

    def _grant_gib(self, start: Start) -> float:
        policy = self._policy
        slots = max(min(policy.core_slots, policy.workers * policy.width), start.width)
        share = self._budget_gib * start.width / slots
        if self._policy.grant == "estimate":
            wanted = max(LEAST_GRANT_GIB, GRANT_MARGIN * self._estimates[start.number].memory_gib)
            return round(min(wanted, self._budget_gib), 3)
        return round(share, 3)

    def _take(self, event: Reply | Lost) -> None:
        task = self._tasks[event.number]
        start = self._starts[event.number]
        if isinstance(event, Reply) and event.values is not None:
            self.execution.values[task.key] = event.values
            if event.result is not None:
                self.execution.results[task.key] = event.result
            self._costs.observe(task, wall_s=event.wall_s, width=start.width, peak_gib=event.peak_gib)
            self._scheduler.handle(Finished(event.number))
            self._finish(task, start, event)
            self._rerank()
            return
        lost_s = event.lost_s if isinstance(event, Lost) else event.wall_s
        self.execution.lost_core_s += lost_s * start.width
        kind = event.kind if isinstance(event, Lost) else event.error_type
        again = kind in ("crash", "random_error") and self._attempts[event.number] < MAX_ATTEMPTS
        self._scheduler.handle(Failed(event.number, again))
        if not again:
            self._finish(task, start, event)

    def _finish(self, task: Task, start: Start, event: Reply | Lost) -> None:
        if isinstance(event, Lost):
            # Shaped like the reply it could not give.
            event = Reply(
                number=event.number,
                values=None,
                result=None,
                error_type=event.kind,
                error=event.reason,
                started=time.monotonic() - event.lost_s,
                wall_s=event.lost_s,
                cpu_s=0.0,
                peak_gib=0.0,
            )
        record = TaskRecord(
            number=task.number,
            label=task.labels[0],
            nbody=task.nbody,
            status="failed" if event.values is None else "done",
            attempts=self._attempts[task.number],
            started_s=event.started - self._started,
            wall_s=event.wall_s,
            cpu_s=event.cpu_s,
            width=start.width,
            grant_gib=self._grants[task.number],
            peak_gib=event.peak_gib,
            predicted_s=self._estimates[task.number].wall_s(start.width),
            error_type=event.error_type,
            error=event.error,
        )
        self.execution.records.append(record)
        self._expected_done_s += self._estimates[task.number].alone_s
        self._manager.task_done(task, record)

    def _rerank(self) -> None:
        """Rank waiting tasks anew when the number of finished ones has doubled: often early, rarely later."""
        if len(self.execution.records) < self._next_rank:
            return
        self._next_rank *= 2
        done = {record.number for record in self.execution.records}
        fresh = {number: self._estimate(task) for number, task in self._tasks.items() if number not in done}
        self._expected_s += sum(e.alone_s - self._estimates[n].alone_s for n, e in fresh.items())
        self._estimates.update(fresh)
        self._scheduler.handle(Learned(fresh))

    def _tick(self, first: float) -> None:
        self._resident_gib = self._pool.usage().resident_gib
        self.execution.peak_gib = max(self.execution.peak_gib, self._resident_gib)
        if self._on_progress is None and not self._strategies:
            return
        now = time.monotonic()
        rate = self._expected_done_s / (now - first) if now > first else 0.0
        running = self._scheduler.running
        snapshot = Snapshot(
            done=len(self.execution.records),
            total=len(self._tasks),
            running=len(running),
            cores_in_use=sum(start.width for start in running.values()),
            cores=self._machine.cores,
            resident_gib=self._resident_gib,
            budget_gib=self._budget_gib,
            elapsed_s=now - self._started,
            eta_s=max(0.0, self._expected_s - self._expected_done_s) / rate if rate else None,
        )
        if self._on_progress is not None:
            self._on_progress(snapshot)
        adapted = self._policy
        for strategy in self._strategies:
            adapted = strategy.adapt(adapted, snapshot)
        if adapted != self._policy:
            self._policy = adapted
            self._scheduler.handle(Adapted(adapted))
