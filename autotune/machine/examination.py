"""Looks for what makes this machine slow or its timings worthless.

Rules:
- Data only: findings with a cure, one line each; words around them and colours are the command line's.
- Each topic is one small function that reads and judges; what this machine cannot answer gives no finding.
- Nothing is changed, and nothing but one core is kept busy for a moment: steal and clock speed show only where
  something wants to run.
- The thresholds are judgements, kept together at the top.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeAlias

from autotune.machine import detection, process
from autotune.programs import blas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from autotune.base.types import Machine

BUSY_S = 0.1  # how long one core is kept busy
LOAD_PER_CORE = 0.3
STEAL_SHARE = 0.05  # of the time that something wanted to run; the gains a tuning looks for are of this size
THROTTLED_SHARE = 0.05  # of the control group's scheduling periods
CLOCK_CAP = 0.9  # of the highest clock the hardware has
CLOCK_NOW = 0.5
MEMORY_SHARE = 0.5
SWAP_GIB = 0.1
SCRATCH_GIB = 2.0
SHARED_MEMORY_GIB = 0.25  # containers give 64 MiB, too little for MPI programs

HARMLESS_PINNING = {"", "false", "none", "disabled"}
RAISE_LIMIT = {
    "affinity": "to use all, start without taskset, numactl or MPI binding",
    "cgroup v1": "to use all, raise the limit of the container or batch job",
    "cgroup v2": "to use all, raise the limit of the container or batch job",
    "rlimit": "to use all, raise `ulimit -v` and `ulimit -d`",
    "slurm": "to use all, request more from Slurm (--cpus-per-task, --mem)",
}

Severity = Literal["warning", "note", "ok"]
Judgement: TypeAlias = tuple[Severity, str, str]  # severity, text, and the cure for all but `ok`


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at.

    Attributes:
        severity: `ok`, `note` (good to know) or `warning` (costs speed, or makes timings worthless).
        topic: What was looked at, one or two words.
        text: What was seen, one line.
        cure: What to do about it; empty where there is nothing to do.
    """

    severity: Severity
    topic: str
    text: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counters:
    """What the kernel counted since boot: clock ticks that something asked for, stolen ones, and heat events."""

    wanted: int
    stolen: int
    heat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """What the topics judge: the machine, its files, and the counters before and after a core was busy."""

    machine: Machine
    root: Path
    before: _Counters
    after: _Counters


def examine(
    machine: Machine, *, root: Path = detection.ROOT, keep_busy: Callable[[float], None] | None = None
) -> tuple[Finding, ...]:
    """Return what was seen on this machine, worst first; takes 0.1 s.

    Args:
        machine: What this process may use, from `detection.detect`.
        root: Folder that holds `proc`, `sys` and `dev`.
        keep_busy: Occupies one core for so many seconds; tests pass their own.
    """
    before = _counters(root)
    (keep_busy or _spin)(BUSY_S)
    visit = _Visit(machine=machine, root=root, before=before, after=_counters(root))
    topics: dict[str, Callable[[_Visit], Iterator[Judgement]]] = {
        "load": _load,
        "steal": _steal,
        "clock": _clock,
        "heat": _heat,
        "cores": _cores,
        "CPU quota": _quota,
        "SMT": _smt,
        "memory limit": _memory_limit,
        "memory": _memory,
        "swap": _swap,
        "scratch": _scratch,
        "shared memory": _shared_memory,
        "BLAS": _blas,
        "threads": _threads,
        "pinning": _pinning,
        "byte code": _byte_code,
    }
    findings = [
        Finding(severity=severity, topic=topic, text=text, cure="" if severity == "ok" else cure)
        for topic, judge in topics.items()
        for severity, text, cure in judge(visit)
    ]
    return tuple(sorted(findings, key=lambda finding: ("warning", "note", "ok").index(finding.severity)))


# --- processors ------------------------------------------------------------------------------------------------------


def _counters(root: Path) -> _Counters:
    words = detection.read_text(root / "proc/stat").partition("\n")[0].split()[1:9]
    # The guest times that may follow are part of the user time.
    user, nice, system, _idle, _iowait, irq, softirq, stolen = [*map(int, words), *[0] * 8][:8]
    files = (root / detection.CPU_FOLDER).glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    heat = sum(detection.number(detection.read_text(file)) or 0.0 for file in files)
    return _Counters(wanted=user + nice + system + irq + softirq + stolen, stolen=stolen, heat=heat)


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _load(visit: _Visit) -> Iterator[Judgement]:
    words = detection.read_text(visit.root / "proc/loadavg").split()
    if not words:
        return
    cores = detection.physical_cores(detection.online_cpus(visit.root), visit.root)
    text = f"load {float(words[0]):.2f} on {cores} cores over the last minute"
    if float(words[0]) <= LOAD_PER_CORE * cores:
        yield "ok", text, ""
    elif visit.machine.cores < cores:
        yield "note", text, "timings hold only if the others' work stays off the cores used here"
    else:
        yield "warning", text, "stop the other work or wait until it is done: timings taken now mislead"


def _steal(visit: _Visit) -> Iterator[Judgement]:
    if not visit.after.wanted:
        return
    wanted, stolen = visit.after.wanted - visit.before.wanted, visit.after.stolen - visit.before.stolen
    now = stolen / wanted if stolen > 1 else 0.0  # a single tick proves nothing
    ever = visit.after.stolen / visit.after.wanted
    text = f"the host withheld {now:.0%} of the time asked for now, {ever:.0%} since boot"
    if now > STEAL_SHARE:
        yield "warning", text, "measure when the host is quieter, or on a dedicated instance"
    else:
        cure = "the host is shared: trust only repeated, interleaved measurements"
        yield ("note" if ever > STEAL_SHARE else "ok"), text, cure


def _clock(visit: _Visit) -> Iterator[Judgement]:
    files = ("cpuinfo_max_freq", "scaling_max_freq", "scaling_cur_freq")
    folders = [visit.root / detection.CPU_FOLDER / f"cpu{cpu}/cpufreq" for cpu in detection.usable_cpus(visit.root)]
    # The fastest core counts: it is the one that was busy.
    highest, allowed, current = (
        max((detection.number(detection.read_text(folder / file)) or 0.0 for folder in folders), default=0.0) / 1000
        for file in files
    )
    text = f"a busy core runs at {current:.0f} of {highest:.0f} MHz"
    if 0 < allowed < CLOCK_CAP * highest:
        text = f"the clock is limited to {allowed:.0f} of {highest:.0f} MHz"
        yield "warning", text, "end the power-saving profile, or raise scaling_max_freq to cpuinfo_max_freq"
    elif 0 < current < CLOCK_NOW * highest:
        yield "note", text, "choose the governor `performance`, and look for a power or heat limit"
    elif current and highest:
        yield "ok", text, ""


def _heat(visit: _Visit) -> Iterator[Judgement]:
    if visit.after.heat > visit.before.heat:
        yield "warning", "heat slows the processor down at this moment", "improve the cooling, or use fewer cores"
    elif visit.after.heat:
        text = f"heat slowed the processor down {visit.after.heat:.0f} times since boot"
        yield "note", text, "watch the temperature during long runs"


def _cores(visit: _Visit) -> Iterator[Judgement]:
    cores, cause = (
        detection.physical_cores(detection.online_cpus(visit.root), visit.root),
        visit.machine.cores_limited_by,
    )
    text = f"{visit.machine.cores} of {cores} cores may be used (limit: {cause})"
    yield ("note" if visit.machine.cores < cores else "ok"), text, RAISE_LIMIT.get(cause, "")


def _quota(visit: _Visit) -> Iterator[Judgement]:
    groups = [detection.read_table(folder / "cpu.stat") for _, folder in detection.cgroup_folders("cpu", visit.root)]
    shares = [group.get("nr_throttled", 0.0) / group["nr_periods"] for group in groups if group.get("nr_periods")]
    if not shares:
        return
    text = f"the control group was stopped in {max(shares):.0%} of its scheduling periods"
    cure = "use fewer cores, or raise the CPU quota of the container or batch job"
    yield ("warning" if max(shares) > THROTTLED_SHARE else "ok"), text, cure


def _smt(visit: _Visit) -> Iterator[Judgement]:
    threads = detection.usable_cpus(visit.root)
    cores = detection.physical_cores(threads, visit.root)
    if cores < len(threads):
        yield "note", f"{len(threads)} hardware threads on {cores} cores: autotune plans with cores", ""


# --- memory and disk -------------------------------------------------------------------------------------------------


def _memory_limit(visit: _Visit) -> Iterator[Judgement]:
    limit, total, cause = (
        visit.machine.memory_gib,
        detection.meminfo(visit.root)["MemTotal"],
        visit.machine.memory_limited_by,
    )
    text = f"{limit:.1f} of {total:.1f} GiB may be used (limit: {cause})"
    yield ("note" if limit < total else "ok"), text, RAISE_LIMIT.get(cause, "")


def _memory(visit: _Visit) -> Iterator[Judgement]:
    free, limit = detection.available_memory_gib(visit.machine, root=visit.root), visit.machine.memory_gib
    text = f"{free:.1f} of {limit:.1f} GiB are free"
    cure = "stop other programs: with less memory fewer fragments run at a time"
    yield ("warning" if free < MEMORY_SHARE * limit else "ok"), text, cure


def _swap(visit: _Visit) -> Iterator[Judgement]:
    memory = detection.meminfo(visit.root)
    used = memory.get("SwapTotal", 0.0) - memory.get("SwapFree", 0.0)
    short = memory["MemAvailable"] < MEMORY_SHARE * memory["MemTotal"]
    severity: Severity = "ok" if used <= SWAP_GIB else "warning" if short else "note"
    yield severity, f"{used:.1f} GiB of swap in use", "stop other programs, or use less memory: swapped fragments crawl"


def _scratch(visit: _Visit) -> Iterator[Judgement]:
    folder = Path(tempfile.gettempdir()).absolute()
    free = shutil.disk_usage(folder).free / detection.GIB
    around = [mount for mount in detection.mounts(visit.root) if PurePosixPath(folder).is_relative_to(mount.point)]
    kind = max(reversed(around), key=lambda mount: len(mount.point)).kind if around else "disk"
    text = f"{folder} ({kind}) has {free:.1f} GiB left"
    if kind in {"tmpfs", "ramfs"}:
        yield "warning", f"{text}, and its files take memory", "set TMPDIR to a folder on a local disk"
    else:
        cure = "make room, or set TMPDIR to a folder on a larger disk"
        yield ("warning" if free < SCRATCH_GIB else "ok"), text, cure


def _shared_memory(visit: _Visit) -> Iterator[Judgement]:
    if not (visit.root / "dev/shm").is_dir():
        return
    free = shutil.disk_usage(visit.root / "dev/shm").free / detection.GIB
    text = f"shared memory (/dev/shm) has {free:.2f} GiB left"
    cure = "give the container more (--shm-size=1g): MPI programs such as NWChem need it"
    yield ("warning" if free < SHARED_MEMORY_GIB else "ok"), text, cure


# --- environment -----------------------------------------------------------------------------------------------------


def _blas(visit: _Visit) -> Iterator[Judgement]:
    core = blas.core()
    if core and detection.vector(visit.root) in {"avx2", "avx512"} and not blas.knows_avx(core):
        text = f"the system's OpenBLAS takes this processor for a {core}, without AVX"
        yield "warning", text, "autotune tells it better in its runs; elsewhere set OPENBLAS_CORETYPE=Haswell"


def _threads(_visit: _Visit) -> Iterator[Judgement]:
    given = {name: os.environ[name] for name in process.THREAD_VARIABLES if os.environ.get(name)}
    if given:
        conflict = ", which disagree" if len(set(given.values())) > 1 else ""
        text = f"{' '.join(f'{name}={value}' for name, value in given.items())}{conflict}"
        yield "note", text, "nothing to do: autotune sets them for each task in its workers"


def _pinning(_visit: _Visit) -> Iterator[Judgement]:
    given = [name for name in process.PINNING_VARIABLES if os.environ.get(name, "").lower() not in HARMLESS_PINNING]
    if given:
        yield "warning", f"{' '.join(given)} set: all workers may inherit one core", f"unset {' '.join(given)}"


def _byte_code(_visit: _Visit) -> Iterator[Judgement]:
    # Some installers leave it out, and in a read-only folder, or with PYTHONDONTWRITEBYTECODE, it is never kept.
    if not Path(importlib.util.cache_from_source(process.__file__)).exists():
        text = "Python compiles autotune anew in each process: some tenths of a second for every command"
        yield "note", text, f"once, where it is installed: python -m compileall -q {Path(process.__file__).parents[1]}"
