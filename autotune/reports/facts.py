"""The numbers of a run that a report shows: cost by n-body level, predicted against measured, failures.

Rules: pure. Numbers that cannot be used (not finite, negative) are left out of sums and medians, never an error.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.base.records import TaskRecord
from autotune.base.text import finite

NEAR = 0.2  # predictions this near to the measured time are good
MOST_WORST = 5
_RANGE_S = (1e-6, 1e9)  # of times that can be
LEAST_PREDICTED = 3  # tasks, before anything is said about predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What the tasks of one n-body level cost.

    Attributes:
        nbody: Real fragments.
        tasks: How many.
        failed: How many of them failed.
        core_s: Their times, each times its cores.
        share: Of the core-seconds of all levels.
        median_s: Median wall time of a task.
        peak_gib: The highest peak of a task.
    """

    nbody: int
    tasks: int
    failed: int
    core_s: float
    share: float
    median_s: float
    peak_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """How far measured times were from those predicted.

    Attributes:
        tasks: Finished tasks with a prediction.
        factor: Median of measured over predicted: 1.1 where tasks take a tenth longer than predicted.
        median: Half of the tasks are within this share of their prediction, up or down: exp of the median of
            |log ratio|, less 1.
        quantile_90: Nine of ten are, likewise.
        near: Share of the tasks whose measured time is within `NEAR` of the predicted.
        worst: The tasks that are furthest off, the worst first.
    """

    tasks: int
    factor: float
    median: float
    quantile_90: float
    near: float
    worst: tuple[TaskRecord, ...]


def levels(records: Sequence[TaskRecord]) -> tuple[Level, ...]:
    """Return the cost of each n-body level, ascending."""
    groups: defaultdict[int, list[TaskRecord]] = defaultdict(list)
    for record in records:
        groups[record.nbody].append(record)
    cost_s = {
        nbody: sum(record.width * record.wall_s for record in some if finite(record.wall_s))
        for nbody, some in groups.items()
    }
    total_s = sum(cost_s.values())
    return tuple(
        Level(
            nbody=nbody,
            tasks=len(groups[nbody]),
            failed=sum(record.status == "failed" for record in groups[nbody]),
            core_s=cost_s[nbody],
            share=cost_s[nbody] / total_s if total_s else 0.0,
            median_s=statistics.median([record.wall_s for record in groups[nbody] if finite(record.wall_s)] or [0.0]),
            peak_gib=max((record.peak_gib for record in groups[nbody] if finite(record.peak_gib)), default=0.0),
        )
        for nbody in sorted(groups)
    )


def comparable_records(records: Sequence[TaskRecord]) -> list[TaskRecord]:
    """Return the finished tasks whose measured and predicted times can be compared."""
    low, high = _RANGE_S
    return [
        record
        for record in records
        if record.status == "done" and all(low <= time_s <= high for time_s in (record.wall_s, record.predicted_s))
    ]


def predictions(records: Sequence[TaskRecord]) -> Predictions | None:
    """Return how good the predictions were; None where there are too few to tell."""
    compared = comparable_records(records)
    if len(compared) < LEAST_PREDICTED:
        return None
    logs = [math.log(_ratio(record)) for record in compared]
    errors = sorted(map(abs, logs))
    worst = sorted(compared, key=lambda record: -abs(math.log(_ratio(record))))
    return Predictions(
        tasks=len(compared),
        factor=math.exp(statistics.median(logs)),
        median=math.expm1(statistics.median(errors)),
        quantile_90=math.expm1(statistics.quantiles(errors, n=10, method="inclusive")[-1]),
        near=sum(abs(_ratio(record) - 1.0) <= NEAR for record in compared) / len(compared),
        worst=tuple(worst[:MOST_WORST]),
    )


def failures(records: Sequence[TaskRecord]) -> tuple[TaskRecord, ...]:
    """Return the tasks that failed for good, in the order of their starts."""
    return tuple(
        sorted((r for r in records if r.status == "failed"), key=lambda record: (record.started_s, record.number))
    )


def _ratio(record: TaskRecord) -> float:
    return record.wall_s / record.predicted_s
