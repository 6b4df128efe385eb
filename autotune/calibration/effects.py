"""What the trials of a search say: what more of them would gain, which parameters mattered. Pure.

Rules: speed-ups are compared as logarithms. A parameter's effect is its own part of a sum of effects, one for each
value that is not the default's, fitted to all trials at once (ridge regression): with a few dozen trials that is as
much as can be told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autotune.base.records import Trial
from autotune.base.types import Parameter, Parameters

LEAST_TRIALS = 8  # before anything is said
RIDGE = 0.1  # weight of "no effect" against one trial


def expected_gain(trials: Sequence[Trial]) -> float:
    """Return what the second half of the trials gained over the first, on average over all their orders.

    As a logarithm of time. It is also what to expect of as many more, if they are no worse than those before.
    """
    logs = sorted(-math.log(trial.speed_up) for trial in trials if trial.speed_up > 0)
    n, half = len(logs), len(logs) // 2
    if half < 1:
        return math.inf
    # The best of a random half is the k-th of all when k - 1 better ones are in the other half.
    ways = math.comb(n, half)
    return sum((logs[k] - logs[0]) * (math.comb(n - k - 1, half - 1) / ways) for k in range(n - half + 1))


def sparing(
    parameters: Mapping[str, Parameter], trials: Sequence[Trial], defaults: Mapping[str, Parameter], noise: float
) -> Parameters:
    """Return the parameters with those set back to the default that the trials give no reason to change.

    The reason is an effect of the value that is a gain above half the noise.
    """
    effects = _effects(trials, defaults)
    kept = dict(parameters)
    for name, value in parameters.items():
        if value != defaults.get(name) and effects.get((name, value), 0.0) > -noise / 2:
            kept[name] = defaults[name]
    return kept


def importances(trials: Sequence[Trial], defaults: Mapping[str, Parameter]) -> dict[str, float]:
    """Return the share of the differences between trials that each parameter explains, largest first.

    The shares are of the variances of the fitted effects and sum up to 1. Empty for too few trials, or where all are
    alike.
    """
    used = [trial for trial in trials if trial.speed_up > 0]
    if len(used) < LEAST_TRIALS:
        return {}
    effects = _effects(used, defaults)
    variances = {}
    for name in dict.fromkeys(name for trial in used for name in trial.parameters):
        parts = [effects.get((name, trial.parameters.get(name, defaults.get(name))), 0.0) for trial in used]
        mean = math.fsum(parts) / len(parts)
        variances[name] = math.fsum((part - mean) ** 2 for part in parts)
    total = math.fsum(variances.values())
    if not total > 0:
        return {}
    return {name: round(v / total, 4) for name, v in sorted(variances.items(), key=lambda item: -item[1])}


def _effects(trials: Sequence[Trial], defaults: Mapping[str, Parameter]) -> dict[tuple[str, Parameter | None], float]:
    """Return the effect of each value that is not the default's on the logarithm of the time."""
    import numpy as np

    used = [trial for trial in trials if trial.speed_up > 0]
    columns = sorted({(n, v) for t in used for n, v in t.parameters.items() if v != defaults.get(n)}, key=repr)
    if not columns:
        return {}
    rows = np.array([[float(t.parameters.get(n) == v) for n, v in columns] for t in used])
    logs = np.array([-math.log(t.speed_up) for t in used])
    fitted = np.linalg.solve(rows.T @ rows + RIDGE * np.eye(len(columns)), rows.T @ logs)
    return dict(zip(columns, map(float, fitted), strict=True))
