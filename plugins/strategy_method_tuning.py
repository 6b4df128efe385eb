"""Strategy `method_tuning`: how a program is kept: resident or fresh for each task, spinning or sleeping threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.hookspecs import Progress, Strategy, hookimpl
from autotune.types import Context, Parameter, Policy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class MethodTuning:
    """Owns `tasks_per_worker` and `passive_wait`."""

    name = "method_tuning"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """Keep programs resident; let idle threads sleep, so that workers do not steal each other's cores."""
        del context
        return {"resident": True, "passive_wait": True}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Both switches."""
        from optuna.distributions import CategoricalDistribution

        del context
        return {
            "resident": CategoricalDistribution((True, False)),
            "passive_wait": CategoricalDistribution((True, False)),
        }

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set how long a worker lives and how its threads wait."""
        del context
        return replace(
            policy,
            tasks_per_worker=0 if params["resident"] else 1,
            passive_wait=bool(params["passive_wait"]),
        )

    def adapt(self, policy: Policy, progress: Progress) -> Policy:
        """Keep the policy."""
        del progress
        return policy


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [MethodTuning()]
