"""`autotune tunings verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from autotune.base.errors import ResourceError
from autotune.cli import selection

if TYPE_CHECKING:
    from autotune.calibration.verification import Verification


@click.command()
@click.argument("which", metavar=selection.METAVAR)
@click.option("--budget", default="1m", show_default=True, metavar="TIME", help="Time allowed: 90s, 2m, 1h.")
@click.option("--force", is_flag=True, help="Measure although the machine is loaded, throttled or short of memory.")
def verify(which: str, budget: str, force: bool) -> None:
    """Measure a tuning again, quickly: is it still faster than the default, are times still what it predicts?

    A tuning that holds is marked as verified with the program's present version. Exit status 1 says that it does not
    hold: calibrate again. Exit status 3 says that the time allowed was too short to tell.
    """
    from autotune.calibration import studies, verification
    from autotune.machine import detection, readiness
    from autotune.plugin.manager import Manager
    from autotune.tunings import library

    tuning, path = selection.only(which)
    here, manager = detection.detect(), Manager()
    readiness.check(here, force=force, say=_say)
    found = verification.verify(
        tuning, machine=here, manager=manager, budget_s=studies.parse_duration(budget), say=_say
    )
    for line in _words(found):
        click.echo(line)
    if found.verdict != "holds":
        raise SystemExit({"fails": 1, "cannot tell": 3}[found.verdict])
    own = path if selection.is_file(which) or path.is_relative_to(library.home()) else None
    if not any(one == tuning for one in library.load(path)):
        raise ResourceError(f"{path} has changed meanwhile; it is left as it is")
    library.save(found.tuning, own, say=_say)


def _words(found: Verification) -> list[str]:
    lines = [f"measured with the workloads of study {found.study}"]
    if found.found is None:
        lines.append("it keeps the default, so there is nothing to be faster or slower than")
    elif found.found.interval:
        between = "{:.2f} to {:.2f}".format(*found.found.interval)
        lines.append(
            f"{found.found.speed_up:.2f}× the default's speed (95 % interval {between}): {found.found.verdict}"
        )
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
