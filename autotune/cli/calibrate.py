"""`autotune calibrate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError

if TYPE_CHECKING:
    from autotune.base.records import Tuning
    from autotune.calibration.calibration import Calibration
    from autotune.calibration.studies import MethodChoice, Study
    from autotune.expansion.workload import Workload


@click.command()
@click.option("--study", "study_name", default="quick", show_default=True, metavar="NAME|FILE", help="What to run.")
@click.option(
    "--workload", metavar="INPUT", help="Calibrate on this ManyBodyInput (JSON), not on the study's clusters."
)
@click.option("--program", metavar="NAME", help="QCEngine program, instead of the study's.")
@click.option("--method", metavar="NAME", help="Method, instead of the study's.")
@click.option("--basis", metavar="NAME", help="Basis set, instead of the study's.")
@click.option("--driver", type=click.Choice(["energy", "gradient", "hessian"]), help="Driver, instead of the study's.")
@click.option("--keywords", metavar="LIST", default="", help="Program keywords: name=value,... or a JSON object.")
@click.option("--budget", metavar="TIME", help="Time allowed for each method: 90s, 2m, 1h. [default: the study's]")
@click.option(
    "--strategies",
    metavar="LIST",
    help="Strategies to search, with commas; others than the five built in are applied, too. [default: the study's]",
)
@click.option("--force", is_flag=True, help="Measure although the machine is loaded, throttled or short of memory.")
@click.option("-o", "--output", metavar="FILE", help="Store the tuning here instead of the user's folder.")
@click.option("--picture", metavar="FILE", help="Draw what was found (PNG, SVG or PDF).")
@click.option("--quiet", is_flag=True, help="Say only the outcome.")
def calibrate(study_name: str, **given: Any) -> None:
    """Measure what is fastest on this machine, and remember it.

    Runs calibration workloads with the real program, lets Optuna search the strategies' parameters, proves the winner
    against the default on workloads the search did not see, and stores a tuning that `autotune run` finds by itself.
    Interrupted, it goes on where it was when it is started again within a day.

    \b
    autotune calibrate                                         two minutes, HF/6-31G* with PySCF
    autotune calibrate --study standard --method mp2 --basis cc-pvdz
    autotune calibrate --workload input.json --budget 5m       on your own input
    """
    from autotune.base import json_files
    from autotune.calibration import studies
    from autotune.expansion import readers
    from autotune.machine import detection, readiness
    from autotune.plugin.manager import Manager
    from autotune.reports import calibration_picture, figures
    from autotune.tunings import library, tuning_file

    names = ("program", "method", "basis", "driver")
    keywords = readers.parse_keywords(given["keywords"]) or None
    changes = {name: given[name] for name in names}
    chosen = studies.with_method(studies.load(study_name), keywords=keywords, **changes)
    own = None
    if given["workload"]:
        if keywords or any(changes.values()):
            raise InputError("--workload brings its own method; leave out --program, --method, --basis, ...")
        own = _own(given["workload"])
    output, picture = (Path(given[name]) if given[name] else None for name in ("output", "picture"))
    json_files.check_writable(output.parent if output else json_files.home())
    # What must not be replaced or cannot be drawn is better found now than in minutes.
    if output and output.exists():
        library.load(output)
    if picture:
        figures.check(picture)
    here, manager = detection.detect(), Manager()
    methods = chosen.methods[:1] if own else chosen.methods
    for method in methods:
        asked = own[0].methods[0] if own else method.as_method
        tuning_file.check_storable(output or library.path_of(here, asked))
    for method in methods:
        readiness.check(here, force=given["force"], say=_say)
        with _calibration(chosen, method, given, own=own, machine=here, manager=manager) as calibration:
            tuning = calibration.run()
            kept = None if output else _better(tuning)
            path = kept or library.save(tuning, output, say=_say)
            calibration.stored()
        click.echo(f"{tuning.method}: {_outcome(tuning)}")
        click.echo(f"the tuning in {path} is confirmed and stays" if kept else f"stored in {path}")
        if picture:
            several = (
                f"-{tuning.method.program}-{tuning.method.method}-{tuning.method.basis}" if len(methods) > 1 else ""
            )
            name = re.sub(r"[^\w.()+-]", "_", f"{picture.stem}{several}{picture.suffix}")
            calibration_picture.draw(tuning, picture.with_name(name))


def _better(tuning: Tuning) -> Path | None:
    """Return the file of a confirmed tuning that one which could not tell must not replace."""
    from autotune.tunings import library

    if tuning.evidence.verdict != "cannot tell":
        return None
    for known, path in library.of_machine(tuning.machine):
        confirmed = known.evidence.verdict == "faster" and not library.version_note(known, tuning.program_version)
        if known.method == tuning.method and confirmed:
            return path
    return None


def _calibration(
    chosen: Study, method: MethodChoice, given: dict[str, Any], *, own: tuple[Workload, str] | None, **of: Any
) -> Calibration:
    from autotune.calibration import studies
    from autotune.calibration.calibration import Calibration
    from autotune.plugin import composition
    from autotune.tunings import library

    known = of["manager"].strategies
    wanted = [name.strip() for name in given["strategies"].split(",")] if given["strategies"] else chosen.strategies
    searched = composition.choose(known, list(wanted) or None)
    applied = composition.choose(known, None)
    applied += [strategy for strategy in searched if strategy not in applied]
    return Calibration(
        chosen,
        method,
        strategies=applied,
        searched=searched,
        budget_s=studies.parse_duration(given["budget"]) if given["budget"] else None,
        own=own,
        known=[found for _, found in library.everything() if not isinstance(found, str)],
        say=_silent if given["quiet"] else _say,
        **of,
    )


def _own(source: str) -> tuple[Workload, str]:
    from autotune.expansion import readers, workload

    text, name = readers.read_text(source)
    if not readers.says_what_to_compute(text, name=name):
        raise InputError(f"{name} is no ManyBodyInput; --workload takes one, which says itself what to compute")
    return workload.load(readers.many_body_fields(text, name=name, expansion=None)), name


def _outcome(tuning: Tuning) -> str:
    from autotune.cli.tunings import verdict

    return verdict(tuning)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _silent(_: str) -> None:
    pass
