"""Watches a run: how far it is, what its processes use, what the machine has left.

Rules: observes only. What is sampled is a mean over the last seconds, so that one short task changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from autotune.base.types import Machine, Policy
from autotune.machine.detection import usable_cpus
from autotune.workers.messages import Usage

if TYPE_CHECKING:
    from autotune.runtime.expectations import Expectations

WINDOW_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run in the middle.

    Attributes:
        done: Tasks finished, failed ones included.
        total: Tasks.
        running: Workers that are at work.
        cores_in_use: Sum of the widths they were given.
        cores: Usable cores.
        busy_cores: CPU seconds a second that the tasks used, lately.
        idle_cores: Usable cores that nobody used, lately.
        resident_gib: Resident memory of the workers, sampled.
        budget_gib: What tasks may be granted together.
        elapsed_s: Since the run started.
        settled_s: Since the policy last changed, or the first task started.
        eta_s: Predicted seconds to the end; None until something has finished.
        composed: The policy as the strategies made it for this machine.
        nodes: Of several machines; `running` then counts bundles on the way. 0 on this one alone.
    """

    done: int
    total: int
    running: int
    cores_in_use: int
    cores: int
    busy_cores: float
    idle_cores: float
    resident_gib: float
    budget_gib: float
    elapsed_s: float
    settled_s: float
    eta_s: float | None
    composed: Policy
    nodes: int = 0


class Load(NamedTuple):
    """Mean use of the cores over the last seconds; see `Snapshot`."""

    busy_cores: float
    idle_cores: float


class Monitor:
    """How far a run is, by what its tasks are expected to cost.

    Args:
        expected: What they are expected to cost, and which have finished.
        started: CLOCK_MONOTONIC second from which the run's times count.
        nodes: Of several machines; 0 for this one alone.
    """

    def __init__(self, expected: Expectations, *, started: float, nodes: int = 0) -> None:
        self._expected, self._started, self._nodes = expected, started, nodes
        self.begin()

    def begin(self) -> None:
        """Take note that the first tasks start now."""
        self._first = self._settled = time.monotonic()

    def settle(self) -> None:
        """Take note that the policy changed now."""
        self._settled = time.monotonic()

    def snapshot(
        self,
        *,
        running: int,
        cores_in_use: int,
        cores: int,
        load: Load,
        resident_gib: float,
        budget_gib: float,
        composed: Policy,
    ) -> Snapshot:
        """Return the run as it is now."""
        now, expected = time.monotonic(), self._expected
        rate = expected.done_s / (now - self._first) if now > self._first else 0.0
        return Snapshot(
            done=expected.done,
            total=expected.total,
            running=running,
            cores_in_use=cores_in_use,
            cores=cores,
            busy_cores=load.busy_cores,
            idle_cores=load.idle_cores,
            resident_gib=resident_gib,
            budget_gib=budget_gib,
            elapsed_s=now - self._started,
            settled_s=now - self._settled,
            eta_s=max(0.0, expected.total_s - expected.done_s) / rate if rate else None,
            composed=composed,
            nodes=self._nodes,
        )


class LoadMeter:
    """Means of what the tasks' processes and the whole machine used.

    Args:
        machine: Its usable cores are watched.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._samples: deque[tuple[float, float, float]] = deque()  # time, CPU seconds of the tasks, idle seconds

    def reset(self, machine: Machine) -> None:
        """Start again, for a machine that changed or a policy that did."""
        self._machine = machine
        self._samples.clear()

    def take(self, usage: Usage) -> Load:
        """Add a sample and return the means; without two samples no core is idle and all are busy."""
        now = time.monotonic()
        self._samples.append((now, usage.cpu_s, idle_core_s(self._machine)))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_S:  # noqa: PLR2004 - two ends of a window
            self._samples.popleft()
        began, cpu_before_s, idle_before_s = self._samples[0]
        cores = float(self._machine.cores)
        if now <= began:
            return Load(cores, 0.0)
        # The CPU time of a worker that ended is missing in the sum, so it may fall.
        busy = max(0.0, usage.cpu_s - cpu_before_s) / (now - began)
        left = max(0.0, cores - busy)
        if self._machine.cores_limited_by.startswith("cgroup"):
            # Processors are shared with other groups; the quota is this one's alone.
            return Load(busy, left)
        return Load(busy, min(left, (self._samples[-1][2] - idle_before_s) / (now - began)))


class OtherWork:
    """What other programs took of the usable cores from now on.

    Args:
        machine: Its usable cores are watched.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._began, self._idle_s, self._own_s = time.monotonic(), idle_core_s(machine), time.process_time()

    def core_s(self, tasks_cpu_s: float) -> float:
        """Return the core-seconds that were neither idle nor used by the tasks, nor by this process.

        Under a quota of a control group nothing can be told, and 0 is returned: the processors are shared with others.

        Args:
            tasks_cpu_s: CPU seconds of the tasks in this time.
        """
        if self._machine.cores_limited_by.startswith("cgroup"):
            return 0.0
        all_s = self._machine.cores * (time.monotonic() - self._began)
        own_s = tasks_cpu_s + time.process_time() - self._own_s
        return max(0.0, all_s - (idle_core_s(self._machine) - self._idle_s) - own_s)


def idle_core_s(machine: Machine) -> float:
    """Return the idle seconds of a machine's usable cores since it started."""
    import psutil

    times = psutil.cpu_times(percpu=True)
    usable = [cpu for cpu in usable_cpus() if cpu < len(times)] or range(len(times))
    idle_s = sum(times[cpu].idle + getattr(times[cpu], "iowait", 0.0) for cpu in usable)
    return float(idle_s * min(1.0, machine.cores / len(usable)))
