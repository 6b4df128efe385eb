"""What runs in a worker process: one task after another, from one pipe.

Rules: a program that fails is an answer, not an end; a program that takes the process with it is the pool's to report.
A worker has its own session and its own scratch folder: its output goes to a file there, its tasks stand in a folder
`files` below, which is emptied after each of them; after a batch of them where the program says it writes no files.
Tasks that go together are computed in one start of their program; what that does not bring is computed by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.base.types import Parameter
from autotune.machine import process
from autotune.plugin.program_tuning import of_program
from autotune.programs import mpi
from autotune.workers.beacon import Beacon
from autotune.workers.calculation import compute, compute_together
from autotune.workers.messages import Briefing, Check, Order, Reply
from autotune.workers.meter import Meter
from autotune.workers.scratch import SHARED

if TYPE_CHECKING:
    from autotune.expansion.component import Recipe

# Replies to tasks of a batch go together as long as the oldest is no older: the parent wakes for every message, on a
# core that another task wants. With a worker that dies they are lost, and computed again.
TOGETHER_S = 0.05
MOST_OUTPUT_BYTES = 2**20


def work(pipe_fd: int, scratch: Path, programs: Sequence[str] = ()) -> None:
    """Serve one parent over one pipe, then exit the process; never returns.

    Programs that stay loaded beside a worker start to load at once.
    """
    status = 1
    try:
        os.setsid()
        process.die_with_parent()
        process.become_subreaper()
        # Ctrl-C is the parent's to handle; programs that set their own handlers still can.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        files = scratch / "files"
        files.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(files)
        _redirect_output(scratch / "output")
        with Connection(pipe_fd) as pipe:
            pipe.send(os.getpid())
            _start(programs)
            _loop(pipe, files)
        status = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = 0
    except BaseException:  # noqa: BLE001 - the process ends here; its last lines go to the report
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        # Not sys.exit: the zygote's own cleanup must not run a second time here.
        os._exit(status)


def _start(programs: Sequence[str]) -> None:
    import qcengine

    # Also for programs that are asked for their version.
    mpi.set_environment(1, folder=os.getcwd())  # noqa: PTH109 - a text for the environment
    for program in programs:
        # What is missing or does not start is reported by the check or the first task, in words.
        with contextlib.suppress(Exception):
            start = getattr(qcengine.get_program(program), "start", None)
            if start is not None:
                start()


def _loop(pipe: Connection, files: Path) -> None:
    from autotune.expansion.component import Recipe
    from autotune.workers.preflight import check

    recipe: Recipe | None = None
    shared = files.parent.parent / SHARED
    batch = _Batches(pipe, files)
    while True:
        message = pipe.recv()
        if message is None:
            return
        if isinstance(message, Briefing):
            recipe = Recipe.from_json(message.recipe)
            _tune(recipe.programs.values(), message.tunables, shared)
            continue
        assert recipe is not None
        if isinstance(message, Check):
            pipe.send(check(recipe, message.components))
            continue
        batch.serve(recipe, message)


def _tune(programs: Iterable[str], tunables: Sequence[tuple[str, Parameter]], shared: Path) -> None:
    """Tell programs the values of their tunables, which is nothing where they are to be left as they are."""
    import qcengine
    from qcengine.exceptions import QCEngineException

    for program in set(programs):
        # What is missing is reported by the check, in words.
        with contextlib.suppress(QCEngineException):
            tune = getattr(qcengine.get_program(program, check=False), "tune", None)
            if tune is not None:
                tune(of_program(tunables, program), shared)


class _Batches:
    """Serves batches of orders: computes them one after another and answers them in groups.

    Args:
        pipe: Where answers go.
        files: The folder in which tasks stand.
    """

    def __init__(self, pipe: Connection, files: Path) -> None:
        self._pipe, self._files = pipe, files
        self._beacon, self._meter, self._width = Beacon(files.parent), Meter(), 0

    def serve(self, recipe: Recipe, orders: Sequence[Order]) -> None:
        for kind, group in _groups(recipe, orders):
            if kind is None:
                self._serve_each(recipe, group)
            else:
                self._serve_together(recipe, group)

    def _serve_together(self, recipe: Recipe, orders: Sequence[Order]) -> None:
        """Compute orders in as few starts of their program as can be."""
        while len(orders) > 1:
            self._meter.start()
            self._begin(orders[0], together=True)
            replies, begun = compute_together(recipe, orders, self._files)
            _empty(self._files)
            self._answer(replies)
            done = {reply.number for reply in replies}
            self._serve_each(recipe, [order for order in orders[:begun] if order.number not in done])
            orders = orders[begun:]
        self._serve_each(recipe, orders)

    def _serve_each(self, recipe: Recipe, orders: Sequence[Order]) -> None:
        replies: list[Reply] = []
        for order in orders:
            if not replies:
                self._meter.start()
                began = time.monotonic()
            self._begin(order)
            replies.append(compute(recipe, order, self._files))
            if _uses_scratch(recipe.programs[order.level]):
                _empty(self._files)
            if time.monotonic() - began >= TOGETHER_S:
                self._answer(replies)
                replies = []
        _empty(self._files)
        if replies:
            self._answer(replies)

    def _begin(self, order: Order, *, together: bool = False) -> None:
        self._beacon.begin(order.number, printed_bytes=_printed_bytes(), together=together)
        os.environ.update(order.environment)
        if order.resources.cores != self._width:
            self._width = order.resources.cores
            _limit_threads(self._width)

    def _answer(self, replies: Sequence[Reply]) -> None:
        """Send replies with what their tasks used together; see `Reply`."""
        if not replies:
            self._pipe.send([])
            return
        used, last = self._meter.read(), replies[-1]
        each_s = used.cpu_s / (sum([reply.wall_s for reply in replies]) or 1.0)
        # One that took long was taken for short by mistake: the peak is its own.
        others_gib = 0.0 if last.wall_s >= TOGETHER_S else used.peak_gib
        peaks_gib = [others_gib] * (len(replies) - 1) + [used.peak_gib]
        if last.sharers > 1:  # the first one is expected to hold most
            peaks_gib = [used.peak_gib, *[0.0] * (len(replies) - 1)]
        self._pipe.send(
            [
                reply._replace(cpu_s=each_s * reply.wall_s, peak_gib=peak_gib, resident_gib=used.resident_gib)
                for reply, peak_gib in zip(replies, peaks_gib, strict=True)
            ]
        )


def _groups(recipe: Recipe, orders: Sequence[Order]) -> Iterator[tuple[tuple[object, ...] | None, list[Order]]]:
    """Yield orders in a row by what lets them share a start of their program; None where nothing does."""

    def kind(order: Order) -> tuple[object, ...] | None:
        if order.together is None or not _computes_together(recipe.programs[order.level]):
            return None
        return order.level, order.resources, order.rescue

    for shared, group in groupby(orders, kind):
        yield shared, list(group)


@cache
def _computes_together(program: str) -> bool:
    import qcengine

    return hasattr(qcengine.get_program(program, check=False), "compute_together")


@cache
def _uses_scratch(program: str) -> bool:
    """Return whether a program says of itself that it writes files: others have their folder emptied less often."""
    import qcengine

    return bool(getattr(qcengine.get_program(program, check=False), "scratch", True))


def _printed_bytes() -> int:
    """Return the size of this process's output, which starts again where it has grown large."""
    printed = os.fstat(1).st_size
    if printed < MOST_OUTPUT_BYTES:
        return printed
    os.ftruncate(1, 0)
    return 0


def _empty(folder: Path) -> None:
    """Remove what a task left in its folder, and come back to it where the program went elsewhere."""
    os.chdir(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _limit_threads(width: int) -> None:
    """Set the thread pools of all loaded libraries, and what child processes will read."""
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(process.THREAD_VARIABLES, str(width)))
    mpi.set_environment(width, folder=os.getcwd())  # noqa: PTH109 - a text for the environment
    threadpool_limits(limits=width)


def _redirect_output(path: Path) -> None:
    for target, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        fd = os.open(os.devnull if target == 0 else path, flags, 0o600)
        os.dup2(fd, target)
        os.close(fd)
    os.dup2(1, 2)
