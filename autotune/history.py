"""The history of workloads: records over time, where they changed, and what is their level now. Pure; no files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.changes import change_points
from autotune.samples import Sample, grouped, mean_s


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
        workload: Its name.
        samples: Oldest first.
        changes: In their order.
        level_from: Position of the first sample of the present level.
        level_s: Geometric mean of the present level.
    """

    workload: str
    samples: tuple[Sample, ...]
    changes: tuple[Change, ...]
    level_from: int
    level_s: float

    @property
    def level(self) -> tuple[Sample, ...]:
        """Samples of the present level."""
        return self.samples[self.level_from :]


def traces(samples: Sequence[Sample]) -> tuple[Trace, ...]:
    """Return the histories of all workloads; those of another machine or of other work begin anew."""
    found = []
    for name, of_name in grouped(sorted(samples, key=lambda sample: sample.created)).items():
        last = of_name[-1]
        alike = [s for s in of_name if s.machine == last.machine and s.content == last.content]
        points = change_points([sample.wall_s for sample in alike])
        borders = [0, *points, len(alike)]
        means = [mean_s(alike[start:end]) for start, end in itertools.pairwise(borders)]
        changes = tuple(
            Change(
                position=point, created=alike[point].created, source=alike[point].source, change=after / before - 1.0
            )
            for point, (before, after) in zip(points, itertools.pairwise(means), strict=True)
        )
        found.append(
            Trace(workload=name, samples=tuple(alike), changes=changes, level_from=borders[-2], level_s=means[-1])
        )
    return tuple(found)
