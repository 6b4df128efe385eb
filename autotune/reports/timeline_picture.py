"""The timeline of runs as a picture: who ran where, how many cores had a task, what the tasks held.

Rules: as in `plots.py`. The file appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.base.errors import InputError
from autotune.reports import plots
from autotune.reports.charts import budget_is_near, heights
from autotune.reports.content import Report, RunReport
from autotune.reports.text import gib

MOST_RUNS = 12  # more would be a picture that nobody can look at
_INCHES, _ROW = 11.0, 0.3
_CURVES = 2.6
_MOST_ROWS = 24
_MOST_NAMED = 8  # levels in the legend, the highest
_HEADROOM = 1.35  # of the curves, for what is written above them
_GREY = "#777777"
_BUSY, _HELD = plots.COLOURS[0], plots.COLOURS[5]


def draw(report: Report, path: Path) -> None:
    """Draw the runs of a report one below the other.

    Raises:
        InputError: Matplotlib is not installed or does not know the file's ending, or there are too many runs.
        ResourceError: The file cannot be written.
    """
    if len(report.runs) > MOST_RUNS:
        raise InputError(f"a picture shows at most {MOST_RUNS} runs, not {len(report.runs)}; make several")
    plots.check(path)
    tall = [_CURVES + _ROW * min(_MOST_ROWS, max(4, run.timeline.lanes)) for run in report.runs]
    with plots.figure(size=(_INCHES, sum(tall))) as figure:
        parts = figure.subfigures(len(tall), 1, height_ratios=tall, squeeze=False)
        for part, run in zip(parts[:, 0], report.runs, strict=True):
            _draw_run(part, run)
        plots.save(figure, path, 110)


def _draw_run(part: Any, run: RunReport) -> None:
    line, record = run.timeline, run.run
    rows = min(_MOST_ROWS, max(4, line.lanes))
    lanes, cores, memory = part.subplots(3, 1, sharex=True, height_ratios=[_ROW * rows, 0.9, 0.9])
    part.suptitle(f"{run.name}: {run.headline}", fontsize=11)
    _draw_lanes(lanes, run)
    _draw_curve(cores, line.busy, colour=_BUSY, limit=record.machine.cores, name="cores\nwith a task")
    near = budget_is_near(line, budget_gib=record.memory_budget_gib)
    name = "GiB, sum of\nrunning peaks"
    _draw_curve(memory, line.held_gib, colour=_HELD, limit=record.memory_budget_gib if near else 0.0, name=name)
    words = f"budget: {gib(record.memory_budget_gib)}{' (dashed)' if near else ', far above'}"
    memory.text(0.995, 0.9, words, transform=memory.transAxes, ha="right", va="top", fontsize=8, color=_GREY)
    memory.set(xlabel="seconds", xlim=(0.0, line.end_s))


def _draw_lanes(axes: Any, run: RunReport) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    line = run.timeline
    share = heights(line.levels)
    legend = []
    for level in line.levels:
        colour = plots.COLOURS[(level - 1) % len(plots.COLOURS)]
        for failed in (False, True):
            boxes = [
                _box(bar.start_s, bar.end_s, low=bar.lane, high=bar.lane + bar.lanes, free=(1.0 - share[level]) / 2)
                for bar in line.bars
                if bar.nbody == level and bool(bar.failed) == failed
            ]
            if boxes:
                edge, hatch = ("black", "////") if failed else ("white", None)
                axes.add_collection(PolyCollection(boxes, facecolors=colour, edgecolors=edge, lw=0.4, hatch=hatch))
        legend.append(Patch(color=colour, label=f"{level}-body"))
    if run.failed:
        legend.append(Patch(fc="white", ec="black", hatch="////", label="failed"))
    axes.set(ylabel="core", ylim=(line.lanes, 0))
    every = max(1, -(-line.lanes // 8))
    axes.set_yticks([lane + 0.5 for lane in range(0, line.lanes, every)], range(1, line.lanes + 1, every))
    if legend:
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": _MOST_NAMED}
        axes.legend(handles=legend[-_MOST_NAMED:], frameon=False, fontsize=8, borderaxespad=0.1, **place)
    else:
        axes.text(0.5, 0.5, "no task has times", transform=axes.transAxes, ha="center", va="center", color=_GREY)


def _box(start_s: float, end_s: float, *, low: int, high: int, free: float) -> list[tuple[float, float]]:
    bottom, top = low + free, high - free
    return [(start_s, bottom), (end_s, bottom), (end_s, top), (start_s, top)]


def _draw_curve(axes: Any, steps: Sequence[tuple[float, float]], *, colour: str, limit: float, name: str) -> None:
    times, values = zip(*steps, strict=True)
    axes.fill_between(times, values, step="post", color=colour, alpha=0.25, lw=0)
    axes.step(times, values, where="post", color=colour, lw=1.1)
    if limit:
        axes.axhline(limit, color="black", lw=0.9, ls="--")
    axes.set_ylim(0.0, _HEADROOM * max([limit, *values]) or 1.0)
    axes.set_ylabel(name, fontsize=8)
