"""`autotune tunings`: stored tunings are listed, shown, compared, shared, verified and removed.

Rules: what comes in is validated as a whole before anything is stored; a newer tuning is never replaced by an older,
and nothing is removed that was not named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autotune.base.errors import InputError
from autotune.cli.options import TIME

if TYPE_CHECKING:
    from autotune.base.records import Tuning
    from autotune.calibration.verification import Verification
    from autotune.tunings.library import Merged

METAVAR = "FILE|METHOD-TEXT"
_HEADINGS = ("machine", "method", "found", "created", "program", "file")


@click.group("tunings")
def command() -> None:
    """List, show, compare, share and remove stored tunings."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tunings_list(as_json: bool) -> None:
    """List the stored tunings, and what is wrong with files that cannot be used."""
    from autotune.tunings import folders

    stored: list[tuple[Path, Tuning]] = []
    problems: list[tuple[Path, str]] = []
    for path, found in folders.everything():
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


@command.command("show")
@click.argument("name", metavar=METAVAR)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as a file of tunings has it.")
@click.option("--picture", metavar="FILE", help="Draw the search and the confirmation (PNG, SVG or PDF).")
def tunings_show(name: str, as_json: bool, picture: str | None) -> None:
    """Show tunings in words: what was chosen, and the evidence.

    \b
    autotune tunings show 'hf/6-31g*'
    autotune tunings show tuning.json --picture tuning.png
    """
    from autotune.tunings import selection

    if picture:
        from autotune.reports import calibration_picture

        calibration_picture.draw(selection.only(name).tuning, Path(picture))
    shown = [one.tuning for one in selection.select(name)]
    if as_json:
        from autotune.tunings import tuning_file

        click.echo(json.dumps(tuning_file.fields_of(shown), indent=1))
        return
    from autotune.reports.explanation import tuning_words

    click.echo("\n\n".join(tuning_words(tuning) for tuning in shown))


@command.command("remove")
@click.argument("name", metavar=METAVAR)
@click.option("--yes", is_flag=True, help="Do not ask.")
def tunings_remove(name: str, yes: bool) -> None:
    """Remove the tuning that words of its method name, or a file of tunings."""
    from autotune.tunings import folders, library, selection

    found = selection.select(name)
    if not found:
        raise InputError(f"{name} holds no tunings; remove it yourself")
    path = found[0].path
    method = None if selection.is_file(name) else str(found[0].tuning.method)
    if method and not folders.is_own(path):
        raise InputError(f"{path} is not in your folder; a tuning of your own takes its place: `autotune calibrate`")
    what = "; ".join(str(one.tuning.method) for one in found)
    try:
        agreed = yes or click.confirm(f"Remove {what} from {path}?", err=True)
    except click.Abort as unanswered:
        if unanswered.__context__ is None or not isinstance(unanswered.__context__, EOFError):
            raise
        raise InputError("nobody answered on standard input; give --yes to remove it without a question") from None
    if not agreed:
        click.echo("nothing was removed")
        return
    for tuning in library.remove(path, method):
        click.echo(f"removed {tuning.method} of {tuning.machine.key}")


def verdict(tuning: Tuning) -> str:
    """Return what calibration found, in words."""
    from autotune.base.text import count

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


# --- compare ----------------------------------------------------------------------------------------------------------


@command.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tunings_diff(first: str, second: str, as_json: bool) -> None:
    """Show what differs between tunings A and B: a FILE or METHOD-TEXT each.

    Of files with several tunings, those of equal methods are compared.

    \b
    autotune tunings diff 'hf/6-31g*' 'mp2/6-31g*'
    autotune tunings diff old.json new.json --json
    """
    from autotune.tunings import comparison, selection

    sides = [[one.tuning for one in selection.select(text)] for text in (first, second)]
    pairs = comparison.pairs(*sides)
    if as_json:
        click.echo(json.dumps([_as_json(one, other) for one, other in pairs], indent=1))
        return
    for one, other in pairs:
        click.echo(f"A: {one.method} of {one.machine.key}, {one.created[:10]}")
        click.echo(f"B: {other.method} of {other.machine.key}, {other.created[:10]}")
        for field, before, after in comparison.differences(one, other):
            missing = "default" if field.startswith("parameters.") else "none"
            click.echo(f"  {field}: {_show(before, missing)} -> {_show(after, missing)}")
        if one == other:
            click.echo("  they are the same")
        scale = comparison.law_scale(one.law, other.law)
        if scale is not None and one.law != other.law:
            click.echo(f"  an operation takes {scale:.2f} times as long in B as in A")


def _as_json(first: Tuning, second: Tuning) -> dict[str, object]:
    from autotune.tunings.comparison import differences, law_scale

    sides = [{"machine": t.machine.key, "method": str(t.method), "created": t.created} for t in (first, second)]
    found = {field: [before, after] for field, before, after in differences(first, second)}
    return {"a": sides[0], "b": sides[1], "differences": found, "law_scale": law_scale(first.law, second.law)}


def _show(value: object, missing: str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(_show(part, missing) for part in value) or missing
    return missing if value in (None, "") else str(value)


# --- share ------------------------------------------------------------------------------------------------------------


_output = click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
_files = click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))


@command.command("export")
@click.argument("names", nargs=-1, required=True, metavar=f"{METAVAR}...")
@_output
def tunings_export(names: Sequence[str], output: Path) -> None:
    """Write tunings to one file, to be imported elsewhere; a file of tunings that is there is replaced.

    \b
    autotune tunings export 'hf/6-31g*' 'mp2/cc-pvdz' -o ours.json
    """
    from autotune.tunings import library, selection

    found = [one.tuning for name in names for one in selection.select(name)]
    library.export(found, output)
    for tuning in library.load(output):
        click.echo(f"exported {tuning.method} of {tuning.machine.key}")


@command.command("import")
@_files
@click.option("--site", is_flag=True, help="Into the site's folder, for all users, below the first of XDG_DATA_DIRS.")
def tunings_import(files: Sequence[Path], site: bool) -> None:
    """Take tunings from files into your folder, or the site's, where they are newer than those in it.

    \b
    autotune tunings import ours.json
    autotune tunings import --site calibrated/tunings/*/*.json
    """
    from autotune.tunings import library

    _say_merged(library.install(files, say=_warn) if site else library.merge(files, say=_warn))


@command.command("merge")
@_files
@_output
def tunings_merge(files: Sequence[Path], output: Path) -> None:
    """Add tunings of files to one file, where they are newer than those in it."""
    from autotune.tunings import library

    _say_merged(library.merge(files, output, say=_warn))


def _warn(line: str) -> None:
    click.echo(f"autotune: {line}", err=True)


def _say_merged(merged: Sequence[Merged]) -> None:
    for tuning, path, taken in merged:
        what = f"{tuning.method} of {tuning.machine.key}, created {tuning.created[:10]}"
        click.echo(f"taken: {what}, into {path}" if taken else f"left: {what}, not newer than what is in {path}")
    if not merged:
        click.echo("the files hold no tunings")


# --- verify -----------------------------------------------------------------------------------------------------------


@command.command("verify")
@click.argument("which", metavar=METAVAR)
@click.option("--budget", type=TIME, default="1m", show_default=True, metavar="TIME", help="Time allowed: 90s, 2m, 1h.")
@click.option("--force", is_flag=True, help="Measure although the machine is loaded, throttled or short of memory.")
def tunings_verify(which: str, budget: float, force: bool) -> None:
    """Measure a tuning again, quickly: is it still faster than the default, are times still what it predicts?

    A tuning that holds is marked as verified with the program's present version. Exit status 1 says that it does not
    hold: calibrate again. Exit status 3 says that the time allowed was too short to tell.
    """
    from autotune.calibration import verification

    found = verification.verify_stored(which, budget_s=budget, force=force, say=_say)
    for caution in found.tuning.evidence.cautions:
        click.echo(f"careful: {caution}")
    for line in _verified_words(found):
        click.echo(line)
    if found.verdict != "holds":
        raise SystemExit({"fails": 1, "cannot tell": 3}[found.verdict])


def _verified_words(found: Verification) -> list[str]:
    lines = [f"measured with the workloads of study {found.study}"]
    if found.found is None:
        lines.append("it keeps the default, so there is nothing to be faster or slower than")
    elif found.found.interval:
        low, high = found.found.interval
        scatter = f"95 % interval {low:.2f} to {high:.2f}" if math.isfinite(high) else "too few pairs for an interval"
        lines.append(f"{found.found.speed_up:.2f}× the default's speed ({scatter}): {found.found.verdict}")
    if found.drift:
        lines.append(f"tasks take {found.drift.factor:.2f} times what it predicts")
    answer = {
        "holds": "the tuning holds",
        "fails": "the tuning does not hold any more; run `autotune calibrate` again",
        "cannot tell": "too little was measured to tell; allow more by --budget",
    }[found.verdict]
    return [*lines, f"{answer} (program version {found.program_version})"]


def _say(line: str) -> None:
    click.echo(line, err=True)
