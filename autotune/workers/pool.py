"""The supervisor: resident worker processes, one task at a time, one pipe each.

Rules: a worker's death costs the task it was at, and those of the last 50 ms that it had no time to answer; those that
were to follow come back; of tasks that it computed in one start of their program all come back as suspects, because
nobody knows at which it was. A task that exceeds its time limit is killed with its whole process tree, counted from the
task's start; leaving the pool leaves no process and no scratch file. The pool decides nothing: it starts what it is
told and reports what happened. See `zygote.py` for the processes and who dies with whom.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from autotune.base.errors import AutotuneError, ResourceError
from autotune.machine import pressure, process
from autotune.workers import forks
from autotune.workers.beacon import Beacon
from autotune.workers.control_group import Enclosure
from autotune.workers.forks import last_lines
from autotune.workers.messages import Briefing, Check, Checked, Order, Outcome, Reply, Returned, Usage
from autotune.workers.scratch import SHARED

STARTUP_LIMIT_S = 120.0
SHARES_LOOK_S = 2.0  # at least, between looks at what workers share
SHARES_LOOK_SHARE = 0.01  # of a core's time that these may take
MOST_STILLBORN, PAUSE_S = 10, 0.1  # five seconds in all until it is no passing trouble


class Pool:
    """Worker processes for one run or many.

    Args:
        programs: QCEngine programs to import before the first fork.
        environment: Environment of the workers, fixed for the life of the pool; see `process.worker_environment`.
        scratch: Folder for scratch files; a private folder is made in it and removed on `close`.

    Attributes:
        scratch: That private folder; a worker's files are in `worker-N`, what workers share is in `shared`.

    Raises:
        ResourceError: This platform cannot fork, or the scratch folder cannot be written.
    """

    def __init__(self, *, programs: Sequence[str], environment: Mapping[str, str], scratch: Path | None = None) -> None:
        self._forks = forks.take(scratch)
        self.scratch = self._forks.scratch
        self._workers: dict[int, Worker] = {}
        self._next_number = self._stillborn = 0
        self._cores: tuple[frozenset[int], ...] = ()
        self._briefing: Briefing | None = None
        self._serving = False
        self._enclosure: Enclosure | None = None
        self._kills = pressure.Kills()
        self._heard: list[Outcome] = []
        self._shares_due = self._zygote_gib = 0.0
        try:
            self._forks.load(programs, environment)
        except AutotuneError:
            self._forks.close(serving=False)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def brief(self, briefing: Briefing, *, keep_shared: bool = False) -> None:
        """Give what the next orders have in common; no worker may be at work.

        Unless it is to be kept, what workers shared so far is removed: the next run starts as if it were the first.
        """
        self._briefing = briefing
        if not keep_shared:
            shutil.rmtree(self.scratch / SHARED, ignore_errors=True)

    def enforce(self, limit_gib: float) -> None:
        """Let the kernel hold all processes to a limit together; raises ResourceError where it cannot."""
        if self._enclosure is None:
            self._enclosure = Enclosure(limit_gib)
            self._enclosure.take(process.tree(self._forks.pid))
        else:
            self._enclosure.limit(limit_gib)

    def prepare(self, workers: int) -> None:
        """Fork workers until there are as many, so that they start together."""
        while len(self._workers) < workers:
            self._fork()

    def check(self, asked: Check) -> Checked:
        """Return what is wrong with the recipe; blocks until a worker has looked."""
        # An idle worker of an earlier run may have died meanwhile.
        self._take_exit_reports()
        for dead in [w for w in self._workers.values() if w.exit_status is not None]:
            self._kill(dead)
        worker = self._idle_worker()
        deadline = time.monotonic() + STARTUP_LIMIT_S
        with contextlib.suppress(EOFError, OSError):
            self._brief(worker)
            worker.pipe.send(asked)
            while time.monotonic() < deadline and self._forks.alive:
                if not worker.pipe.poll(0.25):
                    continue
                message = worker.pipe.recv()
                if isinstance(message, Checked):
                    return message
                worker.pid = message
                self._serving = True
        self._await_end(worker)
        raise AutotuneError(f"the worker processes did not start: {self._describe_end(worker)}")

    def start(self, orders: Sequence[Order], *, seat: Hashable = None) -> None:
        """Start tasks, one after another, on an idle worker, forking one where there is none.

        A seat is nobody's but one worker's, as long as that lives.
        """
        worker = self._idle_worker(seat)
        worker.orders.extend(orders)
        worker.since = time.monotonic()
        with contextlib.suppress(OSError):  # already dead: `wait` finds the closed pipe and reports the task as lost
            self._brief(worker)
            worker.pipe.send(list(orders))

    def wait(self, *, timeout_s: float, task_limit_s: float | None = None) -> list[Outcome]:
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
        # Not a list of this call alone: what was heard when it is interrupted is there for `drain`.
        events = self._heard
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
                    self._lose(worker, "timeout", f"took longer than the limit of {task_limit_s:g} s", events)
        self._heard = []
        return events

    def drain(self) -> list[Outcome]:
        """Return what workers have said and nobody has read, without waiting for more; where a run ends early."""
        for worker in list(self._workers.values()):
            with contextlib.suppress(Exception):  # half a message, or the end of the pipe
                while worker.pipe.poll():
                    self._hear(worker, worker.pipe.recv(), self._heard)
        events, self._heard = self._heard, []
        return events

    def stop(self, number: int, kind: str, reason: str) -> list[Outcome]:
        """Kill the worker that is at a task, with its whole process tree; return what is lost and what comes back.

        A worker that has answered meanwhile goes on, and its answers are returned.
        """
        events: list[Outcome] = []
        for worker in [w for w in self._workers.values() if w.at == number]:
            while worker.number in self._workers and worker.pipe.poll():
                self._receive(worker, events)
            if worker.number in self._workers and worker.at == number:
                self._lose(worker, kind, reason, events)
        return events

    def memory_ran_out(self) -> bool:
        """Return whether the system has just killed a process because memory ran out."""
        return self._kills.lately()

    def retire(self, *, tasks: int, growth_gib: float, age_s: float) -> None:
        """Replace idle workers that ran as many tasks, hold so much more than after their first, or are as old.

        0 sets no limit.
        """
        now = time.monotonic()
        for worker in [w for w in self._workers.values() if not w.orders and w.tasks]:
            used_up = tasks and worker.tasks >= tasks
            leaks = growth_gib and worker.resident_gib - worker.fresh_gib >= growth_gib
            if used_up or leaks or (age_s and now - worker.born >= age_s):
                self._retire(worker)

    def retire_all(self) -> None:
        """End all idle workers; the next tasks run in fresh ones."""
        for worker in [w for w in self._workers.values() if not w.orders]:
            self._retire(worker)

    def usage(self) -> Usage:
        """Return the memory and CPU time of the worker processes and everything below them."""
        resident_gib, total_s, by_task = 0.0, 0.0, dict[int, float]()
        workers = [worker for worker in self._workers.values() if worker.pid]
        for worker in workers:
            held_gib, cpu_s = worker.look()
            resident_gib, total_s = resident_gib + held_gib, total_s + cpu_s
            if (at := worker.at) is not None:
                by_task[at] = held_gib
        return Usage(max(0.0, resident_gib - self._counted_again_gib(workers)), total_s, by_task)

    def _counted_again_gib(self, workers: Sequence[Worker]) -> float:
        """Return by how much the sum of the workers' resident memory is too large, because they share pages.

        Forks of one zygote share what it has imported. How much that is of each is looked at seldom, because the system
        goes through all pages of a process to tell.
        """
        began = time.monotonic()
        if workers and began >= self._shares_due:
            for worker in workers:
                if shares := process.resident_shares(worker.pid):
                    worker.shared_gib = shares[0] - shares[1]
            zygote = process.resident_shares(self._forks.pid)
            self._zygote_gib = zygote[1] if zygote else 0.0
            self._shares_due = began + max(SHARES_LOOK_S, (time.monotonic() - began) / SHARES_LOOK_SHARE)
        known = [worker.shared_gib for worker in workers if worker.shared_gib is not None]
        # One that has not been looked at is like the others.
        unknown = (len(workers) - len(known)) * min(known, default=0.0)
        return sum(known) + unknown - self._zygote_gib

    def folders(self) -> dict[int, Path]:
        """Return the scratch folder of each worker that is at work, by the task it is at."""
        return {at: w.output.parent for w in self._workers.values() if (at := w.at) is not None}

    def follow_affinity(self) -> None:
        """Let all processes run where this one may, after that has changed."""
        process.follow_affinity(self._forks.pid)

    def pin(self, cores: Sequence[frozenset[int]]) -> None:
        """Keep the worker of each seat on the hardware threads of one core, without any let all run everywhere."""
        if tuple(cores) == self._cores:
            return
        self._cores = tuple(cores)
        for worker in self._workers.values():
            self._place(worker)

    def _place(self, worker: Worker) -> None:
        """Let a worker run where it should."""
        seat = worker.seat
        here: frozenset[int] = frozenset()
        if isinstance(seat, int) and seat < len(self._cores):
            here = self._cores[seat]
        if worker.pid and here != worker.cpus:
            worker.cpus = here
            if here:
                process.run_on(worker.pid, here)
            else:
                process.follow_affinity(worker.pid)

    def close(self) -> None:
        """End all processes and remove the scratch folder; safe to call twice."""
        for worker in list(self._workers.values()):
            if worker.orders or worker.pid == 0:
                self._kill(worker)
            else:
                self._forget(worker)
        self._forks.close(serving=self._serving)
        if self._enclosure is not None:
            self._enclosure.close()

    def _fork(self) -> Worker:
        number, self._next_number = self._next_number, self._next_number + 1
        pipe, output = self._forks.fork(number)
        worker = Worker(number=number, pipe=pipe, output=output)
        self._workers[number] = worker
        return worker

    def _idle_worker(self, seat: Hashable = None) -> Worker:
        idle = [worker for worker in self._workers.values() if not worker.orders and worker.exit_status is None]
        if seat is None:
            return idle[0] if idle else self._fork()
        seated = [worker for worker in idle if worker.seat in (seat, None)]
        worker = max(seated, key=lambda each: each.seat is not None) if seated else self._fork()
        worker.seat = seat
        self._place(worker)
        return worker

    def _brief(self, worker: Worker) -> None:
        if worker.briefing is not self._briefing:
            worker.pipe.send(self._briefing)
            worker.briefing = self._briefing

    def _receive(self, worker: Worker, events: list[Outcome]) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._await_end(worker)
            self._bury(worker, events)
            return
        self._hear(worker, message, events)

    def _await_end(self, worker: Worker) -> None:
        """Wait a moment for how a worker ended, whose pipe is closed."""
        deadline = time.monotonic() + 1.0
        while worker.exit_status is None and time.monotonic() < deadline and wait([self._forks.control], 0.2):
            self._take_exit_reports()

    def _describe_end(self, worker: Worker) -> str:
        """Return why a worker did not start, in words."""
        if worker.exit_status is None:
            return worker.last_lines or self._forks.describe_end()
        return _words_of_end(worker.exit_status, worker.last_lines)

    def _hear(self, worker: Worker, message: Any, events: list[Outcome]) -> None:
        if isinstance(message, list):
            worker.answered(message)
            events += message
            self._stillborn = 0
        else:
            worker.pid, worker.since = message, time.monotonic()
            self._serving = True
            self._place(worker)

    def _take_exit_reports(self) -> None:
        for number, status in self._forks.exits():
            if number in self._workers:
                self._workers[number].exit_status = status

    def _bury(self, worker: Worker, events: list[Outcome]) -> None:
        if not worker.orders:
            self._kill(worker)
            return
        lines = worker.last_lines or ("" if worker.pid else self._forks.last_lines())
        reason = _words_of_end(worker.exit_status, lines)
        if worker.begun:
            for_memory = process.was_killed(worker.exit_status) and self._kills.lately()
            self._lose(worker, "memory" if for_memory else "crash", reason, events)
        else:
            self._return(worker, reason, events)

    def _return(self, worker: Worker, reason: str, events: list[Outcome]) -> None:
        # It ended before it took an order up, so no task is to blame.
        self._stillborn += 1
        if self._stillborn >= MOST_STILLBORN:
            raise ResourceError(f"{self._stillborn} workers in a row ended before they took up a task: {reason}")
        time.sleep(PAUSE_S * self._stillborn)
        events += [Returned(order.number) for order in worker.orders]
        self._kill(worker)

    def _lose(self, worker: Worker, kind: str, reason: str, events: list[Outcome]) -> None:
        lost = worker.at
        assert lost is not None
        if worker.together:
            events += [Returned(order.number, suspect=True) for order in worker.orders]
            self._kill(worker)
            return
        lost_s = time.monotonic() - worker.since
        events.append(Reply(lost, worker.since, lost_s, error_type=kind, error=reason, peak_gib=worker.peak_gib))
        # Also those that it may have done without an answer.
        events += [Returned(order.number) for order in worker.orders if order.number != lost]
        self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        if worker.pid and worker.exit_status is None:  # after that the number may be another process's
            process.kill_tree(worker.pid)
        self._forget(worker)

    def _retire(self, worker: Worker) -> None:
        with contextlib.suppress(OSError):
            worker.pipe.send(None)
        self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        worker.close()
        shutil.rmtree(worker.output.parent, ignore_errors=True)
        del self._workers[worker.number]


@dataclass(slots=True, kw_only=True)
class Worker:
    """What the pool knows of one worker process: its pipe, its orders, the task it is at, what it holds.

    Attributes:
        number: Of the worker.
        seat: Where it sits, which may be on a GPU; None before its first task.
        pipe: Our end.
        output: The file of what it prints; its scratch folder is the one that this is in.
        cpus: Hardware threads that it is kept on; empty for all.
        pid: Of the process; 0 until it has said so.
        briefing: The one it was last given.
        orders: What it was told to do and has not answered.
        since: CLOCK_MONOTONIC second of its last answer, or of its orders.
        born: CLOCK_MONOTONIC second of its start.
        tasks: Answered.
        fresh_gib: Resident memory after its first task.
        resident_gib: And after its last.
        peak_gib: Most that was seen since its last answer; see `look`.
        shared_gib: How much of its resident memory is other processes' share; None until it was looked at.
        exit_status: Wait status, once it has ended.
    """

    number: int
    pipe: Connection
    output: Path
    seat: Hashable = None
    cpus: frozenset[int] = frozenset()
    pid: int = 0
    briefing: Briefing | None = None
    orders: deque[Order] = field(default_factory=deque)
    since: float = 0.0
    born: float = field(default_factory=time.monotonic)
    tasks: int = 0
    fresh_gib: float = 0.0
    resident_gib: float = 0.0
    peak_gib: float = 0.0
    shared_gib: float | None = None
    exit_status: int | None = None
    _beacon: Beacon | None = None

    @property
    def at(self) -> int | None:
        """Number of the task it is at; None where it has no orders."""
        if not self.orders:
            return None
        beacon = self._seen()
        number = beacon.number if beacon is not None else -1
        # It may have been read before the worker took up its first order, or after it ended with its last.
        return number if any(order.number == number for order in self.orders) else self.orders[0].number

    @property
    def begun(self) -> bool:
        """Whether it has taken up one of its orders."""
        beacon = self._seen()
        return beacon is not None and any(order.number == beacon.number for order in self.orders)

    @property
    def together(self) -> bool:
        """Whether it computes several tasks in one start of their program."""
        beacon = self._seen()
        return self.begun and beacon is not None and beacon.together

    @property
    def last_lines(self) -> str:
        """The end of what the task it is at has printed."""
        beacon = self._seen()
        return last_lines(self.output, start_bytes=beacon.printed_bytes if beacon is not None else 0)

    def look(self) -> tuple[float, float]:
        """Return the memory, in GiB, and the CPU seconds of the worker and everything below it."""
        held_gib, cpu_s = process.usage(process.tree(self.pid) if self.pid else ())
        self.peak_gib = max(self.peak_gib, held_gib)
        return held_gib, cpu_s

    def answered(self, replies: Sequence[Reply]) -> None:
        """Take note of replies, in any order; none say that the next task begins."""
        for reply in replies:
            if self.orders[0].number == reply.number:
                self.orders.popleft()
            else:  # of an order before it there is no result yet
                self.orders = deque(order for order in self.orders if order.number != reply.number)
        self.tasks += len(replies)
        self.since = time.monotonic()
        if not replies:
            return
        self.resident_gib, self.peak_gib = replies[-1].resident_gib, 0.0
        self.fresh_gib = self.fresh_gib or replies[0].resident_gib

    def _seen(self) -> Beacon | None:
        if self._beacon is None and self.pid:
            with contextlib.suppress(OSError, ValueError):
                self._beacon = Beacon(self.output.parent)
        return self._beacon

    def close(self) -> None:
        """Let go of pipe and file."""
        self.pipe.close()
        if self._beacon is not None:
            self._beacon.close()


def _words_of_end(status: int | None, lines: str) -> str:
    """Return how a worker ended, under which limits, and what it printed last."""
    ended = [process.describe_exit(status), process.describe_limits()]
    return "; ".join(filter(None, [*ended, lines and f"last lines: {lines}"]))
