"""The loop between the scheduler, which decides, and the pool, which acts.

Rules: one pass of the loop takes what happened, tells the scheduler, starts what it decides. What finished goes to the
journal, which is flushed before the run counts. A task that fails is repeated or given up as `failures.py` says and
does not stop the others; a worker that holds too much is stopped as `guard.py` says. Interruption (Ctrl-C) leaves as an
exception; whoever owns the pool closes it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from autotune.base import garbage
from autotune.base.types import Machine, Policy, Resources, Task
from autotune.costs.cost_law import by_itself_s
from autotune.machine import pressure
from autotune.machine.detection import threads_of_cores
from autotune.plugin.manager import Manager
from autotune.programs.facts import facts_of, ranks
from autotune.runtime import failures, guard
from autotune.runtime.attempts import Attempts
from autotune.runtime.execution import Care, Execution
from autotune.runtime.expectations import Expectations
from autotune.runtime.monitor import LoadMeter, Monitor, OtherWork, Snapshot
from autotune.runtime.planning import Plan
from autotune.schedule.events import Adapted, Dropped, Failed, Finished, Learned, Paused, Sped, Start
from autotune.schedule.scheduler import Scheduler
from autotune.schedule.speeds import Speeds
from autotune.workers import scratch
from autotune.workers.messages import Outcome, Reply, Returned, Usage
from autotune.workers.pool import Pool

TICK_S = 0.5
LOOK_AROUND_S = 5.0  # between looks at whether the machine has changed
SPEED_CHANGE = 0.05  # of a worker's speed; less changes no schedule
SCRATCH_LOOK_S = 1.0  # between looks at scratch space


class Executor:
    """Runs the tasks of one workload on a pool.

    Args:
        tasks: Distinct tasks.
        pool: Where they run; its recipe must be set.
        plan: What to do, what it is expected to cost, and what tasks may hold together; its costs learn.
        machine: Cores and memory.
        manager: Told about every task.
        care: What to do about faults.
        started: CLOCK_MONOTONIC second from which the run's times count.
        on_progress: Called with a `Snapshot` about twice a second and at the end.
        execution: What is known already, to which the rest is added.
    """

    @garbage.search_seldom()
    def __init__(
        self,
        tasks: Sequence[Task],
        pool: Pool,
        *,
        plan: Plan,
        machine: Machine,
        manager: Manager,
        care: Care | None = None,
        started: float | None = None,
        on_progress: Callable[[Snapshot], None] | None = None,
        execution: Execution | None = None,
    ) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._pool, self._plan, self._machine, self._manager = pool, plan, machine, manager
        self._care = care or Care()
        self._policy = self._composed = plan.policy
        self._started = time.monotonic() if started is None else started
        self._on_progress = on_progress
        self._meter = LoadMeter(machine)
        self._expected = Expectations(tasks, plan=plan, manager=manager, machine=machine)
        self._monitor = Monitor(self._expected, started=self._started)
        self._guard = guard.Guard(plan.budget_gib, cores=machine.cores)
        self._scheduler = Scheduler(
            self._expected.of,
            {task.number: task.nbody for task in tasks},
            plan.policy,
            budget=Resources(cores=machine.cores, memory_gib=plan.budget_gib, gpus=machine.gpus),
            ahead=ranks(tasks, plan.policy.tunables),
            gpu_memory_gib=machine.gpu_memory_gib,
        )
        self._speeds, self._told = Speeds(), tuple[float, ...]()
        self._attempts = Attempts(tasks, expected=self._expected, care=self._care, started=self._started)
        self._usage = Usage(0.0, 0.0, {})
        self._stalled = self._limit_events = self._pressed = 0.0
        self._paused = self._dropped = False
        self._looked = self._scratch_looked = time.monotonic()
        self.execution = execution or Execution()

    @garbage.search_seldom()
    def run(self) -> Execution:
        """Run all tasks and return what came out; it counts when the journal is flushed.

        Raises:
            ResourceError: The journal cannot be written.
        """
        try:
            self._run()
        except BaseException:
            # What workers have answered is kept, also what nobody has read yet.
            with contextlib.suppress(Exception):
                self._care.keep(map(self._attempts.entry, _done(self._pool.drain())), self.execution)
            raise
        return self.execution

    def _run(self) -> None:
        scheduler, execution = self._scheduler, self.execution
        self._pool.prepare(min(self._policy.workers, len(self._tasks)))
        self._scratch_gib = scratch.budget_gib(self._pool.scratch, self._care.scratch_gib)
        self._looked = at = time.monotonic()
        self._monitor.begin()
        others, before_s = OtherWork(self._machine), sum(record.cpu_s for record in execution.records)
        ticked = sampled = 0.0
        while not scheduler.done:
            self._start_ready()
            if time.monotonic() - sampled >= self._guard.interval_s:
                # Here, not after events: workers that just finished are at work again.
                self._watch()
                sampled = time.monotonic()
            if time.monotonic() - ticked >= TICK_S:
                self._tick()
                ticked = time.monotonic()
            was_bound = scheduler.memory_bound
            timeout_s = min(TICK_S, self._guard.interval_s)
            events = self._pool.wait(timeout_s=timeout_s, task_limit_s=self._care.task_limit_s)
            now = time.monotonic()
            if was_bound:
                idle = max(0, self._machine.cores - scheduler.cores_in_use)
                execution.memory_idle_core_s += idle * (now - at)
            at = now
            self._take_all(events)
        execution.other_core_s += others.core_s(sum(record.cpu_s for record in execution.records) - before_s)
        self._watch()
        self._tick()

    # --- tasks -------------------------------------------------------------------------------------------------------

    def _start_ready(self) -> None:
        for start in self._scheduler.decide(time.monotonic()):
            self._start(start)

    def _start(self, start: Start) -> None:
        self.execution.attempts += len(start.numbers)
        speed = self._speed_of(start.seat) if start.place is None else 1.0
        self._pool.start(self._attempts.orders(start, speed=speed), seat=start.place or start.seat)

    def _take_all(self, events: Sequence[Outcome], *, go_on: bool = True) -> None:
        policy, done = self._policy, _done(events)
        # Workers are at work again before what they did is written down, which happens whatever comes in between.
        try:
            for event in events:
                if isinstance(event, Reply) and event.values is not None:
                    self._time(event)
                    self._scheduler.handle(Finished(event.number))
                else:
                    self._take(event)
            if go_on:
                self._pool.retire(
                    tasks=policy.tasks_per_worker, growth_gib=policy.worker_growth_gib, age_s=policy.worker_age_s
                )
                self._start_ready()
        finally:
            self._care.keep(map(self._attempts.entry, done), self.execution)
        for reply in done:
            self._credit(reply)

    def _take(self, event: Outcome) -> None:
        if isinstance(event, Returned):
            self._attempts.returned(event.number)
            self.execution.attempts -= 1
            self._scheduler.handle(Failed(event.number, again=not self._dropped, suspect=event.suspect))
        else:
            self._fail(event)

    def _credit(self, reply: Reply) -> None:
        """Count a task as done, and learn from it."""
        number, attempts = reply.number, self._attempts
        width, (_, speed) = attempts.width(number), attempts.seat(number)
        self._finish(reply, "")
        if self._policy.learn:
            method = self._tasks[number].method
            wall_s = by_itself_s(method, reply.wall_s, sharers=reply.sharers, speed=speed)
            fresh = self._expected.learn(number, wall_s=wall_s, width=width, peak_gib=reply.peak_gib)
            if fresh:
                self._scheduler.handle(Learned(fresh))

    def _time(self, reply: Reply) -> None:
        """Learn how fast the worker is that did a task."""
        number, expected = reply.number, self._expected
        if not self._policy.learn or reply.sharers > 1 or self._attempts.width(number) > 1:
            return
        if expected.of[number].gpus:  # the speed of a device
            return
        now, spread = time.monotonic(), expected.of[number].spread
        (seat, _), (size, usual_s) = self._attempts.seat(number), expected.comparable(number)
        self._speeds.observe(seat, size, reply.wall_s / usual_s, spread=spread, now_s=now)
        if reply.wall_s >= TICK_S:
            self._tell_speeds()

    def _tell_speeds(self) -> None:
        found = self._speeds.found(self._policy.workers, now_s=time.monotonic())
        if _are_other(found, self._told):
            self._told = self.execution.speeds = found
            self._scheduler.handle(Sped(found))

    def _speed_of(self, seat: int) -> float:
        return self._told[seat] if seat < len(self._told) else 1.0

    def _fail(self, reply: Reply) -> None:
        number = reply.number
        self.execution.lost_core_s += reply.wall_s * self._attempts.width(number)
        program = self._tasks[number].method.program
        kind = failures.kind_of(reply.error_type, reply.error, words=facts_of(program).error_words)
        # The system ends the largest process, which is the program's own, and its harness cannot say why.
        if kind == "program" and self._pool.memory_ran_out():
            kind = "memory"
        answer = self._attempts.answer(reply, kind)
        again = answer.again and not self._dropped
        if again and answer.more_memory:
            self._scheduler.handle(Learned({number: self._expected.more_memory(number, reply.peak_gib)}))
        self._scheduler.handle(Failed(number, again, alone=again and answer.alone, suspect=True))
        if again:
            return
        self._finish(reply, kind)
        if self._care.fail_fast and not self._dropped:
            self._dropped = True
            self._scheduler.handle(Dropped())

    def _finish(self, reply: Reply, kind: str) -> None:
        record = self._attempts.record(reply, kind)
        self.execution.records.append(record)
        self._expected.finish(reply.number)
        self._manager.task_done(self._tasks[reply.number], record)

    # --- what is seen on the way -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at memory; stop a task or pause where the guard says so."""
        began = time.monotonic()
        usage = self._usage = self._pool.usage()
        looked_s = time.monotonic() - began
        self.execution.peak_gib = max(self.execution.peak_gib, usage.resident_gib)
        if began - self._pressed >= TICK_S:
            # The kernel's means are of ten seconds; several files are read for them.
            self._pressed = began
            self._stalled, self._limit_events = pressure.stalled_share(), pressure.limit_events()
        verdict = self._guard.judge(
            time.monotonic(),
            resident_gib=usage.resident_gib,
            by_task=usage.by_task,
            expected_gib={number: self._expected.of[number].memory_gib for number in usage.by_task},
            look_s=looked_s,
            stalled=self._stalled,
            limit_events=self._limit_events,
        )
        self._obey(verdict, "memory")
        if verdict.pause != self._paused:
            self._paused = verdict.pause
            self._scheduler.handle(Paused(verdict.pause))
            if verdict.pause:
                self._pool.retire_all()  # idle workers hold memory, too

    def _obey(self, verdict: guard.Verdict, kind: str) -> None:
        if verdict.stop is not None:
            events = self._pool.stop(verdict.stop, kind, verdict.reason)
            if not verdict.blame:
                # Without fault of its own it comes back as if it had not been started.
                events = [Returned(verdict.stop) if _was_stopped(event, verdict) else event for event in events]
            self._take_all(events, go_on=False)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._scratch_looked >= SCRATCH_LOOK_S:
            self._scratch_looked = now
            held_gib = {number: scratch.held_gib(folder) for number, folder in self._pool.folders().items()}
            free_gib = scratch.free_gib(self._pool.scratch)
            self._obey(guard.heaviest(held_gib, budget_gib=self._scratch_gib, free_gib=free_gib), "disk")
        if self._policy.follow_machine and now - self._looked >= LOOK_AROUND_S:
            self._looked = now
            self._follow_machine()
        self._tell_speeds()
        self._pin()
        if self._on_progress is None and not self._plan.strategies:
            return
        snapshot = self._monitor.snapshot(
            running=len(self._scheduler.running),
            cores_in_use=self._scheduler.cores_in_use,
            cores=self._machine.cores,
            load=self._meter.take(self._usage),
            resident_gib=self._usage.resident_gib,
            budget_gib=self._guard.budget_gib,
            composed=self._composed,
        )
        if self._on_progress is not None:
            self._on_progress(snapshot)
        adapted = self._policy
        for strategy in self._plan.strategies:
            adapted = strategy.adapt(adapted, snapshot)
        if adapted != self._policy:
            self._adapt(adapted)

    def _pin(self) -> None:
        """Keep each worker on a core of its own as long as all are at work; a free core may take what is slow."""
        cores: tuple[frozenset[int], ...] = ()
        if self._policy.pin_workers and len(self._scheduler.running) >= self._machine.cores:
            cores = threads_of_cores()
        # With fewer cores than there are nobody knows which are better left to others.
        self._pool.pin(cores if len(cores) == self._machine.cores else ())

    def _follow_machine(self) -> None:
        remade = self._plan.remake()
        if remade is not None:
            self._machine, self._composed, self._guard.budget_gib = remade
            self._pool.follow_affinity()
            self._adapt(self._composed)

    def _adapt(self, policy: Policy) -> None:
        self._policy = policy
        self._monitor.settle()
        self._meter.reset(self._machine)
        self._expected.adapt(policy, self._guard.budget_gib)
        here = self._machine
        budget = Resources(cores=here.cores, memory_gib=self._guard.budget_gib, gpus=here.gpus)
        self._scheduler.handle(Adapted(policy, budget))


def _was_stopped(event: Outcome, verdict: guard.Verdict) -> bool:
    return isinstance(event, Reply) and event.number == verdict.stop and event.error == verdict.reason


def _are_other(speeds: Sequence[float], before: Sequence[float]) -> bool:
    return len(speeds) != len(before) or any(
        abs(now - then) > SPEED_CHANGE * then for now, then in zip(speeds, before, strict=True)
    )


def _done(events: Sequence[Outcome]) -> list[Reply]:
    return [event for event in events if isinstance(event, Reply) and event.values is not None]
