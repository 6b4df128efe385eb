"""The supervisor: resident worker processes, one task at a time, one pipe each.

Rules: a worker's death costs its own task and nothing else; a task that exceeds its time limit is killed with its whole
process tree, counted from the task's start; leaving the pool leaves no process and no scratch file. The pool decides
nothing: it starts what it is told and reports what happened. See `zygote.py` for the processes and who dies with whom.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple, Self

from autotune import process
from autotune.errors import AutotuneError, ResourceError
from autotune.worker import Check, Checked, Order, Reply
from autotune.zygote import EXIT_REPORT, FORK_REQUEST

STARTUP_LIMIT_S = 120.0
CLOSING_LIMIT_S = 5.0
LAST_LINES = 12


class Lost(NamedTuple):
    """A worker ended with its task unfinished; `kind` is `crash` or `timeout`."""

    number: int
    kind: str
    reason: str
    lost_s: float


class Usage(NamedTuple):
    """Resident memory of all workers and their children together, in GiB; shared pages count once per process."""

    resident_gib: float


@dataclass(slots=True, kw_only=True)
class _Worker:
    number: int
    pipe: Connection
    output: Path
    pid: int = 0
    recipe: str | None = None
    order: Order | None = None
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
        if not hasattr(os, "fork"):
            raise ResourceError("worker processes need a platform with fork (Linux, macOS, or WSL on Windows)")
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix="autotune-", dir=scratch))
        except OSError as error:
            raise ResourceError(
                f"scratch folder {error.filename} cannot be written; set TMPDIR to one that can"
            ) from error
        self._control, theirs = socket.socketpair()
        arguments = {"control_fd": theirs.fileno(), "programs": list(programs), "scratch": str(self._scratch)}
        self._log = self._scratch / "zygote-output"
        with theirs, self._log.open("wb") as log:
            self._zygote = subprocess.Popen(
                [sys.executable, "-P", "-m", "autotune.zygote", json.dumps(arguments)],
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
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
            while time.monotonic() < deadline and not self._zygote_is_dead():
                if not worker.pipe.poll(0.25):
                    continue
                message = worker.pipe.recv()
                if isinstance(message, Checked):
                    return message
                worker.pid = message
                self._serving = True
        lines = self._last_lines(worker.output) or self._last_lines(self._log) or "no output"
        raise AutotuneError(f"the worker processes did not start: {lines}")

    def start(self, order: Order) -> None:
        """Start a task on an idle worker, forking one where there is none."""
        worker = self._idle_worker()
        worker.order, worker.since = order, time.monotonic()
        try:
            self._brief(worker)
            worker.pipe.send(order)
        except OSError:
            # Already dead: `wait` finds the closed pipe and reports the task as lost.
            return

    def wait(self, *, timeout_s: float, task_limit_s: float | None = None) -> list[Reply | Lost]:
        """Return what happened, waiting up to `timeout_s` for something to happen.

        Args:
            timeout_s: How long to wait when nothing happens.
            task_limit_s: A task that runs longer is killed and reported as lost.
        """
        until = timeout_s
        if task_limit_s is not None:
            now = time.monotonic()
            ends = [worker.since + task_limit_s - now for worker in self._workers.values() if worker.order]
            until = max(0.0, min([timeout_s, *ends]))
        pipes = {worker.pipe: worker for worker in self._workers.values()}
        events: list[Reply | Lost] = []
        for ready in wait([*pipes, self._control], until):
            if ready is self._control:
                self._take_exit_reports()
            else:
                assert isinstance(ready, Connection)
                self._receive(pipes[ready], events)
        for worker in [w for w in self._workers.values() if w.exit_status is not None and not w.pipe.poll()]:
            self._bury(worker, events)
        if task_limit_s is not None:
            for worker in list(self._workers.values()):
                running_s = time.monotonic() - worker.since
                if worker.order and running_s >= task_limit_s:
                    reason = f"took longer than the limit of {task_limit_s:g} s"
                    events.append(Lost(worker.order.number, "timeout", reason, running_s))
                    self._kill(worker)
        return events

    def retire_after(self, tasks: int) -> None:
        """Replace idle workers that have run as many tasks; 0 keeps them."""
        if tasks:
            for worker in [w for w in self._workers.values() if w.order is None and w.tasks >= tasks]:
                self._retire(worker)

    def retire_all(self) -> None:
        """End all idle workers; the next tasks run in fresh ones."""
        for worker in [w for w in self._workers.values() if w.order is None]:
            self._retire(worker)

    def usage(self) -> Usage:
        """Return the resident memory of the worker processes and everything below them."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._zygote.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return Usage(total / 2**30)

    def close(self) -> None:
        """End all processes and remove the scratch folder; safe to call twice."""
        for worker in list(self._workers.values()):
            if worker.order is not None or worker.pid == 0:
                self._kill(worker)
            else:
                self._forget(worker)
        self._control.close()
        if not self._serving:
            # Still importing, which cannot be asked to stop; workers it may have forked die with it.
            self._zygote.kill()
        try:
            self._zygote.wait(CLOSING_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._zygote.kill()
            self._zygote.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _zygote_is_dead(self) -> bool:
        return self._zygote.poll() is not None

    def _fork(self) -> _Worker:
        ours, theirs = socket.socketpair()
        number, self._next_number = self._next_number, self._next_number + 1
        with theirs:
            try:
                socket.send_fds(self._control, [FORK_REQUEST.pack(number)], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise AutotuneError(
                    f"the worker processes ended unexpectedly: {self._last_lines(self._log) or 'no output'}"
                ) from error
        output = self._scratch / f"worker-{number}" / "output"
        worker = _Worker(number=number, pipe=Connection(ours.detach()), output=output)
        self._workers[number] = worker
        return worker

    def _idle_worker(self) -> _Worker:
        idle = next((w for w in self._workers.values() if w.order is None and w.exit_status is None), None)
        return idle or self._fork()

    def _brief(self, worker: _Worker) -> None:
        if worker.recipe is not self._recipe:
            worker.pipe.send(self._recipe)
            worker.recipe = self._recipe

    def _receive(self, worker: _Worker, events: list[Reply | Lost]) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            deadline = time.monotonic() + 1.0
            while worker.exit_status is None and time.monotonic() < deadline and wait([self._control], 0.2):
                self._take_exit_reports()
            self._bury(worker, events)
            return
        if isinstance(message, Reply):
            worker.order = None
            worker.tasks += 1
            events.append(message)
        else:
            worker.pid = message
            self._serving = True

    def _take_exit_reports(self) -> None:
        try:
            # Another event of the same round may have taken the report already.
            data = self._control.recv(EXIT_REPORT.size * 64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise AutotuneError(
                f"the worker processes ended unexpectedly: {self._last_lines(self._log) or 'no output'}"
            )
        for number, status in EXIT_REPORT.iter_unpack(data):
            if number in self._workers:
                self._workers[number].exit_status = status

    def _bury(self, worker: _Worker, events: list[Reply | Lost]) -> None:
        if worker.order is not None:
            reason = process.describe_exit(worker.exit_status)
            lines = self._last_lines(worker.output)
            lost_s = time.monotonic() - worker.since
            events.append(
                Lost(worker.order.number, "crash", f"{reason}{'; last lines: ' if lines else ''}{lines}", lost_s)
            )
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

    @staticmethod
    def _last_lines(path: Path) -> str:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")[-4000:]
        except OSError:
            return ""
        return " | ".join(line.strip() for line in text.splitlines()[-LAST_LINES:] if line.strip())
