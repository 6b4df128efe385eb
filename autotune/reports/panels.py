"""The panels of a report on runs, listed once: a title, and blocks of a few kinds that each form knows how to lay out.

Rules: pure; whoever lays out a page decides on nothing but looks. Texts are sentences with `commands` in backticks. A
panel without blocks is left out. A new panel is an entry in `PANELS` and the function that gives its blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autotune.base.text import count, gib, percent, seconds
from autotune.reports import run_pictures
from autotune.reports.content import Report, RunReport
from autotune.reports.nbody_table import NBodyTable
from autotune.reports.sentences import as_line, reached_percent, task_name
from autotune.reports.terms_table import COLUMNS as TERM_COLUMNS
from autotune.session.run_record import alike

MOST_FAILED = 10
MOST_MESSAGE = 300
_SHOWN = ("fragments", "bsse", "distance_angstrom", "contribution_kcal_mol")
_ALL_TERMS = "These contribute most; `autotune terms` lists all from the stored result."
_LETTERS = "ABCDEFGH"


@dataclass(frozen=True, slots=True)
class Paragraphs:
    """Sentences that stand alone."""

    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """Sentences of a list."""

    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """Things to do in this order: what, and why."""

    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values."""

    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        headings: Of the columns.
        rows: As many texts each.
        words: Columns of words, where others are of numbers.
        long: A row has so much that it becomes a list on a phone.
        links: Where the first cell of each row leads to in the page; empty for nowhere.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()
    long: bool = False
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a whole.

    Attributes:
        name: What is written in it, a letter or a word.
        share: Of 1.
        colour: Number of its colour; None for grey.
        lost: It is a loss: losses and n-body levels have colours of their own.
        sentence: What it is, for the key below; empty for no key.
        what: Its whole name.
    """

    name: str
    share: float
    colour: int | None
    what: str
    sentence: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Shares:
    """A whole as a bar of its parts, with a key."""

    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as SVG, given its number in the page, and what is written below it."""

    svg: Callable[[int], str]
    caption: str


Block = Paragraphs | Items | Steps | Facts | Table | Shares | Picture
Column = tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel on one run.

    Attributes:
        name: In links to it.
        title: Above it.
        columns: Gives its blocks, in columns next to each other where there is room.
        folded: Only its title is shown until somebody opens it.
    """

    name: str
    title: str
    columns: Callable[[RunReport], Sequence[Column]]
    folded: bool = False


def tiles(run: RunReport) -> tuple[tuple[str, str, str, float | None], ...]:
    """Return the foremost numbers of a run: name, value, what it is of, and the share of 1 where it is one."""
    record = run.run
    failed = f"{len(run.failed):,} failed" if run.failed else "none failed"
    return (
        ("Wall time", seconds(record.wall_s), f"at least {seconds(record.lower_bound_s)} for any schedule", None),
        ("Reached", reached_percent(record.efficiency), "of what is possible", _part(record.efficiency)),
        ("CPU used", percent(record.cpu_utilisation), "of all cores' time", _part(record.cpu_utilisation)),
        ("Peak memory", gib(record.peak_memory_gib), f"of {gib(record.memory_budget_gib)} allowed", None),
        ("Tasks", f"{len(record.task_records):,}", failed, None),
    )


def _part(share: float) -> float:
    return min(share, 1.0) if share > 0.0 else 0.0


def side_by_side(report: Report) -> Column:
    """Return what is said of several runs together; empty for a single one."""
    if len(report.runs) == 1:
        return ()
    rows = tuple(
        (
            each.name,
            seconds(each.run.wall_s),
            seconds(each.run.lower_bound_s),
            reached_percent(each.run.efficiency),
            percent(each.run.cpu_utilisation),
            f"{len(each.failed)}" if each.failed else "none",
            as_line(each.run.tuning.match),
        )
        for each in report.runs
    )
    headings = ("run", "wall time", "lower bound", "reached", "CPU used", "failed", "tuning")
    links = tuple(f"run{number}" for number in range(1, len(rows) + 1))
    return (Table(headings=headings, rows=rows, long=True, links=links), Paragraphs(report.remarks))


def _energies(run: RunReport) -> Sequence[Column]:
    if not run.run.energies:
        return ()
    table = NBodyTable(run.run.energies)
    headings = tuple(f"{column.heading}, {column.unit}" if column.unit else column.heading for column in table.columns)
    words = tuple(place for place, column in enumerate(table.columns) if column.digits is None and place)
    rows = tuple(tuple(as_line(cell, code=False) for cell in row) for row in table.cells)
    returned = f"{table.returned_words[:1].upper()}{table.returned_words[1:]}."
    return ((Table(headings=headings, rows=rows, words=words, long=True), Paragraphs((returned,))),)


def _terms(run: RunReport) -> Sequence[Column]:
    terms = run.run.largest_terms
    if not terms:
        return ()
    columns = sorted((each for each in TERM_COLUMNS if each.name in _SHOWN), key=lambda each: _SHOWN.index(each.name))
    headings = tuple(f"{column.heading}, {column.unit}" if column.unit else column.heading for column in columns)
    rows = tuple(tuple(as_line(column.cell(term), code=False) for column in columns) for term in terms)
    return ((Table(headings=headings, rows=rows, words=(1,)), Paragraphs((_ALL_TERMS,))),)


def _facts(run: RunReport) -> Sequence[Column]:
    return ((Facts(run.facts),),)


def _tuning(run: RunReport) -> Sequence[Column]:
    return ((Paragraphs(run.tuning),), (Items(run.does),))


def _losses(run: RunReport) -> Sequence[Column]:
    if not run.losses:
        return ((Paragraphs(("The record says nothing about it.",)),),)
    letters = iter(_LETTERS)
    total = sum(loss.share for loss in run.losses) or 1.0
    shares = []
    for loss in run.losses:
        letter = "" if loss.useful else next(letters)
        colour = _LETTERS.index(letter) if letter else None
        share = loss.share / total
        shares.append(
            Share(
                name=letter or loss.name,
                share=share,
                colour=colour,
                what=loss.name,
                sentence=loss.sentence,
                lost=True,
            )
        )
    return ((Shares(tuple(shares)), Paragraphs((run.bound,) if run.bound else ())),)


def _timeline(run: RunReport) -> Sequence[Column]:
    if not run.timeline.bars:
        return ((Paragraphs(("No task has times that can be drawn.",)),),)
    return ((Picture(lambda number: run_pictures.timeline_svg(run, number), " ".join(_caption(run))),),)


def _caption(run: RunReport) -> Iterator[str]:
    line, record = run.timeline, run.run
    yield "One row for each core; which core a task took is not recorded, so it stands in the first row that was free."
    if line.merged:
        yield "There are more tasks than can be seen: a bar stands for several, coloured by the level that took most."
    if line.left_out:
        yield f"{count(line.left_out, 'task')} without usable times are left out."
    yield f"Below: cores with a task, of {record.machine.cores} (dashed); the sum of the peaks of running tasks."
    if not run_pictures.budget_is_near(line, budget_gib=record.memory_budget_gib):
        yield f"The memory budget is far above, {gib(record.memory_budget_gib)}."


def _predictions(run: RunReport) -> Sequence[Column]:
    if run.predictions is None:
        return ((Items(run.prediction_words),),)
    rows = tuple(
        (
            task_name(record),
            seconds(record.wall_s),
            seconds(record.predicted_s),
            f"{record.wall_s / record.predicted_s:.2f}",
        )
        for record in run.predictions.worst
    )
    caption = (
        "Every mark is a task, on logarithmic axes: above the diagonal it took longer than predicted; the band is"
        " ±20 %."
    )
    worst = Table(headings=("furthest off", "measured", "predicted", "ratio"), rows=rows)
    picture = Picture(lambda number: run_pictures.predictions_svg(run, number), caption)
    return (picture,), (Items(run.prediction_words), worst)


def _levels(run: RunReport) -> Sequence[Column]:
    if not run.levels:
        return ((Paragraphs(("Nothing was computed.",)),),)
    names = [f"{level.nbody}-body" for level in run.levels]
    shares = tuple(
        Share(name=name, share=level.share, colour=level.nbody - 1, what=name)
        for name, level in zip(names, run.levels, strict=True)
    )
    rows = tuple(
        (
            name,
            f"{level.tasks:,}",
            f"{level.core_s:,.1f}",
            percent(level.share),
            seconds(level.median_s),
            gib(level.peak_gib),
        )
        for name, level in zip(names, run.levels, strict=True)
    )
    headings = ("level", "tasks", "core-seconds", "share", "median task", "peak")
    return ((Shares(shares), Table(headings=headings, rows=rows, long=True)),)


def _failures(run: RunReport) -> Sequence[Column]:
    if not run.failed:
        return ()
    groups = alike(run.failed)
    rows = tuple(
        (
            f"{task_name(group[0])}{f' and {len(group) - 1:,} more' if group[1:] else ''}",
            f"{len(group):,} of {run.run.tasks:,}: {as_line(group[0].error_type)}",
            f"{max(record.attempts for record in group)}",
            as_line(group[0].error)[:MOST_MESSAGE] or "no message",
        )
        for group in groups[:MOST_FAILED]
    )
    left = sum(map(len, groups[MOST_FAILED:]))
    more = (f"and {count(left, 'more task')}, in the record",) if left else ()
    table = Table(headings=("task", "failed alike", "attempts", "message"), rows=rows, words=(1, 3), long=True)
    return ((table, Paragraphs(more)),)


def _advice(run: RunReport) -> Sequence[Column]:
    return ((Steps(tuple((each.what, each.why) for each in run.advice)),),)


PANELS = (
    Panel("energies", "What came out", _energies),
    Panel("next", "What to change next", _advice),
    Panel("terms", "What contributes most", _terms),
    Panel("failures", "What failed", _failures),
    Panel("facts", "What ran, and on what", _facts),
    Panel("tuning", "The tuning, and what it made the run do", _tuning, folded=True),
    Panel("losses", "Where the time went", _losses),
    Panel("timeline", "Who ran where, and when", _timeline),
    Panel("predictions", "Predicted against measured", _predictions),
    Panel("levels", "Cost by n-body level", _levels),
)
