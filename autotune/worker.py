"""What runs in a worker process: one task after another, from one pipe.

Rules: a program that fails is an answer, not an end; a program that takes the process with it is the pool's to report.
A worker has its own session and its own scratch folder: its output goes to a file there, its tasks stand in a folder
`files` below, which is emptied after each of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune import abilities, contained, mpi, process
from autotune.beacon import Beacon
from autotune.messages import Check, Order, Reply

if TYPE_CHECKING:
    from autotune.component import Recipe

# Replies to tasks of a batch go together as long as the oldest is no older: the parent wakes for every message, on a
# core that another task wants. With a worker that dies they are lost, and computed again.
TOGETHER_S = 0.02


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
    from autotune.check import check
    from autotune.component import Recipe

    recipe: Recipe | None = None
    width = 0
    beacon = Beacon(files.parent)
    while True:
        message = pipe.recv()
        if message is None:
            return
        if isinstance(message, str):
            recipe = Recipe.from_json(message)
            continue
        assert recipe is not None
        if isinstance(message, Check):
            pipe.send(check(recipe))
            continue
        replies: list[Reply] = []
        told = time.monotonic()
        for order in message:
            beacon.number = order.number
            if order.width != width:
                width = order.width
                _limit_threads(width)
            os.ftruncate(1, 0)  # what earlier tasks printed
            replies.append(compute(recipe, order, files))
            _empty(files)
            if time.monotonic() - told >= TOGETHER_S:
                pipe.send(replies)
                replies, told = [], time.monotonic()
        if replies:
            pipe.send(replies)


def compute(recipe: Recipe, order: Order, scratch: Path) -> Reply:
    """Return the reply to one order; a failing program is a reply too."""
    import qcengine

    from autotune.component import atomic_input

    meter, started = process.Meter(), time.monotonic()
    values: dict[str, Any] | None = None
    text: str | None = None
    within: dict[str, float] | None = None
    error_type = error = ""
    try:
        result = qcengine.compute(
            atomic_input(recipe, order.level, order.real, order.basis, rescue=order.rescue),
            recipe.programs[order.level],
            task_config=_task_config(recipe.programs[order.level], order, scratch),
            return_version=2,
        )
        if result.success:
            values, error = _values(result)
            within = contained.energies(result.properties)
            error_type = "unknown_error" if error else ""
            text = result.model_dump_json() if recipe.keep_results and not error else None
        else:
            error_type, error = result.error.error_type, result.error.error_message
    except Exception as failure:  # noqa: BLE001 - the place where a crash of a program becomes a record
        error_type, error = "unknown_error", f"{type(failure).__name__}: {failure}"
    wall_s, used = time.monotonic() - started, meter.read()
    return Reply(
        number=order.number,
        values=values,
        result=text,
        error_type=error_type,
        error=error,
        started=started,
        wall_s=wall_s,
        cpu_s=used.cpu_s,
        peak_gib=used.peak_gib,
        resident_gib=used.resident_gib,
        contained=within,
    )


def _task_config(program: str, order: Order, scratch: Path) -> dict[str, Any]:
    """Return what QCEngine is told of a task's resources; an MPI program gets a rank for each core."""
    import qcengine

    config = {"ncores": order.width, "memory": order.grant_gib, "scratch_directory": str(scratch), "retries": 0}
    harness = qcengine.get_program(program, check=False)
    if order.width > 1 and abilities.flagged(harness) == abilities.RANKS and mpi.launcher():
        config |= {"use_mpiexec": True, "mpiexec_command": mpi.launcher(), "cores_per_rank": 1, "nnodes": 1}
    return config


def _values(result: Any) -> tuple[dict[str, Any] | None, str]:
    """Return energy, gradient and Hessian as far as computed, or None and what is wrong with them."""
    import numpy as np

    from autotune.component import PROPERTIES

    values = {}
    wanted = result.input_data.specification.driver.value
    for name in PROPERTIES:
        value = getattr(result.properties, f"return_{name}", None)
        if value is None and name == wanted:
            # QCEngine's harnesses of MOPAC and dftd4 give a gradient as the result only, not among the properties.
            value = result.return_result
        if value is None:
            continue
        if not np.all(np.isfinite(value)):
            return None, f"the program reported success, but its {name} holds a number that is not finite"
        values[name] = value if name == "energy" else np.asarray(value, dtype=np.float64)
    if wanted in PROPERTIES and wanted not in values:
        return None, f"the program reported success, but gave no {wanted}"
    return values, ""


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
