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
CALM = 0.1  # below which they do not any more: beside workers on cores of their own they take less


class DynamicBalancing(Strategy):
    """Owns `order`, `level_barriers`, `widen_tail`, `batch_s`, `learn`, `follow_machine` and `pin_workers`."""

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
        """Keep tasks narrow, and workers on cores of their own, while other processes take cores.

        Threads of one task wait for the slowest of them. And the system sees no difference between two workers on one
        core beside another process on the other, and a core for one worker: only the second uses both cores for tasks.
        """
        taken = min(progress.cores_in_use, progress.cores) - progress.busy_cores - progress.idle_cores
        if progress.settled_s < SETTLE_S or CALM * progress.cores < taken <= CROWDED * progress.cores:
            return policy
        if taken > CROWDED * progress.cores:
            return replace(policy, widest=policy.width, widen_tail=False, pin_workers=policy.width == 1)
        composed = progress.composed
        return replace(policy, widest=composed.widest, widen_tail=composed.widen_tail, pin_workers=composed.pin_workers)


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [DynamicBalancing()]
