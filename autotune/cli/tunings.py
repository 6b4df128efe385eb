"""`autotune tunings`: the group, and its commands that look at one place: `list`, `show`, `remove`.

Rules: commands that work with several files have modules of their own, `tunings_share.py` and `tunings_diff.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autotune.base.errors import InputError
from autotune.cli import selection
from autotune.cli.tunings_diff import diff
from autotune.cli.tunings_share import export, import_, merge
from autotune.cli.verify import verify

if TYPE_CHECKING:
    from autotune.base.records import Tuning

_HEADINGS = ("machine", "method", "found", "created", "program", "file")


@click.group()
def tunings() -> None:
    """List, show, compare, share and remove stored tunings."""


@tunings.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tunings_list(as_json: bool) -> None:
    """List the stored tunings, and what is wrong with files that cannot be used."""
    from autotune.tunings import library

    stored: list[tuple[Path, Tuning]] = []
    problems: list[tuple[Path, str]] = []
    for path, found in library.everything():
        if isinstance(found, str):
            problems.append((path, found))
        else:
            stored.append((path, found))
    if as_json:
        listed = {
            "tunings": [_summary(tuning, path) for path, tuning in stored],
            "problems": [{"file": str(path), "problem": problem} for path, problem in problems],
        }
        click.echo(json.dumps(listed, indent=1))
        return
    rows = [_row(tuning, path) for path, tuning in stored]
    for line in _table([_HEADINGS, *rows]) if rows else ["no tunings yet; run `autotune calibrate`"]:
        click.echo(line)
    for _, problem in problems:
        click.echo(f"not used: {problem}")


@tunings.command("show")
@click.argument("name", metavar=selection.METAVAR)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as a file of tunings has it.")
@click.option("--picture", metavar="FILE", help="Draw the search and the confirmation (PNG, SVG or PDF).")
def tunings_show(name: str, as_json: bool, picture: str | None) -> None:
    """Show tunings in words: what was chosen, and the evidence.

    \b
    autotune tunings show 'hf/6-31g*'
    autotune tunings show tuning.json --picture tuning.png
    """
    if picture:
        from autotune.reports import calibration_picture

        calibration_picture.draw(selection.only(name).tuning, Path(picture))
    shown = [one.tuning for one in selection.selected(name)]
    if as_json:
        from autotune.tunings import tuning_file

        click.echo(json.dumps(tuning_file.fields_of(shown), indent=1))
        return
    from autotune.reports.explanation import tuning_words

    click.echo("\n\n".join(tuning_words(tuning) for tuning in shown))


@tunings.command("remove")
@click.argument("name", metavar=selection.METAVAR)
@click.option("--yes", is_flag=True, help="Do not ask.")
def tunings_remove(name: str, yes: bool) -> None:
    """Remove the tuning that words of its method name, or a file of tunings."""
    from autotune.tunings import library

    found = selection.selected(name)
    if not found:
        raise InputError(f"{name} holds no tunings; remove it yourself")
    path = found[0].path
    method = None if selection.is_file(name) else str(found[0].tuning.method)
    if method and not path.is_relative_to(library.home()):
        raise InputError(f"{path} is not in your folder; a tuning of your own takes its place: `autotune calibrate`")
    what = "; ".join(str(one.tuning.method) for one in found)
    if not yes and not click.confirm(f"Remove {what} from {path}?", err=True):
        click.echo("nothing was removed")
        return
    for tuning in library.remove(path, method):
        click.echo(f"removed {tuning.method} of {tuning.machine.key}")


def verdict(tuning: Tuning) -> str:
    """Return what calibration found, in words."""
    from autotune.base.wording import count

    evidence = tuning.evidence
    if evidence.verdict == "faster" and evidence.interval:
        low, high = evidence.interval
        return f"{evidence.speed_up:.2f}× the default's speed (95 % interval {low:.2f} to {high:.2f})"
    return f"the default is kept: nothing was shown to be faster in {count(len(evidence.trials), 'trial')}"


def _row(tuning: Tuning, path: Path) -> tuple[str, ...]:
    program = f"{tuning.method.program} {tuning.program_version}"
    return tuning.machine.key, str(tuning.method), verdict(tuning), tuning.created[:10], program, str(path)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _summary(tuning: Tuning, path: Path) -> dict[str, object]:
    evidence = tuning.evidence
    return {
        "machine": tuning.machine.key,
        "method": str(tuning.method),
        "verdict": evidence.verdict,
        "speed_up": evidence.speed_up,
        "interval": evidence.interval,
        "created": tuning.created,
        "verified": tuning.verified,
        "program": tuning.method.program,
        "program_version": tuning.program_version,
        "file": str(path),
    }


for command in (diff, export, import_, merge, verify):
    tunings.add_command(command)
