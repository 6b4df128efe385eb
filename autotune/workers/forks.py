"""The parent's side of the zygote: asks for worker processes, learns how they ended, ends the zygote.

Rules: knows processes and sockets, not tasks; `pool.py` decides who works, `zygote.py` is the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from autotune.base import descriptors
from autotune.base.errors import AutotuneError, ResourceError
from autotune.machine import process
from autotune.workers.messages import EXIT_REPORT, FORK_REQUEST, LOAD_REQUEST
from autotune.workers.scratch import make, remove, remove_orphans

CLOSING_LIMIT_S = 5.0
SCRATCH_VARIABLE = "AUTOTUNE_SCRATCH_OF_RUN"  # marks all that the zygote and its workers start
LAST_LINES, LAST_BYTES = 12, 4000


class Forks:
    """One zygote process and its scratch folder; the process waits for `load` before the first fork.

    Args:
        base: Folder for scratch files; a private folder is made in it and removed on `close`.

    Attributes:
        base: That folder; None for the system's.
        control: Becomes readable when a worker ended or the zygote died; see `exits`.
        pid: Of the zygote.
        scratch: The run's scratch folder; a worker's own is `worker-N` in it.

    Raises:
        ResourceError: This platform cannot fork, the scratch folder cannot be written, or no process can be started;
            nothing is left behind.
    """

    def __init__(self, base: Path | None) -> None:
        if not hasattr(os, "fork"):
            raise ResourceError("worker processes need a platform with fork (Linux, macOS, or WSL on Windows)")
        # Descriptors of the control socket and of the scratch folder must not be standard ones of the zygote.
        descriptors.occupy_standard()
        remove_orphans(base)
        self.base = base
        self.scratch, self._owner_fd = make(base)
        self._log = self.scratch / "zygote-output"
        with contextlib.ExitStack() as undone:
            undone.callback(self._remove_scratch)
            try:
                self.control, theirs = socket.socketpair()
                undone.enter_context(self.control)
                with theirs:
                    self._zygote = self._start(theirs.fileno())
            except OSError as error:
                raise _not_started(error) from error
            undone.pop_all()
        self.pid = self._zygote.pid

    def _start(self, control_fd: int) -> subprocess.Popen[bytes]:
        arguments = {"control_fd": control_fd, "owner_fd": self._owner_fd, "scratch": str(self.scratch)}
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "autotune.workers.zygote", json.dumps(arguments)],
                pass_fds=[control_fd, self._owner_fd],
                env={**os.environ, SCRATCH_VARIABLE: str(self.scratch)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def load(self, programs: Sequence[str], environment: Mapping[str, str]) -> None:
        """Say, once, which QCEngine programs to import before the first fork, and the workers' environment.

        Raises:
            AutotuneError: The zygote is gone.
        """
        said = json.dumps(
            {"programs": list(programs), "environment": {**environment, SCRATCH_VARIABLE: str(self.scratch)}}
        )
        try:
            self.control.sendall(LOAD_REQUEST.pack(len(said)) + said.encode())
        except OSError as error:
            raise self._gone() from error

    @property
    def alive(self) -> bool:
        """Whether the zygote lives."""
        return self._zygote.poll() is None

    def fork(self, number: int) -> tuple[Connection, Path]:
        """Ask for a worker; return our end of its pipe and the file of its output, in a folder of its own.

        Raises:
            AutotuneError: The zygote is gone.
            ResourceError: This process can open no more sockets.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise _not_started(error) from error
        with theirs:
            try:
                socket.send_fds(self.control, [FORK_REQUEST.pack(number)], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise self._gone() from error
        return Connection(ours.detach()), self.scratch / f"worker-{number}" / "output"

    def exits(self) -> Iterator[tuple[int, int]]:
        """Yield number and wait status of workers that ended since the last call; never blocks.

        Raises:
            AutotuneError: The zygote is gone.
        """
        try:
            # Another event of the same round may have taken the report already.
            data = self.control.recv(EXIT_REPORT.size * 64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise self._gone()
        yield from EXIT_REPORT.iter_unpack(data)

    def last_lines(self) -> str:
        """Return the end of what the zygote printed."""
        return last_lines(self._log)

    def describe_end(self) -> str:
        """Return how the zygote ended, what it printed last, and which limits it had; or that it has not ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._zygote.wait(1.0)  # its socket closes a moment before it has ended
        code = self._zygote.returncode
        if code is None:
            ended = "the process they come from still lives"
        else:
            status = -code if code < 0 else code << 8  # as `wait` has it
            ended = process.describe_exit(status).replace("the worker process", "the process they come from")
        printed = self.last_lines()
        return "; ".join(filter(None, [ended, process.describe_limits(), printed and f"last lines: {printed}"]))

    def close(self, *, serving: bool) -> None:
        """End the zygote and remove the scratch folder; safe to call twice.

        Args:
            serving: It has forked a worker, so it can be asked to stop.
        """
        self.control.close()
        if not serving:
            # Still importing, which cannot be asked to stop; workers it may have forked die with it.
            self._zygote.kill()
        if not self._has_ended(CLOSING_LIMIT_S):
            self._zygote.kill()
            self._has_ended(None)
        if self._zygote.returncode:
            # Its workers died with it, and what they had started was left to the system.
            process.kill_marked(SCRATCH_VARIABLE, str(self.scratch))
        self._remove_scratch()

    def _has_ended(self, within_s: float | None) -> bool:
        """Wait until the zygote has ended and return whether it has.

        Not by `Popen.wait`: Ctrl-C between two lines of it leaves its lock locked, and who waits next waits forever.
        """
        import psutil

        if self._zygote.returncode is None:
            code = None
            try:
                code = psutil.Process(self.pid).wait(within_s)
            except psutil.TimeoutExpired:
                return False
            except psutil.NoSuchProcess:
                pass
            # Unknown where an interruption came after it was waited for; then nothing is taken for granted.
            self._zygote.returncode = -signal.SIGKILL if code is None else int(code)
        return True

    def _remove_scratch(self) -> None:
        remove(self.scratch)
        if self._owner_fd >= 0:
            os.close(self._owner_fd)
            self._owner_fd = -1

    def _gone(self) -> AutotuneError:
        return AutotuneError(f"the worker processes ended unexpectedly: {self.describe_end()}")


_started_ahead: list[Forks] = []


@contextlib.contextmanager
def ahead(base: Path | None) -> Iterator[None]:
    """Start a zygote before it is known what it is to load; it imports what all programs need meanwhile.

    The first `take` in the block gets it; if there is none, it ends with the block.
    """
    started = None
    with contextlib.suppress(ResourceError):  # whoever needs one is told
        started = Forks(base)
        _started_ahead.append(started)
    try:
        yield
    finally:
        if started in _started_ahead:
            _started_ahead.remove(started)
            started.close(serving=False)


def take(base: Path | None) -> Forks:
    """Return the zygote that was started ahead for a scratch folder, or a new one; raises as `Forks` does."""
    for each in _started_ahead:
        if each.base == base and each.alive:
            _started_ahead.remove(each)
            return each
    return Forks(base)


def _not_started(error: OSError) -> ResourceError:
    return ResourceError(
        f"no worker process can be started: {error.strerror}; free memory or disk space, or raise the limits of the"
        " batch job or shell (`ulimit -a`)"
    )


def last_lines(path: Path, *, start_bytes: int = 0) -> str:
    """Return the last lines of a text file, from a place in it on, joined by bars; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(min(start_bytes, end), end - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines()[-LAST_LINES:] if line.strip())
