"""Pictures of runs: who ran where and when with what was busy and held, and predicted against measured times.

Rules: as in `figures.py`. Each picture is drawn once, for a page and for a file alike. The bars of an n-body level have
a height of their own and its marks a shape of their own; failures are hatched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.base.errors import InputError
from autotune.base.records import TaskRecord
from autotune.base.text import count, gib, percent, seconds
from autotune.reports import figures
from autotune.reports.content import Report, RunReport
from autotune.reports.facts import NEAR, comparable_records
from autotune.reports.sentences import task_name
from autotune.reports.timeline import Bar, Timeline, timeline

MOST_RUNS = 12  # more would be a picture that nobody can look at
_INCHES, _ROW = 10.0, 0.3
_CURVES, _CURVE, _GAP = 3.2, 0.8, 0.28  # inches of all but the rows, of one curve, between curves
_LEAST_ROWS, _MOST_ROWS = 4, 24
_SQUARE = 4.3  # inches
_MOST_NAMED = 8  # levels in the legend, the highest
_MOST_TICKS = 8
_LEAST_HEIGHT, _MOST_HEIGHT = 0.42, 0.94  # of a lane, for the lowest and the highest level
_HEADROOM = 1.12  # of the curves
_FAR_BUDGET = 4.0  # a budget so many times what was held would leave the curve flat at the bottom
_SMALL = 10  # points
_BUSY, _HELD = figures.COLOURS[0], figures.COLOURS[5]
_SHAPES = "os^D"
_MOST_MARKS = 700
_CELLS = 90  # across the picture; of the tasks of a level in one cell one is drawn
_MARGIN = 1.3  # of the axes around the times

Titles = dict[str, list[str]]  # of marks, by the group id of their collection


def draw(report: Report, path: Path) -> None:
    """Draw the timelines of a report's runs one below the other.

    Raises:
        InputError: Matplotlib does not know the file's ending, or there are too many runs.
        ResourceError: The file cannot be written.
    """
    if len(report.runs) > MOST_RUNS:
        raise InputError(f"a picture shows at most {MOST_RUNS} runs, not {len(report.runs)}; make several")
    figures.check(path)
    tall = [_height(run.timeline) for run in report.runs]
    with figures.figure(size=(_INCHES, sum(tall))) as figure:
        parts = figure.subfigures(len(tall), 1, height_ratios=tall, squeeze=False)
        for part, run in zip(parts[:, 0], report.runs, strict=True):
            part.suptitle(f"{run.name}: {run.headline}", fontsize=11)
            _draw_run(part, run)
        figures.save(figure, path, 110)


def draw_schedule(records: Sequence[TaskRecord], *, cores: int, title: str, path: Path) -> None:
    """Draw who ran where and when, alone.

    Raises:
        InputError: Matplotlib does not know the file's ending.
        ResourceError: The file cannot be written.
    """
    line = timeline(records, cores=cores, wall_s=0.0)
    with figures.figure(size=(9, 1.5 + _ROW * _rows(line))) as figure:
        figure.suptitle(title)
        axes = figure.subplots()
        _draw_lanes(axes, line)
        axes.set(xlabel="seconds", xlim=(0.0, line.end_s))
        figures.save(figure, path, 120)


def timeline_svg(run: RunReport, number: int) -> str:
    """Return the timeline of a run as SVG for a page, in which the figure has a number; at least one bar is needed."""
    line = run.timeline
    tall = _height(line)
    with figures.figure(size=(_INCHES, tall), constrained=False) as figure:
        bottom, top = 0.5, tall - 0.35
        gap = _GAP / ((top - bottom - 2 * _GAP) / 3)
        figure.subplots_adjust(left=0.08, right=0.985, bottom=bottom / tall, top=top / tall, hspace=gap)
        titles = _draw_run(figure, run)
        return figures.svg(
            figure,
            name="Timeline",
            description=f"{count(len(line.bars), 'bar')} in {count(line.lanes, 'lane')} over {seconds(line.end_s)};"
            f" at most {gib(max(value for _, value in line.held_gib))} were held by running tasks",
            titles=titles,
            number=number,
        )


def predictions_svg(run: RunReport, number: int) -> str:
    """Return measured over predicted times as SVG for a page; at least one task must have both."""
    compared = comparable_records(run.run.task_records)
    times = [time_s for record in compared for time_s in (record.predicted_s, record.wall_s)]
    with figures.figure(size=(_SQUARE, _SQUARE), constrained=False) as figure:
        figure.subplots_adjust(left=0.17, right=0.97, bottom=0.14, top=0.97)
        titles = _draw_predictions(figure.subplots(), compared)
        return figures.svg(
            figure,
            name="Measured over predicted times",
            description=f"{count(len(compared), 'task')}, from {seconds(min(times))} to {seconds(max(times))}",
            titles=titles,
            number=number,
        )


def budget_is_near(line: Timeline, *, budget_gib: float) -> bool:
    """Return whether the picture of memory has the budget in it."""
    return 0.0 < budget_gib <= _FAR_BUDGET * max(value for _, value in line.held_gib)


# --- who ran where and when -------------------------------------------------------------------------------------------


def _rows(line: Timeline) -> int:
    return min(_MOST_ROWS, max(_LEAST_ROWS, line.lanes))


def _height(line: Timeline) -> float:
    return _CURVES + _ROW * _rows(line)


def _draw_run(part: Any, run: RunReport) -> Titles:
    line, record = run.timeline, run.run
    lanes, cores, memory = part.subplots(3, 1, sharex=True, height_ratios=[_ROW * _rows(line), _CURVE, _CURVE])
    titles = _draw_lanes(lanes, line)
    _draw_curve(cores, line.busy, colour=_BUSY, limit=record.machine.cores, name="cores with a task")
    near = budget_is_near(line, budget_gib=record.memory_budget_gib)
    name = "GiB, sum of the peaks of running tasks"
    _draw_curve(memory, line.held_gib, colour=_HELD, limit=record.memory_budget_gib if near else 0.0, name=name)
    words = f"budget: {gib(record.memory_budget_gib)}{' (dashed)' if near else ', far above'}"
    memory.set_title(words, loc="right", fontsize=_SMALL, pad=3, color=figures.SOFT)
    memory.set(xlabel="seconds", xlim=(0.0, line.end_s))
    memory.tick_params(axis="x", pad=6)  # below the lowest label of the other axis
    return titles


def _heights(levels: Sequence[int]) -> Mapping[int, float]:
    """Return how much of its lane a bar of each level fills: the more bodies the more."""
    span = (_MOST_HEIGHT - _LEAST_HEIGHT) / max(1, len(levels) - 1)
    return {level: _MOST_HEIGHT - span * place for place, level in enumerate(sorted(levels, reverse=True))}


def _colour(nbody: int) -> str:
    return figures.COLOURS[(nbody - 1) % len(figures.COLOURS)]


def _draw_lanes(axes: Any, line: Timeline) -> Titles:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    share = _heights(line.levels)
    legend, titles = [], Titles()
    for level in line.levels:
        for failed in (False, True):
            bars = [bar for bar in line.bars if bar.nbody == level and bool(bar.failed) == failed]
            if bars:
                name = f"{'failed' if failed else 'bars'}{level}"
                edge, hatch = (figures.INK, "////") if failed else (figures.PAPER, None)
                boxes = [_box(bar, free=(1.0 - share[level]) / 2) for bar in bars]
                face = _colour(level)
                axes.add_collection(
                    PolyCollection(boxes, fc=face, ec=edge, lw=0.4, hatch=hatch, gid=name, clip_on=False)
                )
                titles[name] = [_title(bar) for bar in bars]
        legend.append(Patch(color=_colour(level), label=f"{level}-body"))
    if any(bar.failed for bar in line.bars):
        legend.append(Patch(fc="none", ec=figures.INK, hatch="////", label="failed"))
    axes.set(ylabel="core", ylim=(line.lanes, 0))
    every = max(1, -(-line.lanes // _MOST_TICKS))
    axes.set_yticks([lane + 0.5 for lane in range(0, line.lanes, every)], range(1, line.lanes + 1, every))
    if legend:
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": _MOST_NAMED}
        axes.legend(handles=legend[-_MOST_NAMED:], frameon=False, fontsize=_SMALL, borderaxespad=0.1, **place)
    else:
        place = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no task has times", color=figures.SOFT, **place)
    return titles


def _box(bar: Bar, *, free: float) -> list[tuple[float, float]]:
    top, bottom = bar.lane + free, bar.lane + bar.lanes - free
    return [(bar.start_s, bottom), (bar.end_s, bottom), (bar.end_s, top), (bar.start_s, top)]


def _title(bar: Bar) -> str:
    """Return what is said of a bar where the pointer rests on it."""
    record = bar.record
    if record is None:
        busy = min(1.0, bar.busy_s / (bar.end_s - bar.start_s)) if bar.end_s > bar.start_s else 1.0
        failed = f", {bar.failed} failed" if bar.failed else ""
        return f"{bar.tasks} tasks, mostly {bar.nbody}-body, {percent(busy)} busy{failed}"
    lines = (
        f"{task_name(record)}{': failed' if bar.failed else ''}",
        f"{seconds(record.wall_s)} from {seconds(record.started_s)} on, {count(record.width, 'core')}",
        f"predicted {seconds(record.predicted_s)}; peak {gib(record.peak_gib)}",
    )
    return "\n".join(lines)


def _draw_curve(axes: Any, steps: Sequence[tuple[float, float]], *, colour: str, limit: float, name: str) -> None:
    times, values = zip(*steps, strict=True)
    axes.fill_between(times, values, step="post", color=colour, alpha=0.25, lw=0)
    axes.step(times, values, where="post", color=colour, lw=1.1)
    if limit:
        axes.axhline(limit, color=figures.INK, lw=0.9, ls="--")
    axes.set_ylim(0.0, _HEADROOM * max([limit, *values]) or 1.0)
    axes.yaxis.get_major_locator().set_params(nbins=3)
    axes.set_title(name, loc="left", fontsize=_SMALL, pad=3)


# --- predicted against measured ---------------------------------------------------------------------------------------


def _draw_predictions(axes: Any, compared: Sequence[TaskRecord]) -> Titles:
    times = [time_s for record in compared for time_s in (record.predicted_s, record.wall_s)]
    low, high = min(times) / _MARGIN, max(times) * _MARGIN
    ends = (low, high)
    axes.fill_between(ends, [(1 - NEAR) * end for end in ends], [(1 + NEAR) * end for end in ends], fc="#2b6a9926")
    axes.plot(ends, ends, color=figures.SOFT, lw=1.0)
    titles = Titles()
    drawn = list(thin(compared, place=lambda time_s: math.log(time_s / low) / math.log(high / low)))
    for place, level in enumerate(sorted({record.nbody for record in drawn})):
        some = [record for record in drawn if record.nbody == level]
        points = zip(*((record.predicted_s, record.wall_s) for record in some), strict=True)
        shape, edge = _SHAPES[place % len(_SHAPES)], figures.PAPER
        label, name = f"{level}-body", f"marks{level}"
        axes.scatter(*points, s=42, marker=shape, fc=_colour(level), ec=edge, lw=0.6, label=label, gid=name, zorder=3)
        titles[name] = [
            f"{task_name(record)}: {seconds(record.wall_s)}, predicted {seconds(record.predicted_s)}" for record in some
        ]
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="predicted, s", ylabel="measured, s")
    for axis in (axes.xaxis, axes.yaxis):
        figures.tick_decades(axis, low, high)
    axes.tick_params(axis="x", pad=6)
    axes.grid(color=figures.RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", fontsize=_SMALL, frameon=False)
    return titles


def thin(records: Sequence[TaskRecord], *, place: Callable[[float], float]) -> Iterator[TaskRecord]:
    """Yield the records that can be told apart in the picture: all where they are few, else one a cell and level."""
    if len(records) <= _MOST_MARKS:
        yield from records
        return
    seen: set[tuple[int, ...]] = set()
    for record in records:
        cell = (record.nbody, *(int(place(time_s) * _CELLS) for time_s in (record.predicted_s, record.wall_s)))
        if cell not in seen and len(seen) < 2 * _MOST_MARKS:
            seen.add(cell)
            yield record
