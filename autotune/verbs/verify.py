"""`autotune tunings verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from autotune.verbs import selection

if TYPE_CHECKING:
    from autotune.verify import Verification


@click.command()
@click.argument("which", metavar=selection.METAVAR)
@click.option("--budget", default="1m", show_default=True, metavar="TIME", help="Time allowed: 90s, 2m, 1h.")
@click.option("--force", is_flag=True, help="Measure although the machine is loaded, throttled or short of memory.")
def verify(which: str, budget: str, force: bool) -> None:
    """Measure a tuning again, quickly: is it still faster than the default, are times still what it predicts?

    A tuning that holds is marked as verified with the program's present version. Exit status 1 says that it does not:
    calibrate again.
    """
    from autotune import machine, readiness, study, tunings
    from autotune import verify as verification
    from autotune.manager import Manager

    tuning, path = selection.only(which)
    here, manager = machine.detect(), Manager()
    readiness.check(here, force=force, say=_say)
    found = verification.verify(tuning, machine=here, manager=manager, budget_s=study.parse_duration(budget), say=_say)
    for line in _words(found):
        click.echo(line)
    if not found.holds:
        raise SystemExit(1)
    own = path if selection.is_file(which) or path.is_relative_to(tunings.home()) else None
    tunings.save(found.tuning, own, say=_say)


def _words(found: Verification) -> list[str]:
    lines = []
    if found.found is None:
        lines.append("it keeps the default, so there is nothing to be faster or slower than")
    else:
        between = ""
        if found.found.interval:
            between = f" (95 % interval {found.found.interval[0]:.2f} to {found.found.interval[1]:.2f})"
        lines.append(f"{found.found.speed_up:.2f}× the default's speed{between}")
    if found.drift:
        lines.append(f"tasks take {found.drift.factor:.2f} times what it predicts")
    holds = "the tuning holds" if found.holds else "the tuning does not hold any more; run `autotune calibrate` again"
    return [*lines, f"{holds} (program version {found.program_version})"]


def _say(line: str) -> None:
    click.echo(line, err=True)
