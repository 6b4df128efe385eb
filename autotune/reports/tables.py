"""Tables as plain text, for terminals and files alike: aligned columns, no frames, no escape codes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.base.text import one_line

NOTHING = "-"  # where a row has no such value
_WIDEST = 10**5  # letters: no row is cut or wrapped to fit a terminal, which may be a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table of records.

    Attributes:
        name: In CSV, with the unit.
        heading: For people.
        unit: Below the heading.
        value: Of a record; None where it has none.
        digits: Behind the point; None for what is not a fraction.
        words: It is aligned to the left.
    """

    name: str
    heading: str
    unit: str = ""
    value: Callable[[Any], str | int | float | None]
    digits: int | None = None
    words: bool = False

    def cell(self, record: object) -> str:
        """Return what people read of a record."""
        value = self.value(record)
        if value is None:
            return NOTHING
        return one_line(value) if self.digits is None else f"{value:.{self.digits}f}"


def lines_of(columns: Sequence[Column], records: Iterable[object]) -> list[str]:
    """Return a table of records as lines, units below the headings."""
    headings = [f"{column.heading}\n{column.unit}" for column in columns]
    words = [place for place, column in enumerate(columns) if column.words]
    return text_table(headings, ([column.cell(record) for column in columns] for record in records), words=words)


def csv_of(columns: Sequence[Column], records: Iterable[object]) -> str:
    """Return records as comma-separated values, numbers with all their digits, units in the names."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    # What csv makes of None is an empty field, and of a float its shortest text that gives it back.
    writer.writerows([column.value(record) for column in columns] for record in records)
    return file.getvalue()


def text_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[int] = (), gap: int = 2
) -> list[str]:
    """Return a table as lines without trailing spaces; a cell of several lines makes its row as high.

    Args:
        headings: Of the columns; a table whose headings are all empty begins with its first row.
        rows: As many texts each; they are taken as they are, without markup.
        words: Columns of words, which are aligned to the left; the others, of numbers, to the right.
        gap: Spaces between columns.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=any(headings))
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if place in words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    file = io.StringIO()
    Console(file=file, width=_WIDEST, color_system=None, force_jupyter=False).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]
