"""Says whether one set of run times is faster than another, and what the data could have shown. Pure; no files.

Rules:
- Times are compared as logarithms: run times err by factors, and a ratio of geometric means does not depend on which
  side is called the baseline. A speed-up above 1 means that the candidate is faster.
- Interleaved pairs share their host's weather, so their log ratios go into a one-sample Student t (`compare_pairs`);
  unpaired sides into Welch's t (`compare_groups`). The interval is exact for normal logs at any n.
- "faster" or "slower" needs both significance (the interval excludes 1) and size (the estimate is past the threshold);
  "same" needs the whole interval within the threshold; all else is "cannot tell". A threshold of t reaches from
  1/(1 + t) to 1 + t. Several comparisons at once must pass their p-values through `holm`.
- The winner of a search looks better than it is: measure it again, paired, before believing it.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from autotune.base.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Verdict: TypeAlias = Literal["faster", "same", "slower", "cannot tell"]

POWER = 0.8
# No clock resolves relative changes below this: equal times must not become significant through rounding.
RESOLUTION = 1.0e-9
# A smaller change, in units of the noise, asks for more pairs than there can ever be.
MIN_CHANGE = 1.0e-6
_NORMAL = statistics.NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """By how much equal runs differ, from runs that were made to learn it.

    Attributes:
        cv: Run-to-run coefficient of variation, such as 0.03.
        freedom: Degrees of freedom of that estimate: runs less groups of runs.
    """

    cv: float
    freedom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the times of two sides say.

    Attributes:
        speedup: Geometric mean of baseline over candidate times; 1 if nothing was measured.
        low: Lower end of the confidence interval of `speedup`; 0 if it cannot be told.
        high: Upper end; infinite if it cannot be told.
        confidence: Confidence level of the interval, such as 0.95.
        threshold: Relative change below which a difference does not matter.
        verdict: `faster`, `same`, `slower` or `cannot tell`, of the candidate.
        detectable: Smallest relative change these data would have shown with 80 % power, as significant and past the
            threshold; infinite for n < 2.
        p_value: Two-sided p-value of "the speed-up is 1".
        n: Pairs, or the samples of the smaller side.
    """

    speedup: float
    low: float
    high: float
    confidence: float
    threshold: float
    verdict: Verdict
    detectable: float
    p_value: float
    n: int


def compare_pairs(
    baseline_s: Sequence[float], candidate_s: Sequence[float], *, confidence: float = 0.95, threshold: float = 0.0
) -> Comparison:
    """Compare times in seconds that were measured in interleaved pairs, by Student's t on the log ratios.

    Raises `InputError` if the sides differ in length or a time is not a positive number.
    """
    return compare_strata([baseline_s], [candidate_s], confidence=confidence, threshold=threshold)


def compare_strata(
    baseline_s: Sequence[Sequence[float]],
    candidate_s: Sequence[Sequence[float]],
    *,
    confidence: float = 0.95,
    threshold: float = 0.0,
) -> Comparison:
    """Compare times in seconds that were measured in interleaved pairs on several workloads, each with equal weight.

    The speed-up is the geometric mean of the workloads' speed-ups. Its error comes from the scatter within workloads
    alone, pooled over them: that they gain differently is no noise. Raises `InputError` as `compare_pairs`.
    """
    groups = []
    for baseline, candidate in zip(baseline_s, candidate_s, strict=True):
        if len(baseline) != len(candidate):
            counts = f"{len(baseline)} baseline and {len(candidate)} candidate times"
            raise InputError(f"{counts} are no pairs; measure them alternately, or compare them unpaired")
        both = zip(_logs(baseline, "baseline"), _logs(candidate, "candidate"), strict=True)
        if baseline:
            groups.append([one - other for one, other in both])
    n, freedom = sum(map(len, groups)), sum(len(group) - 1 for group in groups)
    centre = math.fsum(math.fsum(group) / len(group) for group in groups) / len(groups) if groups else 0.0
    error = math.inf
    if freedom:
        error = math.sqrt(_pooled_variance(groups, freedom) * math.fsum(1.0 / len(group) for group in groups)) / len(
            groups
        )
    return _judge(centre, error, max(freedom, 1), n=n, confidence=confidence, threshold=threshold)


def compare_groups(
    baseline_s: Sequence[float],
    candidate_s: Sequence[float],
    *,
    confidence: float = 0.95,
    threshold: float = 0.0,
    noise: Noise | None = None,
) -> Comparison:
    """Compare times in seconds that were measured independently, by Welch's t on the logs.

    With the noise of earlier runs a side scatters at least as much as those did, however alike a few times happen to
    be, and one time a side is enough. Raises `InputError` if a time is not a positive number.
    """
    sides = (_logs(baseline_s, "baseline"), _logs(candidate_s, "candidate"))
    n = min(map(len, sides))
    if n == 0:
        return _judge(0.0, math.inf, 1, n=0, confidence=confidence, threshold=threshold)
    centre = math.fsum(sides[0]) / len(sides[0]) - math.fsum(sides[1]) / len(sides[1])
    scatter = [_scatter(side, noise) for side in sides]
    if any(math.isinf(variance) for variance, _ in scatter):
        return _judge(centre, math.inf, 1, n=n, confidence=confidence, threshold=threshold)
    errors = [variance / len(side) for (variance, _), side in zip(scatter, sides, strict=True)]
    if noise is not None and all(variance == noise.cv**2 for variance, _ in scatter):
        freedom = min(freedom for _, freedom in scatter)  # one estimate serves both sides, so it counts once
    else:
        freedom = sum(errors) ** 2 / sum(e**2 / f for e, (_, f) in zip(errors, scatter, strict=True))
    return _judge(centre, math.sqrt(sum(errors)), freedom, n=n, confidence=confidence, threshold=threshold)


def _scatter(logs: Sequence[float], known: Noise | None) -> tuple[float, float]:
    """Return the variance of a side's logs and its degrees of freedom; infinite where nothing is known."""
    freedom = len(logs) - 1
    own = max(_square_deviations(logs) / freedom, RESOLUTION**2) if freedom else 0.0
    if known is not None and known.cv**2 > own:
        return known.cv**2, max(known.freedom, freedom)
    return (own, freedom) if freedom else (math.inf, 1.0)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values (Scand. J. Statist. 6, 65, 1979), in the order given.

    Calling significant what stays below alpha keeps the chance of any false alarm in the family below alpha.
    Raises `InputError` if a p-value is not within 0 and 1.
    """
    if wrong := [p for p in p_values if not 0.0 <= p <= 1.0]:
        raise InputError(f"p-value {wrong[0]} must lie between 0 and 1")
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return tuple(adjusted)


def pairs_needed(cv: float, change: float, *, power: float = POWER, alpha: float = 0.05, pilot: int = 0) -> int:
    """Return how many pairs show a relative `change` with this power, at least 2.

    n = 2 (t(1 - alpha/2) + t(power))² (cv / change)² for two sides of run-to-run coefficient of variation `cv`, with
    quantiles of n - 1 degrees of freedom, as in `compare_pairs`, which learns the noise from the same pairs. With so
    many pairs as a `pilot`, which told the CV and are not counted, the quantiles are of their degrees of freedom
    (Stein, Ann. Math. Statist. 16, 243, 1945): then the power holds on average over all that a pilot may find. Raises
    `InputError` out of range.
    """
    if not (0.0 <= cv < math.inf and MIN_CHANGE * max(cv, 1.0) < change < math.inf):
        raise InputError(
            f"no number of pairs shows a change of {change} at a CV of {cv}; both must be sensible fractions"
        )
    if not (0.0 < alpha < 1.0 and 0.5 <= power < 1.0):  # noqa: PLR2004
        raise InputError(f"alpha {alpha} must lie within 0 and 1, power {power} within 0.5 and 1")
    unit = 2.0 * (cv / change) ** 2
    if pilot:
        return max(2, math.ceil(unit * (t_quantile(power, pilot - 1) - t_quantile(alpha / 2.0, pilot - 1)) ** 2))
    n = max(2, math.ceil(unit * (_NORMAL.inv_cdf(power) - _NORMAL.inv_cdf(alpha / 2.0)) ** 2))
    while n < unit * (t_quantile(power, n - 1) - t_quantile(alpha / 2.0, n - 1)) ** 2:
        n += 1
    return n


def t_quantile(p: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution.

    Raises `InputError` unless 0 < p < 1 and the degrees of freedom are positive.
    """
    from scipy.special import stdtrit

    if not (0.0 < p < 1.0 and freedom > 0.0):
        raise InputError(f"no Student t quantile at p {p} for {freedom} degrees of freedom; p must lie within 0 and 1")
    return float(stdtrit(freedom, p))


def t_p_value(t: float, freedom: float) -> float:
    """Return the two-sided p-value of a Student t statistic."""
    from scipy.special import stdtr

    return 2.0 * float(stdtr(freedom, -abs(t)))


def pooled_noise(times_s: Sequence[Sequence[float]]) -> Noise | None:
    """Return the scatter of equal runs, pooled over groups of them; None if none was repeated.

    Raises `InputError` if a time is not a positive number.
    """
    groups = [logs for logs in (_logs(of_group, "equal run's") for of_group in times_s) if len(logs) > 1]
    freedom = sum(len(logs) - 1 for logs in groups)
    return Noise(cv=math.sqrt(_pooled_variance(groups, freedom)), freedom=freedom) if groups else None


def _pooled_variance(groups: Sequence[Sequence[float]], freedom: int) -> float:
    return math.fsum(_square_deviations(group) for group in groups if len(group) > 1) / freedom


def _square_deviations(values: Sequence[float]) -> float:
    # Not `statistics.variance`, which adds exact fractions: a comparison takes a third of the time without.
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _logs(times_s: Sequence[float], side: str) -> list[float]:
    if wrong := [time for time in times_s if not 0.0 < time < math.inf]:
        raise InputError(f"{side} time {wrong[0]} s is not a positive number; drop failed runs before comparing")
    return [math.log(time) for time in times_s]


def _judge(centre: float, error: float, freedom: float, *, n: int, confidence: float, threshold: float) -> Comparison:
    """Turn a mean log ratio and its standard error into a verdict."""
    if not (0.0 < confidence < 1.0 and 0.0 <= threshold < math.inf):
        raise InputError(f"confidence {confidence} must lie within 0 and 1, threshold {threshold} at 0 or above")
    error = max(error, RESOLUTION)
    half = -t_quantile((1.0 - confidence) / 2.0, freedom) * error
    limit = math.log1p(threshold)
    verdict: Verdict = "cannot tell"
    if abs(centre) + half <= limit:
        verdict = "same"
    elif abs(centre) > max(half, limit):
        verdict = "faster" if centre > 0.0 else "slower"
    return Comparison(
        speedup=_exp(centre),
        low=_exp(centre - half),
        high=_exp(centre + half),
        confidence=confidence,
        threshold=threshold,
        verdict=verdict,
        detectable=_exp(max(half, limit) + t_quantile(POWER, freedom) * error) - 1.0,
        p_value=t_p_value(centre / error, freedom),
        n=n,
    )


def _exp(x: float) -> float:
    return math.exp(x) if x < math.log(1.0e308) else math.inf
