"""A run over time as SVG without text: who ran where, how many cores had a task, what the tasks held.

Rules: pure, returns HTML; see `report_axes.py`. No meaning hangs on colour alone: the bars of a level have a height of
their own, failures are hatched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autotune.base.wording import count
from autotune.reports.axes import WIDTH, svg, ticks, time_plot
from autotune.reports.html_text import escaped
from autotune.reports.plots import COLOURS
from autotune.reports.text import gib, percent, seconds, task_name
from autotune.reports.timeline import Bar, Timeline

_LANE, _CURVE = 10.0, 100.0  # heights of a lane and of a curve, in the pictures' own units
_LANE_PX, _LEAST_LANE_PX, _MOST_LANES_PX, _CURVE_PX = 34, 3, 420, 96
_LEAST_HEIGHT, _MOST_HEIGHT = 0.42, 0.94  # of a lane, for the lowest and the highest level
_LEAST_WIDTH = 0.6  # of a bar, so that it can be seen
_MOST_LABELS = 9
_HEADROOM = 1.08
_FAR_BUDGET = 4.0  # a budget so many times what was held would leave the curve flat at the bottom


def style(nbody: int) -> str:
    """Return the class of an n-body level, which has its colour."""
    return f"n{(nbody - 1) % len(COLOURS)}"


def heights(levels: Sequence[int]) -> Mapping[int, float]:
    """Return how much of its lane a bar of each level fills: the more bodies the more."""
    span = (_MOST_HEIGHT - _LEAST_HEIGHT) / max(1, len(levels) - 1)
    return {level: _MOST_HEIGHT - span * place for place, level in enumerate(sorted(levels, reverse=True))}


def lanes(line: Timeline, *, number: int) -> str:
    """Return who ran where and when: a lane a core.

    Args:
        line: The timeline.
        number: Of the run in the report, for names that must be its own.
    """
    scale, share = WIDTH / line.end_s, heights(line.levels)
    bars = "".join(_bar(bar, scale=scale, share=share[bar.nbody], hatch=f"hatch{number}") for bar in line.bars)
    rules = "".join(f'<path class="rule" d="M0 {_LANE * lane:g}H{WIDTH:g}"/>' for lane in range(1, line.lanes))
    hatch = (
        f'<defs><pattern id="hatch{number}" width="6" height="3" patternUnits="userSpaceOnUse">'
        '<path d="M0 3L6 0" stroke="#000" stroke-width="1.2"/></pattern></defs>'
    )
    said = f"Timeline: {count(len(line.bars), 'bar')} in {count(line.lanes, 'lane')} over {seconds(line.end_s)}"
    every = max(1, math.ceil(line.lanes / _MOST_LABELS))
    return time_plot(
        svg(f"{hatch}{rules}{bars}", height=_LANE * line.lanes, said=said),
        [((lane + 0.5) / line.lanes, f"{lane + 1}") for lane in range(0, line.lanes, every)],
        end_s=line.end_s,
        pixels=max(_LEAST_LANE_PX * line.lanes, min(_LANE_PX * line.lanes, _MOST_LANES_PX)),
        name="core",
    )


def _bar(bar: Bar, *, scale: float, share: float, hatch: str) -> str:
    free = _LANE * (1.0 - share) / 2
    place = (
        f'x="{bar.start_s * scale:.2f}" y="{_LANE * bar.lane + free:.2f}"'
        f' width="{max(_LEAST_WIDTH, (bar.end_s - bar.start_s) * scale):.2f}"'
        f' height="{_LANE * bar.lanes - 2 * free:.2f}"'
    )
    shape = f'<rect {place} class="{style(bar.nbody)}"><title>{escaped(_told(bar))}</title></rect>'
    return f'{shape}<rect {place} class="failed" fill="url(#{hatch})"/>' if bar.failed else shape


def _told(bar: Bar) -> str:
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


def busy(line: Timeline, *, cores: int) -> str:
    """Return how many cores had a task over time, with the cores there are as a dashed line."""
    top = max([float(cores), *(value for _, value in line.busy)])
    labels = [tick for tick in ticks(top, most=3) if tick == int(tick)]
    said = f"Cores with a task over time, of {cores}"
    return _curve(line.busy, end_s=line.end_s, top=top, limit=cores, labels=labels, said=said, name="busy cores")


def held(line: Timeline, *, budget_gib: float) -> str:
    """Return the sum of the running tasks' peaks over time, with the budget as a dashed line where it is near."""
    most = max(value for _, value in line.held_gib)
    limit = budget_gib if budget_is_near(line, budget_gib=budget_gib) else 0.0
    top = max(most, limit) or 1.0
    said = f"Sum of the peaks of running tasks over time, at most {gib(most)}, with a budget of {gib(budget_gib)}"
    labels = ticks(top, most=3)
    return _curve(line.held_gib, end_s=line.end_s, top=top, limit=limit, labels=labels, said=said, name="GiB")


def budget_is_near(line: Timeline, *, budget_gib: float) -> bool:
    """Return whether the picture of memory has the budget in it."""
    return 0.0 < budget_gib <= _FAR_BUDGET * max(value for _, value in line.held_gib)


def _curve(
    steps: Sequence[tuple[float, float]],
    *,
    end_s: float,
    top: float,
    limit: float,
    labels: Sequence[float],
    said: str,
    name: str,
) -> str:
    def y(value: float) -> str:
        return f"{_CURVE * (1.0 - value / top / _HEADROOM):.1f}"

    kind = name.partition(" ")[0]
    path = f"M0 {_CURVE:g}" + "".join(f"H{time_s / end_s * WIDTH:.1f}V{y(value)}" for time_s, value in steps)
    inner = f'<path class="filled {kind}" d="{path}V{_CURVE:g}Z"/><path class="line {kind}" d="{path}"/>'
    if limit:
        inner += f'<path class="limit" d="M0 {y(limit)}H{WIDTH:g}"/>'
    places = [(1.0 - value / top / _HEADROOM, f"{value:g}") for value in labels]
    return time_plot(svg(inner, height=_CURVE, said=said), places, end_s=end_s, pixels=_CURVE_PX, name=name)
