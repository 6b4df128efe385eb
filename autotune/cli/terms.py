"""`autotune terms`."""

from __future__ import annotations

import json

import click

from autotune.cli import options


@click.command("terms")
@click.argument("result", metavar="RESULT")
@click.option(
    "--largest",
    type=options.WholeNumber(min=1),
    metavar="N",
    help="Print only the N terms of each BSSE treatment that contribute most.",
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write all terms here as comma-separated values, too.")
@click.option("--plot", metavar="FILE", help="Draw contributions over distance here (.svg, .png, .pdf), too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(result: str, largest: int | None, csv_file: str | None, plot: str | None, as_json: bool) -> None:
    """Print what each pair, triple and so on of fragments adds to a stored ManyBodyResult.

    RESULT is a ManyBodyResult (JSON, schema version 1 or 2), of autotune or of QCManyBody itself, or - for standard
    input. For each BSSE treatment the terms of each level are listed by distance: between the nearest atoms of the two
    fragments, the farthest pair where there are more. The last column sums a level up to that distance; its last value
    is what the level contributes, as in `autotune show`.

    \b
    autotune run input.json -o result.json
    autotune terms result.json --largest 10 --plot terms.svg
    """
    from autotune.reports.terms_table import tabulate_terms

    options.check_targets((csv_file, plot), [] if result == "-" else [result])
    table = tabulate_terms(result, output=csv_file, plot=plot)
    shown = table.largest(largest) if largest else table
    click.echo(json.dumps(shown.fields(), indent=1) if as_json else str(shown))
