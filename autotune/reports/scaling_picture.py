"""The picture of a simulated scaling: time over nodes beside the ideal, the efficiency, the assumptions.

Rules: as in `plots.py`; the word "simulated" and the assumptions are in the picture.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.reports import plots
from autotune.session.forecast import WORTH, Scaling

_GREY = "#777777"
_LETTERS = 150  # of a line of assumptions


def draw(scaling: Scaling, *, title: str, assumptions: Sequence[str], path: Path) -> None:
    """Draw time and efficiency over the number of nodes; raises as `plots.schedule`.

    Args:
        scaling: What was simulated.
        title: Of the picture; "simulated" is set before it.
        assumptions: Clauses, written below.
        path: The file.
    """
    with plots.figure(size=(10, 5.4)) as drawn:
        drawn.suptitle(f"simulated: {title}", fontsize=12)
        times, shares = drawn.subplots(1, 2)
        numbers = [run.nodes.count for run in scaling.runs]
        _draw_times(times, scaling, numbers)
        _draw_efficiency(shares, scaling, numbers)
        for axes in (times, shares):
            axes.set(xscale="log", xlabel="nodes")
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.grid(visible=True, color="#dddddd", lw=0.6)
        text = "\n".join(textwrap.wrap(f"Simulated. Assumed: {'; '.join(assumptions)}.", _LETTERS))
        drawn.supxlabel(text, fontsize=7.5, color="#444444", x=0.02, ha="left")
        plots.save(drawn, path, 120)


def _draw_times(axes: Any, scaling: Scaling, numbers: Sequence[int]) -> None:
    first = scaling.runs[0]
    ideal = [first.makespan_s * first.nodes.count / number for number in numbers]
    axes.plot(numbers, ideal, ls="--", color=_GREY, lw=1.2, label="ideal: no loss by more nodes")
    axes.plot(
        numbers, [run.makespan_s for run in scaling.runs], marker="o", ms=4.5, color=plots.COLOURS[0], label="simulated"
    )
    worth = scaling.worth
    axes.plot(
        [worth.nodes.count],
        [worth.makespan_s],
        ls="",
        marker="D",
        ms=9,
        mfc="none",
        mec=plots.COLOURS[3],
        mew=1.8,
        label=f"worth it: up to {worth.nodes.count:,} ({WORTH:g} efficient)",
    )
    axes.set(yscale="log", ylabel="time, s", title="Time")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.legend(loc="upper right", fontsize=8)


def _draw_efficiency(axes: Any, scaling: Scaling, numbers: Sequence[int]) -> None:
    axes.axhline(WORTH, color=plots.COLOURS[3], lw=1.0, ls=":", label=f"{WORTH:g}: worth it above")
    shares = [scaling.efficiency(run) for run in scaling.runs]
    label = f"parallel efficiency against {scaling.runs[0].nodes.count:,}"
    axes.plot(numbers, shares, marker="o", ms=4.5, color=plots.COLOURS[0], label=label)
    busy = [run.efficiency for run in scaling.runs]
    axes.plot(numbers, busy, marker="s", ms=4, ls="-.", color=plots.COLOURS[2], label="against all cores always busy")
    axes.set(ylim=(0, 1.08), title="Efficiency")
    axes.legend(loc="lower left", fontsize=8)
