"""The loop between the dealer, which decides what goes together, and the nodes behind an executor.

Rules: what `executor.py` is for one machine. A bundle counts when it is back and in the journal; one that does not come
back is dealt again. Nothing is known of the nodes but how many there are. Interruption leaves as an exception; bundles
that are not at work yet are called back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import replace

from autotune.base.errors import InputError, ResourceError
from autotune.base.records import TaskRecord, task_record
from autotune.base.text import count, one_line
from autotune.base.types import Machine, Resources, Task
from autotune.costs.cost_law import by_itself_s
from autotune.journal.entries import Entry
from autotune.plugin.hookspecs import Backend
from autotune.plugin.manager import Manager
from autotune.runtime import node
from autotune.runtime.execution import Care, Execution
from autotune.runtime.expectations import Expectations
from autotune.runtime.monitor import Load, Monitor, Snapshot
from autotune.runtime.planning import Plan
from autotune.schedule import bundles
from autotune.schedule.bundles import Dealer

TICK_S = 0.5
LOST_IN_A_ROW = 3  # for each node: then it is not the nodes that are at fault


class Dispatch:
    """Runs tasks on nodes.

    Args:
        tasks: Those to be computed.
        backend: Where bundles go.
        empty: A bundle without tasks: what all bundles have in common.
        plan: Its costs size the bundles, and learn.
        machine: One node.
        manager: Told about every task.
        care: The journal, and what to do about faults.
        execution: Filled with what comes out.
        started: CLOCK_MONOTONIC second from which the run's times count.
        on_progress: Called with a `Snapshot` about twice a second.
        say: Called with a line where a bundle is lost.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        backend: Backend,
        *,
        empty: node.Bundle,
        plan: Plan,
        machine: Machine,
        manager: Manager,
        care: Care,
        execution: Execution,
        started: float,
        on_progress: Callable[[Snapshot], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._backend, self._empty = backend, empty
        self._plan, self._machine, self._manager, self._care = plan, machine, manager, care
        self._execution, self._started, self._on_progress, self._say = execution, started, on_progress, say
        self._expected = Expectations(tasks, plan=plan, manager=manager, machine=machine)
        self._dealer = Dealer(
            {number: estimate.alone_s for number, estimate in self._expected.of.items()},
            nodes=backend.nodes,
            cores=machine.cores,
            measured=plan.tuning is not None,
        )
        self._out: dict[Future[node.Computed], tuple[int, ...]] = {}
        self._lost_in_a_row = 0
        self._monitor = Monitor(self._expected, started=started, nodes=backend.nodes)

    def run(self) -> None:
        """Run all tasks.

        Raises:
            InputError: A node cannot run the tasks, or has another version of a program than the others.
            ResourceError: No bundle comes back, or the journal cannot be written.
        """
        try:
            while self._out or self._dealer.waiting:
                self._fill()
                done, _ = wait(self._out, TICK_S, FIRST_COMPLETED)
                for future in done:
                    self._take(future, self._out.pop(future))
                self._tick()
        except BaseException:
            for future in self._out:
                if _came_back(future):
                    with contextlib.suppress(Exception):  # what is back counts, whatever else happens
                        self._take(future, ())
                with contextlib.suppress(NotImplementedError):  # Parsl's: they end with its nodes
                    future.cancel()
            raise

    def _fill(self) -> None:
        while len(self._out) < bundles.AT_A_NODE * self._backend.nodes:
            numbers = self._dealer.deal()
            if not numbers:
                return
            tasks = tuple(self._tasks[number] for number in numbers)
            hosts = frozenset(task.key for task in tasks if task.key in self._care.hosts)
            bundle = self._empty._replace(tasks=tasks, hosts=hosts)
            try:
                self._out[self._backend.executor.submit(node.compute, bundle)] = numbers
            except RuntimeError as error:  # what executors raise that were shut down
                raise _gone(error) from error

    def _take(self, future: Future[node.Computed], numbers: tuple[int, ...]) -> None:
        try:
            computed = future.result()
        except InputError:
            raise
        except BrokenExecutor as error:
            raise _gone(error) from error
        except Exception as error:  # noqa: BLE001 - each engine has its own words for a node that is gone
            self._lose(numbers, error)
            return
        self._lost_in_a_row = 0
        if computed.seen.checked.versions != self._care.versions:
            raise InputError(
                f"{computed.seen.host} has {_words(computed.seen.checked.versions)}, the first node had"
                f" {_words(self._care.versions)}; energies of several versions do not add up: use one on all nodes"
            )
        self._keep(computed)

    def _lose(self, numbers: tuple[int, ...], error: Exception) -> None:
        reason = f"{type(error).__name__}: {one_line(error)}"
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= LOST_IN_A_ROW * self._backend.nodes:
            raise ResourceError(
                f"no bundle comes back from the nodes, the last with {reason}; is autotune installed on them, and can"
                " they reach this machine?"
            ) from error
        for number in self._dealer.lost(numbers):
            task = self._tasks[number]
            given_up = f"the node was lost {bundles.MOST_LOSSES} times, the last with {reason}"
            self._end(
                task,
                task_record(
                    task,
                    self._expected.of[number],
                    Resources(cores=1, memory_gib=0.0),
                    started_s=0.0,
                    wall_s=0.0,
                    attempts=bundles.MOST_LOSSES,
                    error_type="crash",
                    error=given_up,
                ),
            )
        again = "; its tasks are given to nodes again" if self._dealer.waiting else ""
        self._say(f"a bundle of {count(len(numbers), 'task')} did not come back ({reason}){again}")

    def _keep(self, computed: node.Computed) -> None:
        """Take in what a node computed; it counts when the journal has it."""
        found, ours, care = computed.execution, self._execution, self._care
        offset_s = computed.began_s - (time.time() - time.monotonic() + self._started)
        care.keep(
            (
                Entry(*values.where, values, found.results.get(key), found.contained.get(key))
                for key, values in found.values.items()
            ),
            ours,
        )
        if care.journal is not None:
            care.journal.flush()
        ours.attempts += found.attempts
        ours.peak_gib = max(ours.peak_gib, found.peak_gib)
        ours.memory_idle_core_s += found.memory_idle_core_s
        ours.lost_core_s += found.lost_core_s
        costs_s: dict[int, float] = {}
        for record in found.records:
            # Clocks of nodes are not quite ours.
            self._end(self._tasks[record.number], replace(record, started_s=max(0.0, offset_s + record.started_s)))
            if record.status == "done" and self._plan.policy.learn:
                method = self._tasks[record.number].method
                wall_s = by_itself_s(method, record.wall_s, sharers=record.sharers, speed=record.speed)
                fresh = self._expected.learn(record.number, wall_s=wall_s, width=record.width, peak_gib=record.peak_gib)
                costs_s |= {number: estimate.alone_s for number, estimate in fresh.items()}
        if costs_s:
            self._dealer.learn(costs_s)
        if care.fail_fast and found.failed:
            self._dealer.drop()

    def _end(self, task: Task, record: TaskRecord) -> None:
        self._execution.records.append(record)
        self._expected.finish(task.number)
        self._manager.task_done(task, record)

    def _tick(self) -> None:
        if self._on_progress is None:
            return
        nodes, cores = self._backend.nodes, self._machine.cores
        self._on_progress(
            self._monitor.snapshot(
                running=len(self._out),
                cores_in_use=min(len(self._out), nodes) * cores,
                cores=nodes * cores,
                load=Load(0.0, 0.0),
                resident_gib=self._execution.peak_gib,
                budget_gib=self._plan.budget_gib,
                composed=self._plan.policy,
            )
        )


def _came_back(future: Future[node.Computed]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _gone(error: BaseException) -> ResourceError:
    return ResourceError(
        f"the executor takes no more bundles ({type(error).__name__}: {one_line(error)}); start it again and go on with"
        " the journal"
    )


def _words(versions: object) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(dict(versions).items()))  # type: ignore[call-overload]
