"""`autotune show`."""

from __future__ import annotations

import click

from autotune.cli import options


@click.command("show")
@click.argument("result", metavar="RESULT")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the table here as comma-separated values, too.")
def command(result: str, csv_file: str | None) -> None:
    """Print the n-body energies of a stored ManyBodyResult as a table.

    RESULT is a ManyBodyResult (JSON, schema version 1 or 2), of autotune or of QCManyBody itself, or - for standard
    input. For each BSSE treatment and n-body level the table has the total energy, the interaction energy, and what the
    level contributes, in Eh and kcal/mol, and norms of gradients where there are any.

    \b
    autotune run input.json -o result.json
    autotune show result.json --csv energies.csv
    """
    from autotune.reports.nbody_table import tabulate

    options.check_targets((csv_file,), [] if result == "-" else [result])
    click.echo(str(tabulate(result, output=csv_file)))
