"""GPUs that this process may use: how many, which, how much memory, and how a process is told to use one of them.

Rules: drivers and the environment are asked, NVML only for memory and only where there is a GPU of NVIDIA. What cannot
be read is left out. Devices have numbers from 0: those of NVIDIA in the order in which they are visible, then AMD's.
Those of other makers, which are mostly there for a screen, are not counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path("/")
_NVIDIA, _AMD = ("CUDA_VISIBLE_DEVICES",), ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_ORDER, _BY_BUS = "CUDA_DEVICE_ORDER", "PCI_BUS_ID"  # that of NVML; CUDA's own puts the fastest first


def usable_gpus(root: Path = _ROOT) -> int:
    """Return how many GPUs of NVIDIA and AMD this process may use, as their drivers and the environment say."""
    nvidia, amd = _usable(root)
    return nvidia + amd


def models(root: Path = _ROOT) -> tuple[str, ...]:
    """Return the names of NVIDIA's GPUs, each once, as the driver has them."""
    found: dict[str, None] = {}
    for about in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        for line in _read(about).splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Model":
                found[value.strip()] = None
    return tuple(found)


def memory_gib(root: Path = _ROOT) -> tuple[float, ...]:
    """Return the memory of each usable GPU; empty where it is not known of all."""
    nvidia, amd = _usable(root)
    if amd or not nvidia:
        return ()
    known = _nvml_memory_gib()
    if len(set(known)) == 1:
        return known[:1] * nvidia
    in_order = os.environ.get(_ORDER, _BY_BUS) == _BY_BUS and _NVIDIA[0] not in os.environ
    return known if in_order and len(known) == nvidia else ()


def environment_of(device: int, environment: Mapping[str, str], root: Path = _ROOT) -> tuple[tuple[str, str], ...]:
    """Return variables, with values, that tell a process to use one device only of those that an environment lists."""
    nvidia, _ = _usable(root)
    if device >= nvidia:
        name = next((each for each in _AMD if each in environment), _AMD[0])
        return ((name, _entry(environment.get(name), device - nvidia)),)
    given = environment.get(_NVIDIA[0])
    told = (_NVIDIA[0], _entry(given, device))
    # Numbers that the user gave keep the order that they were given in.
    return (told,) if given is not None or _ORDER in environment else (told, (_ORDER, _BY_BUS))


def _entry(given: str | None, device: int) -> str:
    return str(device) if given is None else given.split(",")[device].strip()


def _usable(root: Path) -> tuple[int, int]:
    nvidia = sum(1 for _ in (root / "proc/driver/nvidia/gpus").glob("*"))
    nodes = (root / "sys/class/kfd/kfd/topology/nodes").glob("*/gpu_id")  # a node of processors has the number 0
    amd = sum(1 for node in nodes if _read(node).strip() not in ("", "0"))
    return _visible(nvidia, *_NVIDIA), _visible(amd, *_AMD)


def _visible(gpus: int, *variables: str) -> int:
    """Return how many of a maker's GPUs its variables leave; a list ends where an entry is empty or negative."""
    for given in [os.environ[name] for name in variables if name in os.environ]:
        entries = [entry.strip() for entry in given.split(",")]
        ends = (place for place, entry in enumerate(entries) if not entry or entry.startswith("-"))
        gpus = min(gpus, next(ends, len(entries)))
    return gpus


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


@cache
def _nvml_memory_gib() -> tuple[float, ...]:
    """Return the memory of all GPUs of NVIDIA, in the order of their buses; empty where NVML does not tell."""
    with contextlib.suppress(Exception):  # no package, no library, no permission: each has an error of its own
        nvml: Any = __import__("pynvml")
        nvml.nvmlInit()
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(device) for device in range(nvml.nvmlDeviceGetCount())]
            return tuple(nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30 for handle in handles)
        finally:
            nvml.nvmlShutdown()
    return ()
