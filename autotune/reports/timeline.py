"""Who ran where when: a run's tasks packed into one lane a core, and what was busy and held over time.

Rules: pure. Which cores a task ran on is not recorded: tasks take the first lanes that are free. Tasks without usable
times are counted and left out. Where there are more bars than can be seen, those of one lane become bars of several
tasks, so that what is drawn of a run stays small however many tasks it has.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autotune.base.records import TaskRecord

MOST_BARS = 1500
MOST_LANES = 256
MOST_STEPS = 400
LEAST_S, MOST_S = 1e-3, 1e9  # of times that can be drawn
_FINER = 2  # bars of several tasks are so many times as many as bars of single tasks: their tooltips are short
_SEEN = 1 / 600  # of the time, the shortest step of a curve that can be seen
_MOST_LEFT_OUT = 0.03  # of the time, in steps that cannot be seen; beyond, means are truer
_LEAST_BINS = 8
_LAG_S = 0.002  # tasks that overlap by less follow each other: starts and ends are read by different processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A piece of the timeline: one task in lanes beside each other, or several tasks of one lane.

    Attributes:
        lane: The first lane, from 0.
        lanes: Lanes it covers.
        start_s: After the start of the run.
        end_s: After the start of the run.
        nbody: Its n-body level; of several tasks the one that took most of the time.
        tasks: How many tasks it stands for.
        failed: How many of them failed.
        busy_s: Time that its tasks took, without the pauses between them.
        record: The task; None where it stands for several.
    """

    lane: int
    lanes: int
    start_s: float
    end_s: float
    nbody: int
    tasks: int
    failed: int
    busy_s: float
    record: TaskRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What a picture of a run shows.

    Attributes:
        bars: In order of their starts.
        lanes: Lanes to draw: the cores, and more where tasks had more.
        end_s: End of the run, or of the last task if that is later.
        merged: Some bars stand for several tasks.
        left_out: Tasks whose times cannot be drawn.
        busy: From when on how many cores had a task, without what is too short to be seen; means over equal times
            where there are many changes.
        held_gib: From when on how much the running tasks' peaks add up to; likewise, the highest sums.
        levels: The n-body levels, ascending.
    """

    bars: tuple[Bar, ...]
    lanes: int
    end_s: float
    merged: bool
    left_out: int
    busy: tuple[tuple[float, float], ...]
    held_gib: tuple[tuple[float, float], ...]
    levels: tuple[int, ...]


def timeline(records: Sequence[TaskRecord], *, cores: int, wall_s: float, most_bars: int = MOST_BARS) -> Timeline:
    """Return the timeline of a run.

    Args:
        records: Its tasks.
        cores: Usable cores.
        wall_s: Length of the run.
        most_bars: Of more bars, several become one.
    """
    usable = sorted(filter(_has_times, records), key=lambda record: (record.started_s, record.number))
    end_s = max(
        [wall_s if wall_s <= MOST_S else 0.0, LEAST_S, *(record.started_s + record.wall_s for record in usable)]
    )
    bars = list(_pack(usable))
    lanes = min(MOST_LANES, max([1, cores, *(bar.lane + bar.lanes for bar in bars)]))
    merged = len(bars) > most_bars
    if merged:
        bars = _merge(bars, length_s=end_s / max(_LEAST_BINS, _FINER * most_bars // lanes))
    return Timeline(
        bars=tuple(bars),
        lanes=lanes,
        end_s=end_s,
        merged=merged,
        left_out=len(records) - len(usable),
        busy=_curve(usable, lambda record: record.width, end_s=end_s, highest=False),
        held_gib=_curve(usable, lambda record: record.peak_gib, end_s=end_s, highest=True),
        levels=tuple(sorted({record.nbody for record in usable})),
    )


def _has_times(record: TaskRecord) -> bool:
    numbers = (record.started_s, record.wall_s, record.peak_gib, record.started_s + record.wall_s)
    return all(0.0 <= number <= MOST_S for number in numbers) and record.width > 0


def _pack(records: Sequence[TaskRecord]) -> Iterator[Bar]:
    """Yield the bars of tasks in order of their starts; a task in lanes that lie apart gives several."""
    free, next_lane = list[int](), 0
    taken: list[tuple[float, int]] = []
    for record in records:
        while taken and taken[0][0] <= record.started_s + _LAG_S:
            heapq.heappush(free, heapq.heappop(taken)[1])
        lanes = []
        for _ in range(min(record.width, MOST_LANES)):
            if free:
                lanes.append(heapq.heappop(free))
            elif next_lane < MOST_LANES:
                lanes.append(next_lane)
                next_lane += 1
        end_s = record.started_s + record.wall_s
        for lane in lanes:
            heapq.heappush(taken, (end_s, lane))
        for first, number in _neighbours(lanes):
            yield Bar(
                lane=first,
                lanes=number,
                start_s=record.started_s,
                end_s=end_s,
                nbody=record.nbody,
                tasks=1,
                failed=int(record.status == "failed"),
                busy_s=record.wall_s,
                record=record,
            )


def _neighbours(lanes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield groups of ascending lanes that lie side by side: the first and how many."""
    first = 0
    for place in range(1, len(lanes) + 1):
        if place == len(lanes) or lanes[place] != lanes[place - 1] + 1:
            yield lanes[first], place - first
            first = place


def _merge(bars: Sequence[Bar], *, length_s: float) -> list[Bar]:
    """Return bars of which those shorter than a length are put together, lane by lane and length by length."""
    kept = [bar for bar in bars if bar.busy_s >= length_s]
    groups: defaultdict[tuple[int, int], list[Bar]] = defaultdict(list)
    for bar in bars:
        if bar.busy_s < length_s:
            place = int((bar.start_s + bar.end_s) / 2 / length_s)
            for lane in range(bar.lane, bar.lane + bar.lanes):
                groups[lane, place].append(replace(bar, lane=lane, lanes=1))
    return sorted([*kept, *map(_together, groups.values())], key=lambda bar: (bar.start_s, bar.lane))


def _together(bars: Sequence[Bar]) -> Bar:
    if len(bars) == 1:
        return bars[0]
    times: Counter[int] = Counter()
    for bar in bars:
        times[bar.nbody] += bar.busy_s  # type: ignore[assignment]  # seconds, not counts
    return Bar(
        lane=bars[0].lane,
        lanes=1,
        start_s=min(bar.start_s for bar in bars),
        end_s=max(bar.end_s for bar in bars),
        nbody=max(times, key=lambda level: (times[level], level)),
        tasks=len(bars),
        failed=sum(bar.failed for bar in bars),
        busy_s=sum(bar.busy_s for bar in bars),
        record=None,
    )


def _curve(
    records: Sequence[TaskRecord], value: Callable[[TaskRecord], float], *, end_s: float, highest: bool
) -> tuple[tuple[float, float], ...]:
    """Return the sum over running tasks as (from when, how much), ending with the end of the run."""
    changes: defaultdict[float, float] = defaultdict(float)
    counts: defaultdict[float, int] = defaultdict(int)
    for record in records:
        for time_s, sign in ((record.started_s, 1), (record.started_s + record.wall_s, -1)):
            changes[time_s] += sign * value(record)
            counts[time_s] += sign
    level, running, steps = 0.0, 0, [(0.0, 0.0)]
    for time_s in sorted(changes):
        level += changes[time_s]
        running += counts[time_s]
        # Sums of floats that should cancel do not quite.
        level = max(0.0, level) if running else 0.0
        steps.append((time_s, level))
    steps.append((end_s, level))
    calm, left_out_s = _calm(steps, least_s=end_s * _SEEN)
    if len(steps) > MOST_STEPS or left_out_s > _MOST_LEFT_OUT * end_s:
        return tuple(_coarse(steps, end_s=end_s, highest=highest))
    return tuple(calm)


def _calm(steps: Sequence[tuple[float, float]], *, least_s: float) -> tuple[list[tuple[float, float]], float]:
    """Return a step curve without the steps too short to be seen, and how long these are together."""
    kept, left_out_s = list(steps[:1]), 0.0
    for (begin, level), (finish, _) in itertools.pairwise(steps[1:]):
        if finish - begin >= least_s:
            kept.append((begin, level))
        else:
            left_out_s += finish - begin
    return [*kept, steps[-1]], left_out_s


def _coarse(steps: Sequence[tuple[float, float]], *, end_s: float, highest: bool) -> Iterator[tuple[float, float]]:
    """Yield a step curve over equal times: its mean in each, or its highest value."""
    length_s = end_s / MOST_STEPS
    area, peak = [0.0] * MOST_STEPS, [0.0] * MOST_STEPS
    for (begin, level), (finish, _) in itertools.pairwise(steps):
        first, last = (min(MOST_STEPS - 1, int(time_s / length_s)) for time_s in (begin, finish))
        for place in range(first, last + 1):
            within = min(finish, (place + 1) * length_s) - max(begin, place * length_s)
            area[place] += max(0.0, within) * level
            if within > 0.0:
                peak[place] = max(peak[place], level)
    for place in range(MOST_STEPS):
        yield place * length_s, peak[place] if highest else area[place] / length_s
    yield end_s, 0.0
