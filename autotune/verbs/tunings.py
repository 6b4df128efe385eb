"""`autotune tunings list` and `show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from autotune.records import Tuning


@click.group()
def tunings() -> None:
    """List and show stored tunings."""


@tunings.command("list")
def tunings_list() -> None:
    """List the stored tunings, one on a line: machine, method, what calibration found."""
    from autotune import store

    for path, found in store.tunings():
        click.echo(
            found if isinstance(found, str) else f"{found.machine.key}  {found.method}  {verdict(found)}  {path}"
        )


@tunings.command("show")
@click.argument("path", metavar="FILE")
def tunings_show(path: str) -> None:
    """Show one tuning in words: what was chosen, and the evidence."""
    from autotune import store

    tuning = store.load_tuning(Path(path))
    evidence = tuning.evidence
    click.echo(f"{tuning.method} on {tuning.machine.cpu_model}, {tuning.machine.cores} cores, {tuning.created[:10]}")
    click.echo(f"  {verdict(tuning)}")
    click.echo(
        f"  searched {evidence.trials} configurations on {evidence.search_workload}, confirmed on {evidence.workload}"
    )
    for name, value in sorted(tuning.parameters.items()):
        click.echo(f"  {name} = {value}")
    if not tuning.parameters:
        click.echo("  all parameters at their defaults")


def verdict(tuning: Tuning) -> str:
    """Return what calibration found, in words."""
    evidence = tuning.evidence
    if evidence.verdict == "faster" and evidence.interval:
        low, high = evidence.interval
        return f"{evidence.speed_up:.2f}× the default's speed (95 % interval {low:.2f} to {high:.2f})"
    return f"the default is kept: nothing was shown to be faster in {evidence.trials} trials"
