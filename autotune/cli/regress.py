"""`autotune regress`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError
from autotune.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotune.compare.history import Trace
    from autotune.compare.regression import Regression

SIDES = 2


class _Share(click.ParamType):  # type: ignore[type-arg]
    """A share, as `5%` or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share as a fraction."""
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).removesuffix("%")) / (100.0 if str(value).endswith("%") else 1.0)
        except ValueError:
            share = -1.0
        if not 0.0 <= share < 1.0:
            self.fail(f"{value!r} is no share; give one such as 5% or 0.05", param, ctx)
        return share


@click.command("regress")
@click.argument("sides", nargs=-1, metavar="[BASE] [HEAD]")
@click.option("--threshold", type=_Share(), default="5%", show_default=True, help="Change that does not matter.")
@click.option("--confidence", type=_Share(), default="98%", show_default=True, help="Of all verdicts together.")
@click.option(
    "--noise", type=_Share(), help="Run-to-run scatter of equal runs. [default: this machine's calibrations']"
)
@click.option("--any-machine", is_flag=True, help="Compare times although they are of different machines.")
@click.option("--history", metavar="DIR", help="Records over time: where did times change? HEAD goes against the last.")
@click.option("--exec", "execute", is_flag=True, help="Measure BASE and HEAD here, in turn: installations or tunings.")
@click.option("--workload", multiple=True, metavar="INPUT", help="What --exec runs; may be repeated.")
@click.option(
    "--pairs", type=options.WholeNumber(2), metavar="N", help="Runs of each side. [default: as many as it takes]"
)
@options.expansion_options
@click.option("--markdown", metavar="FILE", help="Write a table for a pull request.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML, a case for each workload.")
@click.option("--picture", metavar="FILE", help="Draw the changes with their intervals (PNG, SVG, PDF).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(sides: tuple[str, ...], **given: Any) -> None:
    """Say whether HEAD is slower than BASE, workload by workload.

    BASE and HEAD are files, or folders of files: run records (autotune run --record), tunings, or pytest-benchmark's
    JSON. Several records of one workload are repeats. With --exec they are things to run on this machine: a Python or
    a virtual environment that has autotune, a tuning file, `none` (the defaults) or `auto` (what is stored).

    \b
    autotune regress before/ after/ --markdown changes.md
    autotune regress --exec .venv-main .venv --workload water6.xyz --program pyscf --method hf --basis '6-31g*'
    autotune regress --exec none auto --workload input.json
    autotune regress --history records/ today.json --picture history.svg

    Exit status: 0 nothing is slower, 1 something is slower or an energy changed, 2 bad input, 3 cannot tell.
    """
    from autotune.compare.sides import regress
    from autotune.reports import figures, regressions

    _check_sides(sides, given)
    _refuse_idle_options(sides, given)
    read = [*sides, given["history"]] if given["history"] else sides
    options.check_targets((given["markdown"], given["junit"], given["picture"]), () if given["execute"] else read)
    if given["picture"]:
        figures.check(Path(given["picture"]))
    base, head = (None, *sides, None)[:2] if given["history"] else sides
    found, traces = regress(
        base,
        head,
        earlier=given["history"],
        workloads=_workloads(given) if given["execute"] else (),
        say=_say,
        **{name: given[name] for name in ("pairs", "threshold", "confidence", "noise", "any_machine")},
    )
    if given["as_json"]:
        click.echo(json.dumps(_fields(found, traces), indent=1))
    else:
        parts = [regressions.history_table(traces)] if traces else []
        click.echo("\n\n".join(parts + ([regressions.table(found)] if found else [])))
    _write(found, traces, given)
    raise SystemExit(found.status if found else 0)


def _refuse_idle_options(sides: Sequence[str], given: dict[str, Any]) -> None:
    """Refuse options that would do nothing, with an `InputError`."""
    if not sides and (of_comparison := options.flags(given, ("markdown", "junit"))):
        raise InputError(f"{of_comparison[0]} is written of a comparison; give HEAD besides --history")
    if given["execute"] and given["noise"] is not None:
        raise InputError("--noise is for records; --exec measures the noise itself")
    idle = options.flags(given, ("workload", "pairs", *options.EXPANSION))
    if idle and not given["execute"]:
        raise InputError(f"{idle[0]} says what --exec runs; give --exec, or leave it out")


def _write(found: Regression | None, traces: Sequence[Trace], given: dict[str, Any]) -> None:
    """Write the files that were asked for."""
    from autotune.base import json_files
    from autotune.reports import regressions

    if found and given["markdown"]:
        json_files.write_text(Path(given["markdown"]), regressions.markdown(found))
    if found and given["junit"]:
        json_files.write_text(Path(given["junit"]), regressions.junit(found))
    if given["picture"] and traces:
        regressions.draw_histories(traces, Path(given["picture"]))
    elif given["picture"] and found:
        regressions.draw_changes(found, Path(given["picture"]))


def _check_sides(sides: Sequence[str], given: dict[str, Any]) -> None:
    """Raise InputError where there are not two sides, or not at most one next to a history."""
    if given["history"] and (len(sides) > 1 or given["execute"]):
        raise InputError("--history takes the place of BASE: give HEAD alone, or nothing, and no --exec")
    if not given["history"] and len(sides) != SIDES:
        raise InputError(f"a comparison needs BASE and HEAD, and {len(sides)} were given; or give --history DIR")


def _workloads(given: dict[str, Any]) -> list[list[str]]:
    """Return the words of an `autotune run` for each input, which were checked."""
    from autotune.expansion import readers

    if not given["workload"]:
        raise InputError("--exec needs something to run: --workload water6.xyz --program pyscf --method hf ...")
    told = [part for name in options.EXPANSION for part in _option(name, given[name])]
    workloads = []
    for source in given["workload"]:
        text, name = readers.read_text(source)
        # Inputs of both kinds may be given together; what the options say is for geometries.
        whole = readers.says_what_to_compute(text, name=name)
        expansion = None if whole else options.expansion(given, text=text, name=name)
        readers.many_body_fields(text, name=name, expansion=expansion)
        workloads.append([str(Path(source).absolute()), *(told if expansion else [])])
    return workloads


def _option(name: str, value: object) -> list[str]:
    return [f"--{name.replace('_', '-')}", str(value)] if value not in (None, "") else []


def _fields(found: Regression | None, traces: Sequence[Trace]) -> dict[str, Any]:
    answer = dataclasses.asdict(found) if found else {}
    if traces:
        answer["history"] = [dataclasses.asdict(trace) for trace in traces]
    return answer


def _say(line: str) -> None:
    click.echo(line, err=True)
