"""Strategy `adaptive_workers`: how many tasks run at once, from the cores of this machine.

More workers than cores can win where a task waits: for a disk, for MPI to start, for the other core's cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.types import Context, Parameter, Policy
from autotune.plugin.hookspecs import Progress, Strategy, hookimpl

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


SETTLE_S = 1.0  # between two changes, so that the first one shows: two samples of half a second
MOST_PER_CORE = 2  # workers, while tasks wait
IDLE_CORES = 0.75  # that count as a core to fill


class AdaptiveWorkers(Strategy):
    """Owns `workers`, `core_slots` and `most_workers`."""

    name = "adaptive_workers"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """One worker for each core."""
        del context
        return {"per_core": 1.0}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Half a worker to three workers a core."""
        from optuna.distributions import CategoricalDistribution

        del context
        return {"per_core": CategoricalDistribution((0.5, 1.0, 1.5, 2.0, 3.0))}

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set the number of workers, at least one and never more than there are tasks."""
        cores, tasks = context.machine.cores, context.tasks or math.inf
        workers = max(1, min(tasks, math.ceil(cores * float(params["per_core"]))))
        most = max(workers, min(tasks, MOST_PER_CORE * cores))
        return replace(policy, workers=int(workers), core_slots=max(int(workers), cores), most_workers=int(most))

    def adapt(self, policy: Policy, progress: Progress) -> Policy:
        """Add workers while all are at work and cores idle: then the tasks wait for something else."""
        waiting = progress.running >= policy.workers and progress.idle_cores >= IDLE_CORES
        if not waiting or progress.settled_s < SETTLE_S or policy.workers >= policy.most_workers:
            return policy
        workers = min(policy.most_workers, policy.workers + max(1, round(progress.idle_cores)))
        return replace(policy, workers=workers, core_slots=max(policy.core_slots, workers * policy.width))


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [AdaptiveWorkers()]
