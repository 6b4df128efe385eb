"""The supervisor: resident worker processes, one task at a time, one pipe each.

Rules: a worker's death costs the task it was at and nothing else, those that were to follow come back; a task that
exceeds its time limit is killed with its whole process tree, counted from the task's start; leaving the pool leaves no
process and no scratch file. The pool decides nothing: it starts what it is told and reports what happened. See
`zygote.py` for the processes and who dies with whom.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

from autotune import process
from autotune.errors import AutotuneError
from autotune.forks import Forks, last_lines
from autotune.worker import Check, Checked, Order, Reply

STARTUP_LIMIT_S = 120.0


class Lost(NamedTuple):
    """A worker ended with its task unfinished; `kind` is `crash` or `timeout`."""

    number: int
    kind: str
    reason: str
    lost_s: float


class Returned(NamedTuple):
    """A task that its worker did not come to, because it ended with an earlier one of the same batch."""

    number: int


class Usage(NamedTuple):
    """What all workers and their children use together; shared pages count once per process.

    `cpu_s` is the CPU time of the living ones since their start.
    """

    resident_gib: float
    cpu_s: float


Event: TypeAlias = Reply | Lost | Returned


@dataclass(slots=True, kw_only=True)
class _Worker:
    number: int
    pipe: Connection
    output: Path
    pid: int = 0
    recipe: str | None = None
    orders: deque[Order] = field(default_factory=deque)
    since: float = 0.0
    tasks: int = 0
    exit_status: int | None = None


class Pool:
    """Worker processes for one run or many.

    Args:
        programs: QCEngine programs to import before the first fork.
        environment: Environment of the workers, fixed for the life of the pool; see `process.worker_environment`.
        scratch: Folder for scratch files; a private folder is made in it and removed on `close`.

    Raises:
        ResourceError: This platform cannot fork, or the scratch folder cannot be written.
    """

    def __init__(self, *, programs: Sequence[str], environment: Mapping[str, str], scratch: Path | None = None) -> None:
        self._forks = Forks(programs=programs, environment=environment, scratch=scratch)
        self._workers: dict[int, _Worker] = {}
        self._next_number = 0
        self._recipe: str | None = None
        self._serving = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_recipe(self, recipe: str) -> None:
        """Give what the next orders are built from; see `component.Recipe.to_json`."""
        self._recipe = recipe

    def prepare(self, workers: int) -> None:
        """Fork workers until there are as many, so that they start together."""
        while len(self._workers) < workers:
            self._fork()

    def check(self) -> Checked:
        """Return what is wrong with the recipe; blocks until a worker has looked."""
        # An idle worker of an earlier run may have died meanwhile.
        self._take_exit_reports()
        for dead in [w for w in self._workers.values() if w.exit_status is not None]:
            self._kill(dead)
        worker = self._idle_worker()
        deadline = time.monotonic() + STARTUP_LIMIT_S
        with contextlib.suppress(EOFError, OSError):
            self._brief(worker)
            worker.pipe.send(Check())
            while time.monotonic() < deadline and self._forks.alive:
                if not worker.pipe.poll(0.25):
                    continue
                message = worker.pipe.recv()
                if isinstance(message, Checked):
                    return message
                worker.pid = message
                self._serving = True
        lines = last_lines(worker.output) or self._forks.last_lines() or "no output"
        raise AutotuneError(f"the worker processes did not start: {lines}")

    def start(self, orders: Sequence[Order]) -> None:
        """Start tasks, one after another, on an idle worker, forking one where there is none."""
        worker = self._idle_worker()
        worker.orders.extend(orders)
        worker.since = time.monotonic()
        try:
            self._brief(worker)
            for order in orders:
                worker.pipe.send(order)
        except OSError:
            # Already dead: `wait` finds the closed pipe and reports the task as lost.
            return

    def wait(self, *, timeout_s: float, task_limit_s: float | None = None) -> list[Event]:
        """Return what happened, waiting up to `timeout_s` for something to happen.

        Args:
            timeout_s: How long to wait when nothing happens.
            task_limit_s: A task that runs longer is killed and reported as lost.
        """
        until = timeout_s
        if task_limit_s is not None:
            now = time.monotonic()
            ends = [worker.since + task_limit_s - now for worker in self._workers.values() if worker.orders]
            until = max(0.0, min([timeout_s, *ends]))
        pipes = {worker.pipe: worker for worker in self._workers.values()}
        events: list[Event] = []
        for ready in wait([*pipes, self._forks.control], until):
            if ready is self._forks.control:
                self._take_exit_reports()
            else:
                assert isinstance(ready, Connection)
                self._receive(pipes[ready], events)
        for worker in [w for w in self._workers.values() if w.exit_status is not None and not w.pipe.poll()]:
            self._bury(worker, events)
        if task_limit_s is not None:
            for worker in list(self._workers.values()):
                running_s = time.monotonic() - worker.since
                if worker.orders and running_s >= task_limit_s:
                    reason = f"took longer than the limit of {task_limit_s:g} s"
                    self._lose(worker, Lost(worker.orders[0].number, "timeout", reason, running_s), events)
        return events

    def retire_after(self, tasks: int) -> None:
        """Replace idle workers that have run as many tasks; 0 keeps them."""
        if tasks:
            for worker in [w for w in self._workers.values() if not w.orders and w.tasks >= tasks]:
                self._retire(worker)

    def retire_all(self) -> None:
        """End all idle workers; the next tasks run in fresh ones."""
        for worker in [w for w in self._workers.values() if not w.orders]:
            self._retire(worker)

    def usage(self) -> Usage:
        """Return the memory and CPU time of the worker processes and everything below them."""
        import psutil

        resident, cpu_s = 0, 0.0
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._forks.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error), child.oneshot():
                    resident += child.memory_info().rss
                    cpu_s += sum(child.cpu_times()[:4])  # with what its own ended children took
        return Usage(resident / 2**30, cpu_s)

    def follow_affinity(self) -> None:
        """Let all processes run where this one may, after that has changed."""
        import psutil

        if not hasattr(os, "sched_setaffinity"):
            return
        with contextlib.suppress(psutil.Error):
            zygote = psutil.Process(self._forks.pid)
            for each in (zygote, *zygote.children(recursive=True)):
                for thread in each.threads():
                    with contextlib.suppress(OSError):
                        os.sched_setaffinity(thread.id, os.sched_getaffinity(0))

    def close(self) -> None:
        """End all processes and remove the scratch folder; safe to call twice."""
        for worker in list(self._workers.values()):
            if worker.orders or worker.pid == 0:
                self._kill(worker)
            else:
                self._forget(worker)
        self._forks.close(serving=self._serving)

    def _fork(self) -> _Worker:
        number, self._next_number = self._next_number, self._next_number + 1
        pipe, output = self._forks.fork(number)
        worker = _Worker(number=number, pipe=pipe, output=output)
        self._workers[number] = worker
        return worker

    def _idle_worker(self) -> _Worker:
        idle = next((w for w in self._workers.values() if not w.orders and w.exit_status is None), None)
        return idle or self._fork()

    def _brief(self, worker: _Worker) -> None:
        if worker.recipe is not self._recipe:
            worker.pipe.send(self._recipe)
            worker.recipe = self._recipe

    def _receive(self, worker: _Worker, events: list[Event]) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            deadline = time.monotonic() + 1.0
            while worker.exit_status is None and time.monotonic() < deadline and wait([self._forks.control], 0.2):
                self._take_exit_reports()
            self._bury(worker, events)
            return
        if isinstance(message, Reply):
            worker.orders.popleft()
            worker.tasks += 1
            worker.since = time.monotonic()
            events.append(message)
        else:
            worker.pid = message
            self._serving = True

    def _take_exit_reports(self) -> None:
        for number, status in self._forks.exits():
            if number in self._workers:
                self._workers[number].exit_status = status

    def _bury(self, worker: _Worker, events: list[Event]) -> None:
        if not worker.orders:
            self._kill(worker)
            return
        reason = process.describe_exit(worker.exit_status)
        lines = last_lines(worker.output)
        lost_s = time.monotonic() - worker.since
        text = f"{reason}{'; last lines: ' if lines else ''}{lines}"
        self._lose(worker, Lost(worker.orders[0].number, "crash", text, lost_s), events)

    def _lose(self, worker: _Worker, lost: Lost, events: list[Event]) -> None:
        events.append(lost)
        events += [Returned(order.number) for order in list(worker.orders)[1:]]
        self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        if worker.pid:
            process.kill_tree(worker.pid)
        self._forget(worker)

    def _retire(self, worker: _Worker) -> None:
        with contextlib.suppress(OSError):
            worker.pipe.send(None)
        self._forget(worker)

    def _forget(self, worker: _Worker) -> None:
        worker.pipe.close()
        shutil.rmtree(worker.output.parent, ignore_errors=True)
        del self._workers[worker.number]
