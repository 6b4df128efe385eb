"""A report as one HTML file that needs nothing else: no scripts, no fonts, no pictures from elsewhere.

Rules: pure, lays out what `report.py` decided. The file forbids itself scripts and the network, so that even a mistake
in escaping could load and run nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autotune.base.wording import count
from autotune.reports.charts import budget_is_near, busy, heights, held, lanes, style
from autotune.reports.content import Report, RunReport
from autotune.reports.facts import Level
from autotune.reports.html_text import escaped, markdown, sentence
from autotune.reports.losses import Loss
from autotune.reports.plots import COLOURS
from autotune.reports.scatter import outline, scatter
from autotune.reports.style import style_sheet
from autotune.reports.text import gib, percent, reached, seconds, task_name, told

MOST_FAILED = 10
MOST_MESSAGE = 300
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_LETTERS = "ABCDEFGH"
_NAMED_SHARE = 0.08  # of the bar, in which a name fits


def html(report: Report) -> str:
    """Return the whole file."""
    several = len(report.runs) > 1
    body = "\n".join(
        [
            f'<header class="top"><p class="eyebrow">autotune report</p><h1>{escaped(report.title)}</h1></header>',
            *([_side_by_side(report)] if several else []),
            *(_run(run, number=number, named=several) for number, run in enumerate(report.runs, start=1)),
            *(_card(title, markdown(text)) for title, text in report.sections),
            "<footer>Made by <code>autotune report</code>. Times are measured unless called predicted.</footer>",
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(_POLICY)}">\n'
        f'<link rel="icon" href="data:,">\n<title>{escaped(report.title)} - autotune report</title>\n'
        f"<style>{style_sheet()}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _card(title: str, inner: str) -> str:
    return f'<section class="card"><h3>{escaped(title)}</h3>{inner}</section>'


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "list", text: Sequence[int] = ()
) -> str:
    """Return a table of cells that are HTML already; `text` are columns of words."""
    head = "".join(f'<th scope="col"{_text(place, text)}>{escaped(name)}</th>' for place, name in enumerate(headings))
    lines = [
        "".join(
            f'<td data-label="{escaped(name)}"{_text(place, text)}>{cell}</td>'
            for place, (name, cell) in enumerate(zip(headings, row, strict=True))
        )
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _text(place: int, text: Sequence[int]) -> str:
    return ' class="text"' if place in text else ""


def _words(sentences: Sequence[str]) -> str:
    return f'<ul class="words">{"".join(f"<li>{sentence(each)}</li>" for each in sentences)}</ul>'


# --- several runs -----------------------------------------------------------------------------------------------------


def _side_by_side(report: Report) -> str:
    rows = [
        [
            f'<a href="#run{number}">{escaped(each.name)}</a>',
            sentence(seconds(each.run.wall_s)),
            sentence(seconds(each.run.lower_bound_s)),
            sentence(reached(each.run.efficiency)),
            sentence(percent(each.run.cpu_utilisation)),
            escaped(len(each.failed)) if each.failed else "none",
            escaped(told(each.run.tuning.match)),
        ]
        for number, each in enumerate(report.runs, start=1)
    ]
    headings = ("run", "wall time", "lower bound", "reached", "CPU used", "failed", "tuning")
    remarks = "".join(f'<p class="soft">{sentence(remark)}</p>' for remark in report.remarks)
    return _card("Side by side", f"{_table(headings, rows)}{remarks}")


# --- one run ----------------------------------------------------------------------------------------------------------


def _run(run: RunReport, *, number: int, named: bool) -> str:
    parts = [
        _hero(run, number=number, named=named),
        _card("What ran, and on what", _facts(run)),
        _card("The tuning, and what it made the run do", _tuning(run)),
        _card("Where the time went", _losses(run)),
        _card("Who ran where, and when", _timeline(run, number=number)),
        _card("Predicted against measured", _predictions(run)),
        _card("Cost by n-body level", _levels(run)),
        *([_card("What failed", _failed(run))] if run.failed else []),
        f'<div id="next{number}">{_card("What to change next", _advice(run))}</div>',
    ]
    return f'<article id="run{number}">{"".join(parts)}</article>'


def _hero(run: RunReport, *, number: int, named: bool) -> str:
    record = run.run
    ended = len(record.task_records)
    tiles = "".join(
        [
            _tile("Wall time", seconds(record.wall_s), f"at least {seconds(record.lower_bound_s)} for any schedule"),
            _tile("Reached", reached(record.efficiency), "of what is possible", share=record.efficiency),
            _tile("CPU used", percent(record.cpu_utilisation), "of all cores' time", share=record.cpu_utilisation),
            _tile("Peak memory", gib(record.peak_memory_gib), f"of {gib(record.memory_budget_gib)} allowed"),
            _tile("Tasks", f"{ended:,}", f"{len(run.failed):,} failed" if run.failed else "none failed"),
        ]
    )
    eyebrow = f'<p class="eyebrow name">{escaped(run.name)}</p>'
    title = f"<p>{escaped(told(record.workload))}</p>" if named else ""
    then = f'<p class="next"><a href="#next{number}">Next:</a> {sentence(run.advice[0].what)}</p>'
    kind = "card hero failed" if run.failed else "card hero"
    return (
        f'<section class="{kind}">{eyebrow}<h2>{sentence(run.headline)}</h2>{title}{then}'
        f'<dl class="tiles">{tiles}</dl></section>'
    )


def _tile(name: str, value: str, below: str, *, share: float | None = None) -> str:
    width = 0.0 if share is None or not share > 0.0 else min(100.0, 100.0 * share)
    meter = (
        "" if share is None else f'<span class="meter" style="display:block"><i style="width:{width:.1f}%"></i></span>'
    )
    return (
        f'<div class="tile"><dt>{escaped(name)}</dt>'
        f"<dd>{sentence(value)}{meter}<small>{sentence(below)}</small></dd></div>"
    )


def _facts(run: RunReport) -> str:
    rows = "".join(f"<dt>{escaped(name)}</dt><dd>{sentence(value)}</dd>" for name, value in run.facts)
    return f'<dl class="facts">{rows}</dl>'


def _tuning(run: RunReport) -> str:
    why = "".join(f"<p>{sentence(each)}</p>" for each in run.tuning)
    return f'<div class="columns"><div>{why}</div><div>{_words(run.does)}</div></div>'


def _losses(run: RunReport) -> str:
    if not run.losses:
        return "<p>The record says nothing about it.</p>"
    total = sum(loss.share for loss in run.losses) or 1.0
    letters = dict(zip([loss.name for loss in run.losses if not loss.useful], _LETTERS, strict=False))
    pieces = "".join(_piece(loss, letters.get(loss.name, ""), total=total) for loss in run.losses)
    items = "".join(
        f'<li><span class="key {_loss_class(letters.get(loss.name, ""))}">{letters.get(loss.name, "")}</span>'
        f"<span><strong>{escaped(loss.name)}</strong>: {sentence(loss.sentence)}</span></li>"
        for loss in run.losses
    )
    bound = f"<p>{sentence(run.bound)}</p>" if run.bound else ""
    said = escaped(", ".join(f"{loss.name} {percent(loss.share)}" for loss in run.losses))
    return f'<div class="bar" role="img" aria-label="{said}">{pieces}</div><ul class="losses">{items}</ul>{bound}'


def _piece(loss: Loss, letter: str, *, total: float) -> str:
    share = loss.share / total
    text = (letter or escaped(loss.name)) if share >= (_NAMED_SHARE / 4 if letter else _NAMED_SHARE) else ""
    return f'<span class="{_loss_class(letter)}" style="width:{100 * share:.2f}%">{text}</span>'


def _loss_class(letter: str) -> str:
    # The first colour is left to the levels' bars, the useful part is grey.
    return f"loss{(1 + _LETTERS.index(letter)) % len(COLOURS)}" if letter else "useful"


def _timeline(run: RunReport, *, number: int) -> str:
    line, record = run.timeline, run.run
    if not line.bars:
        return "<p>No task has times that can be drawn.</p>"
    near = budget_is_near(line, budget_gib=record.memory_budget_gib)
    budget = f"{'dashed: the budget' if near else 'the budget is far above'}, {gib(record.memory_budget_gib)}"
    figures = (
        (lanes(line, number=number), " ".join(_caption(run))),
        (busy(line, cores=record.machine.cores), f"Cores with a task; dashed: all {record.machine.cores} of them."),
        (held(line, budget_gib=record.memory_budget_gib), f"Sum of the peaks of running tasks, in GiB; {budget}."),
    )
    drawn = (f"<figure>{picture}<figcaption>{sentence(text)}</figcaption></figure>" for picture, text in figures)
    return _level_legend(run) + "".join(drawn)


def _caption(run: RunReport) -> Iterator[str]:
    line = run.timeline
    yield "One row for each core; which core a task took is not recorded, so it stands in the first row that was free."
    if line.merged:
        yield "There are more tasks than can be seen: a bar stands for several, coloured by the level that took most."
    if line.left_out:
        yield f"{count(line.left_out, 'task')} without usable times are left out."


def _level_legend(run: RunReport) -> str:
    share = heights(run.timeline.levels)
    items = [
        f'<li><svg viewBox="0 0 22 16" aria-hidden="true"><rect x="0" width="22" y="{8 * (1 - share[level]):.1f}"'
        f' height="{16 * share[level]:.1f}" class="{style(level)}"/></svg>{level}-body</li>'
        for level in run.timeline.levels
    ]
    if run.failed:
        items.append(
            '<li><svg viewBox="0 0 22 16" aria-hidden="true"><rect x="1" y="1" width="20" height="14" fill="none"'
            ' class="failed"/><path d="M4 15L16 1M10 15L21 3M1 11L10 1" stroke="currentColor"/></svg>failed</li>'
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _predictions(run: RunReport) -> str:
    words = _words(run.prediction_words)
    if run.predictions is None:
        return words
    levels = [level.nbody for level in run.levels]
    legend = "".join(
        f'<li><svg viewBox="0 0 22 16" aria-hidden="true"><path class="{style(level)}"'
        f' d="{outline(levels, level, x=11, y=8, size=5)}"/></svg>{level}-body</li>'
        for level in levels
    )
    rows = [
        [
            escaped(task_name(record)),
            sentence(seconds(record.wall_s)),
            sentence(seconds(record.predicted_s)),
            escaped(f"{record.wall_s / record.predicted_s:.2f}"),
        ]
        for record in run.predictions.worst
    ]
    return (
        f'<div class="columns"><figure><ul class="legend">{legend}</ul>{scatter(run.run.task_records, levels=levels)}'
        "<figcaption>Every mark is a task, on logarithmic axes: above the diagonal it took longer than predicted; the"
        f" band is ±20&nbsp;%.</figcaption></figure><div>{words}<h4>Furthest off</h4>"
        f"{_table(('task', 'measured', 'predicted', 'ratio'), rows, kind='')}</div></div>"
    )


def _levels(run: RunReport) -> str:
    rows = [
        [
            f"{level.nbody}-body",
            f"{level.tasks:,}",
            f"{level.core_s:,.1f}",
            f"{sentence(percent(level.share))}{_share(level)}",
            sentence(seconds(level.median_s)),
            f"{level.peak_gib:.2f}",
        ]
        for level in run.levels
    ]
    if not rows:
        return "<p>Nothing was computed.</p>"
    return _table(("level", "tasks", "core-s", "share", "median task", "peak GiB"), rows, kind="")


def _share(level: Level) -> str:
    return f'<span class="share {style(level.nbody)}" style="width:{100 * level.share:.1f}%"></span>'


def _failed(run: RunReport) -> str:
    rows = [
        [
            escaped(task_name(record)),
            escaped(told(record.error_type)),
            f"{record.attempts}",
            escaped(told(record.error)[:MOST_MESSAGE] or "no message"),
        ]
        for record in run.failed[:MOST_FAILED]
    ]
    left = len(run.failed) - len(rows)
    more = f'<p class="soft">and {left:,} more, in the record</p>' if left else ""
    return _table(("task", "kind", "attempts", "message"), rows, text=(1, 3)) + more


def _advice(run: RunReport) -> str:
    items = "".join(
        f'<li><strong>{sentence(each.what)}</strong><span class="soft">{sentence(each.why)}</span></li>'
        for each in run.advice
    )
    return f'<ol class="advice">{items}</ol>'
