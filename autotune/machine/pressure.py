"""Signs that memory runs short on this machine: stalls (PSI), the control groups' events, kills by the system.

Rules: reads below `root`, as `detection.py` does; a missing file says nothing. No decisions: `guard.py` makes them.
"""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

from autotune.machine.detection import ROOT, cgroup_folders, read_table, read_text

LATELY_S = 2.0


def stalled_share(root: Path = ROOT) -> float:
    """Return the share of the last ten seconds, 0 to 1, in which some task of ours waited for memory.

    The pressure of our own control group where it has one (v2), else that of the whole machine, else 0. Source: the
    kernel's documentation of pressure stall information.
    """
    groups = [folder for version, folder in cgroup_folders("memory", root) if version == "cgroup v2"]
    own = [folder / "memory.pressure" for folder in groups[:1]]
    for path in (*own, root / "proc/pressure/memory"):
        found = re.search(r"(?m)^some avg10=([0-9.]+)", read_text(path))
        if found:
            return float(found[1]) / 100
    return 0.0


def limit_events(root: Path = ROOT) -> float:
    """Return how often our control groups met their memory limits; only the change from call to call says something."""
    count = 0.0
    for _, folder in cgroup_folders("memory", root):
        # Not what other groups below an ancestor met.
        events = read_table(folder / "memory.events.local") or read_table(folder / "memory.events")
        count += events.get("high", 0.0) + events.get("max", 0.0)
        failures = read_text(folder / "memory.failcnt")  # v1
        count += float(failures) if failures.isdigit() else 0.0
    return count


class Kills:
    """Whether the system has just killed processes because memory ran out.

    A kill ends one process or several, and whoever looks at one of them must not hide it from who looks at the next.
    """

    def __init__(self) -> None:
        self._count, self._until = memory_kills(), -math.inf

    def lately(self) -> bool:
        """Return whether there was a kill since the last look, or it was seen in the last two seconds."""
        count, now = memory_kills(), time.monotonic()
        if count > self._count:
            self._count, self._until = count, now + LATELY_S
        return now <= self._until


def memory_kills(root: Path = ROOT) -> float:
    """Return how many processes the system has killed because memory ran out, here or in one of our control groups."""
    count = read_table(root / "proc/vmstat").get("oom_kill", 0.0)
    for _, folder in cgroup_folders("memory", root):
        for name in ("memory.events", "memory.oom_control"):
            count += read_table(folder / name).get("oom_kill", 0.0)
    return count
