"""Strategy `adaptive_workers`: how many tasks run at once, from the cores of this machine.

More workers than cores can win where a task waits: for a disk, for MPI to start, for the other core's cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.hookspecs import Progress, Strategy, hookimpl
from autotune.types import Context, Parameter, Policy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class AdaptiveWorkers:
    """Owns `workers` and `core_slots`."""

    name = "adaptive_workers"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """One worker for each core."""
        del context
        return {"per_core": 1.0}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Half a worker to two workers a core."""
        from optuna.distributions import CategoricalDistribution

        del context
        return {"per_core": CategoricalDistribution((0.5, 1.0, 1.5, 2.0))}

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set the number of workers, at least one and never more than there are tasks."""
        workers = max(1, math.ceil(context.machine.cores * float(params["per_core"])))
        if context.tasks:
            workers = min(workers, context.tasks)
        return replace(policy, workers=workers, core_slots=max(workers, context.machine.cores))

    def adapt(self, policy: Policy, progress: Progress) -> Policy:
        """Keep the policy."""
        del progress
        return policy


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [AdaptiveWorkers()]
