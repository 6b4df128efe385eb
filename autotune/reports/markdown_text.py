"""A report as markdown: the same words and tables as in HTML, and the picture where there is one.

Rules: pure, lays out what `report.py` decided. What comes from files is escaped, so that it can make no headings,
tables, links or HTML; the sections of plugins are markdown already and stay as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from autotune.base.wording import count
from autotune.reports.content import Report, RunReport
from autotune.reports.text import gib, percent, reached, seconds, spans, task_name, told

MOST_FAILED = 10
MOST_MESSAGE = 300
_SPECIAL = re.compile(r"[\\`*_\[\]|~$#]")
_FIRST = re.compile(r"^(?:[-+=:]|\d+[.)])")


def markdown(report: Report, *, picture: str = "") -> str:
    """Return the whole file.

    Args:
        report: What it says.
        picture: Path of the picture, as seen from the file; empty for none.
    """
    several = len(report.runs) > 1
    lines = [f"# autotune report: {sentence(report.title)}", ""]
    if picture:
        lines += [f"![Who ran where and when]({quote(picture)})", ""]
    if several:
        lines += _side_by_side(report)
    for run in report.runs:
        lines += _run(run, named=several)
    for title, text in report.sections:
        lines += [f"## {sentence(told(title))}", "", text.strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


def sentence(text: str) -> str:
    """Return a sentence with its commands as code and everything else escaped."""
    return "".join(f"`{part}`" if code else escaped(part, first=not place) for place, (code, part) in _placed(text))


def escaped(text: str, *, first: bool = True) -> str:
    """Return text that markdown shows as it is; `first` where it may begin a line."""
    safe = _SPECIAL.sub(r"\\\g<0>", html.escape(text, quote=False))
    return _FIRST.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", safe) if first else safe


def _placed(text: str) -> Iterator[tuple[int, tuple[bool, str]]]:
    return iter(enumerate(spans(text)))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *([_cell(text) for text in row] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _cell(text: str) -> str:
    # In code, a bar would end the cell.
    return "".join(
        f"`{part.replace('|', chr(92) + '|')}`" if code else escaped(part, first=False) for code, part in spans(text)
    )


def _items(sentences: Sequence[str], *, sign: str = "-") -> list[str]:
    return [*(f"{sign} {sentence(each)}" for each in sentences), ""] if sentences else []


def _side_by_side(report: Report) -> list[str]:
    rows = [
        [
            each.name,
            seconds(each.run.wall_s),
            seconds(each.run.lower_bound_s),
            reached(each.run.efficiency),
            percent(each.run.cpu_utilisation),
            f"{len(each.failed)}",
            told(each.run.tuning.match),
        ]
        for each in report.runs
    ]
    headings = ("run", "wall time", "lower bound", "reached", "CPU used", "failed", "tuning")
    return [*_table(headings, rows), *_items(report.remarks)]


def _run(run: RunReport, *, named: bool) -> list[str]:
    lines = [f"## {sentence(run.name)}", ""] if named else []
    lines += [f"**{sentence(run.headline)}**", ""]
    mark = "###" if named else "##"
    advice = [f"{each.what} {each.why}" for each in run.advice]
    parts = {
        "What ran, and on what": _table(("fact", "value"), _facts(run)),
        "The tuning, and what it made the run do": [*_items(run.tuning), *_items(run.does)],
        "Where the time went": _items([*(f"{loss.name}: {loss.sentence}" for loss in run.losses), run.bound]),
        "Predicted against measured": [*_items(run.prediction_words), *_worst(run)],
        "Cost by n-body level": _levels(run),
        "What failed": _failed(run),
        "What to change next": _items(advice, sign="1."),
    }
    for title, part in parts.items():
        if part:
            lines += [f"{mark} {title}", "", *part]
    return lines


def _facts(run: RunReport) -> list[list[str]]:
    record = run.run
    measured = [
        ["Wall time", f"{seconds(record.wall_s)}, at least {seconds(record.lower_bound_s)} for any schedule"],
        ["Reached", f"{reached(record.efficiency)} of what is possible"],
        ["CPU used", f"{percent(record.cpu_utilisation)} of all cores' time"],
    ]
    return [*measured, *([name, value] for name, value in run.facts)]


def _worst(run: RunReport) -> list[str]:
    if run.predictions is None:
        return []
    rows = [
        [
            task_name(record),
            seconds(record.wall_s),
            seconds(record.predicted_s),
            f"{record.wall_s / record.predicted_s:.2f}",
        ]
        for record in run.predictions.worst
    ]
    return _table(("furthest off", "measured", "predicted", "ratio"), rows)


def _levels(run: RunReport) -> list[str]:
    rows = [
        [
            f"{level.nbody}-body",
            f"{level.tasks:,}",
            f"{level.core_s:,.1f}",
            percent(level.share),
            seconds(level.median_s),
            gib(level.peak_gib),
        ]
        for level in run.levels
    ]
    return _table(("level", "tasks", "core-seconds", "share", "median task", "peak"), rows) if rows else []


def _failed(run: RunReport) -> list[str]:
    if not run.failed:
        return []
    rows = [
        [task_name(record), told(record.error_type), f"{record.attempts}", told(record.error)[:MOST_MESSAGE]]
        for record in run.failed[:MOST_FAILED]
    ]
    left = len(run.failed) - len(rows)
    more = [f"and {count(left, 'more task')}, in the record", ""] if left else []
    return [*_table(("task", "kind", "attempts", "message"), rows), *more]
