"""Strategy `hybrid`: threads × workers - how many cores an ordinary task gets, and how many one that dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.types import Context, Parameter, Policy
from autotune.plugin.hookspecs import Strategy, hookimpl

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Hybrid(Strategy):
    """Owns `width` and `widest`; raises `core_slots` where a width needs it."""

    name = "hybrid"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """One core a task, and as many as it takes for one that would hold up the rest."""
        del context
        return {"width": 1, "widen": True}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Powers of two up to the cores; whether the tasks that dominate may be wider."""
        from optuna.distributions import CategoricalDistribution

        cores = context.machine.cores
        widths = tuple(2**power for power in range(cores.bit_length()) if 2**power <= cores)
        return {"width": CategoricalDistribution(widths), "widen": CategoricalDistribution((True, False))}

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set the widths, never above the cores."""
        cores = context.machine.cores
        width = min(int(params["width"]), cores)
        return replace(
            policy,
            width=width,
            widest=cores if params["widen"] else width,
            core_slots=max(policy.core_slots, width),
        )


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [Hybrid()]
