"""A regression's answer as a picture: the change of each workload with its interval, or the history of each.

Rules: where not all can be drawn, those are that changed; how many are not is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from autotune.compare.history import Trace
from autotune.compare.regression import Regression
from autotune.reports.plots import COLOURS, figure, save
from autotune.reports.regression_text import headline

_SHAPES = {"faster": ("v", COLOURS[2]), "slower": ("^", COLOURS[3]), "same": ("o", COLOURS[0])}
_UNCLEAR = ("D", "#8c8c8c")
_URGENCY = {verdict: rank for rank, verdict in enumerate(("slower", "faster", "cannot tell", "same"))}
_MOST_ROWS = 60
_T = TypeVar("_T")


def changes(found: Regression, path: Path) -> None:
    """Draw the change of each workload with its interval; raises as `plots.save`."""
    timed = [row for row in found.rows if row.change is not None]
    rows = _foremost(timed, key=lambda row: (not row.energy_changed, _URGENCY[row.verdict], -abs(row.change or 0.0)))
    with figure(size=(9, 1.6 + 0.35 * len(rows))) as drawn:
        axes = drawn.subplots()
        limit = 100 * found.threshold
        axes.axvspan(100 * (1 / (1 + found.threshold) - 1), limit, color="#eeeeee", label="does not count")
        axes.axvline(0.0, color="black", linewidth=0.8)
        for place, row in enumerate(reversed(rows)):
            shape, colour = _SHAPES.get(row.verdict, _UNCLEAR)
            if row.low is not None and row.high is not None:
                axes.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=2)
            axes.plot([100 * (row.change or 0.0)], [place], marker=shape, color=colour, markersize=7, linestyle="none")
            axes.annotate(
                row.verdict, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=colour
            )
        left_out = f"; {len(timed) - len(rows)} more that changed less" if len(rows) < len(timed) else ""
        xlabel = f"change of the time in %, slower to the right{left_out}"
        axes.set(yticks=range(len(rows)), xlabel=xlabel, title=headline(found))
        axes.set_yticklabels([row.workload[:70] for row in reversed(rows)], fontsize=8)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        save(drawn, path, 120)


def histories(traces: Sequence[Trace], path: Path) -> None:
    """Draw the times of each workload over its records, its levels and where they change; raises as `plots.save`."""
    shown = _foremost(traces, key=lambda trace: -len(trace.changes))
    with figure(size=(9, 0.6 + 1.8 * max(len(shown), 1))) as drawn:
        panels = drawn.subplots(max(len(shown), 1), 1, squeeze=False)[:, 0]
        for axes, trace in zip(panels, shown, strict=False):
            times = [sample.wall_s for sample in trace.samples]
            axes.plot(range(len(times)), times, marker="o", markersize=3, linewidth=0.6, color=COLOURS[0])
            for change in trace.changes:
                where = change.position - 0.5
                axes.axvline(where, color=COLOURS[3] if change.change > 0 else COLOURS[2], linestyle="--")
                axes.annotate(f"{change.change:+.0%}", (where, max(times)), fontsize=8, va="top")
            axes.set(ylabel="seconds", ylim=(0, 1.1 * max(times)))
            axes.set_title(trace.workload[:90], fontsize=9)
        left_out = f"; {len(traces) - len(shown)} more workloads without a change" if len(shown) < len(traces) else ""
        panels[-1].set_xlabel(f"record, oldest first{left_out}")
        save(drawn, path, 120)


def _foremost(of: Sequence[_T], *, key: Callable[[_T], Any]) -> list[_T]:
    """Return the first so many by a key, in the order they had."""
    chosen = sorted(range(len(of)), key=lambda place: key(of[place]))[:_MOST_ROWS]
    return [of[place] for place in sorted(chosen)]
