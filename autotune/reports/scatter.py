"""Predicted against measured times as SVG: every task a mark, the diagonal, the band around it.

Rules: pure, returns HTML; see `report_axes.py`. Levels differ in the shape of their marks as well as in colour. Where
there are more tasks than can be told apart, those that lie on others are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from autotune.base.records import TaskRecord
from autotune.base.wording import count
from autotune.reports.axes import WIDTH, log_ticks, svg, x_labels, y_labels
from autotune.reports.charts import style
from autotune.reports.facts import NEAR, predicted
from autotune.reports.html_text import escaped
from autotune.reports.text import seconds, task_name

_MOST_MARKS = 700
_CELLS = 90  # across the picture; of the tasks of a level in one cell one is drawn
_MARGIN = 1.3  # of the axes around the times
_SIZE = 11.0
_SHAPES = ("circle", "square", "triangle", "diamond")


def scatter(records: Sequence[TaskRecord], *, levels: Sequence[int]) -> str:
    """Return measured over predicted times on logarithmic axes; at least one task must have both."""
    compared = predicted(records)
    times = [time_s for record in compared for time_s in (record.predicted_s, record.wall_s)]
    low, high = min(times) / _MARGIN, max(times) * _MARGIN

    def place(time_s: float) -> float:
        return WIDTH * min(1.0, max(0.0, math.log(time_s / low) / math.log(high / low)))

    above, below = place(low * (1 + NEAR)), place(low / (1 - NEAR))
    marks = list(log_ticks(low, high))
    inner = "".join(
        [
            *(
                f'<path class="rule" d="M{place(t):.1f} 0V{WIDTH:g}M0 {WIDTH - place(t):.1f}H{WIDTH:g}"/>'
                for t in marks
            ),
            f'<path class="band" d="M0 {WIDTH:g}V{WIDTH - above:.1f}L{WIDTH - above:.1f} 0H{WIDTH:g}V{below:.1f}',
            f'L{below:.1f} {WIDTH:g}Z"/><path class="diagonal" d="M0 {WIDTH:g}L{WIDTH:g} 0"/>',
            *(_mark(record, place=place, levels=levels) for record in thinned(compared, place=place)),
        ]
    )
    said = f"Measured over predicted times of {count(len(compared), 'task')}, from {seconds(low)} to {seconds(high)}"
    return (
        '<div class="plot square"><div class="unit">measured</div>'
        f'<div class="y">{y_labels([(1.0 - place(t) / WIDTH, _short(t)) for t in marks])}</div>'
        f'<div class="box">{svg(inner, height=WIDTH, said=said)}</div>'
        f'<div class="x">{x_labels([(place(t) / WIDTH, _short(t)) for t in marks])}</div>'
        '<div class="x-name">predicted</div></div>'
    )


def thinned(records: Sequence[TaskRecord], *, place: Callable[[float], float]) -> Iterator[TaskRecord]:
    """Yield the records that can be told apart in the picture: all where they are few, else one a cell and level."""
    if len(records) <= _MOST_MARKS:
        yield from records
        return
    seen: set[tuple[int, ...]] = set()
    for record in records:
        cell = (record.nbody, *(int(place(t) / WIDTH * _CELLS) for t in (record.predicted_s, record.wall_s)))
        if cell not in seen and len(seen) < 2 * _MOST_MARKS:
            seen.add(cell)
            yield record


def outline(levels: Sequence[int], nbody: int, *, x: float, y: float, size: float = _SIZE) -> str:
    """Return the outline of a level's mark around a point, as the data of an SVG path."""
    match _SHAPES[levels.index(nbody) % len(_SHAPES)]:
        case "square":
            return f"M{x - size:.1f} {y - size:.1f}h{2 * size:g}v{2 * size:g}h{-2 * size:g}z"
        case "triangle":
            return f"M{x:.1f} {y - 1.3 * size:.1f}l{1.3 * size:g} {2.3 * size:g}h{-2.6 * size:g}z"
        case "diamond":
            half = 1.4 * size
            return f"M{x:.1f} {y - half:.1f}l{half:g} {half:g}l{-half:g} {half:g}l{-half:g} {-half:g}z"
    arc = f"a{size:g} {size:g} 0 1 0"
    return f"M{x - size:.1f} {y:.1f}{arc} {2 * size:g} 0{arc} {-2 * size:g} 0z"


def _mark(record: TaskRecord, *, place: Callable[[float], float], levels: Sequence[int]) -> str:
    title = f"{task_name(record)}: {seconds(record.wall_s)}, predicted {seconds(record.predicted_s)}"
    shape = outline(levels, record.nbody, x=place(record.predicted_s), y=WIDTH - place(record.wall_s))
    return f'<path class="dot {style(record.nbody)}" d="{shape}"><title>{escaped(title)}</title></path>'


def _short(time_s: float) -> str:
    return f"{time_s:g} s" if time_s >= 1.0 else f"{1000 * time_s:g} ms"
