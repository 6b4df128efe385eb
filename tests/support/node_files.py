"""A healthy node of four cores and 32 GiB, made of the files of /proc and /sys in a folder."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from autotune.machine import detection, process

KIB_PER_GIB = 1024**2
SCRATCH = "/scratch/me"


def write(root, files):
    for name, text in files.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


def meminfo(*, available_gib=30, swap_gib=0.0):
    lines = {"MemTotal": 32, "MemAvailable": available_gib, "SwapTotal": 8, "SwapFree": 8 - swap_gib}
    return "\n".join(f"{name}: {int(gib * KIB_PER_GIB)} kB" for name, gib in lines.items())


def disk_with(monkeypatch, free_gib):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free_gib * detection.GIB))


def byte_code(root):
    """Return where Python keeps what it compiled of autotune on such a machine."""
    return Path(f"{root}/pycache{process.__file__}").with_suffix(f".{sys.implementation.cache_tag}.pyc")


def write_healthy(root, monkeypatch):
    """Write the files, and take away what Python knows of the machine of the tests."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: SCRATCH)
    disk_with(monkeypatch, 100)
    ours = (*process.THREAD_VARIABLES, *process.PINNING_VARIABLES)
    for name in [name for name in os.environ if name.startswith("SLURM_") or name in ours]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "pycache_prefix", str(root / "pycache"))
    byte_code(root).parent.mkdir(parents=True)
    byte_code(root).touch()
    write(
        root,
        {
            "proc/meminfo": meminfo(),
            "proc/loadavg": "0.40 0.30 0.20 1/100 4711",
            "proc/stat": "cpu 1000 0 1000 9000 0 0 0 0 0 0\ncpu0 1 2 3",
            "proc/self/mountinfo": "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
            "sys/devices/system/cpu/online": "0-3",
            "dev/shm/.keep": "",
        },
    )
    for cpu in range(4):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        write(
            root,
            {
                f"{folder}/topology/thread_siblings_list": cpu,
                f"{folder}/cpufreq/cpuinfo_max_freq": 3000000,
                f"{folder}/cpufreq/scaling_max_freq": 3000000,
                f"{folder}/cpufreq/scaling_cur_freq": 2900000 if cpu == 2 else 800000,
                f"{folder}/thermal_throttle/core_throttle_count": 0,
            },
        )
