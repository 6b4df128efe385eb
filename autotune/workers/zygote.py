"""The process that imports the programs once and is forked into workers.

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
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from autotune.base.late_modules import absent, import_late
from autotune.machine import process
from autotune.workers import worker
from autotune.workers.messages import EXIT_REPORT, FORK_REQUEST, LOAD_REQUEST, NO_FORK

MOST_CONFIGURATIONS = 1000


def serve(control_fd: int, owner_fd: int, scratch: str) -> NoReturn:
    """Run the zygote until the parent closes the control socket, then end the process."""
    for fd in (control_fd, owner_fd):
        os.set_inheritable(fd, False)
    control = socket.socket(fileno=control_fd)
    process.become_subreaper()
    try:
        _import_ahead()
        programs = _asked_to_load(control)
        if programs is not None:
            _prepare(programs)
            _serve(control, owner_fd, programs, scratch)
    except BaseException:  # noqa: BLE001 - the process ends here; its last lines go to the parent's report
        traceback.print_exc()
        sys.stderr.flush()
        _end_all()
        os._exit(1)
    # The parent closed the socket, or is dead; in the second case nobody else cleans up.
    _end_all()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)  # at once: taking down the programs takes a tenth of a second, and the parent waits for it


def _serve(control: socket.socket, owner_fd: int, programs: Sequence[str], scratch: str) -> None:
    """Fork workers and report how they end, until the parent is gone."""
    workers: dict[int, int] = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            for pid, status in _reap():
                if pid in workers:
                    with contextlib.suppress(OSError):
                        control.sendall(EXIT_REPORT.pack(workers.pop(pid), status))
            _kill_orphans(workers)
        if control.fileno() in readable:
            request, fds = _request(control)
            if not request:
                return
            (number,) = FORK_REQUEST.unpack(request)
            try:
                pid = os.fork()
            except OSError as error:  # too many processes, or no memory; for this worker alone
                sys.stderr.write(f"no worker can be started: {error.strerror}\n")
                sys.stderr.flush()
                os.close(fds[0])
                with contextlib.suppress(OSError):
                    control.sendall(EXIT_REPORT.pack(number, NO_FORK))
                continue
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (control.detach(), owner_fd, wake_read, wake_write):
                    os.close(fd)
                worker.work(fds[0], Path(scratch) / f"worker-{number}", programs)
            workers[pid] = number
            os.close(fds[0])


def _request(control: socket.socket) -> tuple[bytes, list[int]]:
    """Return a request and what came with it; an empty one when the parent is gone."""
    try:
        request, fds, _, _ = socket.recv_fds(control, FORK_REQUEST.size, 1)
    except ConnectionResetError:  # it died with reports unread
        return b"", []
    return request, fds


def _end_all() -> None:
    """Kill all processes below and wait until none is left: one that is being killed may still write or fork."""
    with contextlib.suppress(ChildProcessError):
        while True:
            _kill_orphans({})
            os.wait()


def _kill_orphans(workers: Mapping[int, int]) -> None:
    """Kill what dead workers left running: as a subreaper, the zygote has inherited it."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.pid not in workers:
                process.kill_tree(child.pid)


def _import_ahead() -> None:
    """Import what tasks of all programs need and what reads no variables of the environment that workers may change.

    NumPy does: its BLAS counts threads and chooses kernels by them when it loads.
    """
    gc.disable()  # what is imported lives as long as the process
    import_late("asyncio")  # pydantic_settings does, for commands that run until they are done
    import pydantic_settings  # noqa: F401

    import autotune.plugin.manager  # noqa: F401


def _asked_to_load(control: socket.socket) -> tuple[str, ...] | None:
    """Take on the environment of the workers and return the programs to import; None where the parent is gone."""
    # The parent may die at any moment, also in the middle of what it says.
    with contextlib.suppress(ConnectionResetError, json.JSONDecodeError):
        size = control.recv(LOAD_REQUEST.size, socket.MSG_WAITALL)
        if len(size) == LOAD_REQUEST.size:
            (size_bytes,) = LOAD_REQUEST.unpack(size)
            said = json.loads(control.recv(size_bytes, socket.MSG_WAITALL))
            os.environ.clear()
            os.environ.update(said["environment"])
            return tuple(said["programs"])
    return None


def _prepare(programs: Sequence[str]) -> None:
    """Import and register everything a task needs, so that forked workers have it."""
    with absent("qcmanybody"):  # QCElemental asks for it, to describe optimisations of clusters
        import qcelemental.models.v2  # noqa: F401
    import qcengine

    import autotune.expansion.component  # noqa: F401
    from autotune.plugin.manager import Manager

    _prime_qcengine()
    _remember_configurations()
    Manager().register_programs()
    for program in programs:
        # A program that is missing is reported by the check, in words; nothing to warm here.
        with contextlib.suppress(Exception):
            warm_up = getattr(qcengine.get_program(program), "warm_up", None)
            if warm_up is not None:
                warm_up()
    # Collections in the workers need not look at it again, nor touch (and so copy) its pages.
    gc.freeze()
    gc.enable()


def _prime_qcengine() -> None:
    """Fill QCEngine's per-process cache of host facts without its CPU query.

    QCEngine asks py-cpuinfo once per process, which takes up to a second; it uses the answer only as the provenance
    field `cpu`. Where the private cache has another shape than known, it is left alone and only time is lost.
    """
    import getpass

    import psutil
    from qcengine import config

    from autotune.machine.detection import cpu_model

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
    config.get_global()  # which imports py-cpuinfo whether it needs it or not


def _remember_configurations() -> None:
    """Let QCEngine work out each configuration of a task once: that is most of what a call costs beside the program.

    Nothing it reads, variables of the environment and files, changes within a worker. Where QCEngine has another shape
    than known, it is left alone.
    """
    module = sys.modules.get("qcengine.compute")
    work_out = getattr(module, "get_config", None)
    if module is None or work_out is None:
        return
    known: dict[str, Any] = {}

    def get_config(**asked: Any) -> Any:
        key = json.dumps(asked, sort_keys=True, default=repr)
        if key not in known:
            if len(known) >= MOST_CONFIGURATIONS:
                known.clear()
            known[key] = work_out(**asked)
        return known[key].model_copy()

    module.get_config = get_config  # type: ignore[attr-defined]


def _reap() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    serve(**arguments)
