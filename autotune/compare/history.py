"""The history of workloads: records over time, where they changed, and what is their level now. Pure; no files.

Rules: a level is where times stay but for noise. The series is split where the means of the logarithms on both sides
differ most against chance, and the parts again, as long as chance would rarely do as much (binary segmentation; the
permutation test of each split makes no assumption on the noise but that it does not drift). A level has at least three
records, so a single slow one is no change. Of few records no order is rare: what cannot be told is said by `fewest`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotune.compare.samples import Sample, mean_s, tell_apart

SHORTEST_LEVEL = 3
ALPHA = 0.005  # chance of a false split of a level that did not change
_PERMUTATIONS = 1999
_ROUNDING = 1.0e-9  # equal times differ by no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A new level of a workload's times.

    Attributes:
        position: Of its first sample.
        created: When that was made.
        source: Its file.
        change: Relative change of the time against the level before, above 0 where it became slower.
    """

    position: int
    created: str
    source: str
    change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One workload over time, on one machine.

    Attributes:
        workload: Its name, with the digest of the work where the name alone stands for several.
        machine: Where.
        samples: Oldest first.
        changes: In their order.
        needed: How many records it takes to show any change; with fewer, that there is none says nothing.
        level_from: Position of the first sample of the present level.
        level_s: Geometric mean of the present level.
    """

    workload: str
    machine: str
    samples: tuple[Sample, ...]
    changes: tuple[Change, ...]
    needed: int
    level_from: int
    level_s: float

    @property
    def level(self) -> tuple[Sample, ...]:
        """Samples of the present level."""
        return self.samples[self.level_from :]


def traces(samples: Sequence[Sample]) -> tuple[Trace, ...]:
    """Return the histories of all workloads; each machine and each work has its own."""
    by_date = sorted(samples, key=lambda sample: sample.created)
    series: dict[tuple[str, str], list[Sample]] = {}
    for sample, named in zip(by_date, tell_apart(by_date)[0], strict=True):
        series.setdefault((named.workload, sample.machine), []).append(sample)
    alpha = alpha_of(len(series))
    return tuple(_trace(name, of_key, alpha=alpha) for (name, _), of_key in series.items())


def levels(traces: Sequence[Trace], head: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the present levels that HEAD goes against: of the same work on the same machine.

    Where that has no history, it is the latest of the name: that it is of another machine or work has to be said.
    """
    of_head = {(sample.workload, sample.content, sample.machine) for sample in head}
    by_name: dict[str, list[Trace]] = {}
    for trace in traces:
        by_name.setdefault(trace.samples[0].workload, []).append(trace)
    found: list[Sample] = []
    for name, of_name in by_name.items():
        alike = [trace for trace in of_name if (name, trace.samples[0].content, trace.machine) in of_head]
        for trace in alike or [max(of_name, key=lambda trace: trace.samples[-1].created)]:
            found += trace.level
    return tuple(found)


def _trace(name: str, samples: Sequence[Sample], *, alpha: float) -> Trace:
    points = change_points([sample.wall_s for sample in samples], alpha=alpha)
    borders = [0, *points, len(samples)]
    means = [mean_s(samples[start:end]) for start, end in itertools.pairwise(borders)]
    changes = tuple(
        Change(position=point, created=samples[point].created, source=samples[point].source, change=after / before - 1)
        for point, (before, after) in zip(points, itertools.pairwise(means), strict=True)
    )
    return Trace(
        workload=name,
        machine=samples[0].machine,
        samples=tuple(samples),
        changes=changes,
        needed=fewest(alpha),
        level_from=borders[-2],
        level_s=means[-1],
    )


# --- change points ----------------------------------------------------------------------------------------------------


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
