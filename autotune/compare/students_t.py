"""Student's t distribution: quantiles and p-values, without the import of a library that takes a second."""

from __future__ import annotations

import functools
import math
import statistics

from autotune.base.errors import InputError

_NORMAL = statistics.NormalDist()
_NORMAL_FROM = 1.0e5  # degrees of freedom beyond which Student's t is normal to 1e-5
_T_MAX = 1.0e150  # its square is still a number


@functools.lru_cache(maxsize=4096)
def t_quantile(p: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution, by bisection of the incomplete beta function.

    Raises `InputError` unless 0 < p < 1 and the degrees of freedom are positive.
    """
    if not (0.0 < p < 1.0 and freedom > 0.0):
        raise InputError(f"no Student t quantile at p {p} for {freedom} degrees of freedom; p must lie within 0 and 1")
    if freedom > _NORMAL_FROM:
        return _NORMAL.inv_cdf(p)
    tail = 2.0 * min(p, 1.0 - p)
    low, high = 0.0, 1.0
    while high < _T_MAX and t_p_value(high, freedom) > tail:
        low, high = high, 2.0 * high
    while low < (middle := (low + high) / 2.0) < high:
        low, high = (middle, high) if t_p_value(middle, freedom) > tail else (low, middle)
    return math.copysign(high, p - 0.5) if tail < 1.0 else 0.0


def t_p_value(t: float, freedom: float) -> float:
    """Return the two-sided p-value of a Student t statistic, I_x(freedom / 2, 1 / 2), x = freedom / (freedom + t²)."""
    if freedom > _NORMAL_FROM:
        return math.erfc(abs(t) / math.sqrt(2.0))
    square = min(abs(t), _T_MAX) ** 2
    x, y = freedom / (freedom + square), square / (freedom + square)
    if x < (freedom / 2.0 + 1.0) / (freedom / 2.0 + 2.5):
        return _beta_part(freedom / 2.0, 0.5, x, y)
    return 1.0 - _beta_part(0.5, freedom / 2.0, y, x)


def _beta_part(a: float, b: float, x: float, y: float) -> float:
    """Regularised incomplete beta function I_x(a, b), y = 1 - x, by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0.0:
        return 0.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y)
    tiny = 1.0e-300
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or tiny)
    fraction = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for factor in (even, odd):
            c, d = 1.0 + factor / c or tiny, 1.0 / (1.0 + factor * d or tiny)
            fraction *= c * d
        if abs(c * d - 1.0) < 1.0e-15:  # noqa: PLR2004
            break
    return math.exp(log_front) * fraction / a
