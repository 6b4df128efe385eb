"""Tables as plain text, for terminals and files alike: aligned columns, no frames, no escape codes."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence

_WIDEST = 10**5  # letters: no row is cut or wrapped to fit a terminal, which may be a file


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
