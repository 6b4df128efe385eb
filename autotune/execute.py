"""The loop between the scheduler, which decides, and the pool, which acts.

Rules: one pass of the loop takes what happened, tells the scheduler, starts what it decides. A task that fails does not
stop the others. Interruption (Ctrl-C) leaves as an exception; whoever owns the pool closes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autotune.manager import Manager
from autotune.monitor import LoadMeter, Snapshot
from autotune.planning import Plan, estimate
from autotune.pool import Lost, Pool, Returned
from autotune.records import TaskRecord
from autotune.scheduler import Adapted, Failed, Finished, Learned, Planned, Scheduler, Start
from autotune.types import Estimate, Machine, Policy, Task
from autotune.worker import Order, Reply

MAX_ATTEMPTS = 2  # a crash may be the machine's fault once
TICK_S = 0.5
LOOK_AROUND_S = 5.0  # between looks at whether the machine has changed
LEAST_GRANT_GIB = 0.5


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
        plan: What to do, what it is expected to cost, and what tasks may hold together; its costs learn.
        machine: Cores and memory.
        manager: Told about every task.
        task_limit_s: Time limit of one task, None for no limit.
        started: CLOCK_MONOTONIC second from which the run's times count.
        on_progress: Called with a `Snapshot` about twice a second and at the end.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        pool: Pool,
        *,
        plan: Plan,
        machine: Machine,
        manager: Manager,
        task_limit_s: float | None = None,
        started: float | None = None,
        on_progress: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._pool, self._plan, self._machine, self._manager = pool, plan, machine, manager
        self._policy = self._composed = plan.policy
        self._budget_gib = plan.budget_gib
        self._task_limit_s = task_limit_s
        self._started = time.monotonic() if started is None else started
        self._on_progress = on_progress
        self._meter = LoadMeter(machine)
        self._estimates = {task.number: self._estimate(task) for task in tasks}
        self._scheduler = Scheduler(
            [Planned(number=t.number, level=t.nbody, estimate=self._estimates[t.number]) for t in tasks],
            plan.policy,
            cores=machine.cores,
            memory_budget_gib=plan.budget_gib,
        )
        self._starts: dict[int, Start] = {}
        self._attempts: dict[int, int] = {}
        self._grants: dict[int, float] = {}
        self._expected_s = sum(estimate.alone_s for estimate in self._estimates.values())
        self._expected_done_s = 0.0
        self._next_rank = 1
        self._first = self._settled = self._looked = time.monotonic()
        self.execution = Execution()

    def run(self) -> Execution:
        """Run all tasks and return what came out."""
        scheduler, execution = self._scheduler, self.execution
        self._pool.prepare(min(self._policy.workers, len(self._tasks)))
        self._first = self._settled = self._looked = at = time.monotonic()
        ticked = 0.0
        while not scheduler.done:
            for start in scheduler.decide(time.monotonic()):
                self._start(start)
            if time.monotonic() - ticked >= TICK_S:
                # Here, not after events: workers that just finished are at work again.
                self._tick()
                ticked = time.monotonic()
            was_bound = scheduler.memory_bound
            events = self._pool.wait(timeout_s=TICK_S, task_limit_s=self._task_limit_s)
            now = time.monotonic()
            if was_bound:
                idle = max(0, self._machine.cores - sum(start.width for start in scheduler.running))
                execution.memory_idle_core_s += idle * (now - at)
            at = now
            for event in events:
                self._take(event)
            self._pool.retire_after(self._policy.tasks_per_worker)
        self._tick()
        return execution

    # --- tasks -------------------------------------------------------------------------------------------------------

    def _estimate(self, task: Task) -> Estimate:
        found = estimate(task, costs=self._plan.costs, manager=self._manager, machine=self._machine)
        if self._policy.grant == "estimate" and found.grant_gib and found.memory_gib <= self._budget_gib:
            return found
        # Its fastest algorithm does not fit or is not known; programs that manage memory keep to what they are told.
        share_gib = max(self._share_gib(1), LEAST_GRANT_GIB)
        return replace(found, grant_gib=0.0, memory_gib=min(found.memory_gib, share_gib))

    def _share_gib(self, width: int) -> float:
        policy = self._policy
        slots = max(min(policy.core_slots, policy.workers * policy.width), width)
        return self._budget_gib * max(width, policy.width) / slots

    def _grant_gib(self, number: int, width: int) -> float:
        wanted = self._estimates[number].grant_gib
        if self._policy.grant == "estimate" and wanted:
            return round(min(max(LEAST_GRANT_GIB, wanted), self._budget_gib), 3)
        return round(self._share_gib(width), 3)

    def _start(self, start: Start) -> None:
        orders = []
        for number in start.numbers:
            task = self._tasks[number]
            self._starts[number] = start
            self._attempts[number] = self._attempts.get(number, 0) + 1
            self._grants[number] = self._grant_gib(number, start.width)
            orders.append(Order(number, task.level, task.real, task.basis, start.width, self._grants[number]))
        self.execution.attempts += len(orders)
        self._pool.start(orders)

    def _take(self, event: Reply | Lost | Returned) -> None:
        if isinstance(event, Returned):
            self._attempts[event.number] -= 1
            self.execution.attempts -= 1
            self._scheduler.handle(Failed(event.number, again=True))
            return
        task = self._tasks[event.number]
        start = self._starts[event.number]
        if isinstance(event, Reply) and event.values is not None:
            self.execution.values[task.key] = event.values
            if event.result is not None:
                self.execution.results[task.key] = event.result
            self._scheduler.handle(Finished(event.number))
            self._finish(task, start, event)
            if self._policy.learn:
                self._plan.costs.observe(task, wall_s=event.wall_s, width=start.width, peak_gib=event.peak_gib)
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

    # --- what is learned on the way ----------------------------------------------------------------------------------

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

    def _tick(self) -> None:
        usage = self._pool.usage()
        self.execution.peak_gib = max(self.execution.peak_gib, usage.resident_gib)
        if self._policy.follow_machine and time.monotonic() - self._looked >= LOOK_AROUND_S:
            self._look_around()
        if self._on_progress is None and not self._plan.strategies:
            return
        snapshot = self._snapshot(usage.resident_gib, *self._meter.take(usage))
        if self._on_progress is not None:
            self._on_progress(snapshot)
        adapted = self._policy
        for strategy in self._plan.strategies:
            adapted = strategy.adapt(adapted, snapshot)
        if adapted != self._policy:
            self._adapt(adapted)

    def _snapshot(self, resident_gib: float, busy_cores: float, idle_cores: float) -> Snapshot:
        now, running = time.monotonic(), self._scheduler.running
        rate = self._expected_done_s / (now - self._first) if now > self._first else 0.0
        return Snapshot(
            done=len(self.execution.records),
            total=len(self._tasks),
            running=len(running),
            cores_in_use=sum(start.width for start in running),
            cores=self._machine.cores,
            busy_cores=busy_cores,
            idle_cores=idle_cores,
            resident_gib=resident_gib,
            budget_gib=self._budget_gib,
            elapsed_s=now - self._started,
            settled_s=now - self._settled,
            eta_s=max(0.0, self._expected_s - self._expected_done_s) / rate if rate else None,
            composed=self._composed,
        )

    def _look_around(self) -> None:
        self._looked = time.monotonic()
        remade = self._plan.remake()
        if remade is not None:
            self._machine, self._composed, self._budget_gib = remade
            self._pool.follow_affinity()
            self._adapt(self._composed)

    def _adapt(self, policy: Policy) -> None:
        self._policy = policy
        self._settled = time.monotonic()
        self._meter.reset(self._machine)
        self._scheduler.handle(Adapted(policy, self._machine.cores, self._budget_gib))
