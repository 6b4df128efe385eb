"""Strategy `dynamic_balancing`: in which order tasks start, and what the last ones do with cores that fall idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.types import Context, Parameter, Policy
from autotune.plugin.hookspecs import Progress, Strategy, hookimpl

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


SETTLE_S = 3.0  # between two changes, so that the first one shows
BATCH_S = 0.1  # long against the millisecond between two tasks, short against any run
CROWDED = 0.25  # share of the cores that other processes took from running tasks


class DynamicBalancing(Strategy):
    """Owns `order`, `level_barriers`, `widen_tail`, `batch_s`, `learn` and `follow_machine`."""

    name = "dynamic_balancing"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """Longest first by what was learned, short ones in batches, the last tasks take the idle cores."""
        del context
        return {"order": "longest", "learn": True, "widen_tail": True}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """All orders; learning and the tail either way."""
        from optuna.distributions import CategoricalDistribution

        del context
        return {
            "order": CategoricalDistribution(("longest", "input", "shortest")),
            "learn": CategoricalDistribution((True, False)),
            "widen_tail": CategoricalDistribution((True, False)),
        }

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set the order; n-body levels never wait for each other, because no result enters a later task."""
        del context
        return replace(
            policy,
            order=str(params["order"]),
            learn=bool(params["learn"]),
            widen_tail=bool(params["widen_tail"]),
            batch_s=BATCH_S,
            level_barriers=False,
            follow_machine=True,
        )

    def adapt(self, policy: Policy, progress: Progress) -> Policy:
        """Keep tasks narrow while other processes take cores: threads of one task wait for the slowest of them."""
        taken = min(progress.cores_in_use, progress.cores) - progress.busy_cores - progress.idle_cores
        crowded = taken > CROWDED * progress.cores
        if progress.settled_s < SETTLE_S:
            return policy
        if crowded:
            return replace(policy, widest=policy.width, widen_tail=False)
        return replace(policy, widest=progress.composed.widest, widen_tail=progress.composed.widen_tail)


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [DynamicBalancing()]
