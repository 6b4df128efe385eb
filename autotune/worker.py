"""What runs in the worker processes, and the zygote they are forked from.

    parent ── control socket ──► zygote          imports the programs once, forks on request, reports exits
       │                            │ fork
       └──── one pipe each ────► worker, worker  one task at a time, own session, own scratch

Why not `multiprocessing`'s forkserver: it imports the user's `__main__` again in every worker (a script without a
guard would run itself), and there is one per process, with one environment; threads must be told how to wait by an
environment variable that is read when a library loads. The zygote runs no OpenMP code, so its forks are safe.
A worker dies with its zygote, the zygote ends its workers when the parent's end of the control socket closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from autotune.component import Recipe

FORK_REQUEST = struct.Struct("!I")  # worker number; the worker's end of its pipe travels beside it
EXIT_REPORT = struct.Struct("!Ii")  # worker number, wait status
KIB_PER_GIB = 2.0**20


class Order(NamedTuple):
    """One task for a worker."""

    number: int
    level: str
    real: tuple[int, ...]
    basis: tuple[int, ...]
    width: int
    grant_gib: float


class Reply(NamedTuple):
    """What became of an `Order`; times are CLOCK_MONOTONIC seconds, comparable on one machine."""

    number: int
    values: dict[str, Any] | None
    result: str | None
    error_type: str
    error: str
    started: float
    wall_s: float
    cpu_s: float
    peak_gib: float


class Check(NamedTuple):
    """Ask whether every model chemistry of the recipe can run on every kind of fragment; answered by `Checked`."""


class Checked(NamedTuple):
    """One line for each thing that is wrong, and the versions of the programs."""

    problems: tuple[str, ...]
    versions: dict[str, str]


# --- the zygote ------------------------------------------------------------------------------------------------------


def serve(control_fd: int, programs: Sequence[str], scratch: str) -> None:
    """Run the zygote until the parent closes the control socket."""
    control = socket.socket(fileno=control_fd)
    _become_subreaper()
    _prepare(programs)
    workers: dict[int, int] = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            for pid, status in _reaped():
                if pid in workers:
                    with contextlib.suppress(OSError):
                        control.sendall(EXIT_REPORT.pack(workers.pop(pid), status))
        if control.fileno() in readable:
            request, fds, _, _ = socket.recv_fds(control, FORK_REQUEST.size, 1)
            if not request:
                break
            (number,) = FORK_REQUEST.unpack(request)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (control_fd, wake_read, wake_write):
                    os.close(fd)
                control.detach()
                _work(fds[0], Path(scratch) / f"worker-{number}")
            workers[pid] = number
            os.close(fds[0])
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _prepare(programs: Sequence[str]) -> None:
    """Import and register everything a task needs, so that forked workers have it."""
    import qcelemental.models.v2  # noqa: F401
    import qcengine

    import autotune.component  # noqa: F401
    from autotune.manager import Manager

    _prime_qcengine()
    Manager().register_programs()
    for program in programs:
        # A program that is missing is reported by the check, in words; nothing to warm here.
        with contextlib.suppress(Exception):
            warm_up = getattr(qcengine.get_program(program), "warm_up", None)
            if warm_up is not None:
                warm_up()


def _prime_qcengine() -> None:
    """Fill QCEngine's per-process cache of host facts without its CPU query.

    QCEngine asks py-cpuinfo once per process, which takes up to a second; it uses the answer only as the provenance
    field `cpu`. Where the private cache has another shape than known, it is left alone and only time is lost.
    """
    import getpass

    import psutil
    from qcengine import config

    from autotune.machine import cpu_model

    if getattr(config, "_global_values", 0) is not None:
        return
    config._global_values = {  # noqa: SLF001 - no public way; see above
        "hostname": socket.gethostname(),
        "memory": round(psutil.virtual_memory().available / 1024**3, 3),
        "username": getpass.getuser(),
        "ncores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "nnodes": 1,
        "cpuinfo": {},
        "cpu_brand": cpu_model(),
    }


def _reaped() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


# --- a worker --------------------------------------------------------------------------------------------------------


def _work(pipe_fd: int, scratch: Path) -> None:
    """Serve one parent over one pipe, then exit the process; never returns."""
    status = 1
    try:
        os.setsid()
        _die_with_parent()
        _become_subreaper()
        # Ctrl-C is the parent's to handle; programs that set their own handlers still can.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(scratch)
        _redirect_output(scratch / "output")
        with Connection(pipe_fd) as pipe:
            pipe.send(os.getpid())
            _loop(pipe, scratch)
        status = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = 0
    except BaseException:  # noqa: BLE001 - the process ends here; its last lines go to the report
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        # Not sys.exit: the zygote's own cleanup must not run a second time here.
        os._exit(status)


def _loop(pipe: Connection, scratch: Path) -> None:
    from autotune.component import Recipe

    recipe: Recipe | None = None
    width = 0
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
        if message.width != width:
            width = message.width
            _limit_threads(width)
        pipe.send(compute(recipe, message, scratch))


def compute(recipe: Recipe, order: Order, scratch: Path) -> Reply:
    """Return the reply to one order; a failing program is a reply too."""
    import qcengine

    from autotune.component import atomic_input

    _reset_peak()
    started, cpu = time.monotonic(), _cpu_s()
    values: dict[str, Any] | None = None
    text: str | None = None
    error_type = error = ""
    try:
        result = qcengine.compute(
            atomic_input(recipe, order.level, order.real, order.basis),
            recipe.programs[order.level],
            task_config={
                "ncores": order.width,
                "memory": order.grant_gib,
                "scratch_directory": str(scratch),
                "retries": 0,
            },
            return_version=2,
        )
        if result.success:
            values = _values(result)
            text = result.model_dump_json() if recipe.keep_results else None
        else:
            error_type, error = result.error.error_type, result.error.error_message
    except Exception as failure:  # noqa: BLE001 - the place where a crash of a program becomes a record
        error_type, error = "unknown_error", f"{type(failure).__name__}: {failure}"
    return Reply(
        number=order.number,
        values=values,
        result=text,
        error_type=error_type,
        error=error,
        started=started,
        wall_s=time.monotonic() - started,
        cpu_s=_cpu_s() - cpu,
        peak_gib=_peak_gib(),
    )


def check(recipe: Recipe) -> Checked:
    """Return what is wrong with the recipe's programs, methods and basis sets, without computing anything."""
    import difflib

    import qcengine
    from qcengine.exceptions import QCEngineException

    from autotune.component import atomic_input

    problems: list[str] = []
    versions: dict[str, str] = {}
    kinds = {
        (tuple(recipe.molecule.symbols[list(atoms)]), charge, multiplicity): number
        for number, (atoms, charge, multiplicity) in enumerate(
            zip(
                recipe.molecule.fragments,
                recipe.molecule.fragment_charges,
                recipe.molecule.fragment_multiplicities,
                strict=True,
            ),
            start=1,
        )
    }
    for level, program in recipe.programs.items():
        known = qcengine.list_all_programs()
        if program not in known:
            near = difflib.get_close_matches(program, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
            problems.append(f"program {program!r} is not known to QCEngine; {hint}")
            continue
        try:
            harness = qcengine.get_program(program)
        except QCEngineException:
            problems.append(f"program {program!r} is not installed on this machine; install it or name another program")
            continue
        with contextlib.suppress(Exception):
            versions[program] = str(harness.get_version())
        preflight = getattr(harness, "preflight", None)
        if preflight is None:
            continue
        for number in kinds.values():
            try:
                preflight(atomic_input(recipe, level, (number,), (number,)))
            except QCEngineException as error:
                problems.append(f"model chemistry {level!r}, fragment {number}: {error.raw_message}")
                break
    return Checked(tuple(dict.fromkeys(problems)), versions)


def _values(result: Any) -> dict[str, Any]:
    from autotune.component import PROPERTIES

    values = {}
    for name in PROPERTIES:
        value = getattr(result.properties, f"return_{name}", None)
        if value is not None:
            values[name] = value if name == "energy" else value.tolist()
    return values


# --- the process -----------------------------------------------------------------------------------------------------


def _limit_threads(width: int) -> None:
    """Set the thread pools of all loaded libraries, and what child processes will read."""
    from threadpoolctl import threadpool_limits

    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(width)
    threadpool_limits(limits=width)


THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def _redirect_output(path: Path) -> None:
    for target, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        fd = os.open(os.devnull if target == 0 else path, flags, 0o600)
        os.dup2(fd, target)
        os.close(fd)
    os.dup2(1, 2)


def _cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _reset_peak() -> None:
    # Linux: "5" sets the high-water mark of the resident set back to its present size.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_gib() -> float:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / KIB_PER_GIB
    return 0.0


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _become_subreaper() -> None:
    """Let orphaned grandchildren become our children, so that whoever kills the tree can find them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    # The module must be the importable one: messages are pickled by its name.
    from autotune import worker

    worker.serve(arguments["control_fd"], arguments["programs"], arguments["scratch"])
