"""The final of a search: its fastest few are run again, in turn with the default.

Rules: only what is measured here counts, because the fastest of many trials was lucky, too. Of equal times the one
with the fewest changes wins: what a small workload cannot show may matter in a large one.
"""

from __future__ import annotations

import math
import random
import statistics

from autotune import policy
from autotune.errors import AutotuneError, InputError
from autotune.hookspecs import Strategy
from autotune.search import Search
from autotune.timing import Budget, Timing
from autotune.types import Parameters, Policy

FINAL_SHARE = 0.7  # of the budget, up to the end of this step
FINALISTS, ROUNDS = 3, 2
FOREVER = 4.0  # times the default


def final(
    search: Search, *, searched: list[Strategy], timing: Timing, budget: Budget, order: random.Random
) -> Parameters:
    """Return the parameters that are fastest when they are run again; those of the default where nothing is."""
    instances = search.instances
    defaults = policy.default_parameters(searched, timing.context(instances))
    best = [dict(trial.parameters) for trial in search.best(FINALISTS)]

    def changes(parameters: Parameters) -> int:
        return sum(parameters.get(name) != value for name, value in defaults.items())

    # Those with the fewest changes first: of equal policies and of equal times the first is taken.
    candidates: dict[Policy, Parameters] = {}
    for parameters in sorted((defaults, *map(search.sparing, best[:1]), *best), key=changes):
        candidates.setdefault(timing.policy(parameters, instances), parameters)
    if len(candidates) == 1:
        return defaults
    logs: dict[Policy, list[float]] = {plan: [] for plan in candidates}
    for turn in range(ROUNDS):
        if turn and budget.beyond(FINAL_SHARE, 1.1 * len(candidates) * sum(search.default_s)):
            break
        for plan in order.sample(list(candidates), len(candidates)):
            logs[plan].append(_mean_log(search, timing, plan))
    mean = {plan: statistics.fmean(of_plan) for plan, of_plan in logs.items()}
    fewest_runs = min(len(of_plan) for of_plan in logs.values())
    within = search.noise / math.sqrt(fewest_runs * len(instances))
    winner = next(plan for plan in candidates if mean[plan] <= min(mean.values()) + within)
    default = timing.policy(defaults, instances)
    search.add(candidates[winner], winner, speed_up=math.exp(mean[default] - mean[winner]))
    return candidates[winner]


def _mean_log(search: Search, timing: Timing, plan: Policy) -> float:
    """Return the mean logarithm of the wall times over all instances; infinite where a run failed or took forever."""
    logs = []
    for instance, default_s in zip(search.instances, search.default_s, strict=True):
        try:
            logs.append(math.log(timing.run(instance, plan, learn=False, limit_s=FOREVER * default_s).wall_s))
        except InputError:
            raise
        except AutotuneError:
            return math.inf
    return statistics.fmean(logs)
