"""Says what this process may use of the machine it runs on: cores, memory, and the facts that decide a tuning.

- Every limit is an upper bound with a name, and the smallest counts: hardware, affinity, control groups (v1, v2, both;
  every visible ancestor), resource limits, Slurm; of equal ones the first. SMT siblings count as one core.
- `Machine.memory_gib` is the limit, because the limit identifies a machine and its tuning. What is free at this moment
  is `available_memory_gib`, and only that may be planned with.
- All files are read below `root`, so that tests can build a machine in a folder. A missing file says nothing and is no
  error; where no file says anything (macOS, Windows) psutil is asked. No subprocess is started on Linux.
- The key holds hardware facts only, never a host name, and is the same in every run. GPUs (`gpus.py`) are not in it:
  for programs that use none the same tuning is best with and without.
"""

from __future__ import annotations

import math
import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from autotune.base.errors import InputError, ResourceError
from autotune.base.types import Machine
from autotune.machine import gpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GIB = 1024**3
_ALIKE = 1.15  # times the speed of another core; less is not worth telling
ROOT = Path("/")
CPU_FOLDER = "sys/devices/system/cpu"
Limit: TypeAlias = tuple[float, str]  # cores or GiB, and what set it


class Mount(NamedTuple):
    """A mounted file system: its type and options, the part of it that is mounted, and where."""

    kind: str
    options: str
    part: str
    point: str


def detect(*, cores: int | None = None, memory_gib: float | None = None, root: Path = ROOT) -> Machine:
    """Return what this process may use, in a few milliseconds.

    Args:
        cores: Use only so many cores.
        memory_gib: Use only so much memory.
        root: Folder that holds `proc` and `sys`.

    Raises:
        InputError: `cores` or `memory_gib` is not positive.
        ResourceError: `cores` or `memory_gib` is more than this process may use.
    """
    usable_cores, cores_cause = _grant(cores, core_limits(root), unit="cores")
    usable_gib, memory_cause = _grant(memory_gib, memory_limits(root), unit="GiB of memory")
    model, architecture, width = cpu_model(root), platform.machine(), vector(root)
    nodes, cache_mib = numa_nodes(root), last_level_cache_mib(root)
    size = [width, f"{usable_cores:.0f}c", f"{memory_bin_gib(usable_gib)}g"]
    places = [f"{nodes}n" if nodes > 1 else "", f"l3-{cache_mib:.0f}m" if cache_mib else ""]
    return Machine(
        cores=int(usable_cores),
        memory_gib=usable_gib,
        gpus=gpus.usable_gpus(root),
        gpu_memory_gib=gpus.memory_gib(root),
        cpu_model=model,
        architecture=architecture,
        numa_nodes=nodes,
        l3_mib=cache_mib,
        vector=width,
        key="-".join(part for part in [slug(model), slug(architecture), *size, *places] if part),
        cores_limited_by=cores_cause,
        memory_limited_by=memory_cause,
    )


def available_memory_gib(machine: Machine, *, root: Path = ROOT) -> float:
    """Return the memory in GiB that is free now within the machine's limit; reclaimable file cache counts as free."""
    free = [meminfo(root)["MemAvailable"]]
    for _, folder in cgroup_folders("memory", root):
        used = number(read_text(folder / "memory.current") or read_text(folder / "memory.usage_in_bytes")) or 0.0
        statistics = read_table(folder / "memory.stat")
        cache = statistics.get("total_inactive_file", statistics.get("inactive_file", 0.0))
        free += [limit - (used - cache) / GIB for limit in cgroup_memory_limits_gib(folder)]
    return max(0.0, min(machine.memory_gib, *free))


def core_limits(root: Path = ROOT) -> list[Limit]:
    """Return every upper bound on the cores this process may use, whole and at least 1 each."""
    online, usable, cpusets = online_cpus(root), usable_cpus(root), _cpusets(root)[:1]
    limits: list[Limit] = [(physical_cores(online, root), "physical")]
    limits += [(physical_cores(cpus, root), cause) for cause, cpus in [*cpusets, ("affinity", usable)] if cpus < online]
    quotas = [(cgroup_quota(folder), cause) for cause, folder in cgroup_folders("cpu", root)]
    limits += [(max(1, math.floor(quota)), cause) for quota, cause in quotas if quota]
    return limits + [(bound, "slurm") for bound in slurm_cpus(os.environ)]


def memory_limits(root: Path = ROOT) -> list[Limit]:
    """Return every upper bound in GiB on the memory of this process and its children."""
    limits: list[Limit] = [(meminfo(root)["MemTotal"], "physical")]
    for cause, folder in cgroup_folders("memory", root):
        limits += [(limit, cause) for limit in cgroup_memory_limits_gib(folder)]
    with suppress(ImportError):  # Windows has none
        import resource

        soft = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        limits += [(limit / GIB, "rlimit") for limit in soft if limit != resource.RLIM_INFINITY]
    return limits + [(limit, "slurm") for limit in slurm_memory_gib(os.environ)]


def cgroup_quota(folder: Path) -> float | None:
    """Return the processors' worth of time one control group may use, None without a limit."""
    words = read_text(folder / "cpu.max").split()
    words = words or [read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")]
    quota, period = number(words[0]), number(words[-1])
    return quota / period if quota and period else None


def cgroup_memory_limits_gib(folder: Path) -> list[float]:
    """Return the limits of one control group; v1's statistics also know of ancestors that a container cannot see."""
    found = [number(read_text(folder / name)) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    found.append(read_table(folder / "memory.stat").get("hierarchical_memory_limit"))
    return [limit / GIB for limit in found if limit]


def slurm_cpus(environment: Mapping[str, str]) -> list[float]:
    """Return Slurm's upper bounds; a batch script with many tasks owns the node's share, not that of one task."""
    one_task = "SLURM_STEP_ID" in environment or environment.get("SLURM_NTASKS", "1") == "1"
    names = ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK")[: 1 + one_task]
    return [bound for name in names if (bound := number(environment.get(name, "")))]


def slurm_memory_gib(environment: Mapping[str, str]) -> list[float]:
    """Return Slurm's upper bounds; its own unit is MiB, and 0 means the whole node."""
    per_node = number(environment.get("SLURM_MEM_PER_NODE", ""))
    per_cpu = number(environment.get("SLURM_MEM_PER_CPU", "")) or 0.0
    return [mib / 1024 for mib in (per_node, per_cpu * min(slurm_cpus(environment), default=0.0)) if mib]


def cgroup_folders(controller: str, root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Yield `cgroup v1` or `cgroup v2` with each folder that binds this process: its own, then every visible ancestor.

    `controller` is v1's name (`cpu`, `cpuset`, `memory`); v2 has one hierarchy for all. Namespaces may hide the upper
    part of a hierarchy; where path and mount do not fit together, the top of the mount is all there is.
    """
    mounted = mounts(root)
    for line in read_text(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        kind, needs = ("cgroup", {controller}) if controllers else ("cgroup2", set())
        candidates = [mount for mount in mounted if mount.kind == kind and needs.issubset(mount.options.split(","))]
        fitting = [mount for mount in candidates if ".." not in path and PurePosixPath(path).is_relative_to(mount.part)]
        for mount in sorted(fitting, key=lambda mount: len(mount.part))[:1] or candidates[:1]:
            below = PurePosixPath(path).relative_to(mount.part) if fitting else PurePosixPath()
            top = root / mount.point.lstrip("/")
            yield from ((f"cgroup v{1 if controllers else 2}", top / step) for step in (below, *below.parents))


def _cpusets(root: Path) -> list[tuple[str, frozenset[int]]]:
    names = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
    files = [(cause, folder / name) for cause, folder in cgroup_folders("cpuset", root) for name in names]
    return [(cause, cpus) for cause, path in files if (cpus := cpu_list(read_text(path)))]


def _grant(asked: float | None, limits: list[Limit], *, unit: str) -> Limit:
    limit, cause = min(limits, key=lambda limit: limit[0])
    if asked is None:
        return limit, cause
    if not asked > 0:
        raise InputError(f"{asked:g} {unit} asked for: give a positive number")
    if asked > limit:
        usable = f"{math.floor(limit * 100) / 100:g} (limit: {cause})"
        raise ResourceError(f"{asked:g} {unit} asked for, but this process may use {usable}: ask for less or raise it")
    return asked, "option"


def online_cpus(root: Path = ROOT) -> frozenset[int]:
    """Return the numbers of the machine's hardware threads; those of the affinity where the machine does not say."""
    return cpu_list(read_text(root / CPU_FOLDER / "online")) or _affinity()


def usable_cpus(root: Path = ROOT) -> frozenset[int]:
    """Return the hardware threads that control groups and affinity leave to this process."""
    usable = online_cpus(root)
    for allowed in (*(cpus for _, cpus in _cpusets(root)), _affinity()):
        usable = usable & allowed or usable
    return usable


def _affinity() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def physical_cores(cpus: frozenset[int], root: Path = ROOT) -> int:
    """Return how many cores these hardware threads lie on, at least 1; psutil counts where the kernel does not say."""
    siblings = (root / CPU_FOLDER / f"cpu{cpu}/topology/thread_siblings_list" for cpu in cpus)
    cores = {read_text(path) for path in siblings} - {""}
    if cores:
        return len(cores)
    import psutil

    counted = int(psutil.cpu_count(logical=False) or psutil.cpu_count() or 1)
    return min(len(cpus), counted) if cpus else counted


def threads_of_cores(root: Path = ROOT) -> tuple[frozenset[int], ...]:
    """Return the usable hardware threads of each core, the core with the lowest first."""
    cores: dict[str, set[int]] = {}
    for cpu in sorted(usable_cpus(root)):
        siblings = read_text(root / CPU_FOLDER / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        cores.setdefault(siblings, set()).add(cpu)
    return tuple(map(frozenset, cores.values()))


def core_speeds(root: Path = ROOT) -> tuple[float, ...]:
    """Return how fast the kernel says each usable core is, 1 for the fastest, in falling order; empty where alike.

    Its own measure, which it schedules by, or else the highest frequencies; that these differ by a few percent, as
    where some cores may run a little faster than others, says nothing.
    """
    first = [min(core) for core in threads_of_cores(root)]
    for file in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        speeds = [number(read_text(root / CPU_FOLDER / f"cpu{cpu}" / file)) for cpu in first]
        known = sorted((speed for speed in speeds if speed), reverse=True)
        if known and len(known) == len(first) and known[0] > _ALIKE * known[-1]:
            return tuple(speed / known[0] for speed in known)
    return ()


def numa_nodes(root: Path = ROOT) -> int:
    """Return how many NUMA nodes the usable hardware threads lie on, at least 1."""
    usable, nodes = usable_cpus(root), (root / "sys/devices/system/node").glob("node[0-9]*/cpulist")
    return max(1, sum(1 for node in nodes if cpu_list(read_text(node)) & usable))


def last_level_cache_mib(root: Path = ROOT) -> float:
    """Return the last-level cache of one socket in MiB, all its slices together; 0 where the kernel does not say."""
    first = root / CPU_FOLDER / f"cpu{min(usable_cpus(root), default=0)}"
    levels = {number(read_text(cache / "level")) or 0: cache.name for cache in first.glob("cache/index[0-9]*")}
    socket = cpu_list(read_text(first / "topology/core_siblings_list"))
    total_kib = 0.0
    while levels and socket:
        cache = root / CPU_FOLDER / f"cpu{min(socket)}" / "cache" / levels[max(levels)]
        total_kib += number(read_text(cache / "size").rstrip("K")) or 0.0
        socket -= cpu_list(read_text(cache / "shared_cpu_list")) | {min(socket)}
    return total_kib / 1024


def cpu_model(root: Path = ROOT) -> str:
    """Return the processor's marketing name, or the best there is instead of one."""
    entry = _first_processor(root)
    part = f"arm {entry.get('cpu implementer')} {entry['cpu part']}" if "cpu part" in entry else ""
    named = entry.get("model name") or entry.get("cpu model") or entry.get("cpu") or part
    asked = "" if named or sys.platform == "linux" else platform.processor()  # Linux: this would start `uname -p`
    return named or asked or platform.machine() or "unknown"


def vector(root: Path = ROOT) -> str:
    """Return the widest vector instructions, or an empty text."""
    entry = _first_processor(root)
    flags = (entry.get("flags") or entry.get("features") or platform.machine().lower()).split()
    known = {"avx512f": "avx512", "avx2": "avx2", "avx": "avx", "sse2": "sse2", "asimd": "neon", "arm64": "neon"}
    return next((name for flag, name in known.items() if flag in flags), "")


def _first_processor(root: Path) -> dict[str, str]:
    entry = read_text(root / "proc/cpuinfo", length=16384).split("\n\n")[0]  # all of it takes long on a large node
    pairs = [line.partition(":") for line in entry.splitlines()]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def slug(name: str) -> str:
    """Return a processor's name as a file name: `AMD EPYC 7763 64-Core Processor` is `amd-epyc-7763`."""
    noise = r"\((?:r|tm|c)\)|\b(?:cpu|processor|\w+-core)\b|\bwith\b.*|@.*"
    return re.sub(r"[^a-z0-9_]+", "-", re.sub(noise, " ", name.lower()))[:60].strip("-") or "unknown"


def memory_bin_gib(memory_gib: float) -> int:
    """Return the nearest of 1, 2, 3, 4, 6, 8, 12, 16, 24, … GiB: what a kernel keeps for itself must not matter."""
    sizes = [1, *(step << power for power in range(20) for step in (2, 3))]
    return min(sizes, key=lambda size: abs(math.log(memory_gib / size)))


def read_text(path: Path, *, length: int = -1) -> str:
    """Return a file's text, or its first `length` characters, stripped; empty where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(length).strip()
    except OSError:
        return ""


def number(text: str) -> float | None:
    """Return a positive number, or None: `max`, `-1`, `0` and an empty text all mean no limit."""
    return float(text) if re.fullmatch("[0-9]+", text) and int(text) else None


def read_table(path: Path) -> dict[str, float]:
    """Return a file of lines `name number …` as a mapping; other lines are left out."""
    return {name: float(value) for name, value in re.findall(r"(?m)^(\S+)[ \t]+([0-9]+)\b", read_text(path))}


def meminfo(root: Path = ROOT) -> dict[str, float]:
    """Return `/proc/meminfo` in GiB; at least `MemTotal` and `MemAvailable` are there, from psutil if need be."""
    found = {name.rstrip(":"): kib / 1024**2 for name, kib in read_table(root / "proc/meminfo").items()}
    if not {"MemTotal", "MemAvailable"}.issubset(found):
        import psutil

        now = psutil.virtual_memory()
        found = {"MemTotal": now.total / GIB, "MemAvailable": now.available / GIB} | found
    return found


def cpu_list(text: str) -> frozenset[int]:
    """Return the numbers in the kernel's list format: `0-2,7` is 0, 1, 2 and 7."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", text)
    return frozenset(cpu for first, last in ranges for cpu in range(int(first), int(last or first) + 1))


def mounts(root: Path = ROOT) -> list[Mount]:
    """Return the mounted file systems, in the order they were mounted."""
    form = r"(?m)^\S+ \S+ \S+ (\S+) (\S+) .*?- (\S+) .*?(\S+)$"
    lines = re.findall(form, read_text(root / "proc/self/mountinfo"))
    return [Mount(kind, options, part, point.replace("\\040", " ")) for part, point, kind, options in lines]
