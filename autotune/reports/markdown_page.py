"""A report as markdown: the same words and tables as in HTML, and the picture where there is one.

Rules: pure, lays out the blocks of `panels.py`. What comes from files is escaped, so that it can make no headings,
tables, links or HTML; the sections of plugins are markdown already and stay as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from autotune.reports.content import Report, RunReport
from autotune.reports.panels import (
    PANELS,
    Block,
    Facts,
    Items,
    Paragraphs,
    Picture,
    Shares,
    Steps,
    Table,
    side_by_side,
    tiles,
)
from autotune.reports.sentences import as_line, spans

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
    lines += [line for block in side_by_side(report) for line in _block(block)]
    for run in report.runs:
        lines += _run(run, named=several)
    for title, text in report.sections:
        lines += [f"## {sentence(as_line(title))}", "", text.strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


def _run(run: RunReport, *, named: bool) -> list[str]:
    lines = [f"## {sentence(run.name)}", ""] if named else []
    numbers = tuple((name, value if name == "Tasks" else f"{value}, {below}") for name, value, below, _ in tiles(run))
    lines += [f"**{sentence(run.headline)}**", "", *_block(Facts(numbers))]
    for panel in PANELS:
        blocks = [block for column in panel.columns(run) for block in column]
        if text := [line for block in blocks for line in _block(block)]:
            lines += [f"{'###' if named else '##'} {panel.title}", "", *text]
    return lines


def _block(block: Block) -> list[str]:
    """Return a block as lines; none for a picture, which a file of text cannot hold, nor for shares without a key."""
    match block:
        case Paragraphs(sentences):
            lines = [line for each in sentences for line in (sentence(each), "")]
        case Items(sentences):
            lines = _items(sentences)
        case Steps(steps):
            lines = _items([f"{what} {why}" for what, why in steps], sign="1.")
        case Facts(facts):
            lines = _table(("fact", "value"), facts, words=(1,))
        case Table():
            lines = _table(block.headings, block.rows, words=block.words)
        case Shares(shares):
            lines = _items([f"{share.what}: {share.sentence}" for share in shares if share.sentence])
        case Picture():
            lines = []
    return lines


def sentence(text: str) -> str:
    """Return a sentence with its commands as code and everything else escaped."""
    return "".join(f"`{part}`" if code else escape(part, first=not place) for place, (code, part) in _place(text))


def escape(text: str, *, first: bool = True) -> str:
    """Return text that markdown shows as it is; `first` where it may begin a line."""
    safe = _SPECIAL.sub(r"\\\g<0>", html.escape(text, quote=False))
    return _FIRST.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", safe) if first else safe


def _place(text: str) -> Iterator[tuple[int, tuple[bool, str]]]:
    return iter(enumerate(spans(text)))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int]) -> list[str]:
    rule = ["---" if not place or place in words else "---:" for place in range(len(headings))]
    lines = [headings, rule, *([_cell(text) for text in row] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _cell(text: str) -> str:
    # In code, a bar would end the cell.
    return "".join(
        f"`{part.replace('|', chr(92) + '|')}`" if code else escape(part, first=False) for code, part in spans(text)
    )


def _items(sentences: Sequence[str], *, sign: str = "-") -> list[str]:
    return [*(f"{sign} {sentence(each)}" for each in sentences), ""] if sentences else []
