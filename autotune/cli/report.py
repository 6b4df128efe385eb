"""`autotune report`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autotune.base.errors import InputError
from autotune.cli import options

if TYPE_CHECKING:
    from autotune.base.records import RunRecord
    from autotune.compare.regression import Row
    from autotune.compare.samples import Sample


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
    from autotune.base import json_files
    from autotune.plugin.manager import Manager
    from autotune.reports import content as reports
    from autotune.reports import figures, html_page, markdown_page, run_pictures

    if folders := [record for record in records if Path(record).is_dir()]:
        raise InputError(f"{folders[0]} is a folder; give the run records themselves, such as {folders[0]}/*.json")
    page = Path(output) if output else Path(records[0]).with_suffix(".html")
    text, drawing = (Path(given) if given else None for given in (markdown, picture))
    options.check_targets((page, text, drawing), records)
    if drawing:
        figures.check(drawing)
    runs = [json_files.load_run(Path(record)) for record in records]
    made = reports.report(
        list(zip(reports.names_of(records), runs, strict=True)),
        sections=Manager().report_sections(runs, _changes(runs, records)),
    )
    if drawing:
        run_pictures.draw(made, drawing)
    if text:
        beside = os.path.relpath(drawing, text.parent) if drawing else ""
        json_files.write_text(text, markdown_page.markdown(made, picture=beside))
    json_files.write_text(page, html_page.html(made))
    for path in filter(None, (page, text, drawing)):
        click.echo(path)


def _changes(runs: Sequence[RunRecord], names: Sequence[str]) -> tuple[Row, ...]:
    """Return how later runs compare with the first of the same work; empty where no work was run twice."""
    from autotune.compare import regression, samples

    firsts: list[Sample] = []
    later: list[Sample] = []
    for run, name in zip(runs, names, strict=True):
        with contextlib.suppress(InputError):  # a run that failed or was resumed: its time says nothing
            sample = samples.from_run(run, source=name)
            known = any((first.workload, first.content) == (sample.workload, sample.content) for first in firsts)
            (later if known else firsts).append(sample)
    rows = regression.judge(firsts, later).rows if later else ()
    return tuple(row for row in rows if row.verdict != "missing")
