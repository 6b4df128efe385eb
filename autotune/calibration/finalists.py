"""The final of a search: its fastest few are run again, in turn with the default.

Rules: only what is measured here counts, because the fastest of many trials was lucky, too. Of equal times the one
with the fewest changes wins: what a small workload cannot show may matter in a large one.
"""

from __future__ import annotations

import math
import random
import statistics

from autotune.base.errors import AutotuneError, InputError
from autotune.base.types import Parameters, Policy
from autotune.calibration.search import Search
from autotune.calibration.timing import Budget, Timing

FINAL_SHARE = 0.7  # of the budget, up to the end of this step
FINALISTS, ROUNDS = 2, 2
FOREVER = 4.0  # times the default


def final(search: Search, *, timing: Timing, budget: Budget, order: random.Random) -> Parameters:
    """Return the parameters that are fastest when they are run again; those of the default where nothing is.

    As many rounds and candidates as the budget has room for; where it has none for two, the search decides.
    """
    round_s = 1.1 * sum(search.default_s)
    room = int((FINAL_SHARE * budget.total_s - budget.spent_s) / round_s)
    kept = _candidates(search, timing, most=max(room, 1))
    if len(kept) < 2:  # noqa: PLR2004 - nothing to compare
        best = search.best(1)
        return search.sparing(best[0].parameters) if best else search.defaults
    logs: list[list[float]] = [[] for _ in kept]
    for turn in range(ROUNDS):
        if turn and budget.beyond(FINAL_SHARE, round_s * len(kept)):
            break
        for place in order.sample(range(len(kept)), len(kept)):
            logs[place].append(_mean_log(search, timing, kept[place]))
    means = [statistics.fmean(of_one) for of_one in logs]
    default_log = means[0] if math.isfinite(means[0]) else statistics.fmean(map(math.log, search.default_s))
    within = search.noise / math.sqrt(len(logs[0]) * len(search.instances))
    winner = next(place for place, mean in enumerate(means) if mean <= min(means) + within)
    if math.isfinite(means[winner]):
        search.add(kept[winner], speed_up=math.exp(default_log - means[winner]))
    return kept[winner]


def _candidates(search: Search, timing: Timing, *, most: int) -> list[Parameters]:
    """Return the default, the fastest with only the changes that matter and the fastest, fewest changes first."""
    best = [dict(trial.parameters) for trial in search.best(FINALISTS)]
    found: dict[tuple[Policy, ...], Parameters] = {}
    # Where only a few have room, the fastest trials are among them.
    for parameters in (search.defaults, *map(search.sparing, best[:1]), *best):
        policies = tuple(timing.policy(parameters, instance) for instance in search.instances)
        found.setdefault(policies, parameters)

    def changes(parameters: Parameters) -> int:
        return sum(parameters.get(name) != value for name, value in search.defaults.items())

    return sorted(list(found.values())[:most], key=changes)


def _mean_log(search: Search, timing: Timing, parameters: Parameters) -> float:
    """Return the mean logarithm of the wall times over all instances; infinite where a run failed or took forever."""
    logs = []
    for instance, default_s in zip(search.instances, search.default_s, strict=True):
        plan = timing.policy(parameters, instance)
        try:
            logs.append(math.log(timing.run(instance, plan, learn=False, limit_s=FOREVER * default_s).wall_s))
        except InputError:
            raise
        except AutotuneError:
            return math.inf
    return statistics.fmean(logs)
