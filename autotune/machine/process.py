"""One process: its children, its memory, its environment, how it ended, and how its tree is killed.

Rules: small answers about processes for the zygote, the workers and the pool; no decisions. What only Linux can do is
left out elsewhere without a word: parents still end their children in an orderly way.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

HAS_PROC = Path("/proc/self/stat").exists()
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
BLAS_THREADS_VARIABLE = "AUTOTUNE_BLAS_THREADS"  # read by harnesses that keep OpenMP and BLAS threads apart
RESIDENT_VARIABLE = "AUTOTUNE_RESIDENT"  # "0" where a program is to be a new process for each task
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
PINNING_VARIABLES = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")  # all children get one core
ENDING_LOOK_S = 0.005


def descendants() -> list[int]:
    """Return the living processes below this one; empty where the system does not tell cheaply."""
    if not HAS_PROC:
        return []
    try:
        # One call says whether there is any child at all; without a wait, for whoever started it will.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return tree(os.getpid())[1:]


def tree(pid: int) -> list[int]:
    """Return a process and everything below it; empty where it has ended.

    Linux tells each thread's children, which spares reading every process of the machine; elsewhere psutil does that.
    """
    import psutil

    try:
        found = [pid]
        for parent in found:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_bytes().split()]
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        with contextlib.suppress(psutil.Error):
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return []
    return found


def usage(pids: Iterable[int]) -> tuple[float, float]:
    """Return the resident memory in GiB and the CPU seconds of processes, those of their ended children included.

    Linux tells both in one line; psutil, which reads three files for them, is for the other systems.
    """
    resident, seconds = 0, 0.0
    for pid in pids:
        if HAS_PROC:
            with contextlib.suppress(OSError):
                # proc(5): utime, stime, cutime, cstime are fields 14 to 17, rss is field 24; the name may hold spaces.
                fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
                resident += int(fields[21]) * PAGE_BYTES
                seconds += sum(map(int, fields[11:15])) / _TICKS_A_SECOND
            continue
        import psutil

        with contextlib.suppress(psutil.Error):
            one = psutil.Process(pid)
            with one.oneshot():
                resident += one.memory_info().rss
                seconds += sum(one.cpu_times()[:4])
    return resident / 2**30, seconds


def resident_shares(pid: int) -> tuple[float, float] | None:
    """Return a process's resident memory in GiB, and its proportional share of it: a page of n processes counts 1/n.

    None where the system does not tell (Linux since 4.14 does). It takes a millisecond or two, twenty times as long as
    `usage`.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(b":") for line in lines[1:])}
        return kib[b"Rss"] / 2**20, kib[b"Pss"] / 2**20
    except (OSError, KeyError):
        return None


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def die_with_parent() -> None:
    """Have this process killed when its parent ends (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def become_subreaper() -> None:
    """Let orphaned grandchildren become our children, so that whoever kills the tree can find them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_tree(pid: int) -> None:
    """Kill a worker and everything it started, also what left its session; a worker adopts its orphans."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        tree = process.children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        for member in (process, *tree):
            with contextlib.suppress(psutil.Error):
                member.kill()


def follow_affinity(pid: int) -> None:
    """Let a process and all below it run where this one may."""
    if hasattr(os, "sched_getaffinity"):
        run_on(pid, os.sched_getaffinity(0))


def run_on(pid: int, cpus: Collection[int]) -> None:
    """Let a process and all below it run on some hardware threads only, where the system can do that."""
    import psutil

    if not hasattr(os, "sched_setaffinity"):
        return
    for each in tree(pid):
        with contextlib.suppress(psutil.Error, OSError):  # what ends meanwhile
            for thread in psutil.Process(each).threads():
                os.sched_setaffinity(thread.id, cpus)


def kill_marked(variable: str, value: str, *, limit_s: float = 5.0) -> None:
    """Kill all processes that were started with a variable of the environment, whoever has adopted them since.

    It returns when they have ended, or after the limit: one that waits for a lost network disk cannot be killed.
    """
    import psutil

    deadline, found, killed = time.monotonic() + limit_s, True, set[psutil.Process]()
    while found and time.monotonic() < deadline:  # one that is being killed may have started another
        found = False
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):  # one that is ending has no environment any more
                if process.pid != os.getpid() and process.environ().get(variable) == value:
                    process.kill()
                    killed.add(process)
                    found = True
    while any(map(_runs, killed)) and time.monotonic() < deadline:
        time.sleep(ENDING_LOOK_S)


def _runs(process: psutil.Process) -> bool:
    """Return whether a process has not ended; one that waits for its parent to learn of it has."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def worker_environment(
    *, resident: bool, passive_wait: bool, one_blas_thread: bool, blas_kernel: str
) -> dict[str, str]:
    """Return the environment of the workers: one thread until a task says otherwise, nothing pinned."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    for pinned in PINNING_VARIABLES:
        environment.pop(pinned, None)
    # Left alone, GNU OpenMP spins for a while and then sleeps.
    environment.pop("OMP_WAIT_POLICY", None)
    if passive_wait:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    environment.pop(RESIDENT_VARIABLE, None)
    if not resident:
        environment[RESIDENT_VARIABLE] = "0"
    name_user(environment)
    if one_blas_thread:
        environment[BLAS_THREADS_VARIABLE] = "1"
    if blas_kernel:
        environment["OPENBLAS_CORETYPE"] = blas_kernel
    return environment


def name_user(environment: MutableMapping[str, str]) -> None:
    """Add a name of this process's user to an environment, where the system knows none, as in some containers.

    QCEngine asks for one, and some programs do; they fail where there is none.
    """
    import getpass

    try:
        getpass.getuser()
    except (KeyError, OSError):  # the second since Python 3.13
        environment["LOGNAME"] = str(os.getuid())


def was_killed(status: int | None) -> bool:
    """Return whether a process was ended by SIGKILL, which is how a system that runs out of memory does it."""
    return status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def describe_exit(status: int | None) -> str:
    """Return how a worker process ended, in words, from its wait status."""
    if status is None:
        return "the worker process ended without a word"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        memory = " (often the system's answer to too little memory)" if number == signal.SIGKILL else ""
        return f"the worker process was ended by {name}{memory}"
    return f"the worker process exited with status {os.WEXITSTATUS(status)}"


_GIB = 2**30
_LIMITS = (  # of getrlimit(2), as shells set them, and what they count
    ("RLIMIT_AS", "-v", _GIB, " GiB of address space"),
    ("RLIMIT_DATA", "-d", _GIB, " GiB of data"),
    ("RLIMIT_CPU", "-t", 1, " s of processor time"),
    ("RLIMIT_FSIZE", "-f", _GIB, " GiB a file"),
)


def describe_limits() -> str:
    """Return the limits that a shell or batch job has set for each process, and that may end one; empty for none."""
    try:
        import resource
    except ImportError:  # on Windows
        return ""
    found = []
    for name, flag, unit, words in _LIMITS:
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY:
            found.append(f"{limit / unit:.3g}{words} (`ulimit {flag}`)")
    return f"each process is limited to {' and '.join(found)}" if found else ""
