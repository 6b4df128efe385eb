"""Strategy `dynamic_balancing`: in which order tasks start, and what the last ones do with cores that fall idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.hookspecs import Progress, Strategy, hookimpl
from autotune.types import Context, Parameter, Policy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class DynamicBalancing:
    """Owns `order`, `level_barriers` and `widen_tail`."""

    name = "dynamic_balancing"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """Longest first, the last tasks take the idle cores."""
        del context
        return {"order": "longest", "widen_tail": True}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """All orders, and the tail either way."""
        from optuna.distributions import CategoricalDistribution

        del context
        return {
            "order": CategoricalDistribution(("longest", "input", "shortest")),
            "widen_tail": CategoricalDistribution((True, False)),
        }

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set the order; n-body levels never wait for each other, because no result enters a later task."""
        del context
        return replace(
            policy,
            order=str(params["order"]),
            widen_tail=bool(params["widen_tail"]),
            level_barriers=False,
        )

    def adapt(self, policy: Policy, progress: Progress) -> Policy:
        """Keep the policy."""
        del progress
        return policy


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [DynamicBalancing()]
