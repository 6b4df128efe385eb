"""A report as files: from the records of runs to HTML, markdown and a picture.

Rules: `content.py` says what is in a report and its renderers how it looks; here files are read, compared and written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.base import json_files
from autotune.base.errors import InputError
from autotune.base.records import RunRecord
from autotune.compare import regression, samples
from autotune.plugin.manager import Manager
from autotune.reports import content, figures, html_page, markdown_page, run_pictures
from autotune.reports.content import Report

if TYPE_CHECKING:
    from autotune.compare.regression import Row
    from autotune.compare.samples import Sample


def report(
    runs: Sequence[RunRecord | str | Path] | RunRecord | str | Path,
    *,
    output: str | Path | None = None,
    markdown: str | Path | None = None,
    picture: str | Path | None = None,
) -> Report:
    """Return what runs did, where their time went, and what to change next; and write it to files.

    Args:
        runs: Records of runs, or the files they are in; one, or several that are shown one after the other.
        output: Write the report here as HTML that needs nothing else.
        markdown: Write the same here as markdown; it shows the picture, if there is one.
        picture: Draw here who ran where and when (PNG, SVG or PDF).

    Raises:
        InputError: A record cannot be read or shown, or the picture's ending is not known.
        ResourceError: A file cannot be written.
    """
    given = [runs] if isinstance(runs, RunRecord | str | Path) else list(runs)
    page, text, drawing = (None if path is None else Path(path) for path in (output, markdown, picture))
    if drawing:
        figures.check(drawing)
    if not given:
        raise InputError("a report needs at least one run; give its record, or the file of it")
    records = [each if isinstance(each, RunRecord) else json_files.load_run(Path(each)) for each in given]
    labels = [f"run {n}" if isinstance(each, RunRecord) else str(each) for n, each in enumerate(given, 1)]
    made = content.report(
        list(zip(content.names_of(labels), records, strict=True)),
        sections=Manager().report_sections(records, changes(records, labels)),
    )
    if drawing:
        run_pictures.draw(made, drawing)
    if text:
        beside = os.path.relpath(drawing, text.parent) if drawing else ""
        json_files.write_text(text, markdown_page.markdown(made, picture=beside))
    if page:
        json_files.write_text(page, html_page.html(made))
    return made


def changes(runs: Sequence[RunRecord], names: Sequence[str]) -> tuple[Row, ...]:
    """Return how later runs compare with the first of the same work; empty where no work was run twice."""
    firsts: list[Sample] = []
    later: list[Sample] = []
    for run, name in zip(runs, names, strict=True):
        with contextlib.suppress(InputError):  # a run that failed or was resumed: its time says nothing
            sample = samples.from_run(run, source=name)
            known = any((first.workload, first.content) == (sample.workload, sample.content) for first in firsts)
            (later if known else firsts).append(sample)
    rows = regression.judge(firsts, later).rows if later else ()
    return tuple(row for row in rows if row.verdict != "missing")
