"""Axes of a report's pictures: round numbers, the unit that fits them, and the HTML frame around an SVG without text.

Rules: pure; any positive finite range gives ticks. Labels are HTML placed at shares of the width or height, so that
they keep their size while the picture between them is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from autotune.reports.html_text import escaped

WIDTH = 1000.0  # of every picture, in its own units
_STEPS = (1.0, 2.0, 5.0, 10.0)
_UNITS = ((3 * 3600.0, 3600.0, "h"), (180.0, 60.0, "min"))
_MOST_TICKS = 6
_DECADES = 2.0  # in fewer there are ticks at 2 and 5, too
_EDGE = 92.0  # percent of the width; labels beyond it end where they stand


def ticks(highest: float, *, most: int = _MOST_TICKS) -> list[float]:
    """Return round numbers from 0 up to a positive number, evenly spaced."""
    if not 0.0 < highest < math.inf:
        return [0.0]
    rough = highest / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in _STEPS if factor * power >= rough), 10.0 * power)
    return [number * step for number in range(int(highest / step * (1 + 1e-9)) + 1)]


def time_ticks(end_s: float) -> list[tuple[float, str]]:
    """Return seconds from 0 up to an end, each with what is written beside it; the last one has the unit."""
    length, unit = next(((length, unit) for least, length, unit in _UNITS if end_s >= least), (1.0, "s"))
    *before, last = ticks(end_s / length)
    return [*((tick * length, f"{tick:.6g}") for tick in before), (last * length, f"{last:.6g} {unit}")]


def log_ticks(low: float, high: float) -> Iterator[float]:
    """Yield round numbers of a logarithmic range: powers of ten, and 2 and 5 times these where there are few."""
    few = math.log10(high / low) < _DECADES
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for factor in (1.0, 2.0, 5.0) if few else (1.0,):
            if low <= factor * 10.0**power <= high:
                yield factor * 10.0**power


def svg(inner: str, *, height: float, said: str) -> str:
    """Return a picture that fills its box, whatever the shape of that; `said` is read to those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" preserveAspectRatio="none" role="img" aria-label="{escaped(said)}">'
        f"{inner}</svg>"
    )


def time_plot(picture: str, labels: Sequence[tuple[float, str]], *, end_s: float, pixels: int, name: str) -> str:
    """Return a picture over time with its axes.

    Args:
        picture: The SVG.
        labels: Of the vertical axis: shares of the height, from the top, and texts.
        end_s: What the full width stands for.
        pixels: Height of the picture.
        name: Of what the vertical axis counts.
    """
    return (
        f'<div class="plot"><div class="unit">{escaped(name)}</div><div class="y">{y_labels(labels)}</div>'
        f'<div class="box" style="height:{pixels}px">{picture}</div>'
        f'<div class="x">{x_labels([(time_s / end_s, text) for time_s, text in time_ticks(end_s)])}</div></div>'
    )


def y_labels(labels: Sequence[tuple[float, str]]) -> str:
    """Return the labels of a vertical axis, at shares of the height from the top."""
    return "".join(f'<span style="top:{100 * place:.2f}%">{escaped(text)}</span>' for place, text in labels)


def x_labels(labels: Sequence[tuple[float, str]]) -> str:
    """Return the labels of a horizontal axis, at shares of the width from the left."""
    return "".join(
        f'<span{" class=last" if 100 * place > _EDGE else ""} style="left:{100 * place:.2f}%">{escaped(text)}</span>'
        for place, text in labels
    )
