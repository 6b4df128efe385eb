"""Where a series of times changed its level: change points in the history of a workload. Pure; no files.

Rules: a level is where times stay but for noise. The series is split where the means of the logarithms on both sides
differ most against chance, and the parts again, as long as chance would rarely do as much (binary segmentation; the
permutation test of each split makes no assumption on the noise but that it does not drift). A level has at least three
records, so a single slow one is no change. Of few records no order is rare: what cannot be told is said by `fewest`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

SHORTEST_LEVEL = 3
ALPHA = 0.005  # chance of a false split of a level that did not change
_PERMUTATIONS = 1999
_ROUNDING = 1.0e-9  # equal times differ by no more


def alpha_of(series: int) -> float:
    """Return the level at which among so many series, up to a hundred, one in twenty times one is split falsely."""
    return max(min(ALPHA, 0.05 / max(series, 1)), 1 / (1 + _PERMUTATIONS))


def fewest(alpha: float = ALPHA) -> int:
    """Return how many records a series needs to show any change: with fewer, chance alone orders them as clearly."""
    records = 2 * SHORTEST_LEVEL
    while 2 / math.comb(records, records // 2) > alpha:
        records += 1
    return records


def change_points(times_s: Sequence[float], *, alpha: float = ALPHA, seed: int = 0) -> tuple[int, ...]:
    """Return where new levels begin: positions in the series, in order.

    Args:
        times_s: Positive times in the order they were measured.
        alpha: Chance of a false split of a level that did not change.
        seed: Of the permutations.
    """
    import numpy as np

    logs = np.array([math.log(time_s) for time_s in times_s])
    generator = np.random.default_rng(seed)
    found: list[int] = []
    waiting = [(0, len(logs))]
    while waiting:
        start, end = waiting.pop()
        part = logs[start:end]
        if len(part) < 2 * SHORTEST_LEVEL:
            continue
        where, size = _best_split(part[None, :])
        shuffled = generator.permuted(np.broadcast_to(part, (_PERMUTATIONS, len(part))), axis=1)
        _, by_chance = _best_split(shuffled)
        if size[0] > _ROUNDING and (1 + np.count_nonzero(by_chance >= size[0])) / (1 + _PERMUTATIONS) <= alpha:
            split = start + int(where[0])
            found.append(split)
            waiting += [(start, split), (split, end)]
    return tuple(sorted(found))


def _best_split(rows: Any) -> tuple[Any, Any]:
    """Return, for each row of logarithms, where its best split is and how large: |difference of means| √(k m / n)."""
    import numpy as np

    n = rows.shape[1]
    left = np.arange(SHORTEST_LEVEL, n - SHORTEST_LEVEL + 1)
    sums = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)[:, left - 1]
    sizes = np.abs(sums) * np.sqrt(n / (left * (n - left)))
    best = sizes.argmax(axis=1)
    return left[best], sizes[np.arange(len(rows)), best]
