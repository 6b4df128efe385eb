"""The picture of what a calibration found: its trials, the best of each cell, what mattered, the confirmation.

Rules: as in `figures.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.base.records import Evidence, Trial, Tuning
from autotune.base.text import count, finite
from autotune.reports import figures
from autotune.reports.decisions import defaults_of

# Of a trial, by its source: marker, colour.
_SOURCES = {
    "default": ("D", "#222222"),
    "transferred": ("^", "#b279a2"),
    "simulated": ("s", "#f58518"),
    "search": ("o", "#4c78a8"),
    "final": ("*", "#54a24b"),
}
_FAILED, _BAND, _GREY = "#d62728", "#d9d9d9", "#777777"
_MOST_BARS = 10
_UPRIGHT_COLUMNS = 10  # of the heat map, that are wide enough for their values
_LEVEL_LETTERS = 40  # of the workloads' names, that fit beside each other
_LEAST_FACTOR = 1.1  # the strongest colours of the heat map are at least so far from 1
_STRONGEST = 0.4  # of the way along a colour map from its middle; its ends would hide a black frame
_WHITE_TEXT = 0.3  # of the same way, from which it reads better than black


def draw(tuning: Tuning, path: Path) -> None:
    """Draw what a calibration found: trials, speed-ups by workers and threads, importances, confirmation.

    A PNG is 1200 x 900 pixels. Raises as `figures.save`.
    """
    evidence, here = tuning.evidence, tuning.machine
    with figures.figure(size=(12, 9)) as figure:
        figure.suptitle(
            f"{tuning.method}\n{here.cpu_model}, {count(here.cores, 'core')} - {tuning.created[:10]}", fontsize=13
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        history, cells, importances, pairs = figure.subplots(2, 2).flat
        _draw_history(history, evidence)
        _draw_cells(cells, tuning)
        _draw_importances(importances, evidence.importances)
        _draw_pairs(pairs, evidence)
        figures.save(figure, path, 100)


def _say(axes: Any, text: str) -> None:
    """Write in the middle of a panel why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_GREY)


# --- the trials, in order ---------------------------------------------------------------------------------------------


def _draw_history(axes: Any, evidence: Evidence) -> None:
    trials = [(number, trial) for number, trial in enumerate(evidence.trials, start=1)]
    axes.set(title="Trials of the search", xlabel="trial", ylabel="speed-up over the default")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if not trials:
        axes.set(xticks=[], yticks=[])
        _say(axes, "no trials")
        return
    if finite(band := 2.0 * evidence.noise):
        axes.axhspan(
            max(0.0, 1.0 - band), 1.0 + band, color=_BAND, alpha=0.6, lw=0, label=f"noise: ±{100 * band:.1f} %"
        )
    axes.axhline(1.0, color=_GREY, lw=0.8)
    best, steps = 0.0, []
    for number, trial in trials:
        if trial.state == "done":
            best = max(best, trial.speed_up)
        if best:
            steps.append((number, best))
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color=figures.COLOURS[2], lw=1.8, label="best so far")
    _mark(axes, trials)
    handles, labels = axes.get_legend_handles_labels()
    axes.set_xlim(0.3, len(trials) + 0.7)
    low, high = axes.get_ylim()
    # Room for the legend above, for failed trials below.
    axes.set_ylim(max(low, -0.02) - 0.08 * (high - low), high + 0.32 * (high - low))
    axes.legend(handles, labels, loc="upper left", ncols=3, fontsize=8, framealpha=0.9)


def _mark(axes: Any, trials: Sequence[tuple[int, Trial]]) -> None:
    """Draw the trials: filled where done, hollow where given up, a cross at the bottom where failed."""
    for source in dict.fromkeys(trial.source for _, trial in trials):
        marker, colour = _SOURCES.get(source, ("o", _GREY))
        for state, face in (("done", colour), ("pruned", "white")):
            some = [(n, t.speed_up) for n, t in trials if t.source == source and t.state == state]
            if some:
                label = source if state == "done" else f"{source}, given up early"
                axes.scatter(
                    *zip(*some, strict=True), marker=marker, s=38, fc=face, ec=colour, lw=1.3, label=label, zorder=3
                )
    failed = [n for n, trial in trials if trial.state == "failed"]
    if failed:
        axes.scatter(
            failed,
            [0.035] * len(failed),
            transform=axes.get_xaxis_transform(),
            marker="x",
            s=42,
            c=_FAILED,
            lw=1.8,
            label="failed",
            zorder=3,
        )


# --- workers × threads ------------------------------------------------------------------------------------------------


def _draw_cells(axes: Any, tuning: Tuning) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    trials = tuning.evidence.trials
    axes.set(title="Best speed-up and tasks per second", xlabel="tasks at once", ylabel="threads each")
    if not trials:
        axes.set(xticks=[], yticks=[])
        _say(axes, "no trials")
        return
    columns, rows = sorted({trial.workers for trial in trials}), sorted({trial.width for trial in trials})
    best: dict[tuple[int, int], float] = {}
    rates: dict[tuple[int, int], float] = {}
    for trial in trials:
        cell = (columns.index(trial.workers), rows.index(trial.width))
        best[cell] = max(best.get(cell, 0.0), 0.0 if trial.state == "failed" else trial.speed_up)
        if trial.state == "done" and len(trial.wall_s) == len(tuning.evidence.search_tasks) and sum(trial.wall_s) > 0:
            rates[cell] = max(rates.get(cell, 0.0), sum(tuning.evidence.search_tasks) / sum(trial.wall_s))
    # Of logarithms, the same on both sides: half as fast is as strong a colour as twice as fast.
    span = max([math.log(_LEAST_FACTOR), *(abs(math.log(value)) for value in best.values() if value)])
    axes.set_facecolor("#ececec")
    upright = len(columns) <= _UPRIGHT_COLUMNS
    size, turn = (11.0, 0) if upright else (min(10.0, 240.0 / len(columns)), 90)
    for x in range(len(columns)):
        for y in range(len(rows)):
            value, corner, strength = best.get((x, y)), (x - 0.5, y - 0.5), 0.0
            if value:
                strength = _STRONGEST * math.log(value) / span
                colour = colormaps["PuOr"](0.5 + strength)
                axes.add_patch(Rectangle(corner, 1, 1, fc=colour, ec="white", lw=1.5))
            else:
                axes.add_patch(Rectangle(corner, 1, 1, fc="#ececec", ec="#c4c4c4", hatch="///", lw=0))
            if value is not None:
                rate = f"\n{rates[x, y]:.3g} tasks/s" if (x, y) in rates and upright else ""
                text = f"{value:.2f}×{rate}" if value else "failed"
                ink = "white" if abs(strength) > _WHITE_TEXT else "black"
                axes.text(x, y, text, ha="center", va="center", fontsize=size, rotation=turn, color=ink)
    for trial, style in _outlines(tuning):
        corner = (columns.index(trial.workers) - 0.46, rows.index(trial.width) - 0.46)
        axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, ec="black", lw=2, ls=style))
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
    axes.set_xticks(range(len(columns)), columns, rotation=turn, fontsize=size if turn else None)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set_xlabel("tasks at once\n(frame: chosen; dashed frame: default; hatched: not measured)", fontsize=9)


def _outlines(tuning: Tuning) -> Iterator[tuple[Trial, str]]:
    """Yield the default's trial and that of what was chosen, with the style of their frames."""
    trials = tuning.evidence.trials
    defaults = defaults_of(trials)
    chosen = {**defaults, **tuning.parameters}
    for trial in trials:
        if {**defaults, **trial.parameters} == chosen:
            yield trial, "-"
            break
    if chosen != defaults:
        yield from ((trial, "--") for trial in trials if trial.source == "default")


# --- what matters, and the confirmation -------------------------------------------------------------------------------


def _draw_importances(axes: Any, importances: Mapping[str, float]) -> None:
    axes.set(title="What the differences between trials come from", xlabel="share explained by the parameter, %")
    ranked = sorted(importances.items(), key=lambda item: item[1])[-_MOST_BARS:]
    if not ranked:
        axes.set(yticks=[], xlim=(0, 100))
        _say(axes, "too few trials to tell")
        return
    shares = [100.0 * share for _, share in ranked]
    axes.barh(range(len(ranked)), shares, color=figures.COLOURS[0], height=0.65)
    for y, share in enumerate(shares):
        axes.text(share, y, f" {share:.0f}", va="center", fontsize=9)
    axes.set_yticks(range(len(ranked)), [name.replace(".", "\n", 1) for name, _ in ranked], fontsize=8)
    axes.set(xlim=(0, max(*shares, 1.0) * 1.12), ylim=(-0.6, len(ranked) - 0.4))


def _draw_pairs(axes: Any, evidence: Evidence) -> None:
    axes.set(title=f"Tuned against default: {evidence.verdict}", ylabel="default's time / tuned time")
    axes.axhline(1.0, color=_GREY, lw=0.8)
    pairs = [pair for pair in evidence.pairs if finite(pair.default_s) and finite(pair.tuned_s)]
    if not pairs:
        axes.set(xticks=[], ylim=(0.5, 1.5))
        axes.text(0.5, 0.62, "no pairs were run: nothing to confirm", transform=axes.transAxes, ha="center", c=_GREY)
        return
    counts = Counter(pair.workload for pair in pairs)
    for x, (workload, n) in enumerate(counts.items()):
        ratios = [pair.default_s / pair.tuned_s for pair in pairs if pair.workload == workload]
        # Side by side in the order of measurement: a drift shows as a slope.
        places = [x + 0.5 * ((i + 0.5) / n - 0.5) for i in range(n)]
        axes.scatter(places, ratios, s=34, color=figures.COLOURS[x % len(figures.COLOURS)], alpha=0.85, zorder=3)
    x, middle = len(counts), evidence.speed_up
    text = f"  {middle:.2f}"
    if evidence.interval:
        low, high = evidence.interval
        axes.errorbar([x], [middle], [[max(0.0, middle - low)], [max(0.0, high - middle)]], color="black", capsize=7)
        text += f"\n  ({low:.2f} to {high:.2f})"
    axes.plot([x], [middle], marker="D", color="black", ms=8)
    axes.text(x + 0.05, middle, text, va="center", fontsize=10)
    slanted = sum(map(len, counts)) > _LEVEL_LETTERS
    turned, between = ({"rotation": 25, "ha": "right"}, ", ") if slanted else ({}, "\n")
    labels = [*(f"{name}{between}{count(n, 'pair')}" for name, n in counts.items()), f"mean{between}95 % interval"]
    axes.set_xticks(range(x + 1), labels, fontsize=9, **turned)
    axes.set_xlim(-0.5, x + 0.1 + 0.35 * (x + 0.6))  # room for the text
