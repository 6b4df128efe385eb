"""`autotune report`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from autotune.errors import InputError
from autotune.verbs import options


@click.command()
@click.argument("records", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="Write the HTML here. [default: beside the first RUN, as .html]")
@click.option("--markdown", metavar="FILE", help="Write the same as markdown; it shows the picture, if there is one.")
@click.option("--picture", metavar="FILE", help="Draw who ran where and when (PNG, SVG or PDF).")
def report(records: tuple[str, ...], output: str | None, markdown: str | None, picture: str | None) -> None:
    """Say what runs did, where their time went, and what to change next, as one HTML file.

    Each RUN is a file that `autotune run --record` wrote; several are shown one after the other, after a table of all.
    The HTML needs nothing else: no network, no scripts.

    \b
    autotune run input.json -o result.json --record run.json
    autotune report run.json
    autotune report before.json after.json -o report.html --markdown report.md --picture timeline.png
    """
    from autotune import plots, report_html, report_markdown, report_picture, store
    from autotune import report as reports
    from autotune.manager import Manager

    page = Path(output) if output else Path(records[0]).with_suffix(".html")
    text, drawing = (Path(given) if given else None for given in (markdown, picture))
    targets = [path for path in (page, text, drawing) if path]
    _check_targets(targets, [Path(record) for record in records])
    if drawing:
        plots.check(drawing)
    runs = [store.load_run(Path(record)) for record in records]
    made = reports.report(
        list(zip(reports.names_of(records), runs, strict=True)), sections=Manager().report_sections(runs, ())
    )
    if drawing:
        report_picture.draw(made, drawing)
    if text:
        beside = os.path.relpath(drawing, text.parent) if drawing else ""
        store.write_text(text, report_markdown.markdown(made, picture=beside))
    store.write_text(page, report_html.html(made))
    for path in targets:
        click.echo(path)


def _check_targets(targets: list[Path], records: list[Path]) -> None:
    """Refuse files that cannot be written, that would be written twice, or that are what is reported on."""
    places = [path.resolve() for path in targets]
    for path, place in zip(targets, places, strict=True):
        if place in [record.resolve() for record in records]:
            raise InputError(f"{path} is a record to report on; give the report another name")
        if places.count(place) > 1:
            raise InputError(f"{path} is named for two different things; give each its own file")
        options.check_target(path)
