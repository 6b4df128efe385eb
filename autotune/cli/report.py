"""`autotune report`."""

from __future__ import annotations

from pathlib import Path

import click

from autotune.base.errors import InputError
from autotune.cli import options


@click.command("report")
@click.argument("records", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="Write the HTML here. [default: next to the first RUN, as .html]")
@click.option("--markdown", metavar="FILE", help="Write the same as markdown; it shows the picture, if there is one.")
@click.option("--picture", metavar="FILE", help="Draw who ran where and when (PNG, SVG or PDF).")
def command(records: tuple[str, ...], output: str | None, markdown: str | None, picture: str | None) -> None:
    """Say what runs did, where their time went, and what to change next, as one HTML file.

    Each RUN is a file that `autotune run --record` wrote; several are shown one after the other, after a table of all.
    The HTML needs nothing else: no network, no scripts.

    \b
    autotune run input.json -o result.json --record run.json
    autotune report run.json
    autotune report before.json after.json -o report.html --markdown report.md --picture timeline.png
    """
    from autotune.reports.files import report

    if folders := [record for record in records if Path(record).is_dir()]:
        raise InputError(f"{folders[0]} is a folder; give the run records themselves, such as {folders[0]}/*.json")
    page = output or str(Path(records[0]).with_suffix(".html"))
    options.check_targets((page, markdown, picture), records)
    report(records, output=page, markdown=markdown, picture=picture)
    for path in filter(None, (page, markdown, picture)):
        click.echo(Path(path))
