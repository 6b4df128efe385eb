"""Strategy `memory_scheduling`: how much memory tasks may have together, and what each program is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.types import Context, Parameter, Policy
from autotune.plugin.hookspecs import Strategy, hookimpl

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class MemoryScheduling(Strategy):
    """Owns `memory_fraction`, `memory_admission` and `grant`."""

    name = "memory_scheduling"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """80 % of the usable memory; each program is told what its fastest algorithm needs."""
        del context
        return {"fraction": 0.8, "grant": "estimate"}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Half to 80 % of the memory; programs are told an even share or what the task is predicted to need."""
        from optuna.distributions import CategoricalDistribution

        del context
        return {
            "fraction": CategoricalDistribution((0.5, 0.65, 0.8)),
            "grant": CategoricalDistribution(("share", "estimate")),
        }

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Start tasks only when their predicted memory fits."""
        del context
        return replace(
            policy,
            memory_fraction=float(params["fraction"]),
            memory_admission=True,
            grant=str(params["grant"]),
        )


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [MemoryScheduling()]
