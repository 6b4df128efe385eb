"""`autotune tunings export`, `import` and `merge`: tunings between people and machines.

Rules: what comes in is validated as a whole before anything is stored; a newer tuning is never replaced by an older.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autotune.cli import selection

if TYPE_CHECKING:
    from autotune.tunings.library import Merged

_output = click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
_files = click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))


@click.command("export")
@click.argument("names", nargs=-1, required=True, metavar=f"{selection.METAVAR}...")
@_output
def export(names: Sequence[str], output: Path) -> None:
    """Write tunings to one file, to be imported elsewhere; a file of tunings that is there is replaced.

    \b
    autotune tunings export 'hf/6-31g*' 'mp2/cc-pvdz' -o ours.json
    """
    from autotune.tunings import library

    found = [one.tuning for name in names for one in selection.selected(name)]
    library.export(found, output)
    for tuning in library.load(output):
        click.echo(f"exported {tuning.method} of {tuning.machine.key}")


@click.command("import")
@_files
def import_(files: Sequence[Path]) -> None:
    """Take tunings from files into your folder, where they are newer than those in it."""
    from autotune.tunings import library

    _say(library.merge(files, say=_say_aside))


@click.command("merge")
@_files
@_output
def merge(files: Sequence[Path], output: Path) -> None:
    """Add tunings of files to one file, where they are newer than those in it."""
    from autotune.tunings import library

    _say(library.merge(files, output, say=_say_aside))


def _say_aside(line: str) -> None:
    click.echo(f"autotune: {line}", err=True)


def _say(merged: Sequence[Merged]) -> None:
    for tuning, path, taken in merged:
        what = f"{tuning.method} of {tuning.machine.key}, created {tuning.created[:10]}"
        click.echo(f"taken: {what}, into {path}" if taken else f"left: {what}, not newer than what is in {path}")
    if not merged:
        click.echo("the files hold no tunings")
