"""What a task uses: CPU time and memory of the process it runs in and of all below it.

Rules: read before and after every task, of which some take a millisecond: the files of this process stay open and are
read in place, which costs a tenth of opening them again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from autotune.machine import process

if TYPE_CHECKING:
    import resource

KIB_PER_GIB = 2.0**20
_STATUS_BYTES = 8192


class Used(NamedTuple):
    """What a `Meter` reads: CPU seconds, and GiB of the resident sets: their peak, and what is held now."""

    cpu_s: float
    peak_gib: float
    resident_gib: float


class Meter:
    """What this process and all below it use between `start` and `read`: CPU time and the peak of the resident sets.

    The peak starts again with each start, so there is one meter at a time. Where the system does not tell, it is 0.
    """

    def __init__(self) -> None:
        self._before_s = 0.0
        self._ended = _Ended()
        self._own = _Own() if process.HAS_PROC else None

    def start(self) -> None:
        """Measure from now on."""
        below = process.descendants()
        self._ended.peak_kib = 0
        if self._own is not None:
            self._own.reset()
        for pid in below:
            # Linux: "5" sets the high-water mark of the resident set back to its present size.
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_bytes(b"5")
        self._before_s = _cpu_s(below)

    def read(self) -> Used:
        """Return what was used since the start.

        Living children, such as a resident program, add their own peaks. Where child processes ran and ended, the
        largest of them counts, if it was larger.
        """
        below = process.descendants()
        cpu_s = _cpu_s(below) - self._before_s
        if self._own is None:
            return Used(cpu_s, 0.0, 0.0)
        peak_kib, held_kib = self._own.peak_kib(), self._own.held_kib()
        for pid in below:
            with contextlib.suppress(OSError):
                one_peak_kib, one_held_kib = _resident_kib(Path(f"/proc/{pid}/status").read_bytes())
                peak_kib, held_kib = peak_kib + one_peak_kib, held_kib + one_held_kib
        peak_kib = max(peak_kib, self._ended.peak_kib)
        return Used(cpu_s, peak_kib / KIB_PER_GIB, held_kib / KIB_PER_GIB)


class _Ended:
    """The largest peak of the children that ended since it was set to 0.

    `getrusage` knows only that of all children that ever ended, so a small task would have the peak of a large one
    before it. `wait4` gives each child's own, that of its own ended children included: `os.waitpid`, by which
    `subprocess` learns of an end, asks it here, in the worker process alone.
    """

    def __init__(self) -> None:
        self.peak_kib = 0
        wait4 = os.wait4

        def waitpid(pid: int, options: int) -> tuple[int, int]:
            ended, status, used = wait4(pid, options)
            if ended:
                self.peak_kib = max(self.peak_kib, used.ru_maxrss)
            return ended, status

        os.waitpid = waitpid


class _Own:
    """The memory of this process, by Linux's open files of it; a fork of it needs its own."""

    def __init__(self) -> None:
        self._clear = -1
        with contextlib.suppress(OSError):  # some containers: peaks then are those of the whole life of the process
            self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self.reset()
        # getrusage is ten times as fast as the file, but where this process began as another program, as all do that
        # were not forked from Python, it also knows the peak of that one.
        self._by_rusage = _usage().ru_maxrss <= _resident_kib(self._read_status())[0]

    def __del__(self) -> None:
        for file in (self._clear, self._status, self._statm):
            with contextlib.suppress(OSError):
                os.close(file)

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._clear, b"5")

    def peak_kib(self) -> int:
        return _usage().ru_maxrss if self._by_rusage else _resident_kib(self._read_status())[0]

    def held_kib(self) -> int:
        # proc(5): the second number is the resident set in pages.
        return int(os.pread(self._statm, 100, 0).split()[1]) * process.PAGE_BYTES // 1024

    def _read_status(self) -> bytes:
        return os.pread(self._status, _STATUS_BYTES, 0)


def _cpu_s(below: Sequence[int]) -> float:
    """Return the CPU seconds of this process, its ended children and the living processes below it."""
    own, children = _usage(), _usage(children=True)
    used_s = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return used_s + process.usage(below)[1] if below else used_s


def _usage(*, children: bool = False) -> resource.struct_rusage:
    import resource  # not on Windows, which has no workers either

    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)


def _resident_kib(status: bytes) -> tuple[int, int]:
    """Return peak and present size of a process's resident set."""
    found = {b"VmHWM:": 0, b"VmRSS:": 0}
    for line in status.splitlines():
        name, _, rest = line.partition(b"\t")
        if name in found:
            found[name] = int(rest.split()[0])
    return found[b"VmHWM:"], found[b"VmRSS:"]
