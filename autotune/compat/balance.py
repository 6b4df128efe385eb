"""How a run would be balanced, for those who ask the older executor's planned `DynamicLoadBalancer`.

Rules: shows, and decides nothing: the scheduler of every run decides, here on a virtual clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from autotune.compat.adaptive import AdaptiveParallelConfig
from autotune.compat.configuration import ParallelConfig, planned
from autotune.expansion import workload
from autotune.expansion.workload import Workload
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.schedule.simulator import simulate


class Placement(NamedTuple):
    """Where and when a fragment would run: its label, worker (from 0), start and length in seconds, and threads."""

    label: str
    worker: int
    start_s: float
    wall_s: float
    threads: int


class DynamicLoadBalancer:
    """Shows how a run would be balanced: the scheduler of every run, on a virtual clock. Nothing is started.

    In a run the scheduler decides anew whenever a fragment ends, with the times measured until then; so this is a
    forecast, and there is nothing to switch on.

    Args:
        source: A `ParallelManyBodyExecutor`, or a QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping.
        config: What to decide; the executor's own by default, else everything automatic.

    Attributes:
        placements: Every distinct calculation, in the order of their starts.
        predicted_wall_s: From the first start to the last end.

    Raises:
        InputError: The input or an option cannot be used, or there is nothing to compute.
    """

    def __init__(self, source: Any, config: ParallelConfig | None = None) -> None:
        if isinstance(getattr(source, "workload", None), Workload):
            work, chosen = source.workload, config or source.config
        else:
            work, chosen = workload.load(source), config or AdaptiveParallelConfig()
        here, plan = planned(work, chosen.decide(work).options)
        manager = Manager()
        estimates = {
            task.number: planning.estimate(task, costs=plan.costs, manager=manager, machine=here) for task in work.tasks
        }
        forecast = simulate(work.tasks, estimates, policy=plan.policy, machine=here, memory_budget_gib=plan.budget_gib)
        self.predicted_wall_s = forecast.makespan_s
        self.placements: list[Placement] = []
        free_s: list[float] = []
        for record in sorted(forecast.records, key=lambda record: record.started_s):
            worker = next((n for n, at_s in enumerate(free_s) if at_s <= record.started_s), len(free_s))
            free_s[worker : worker + 1] = [record.started_s + record.wall_s]
            self.placements.append(Placement(record.label, worker, record.started_s, record.wall_s, record.width))

    @property
    def order(self) -> list[str]:
        """Labels in the order in which the calculations would start."""
        return [placement.label for placement in self.placements]

    @property
    def loads_s(self) -> list[float]:
        """Seconds for which each worker would be busy."""
        loads_s = [0.0] * (1 + max((placement.worker for placement in self.placements), default=-1))
        for placement in self.placements:
            loads_s[placement.worker] += placement.wall_s
        return loads_s
