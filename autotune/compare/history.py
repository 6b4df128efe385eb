"""The history of workloads: records over time, where they changed, and what is their level now. Pure; no files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.compare.changes import alpha_of, change_points, fewest
from autotune.compare.samples import Sample, mean_s, tell_apart


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
