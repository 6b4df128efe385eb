"""`autotune calibrate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from autotune.base.errors import InputError
from autotune.cli import options
from autotune.cli.options import TIME, names_of
from autotune.cli.tunings import verdict


@click.command("calibrate")
@click.option("--study", "study_name", default="quick", show_default=True, metavar="NAME|FILE", help="What to run.")
@click.option("--workload", metavar="INPUT", help="Calibrate on this input of `run`, not on the study's clusters.")
@options.expansion_options
@click.option(
    "--budget", type=TIME, metavar="TIME", help="Time allowed for each method: 90s, 2m, 1h. [default: the study's]"
)
@click.option(
    "--strategies",
    metavar="LIST",
    help="Strategies to apply, in order, with commas; `standard` for those that are applied anyway.",
)
@click.option("--search", metavar="LIST", help="Those of them whose parameters are searched. [default: the study's]")
@click.option("--force", is_flag=True, help="Measure although the machine is loaded, throttled or short of memory.")
@click.option("--untouched", is_flag=True, help="Start from the program's own ways, without its tunables' defaults.")
@click.option("-o", "--output", metavar="FILE", help="Store the tuning here instead of the user's folder.")
@click.option("--picture", metavar="FILE", help="Draw what was found (PNG, SVG or PDF).")
@click.option("--quiet", is_flag=True, help="Say only the outcome.")
def command(study_name: str, **given: Any) -> None:
    """Measure what is fastest on this machine, and remember it.

    Runs calibration workloads with the real program, lets Optuna search the strategies' parameters, proves the winner
    against the default on workloads the search did not see, and stores a tuning that `autotune run` finds by itself.
    Interrupted, it goes on where it was when it is started again within a day.

    --program, --method, --basis, --driver and --keywords take the place of the study's method. Where --workload is a
    geometry, these and the other options of `autotune run` say what to compute for it.

    \b
    autotune calibrate                                         two minutes, HF/6-31G* with PySCF
    autotune calibrate --study standard --method mp2 --basis cc-pvdz
    autotune calibrate --workload input.json --budget 5m       on your own input
    autotune calibrate --workload water6.xyz --program pyscf --method hf --basis '6-31g*' --max-nbody 2
    """
    from autotune.calibration.campaign import CalibrationResult, GivenMethod, calibrate
    from autotune.expansion.expansion import parse_keywords
    from autotune.expansion.readers import read_text
    from autotune.reports import calibration_picture, figures

    picture = Path(given["picture"]) if given["picture"] else None
    if picture:
        figures.check(picture)
    source, expansion, method = given["workload"], None, GivenMethod()
    if source is not None:
        text, name = read_text(source)
        expansion = options.expansion(given, text=text, name=name)
        source = text if source == "-" else source
    elif told := options.flags(given, options.GEOMETRY):
        raise InputError(f"{', '.join(told)} belongs to a geometry; give one with --workload, or leave it out")
    else:
        method = GivenMethod(
            program=given["program"],
            method=given["method"],
            basis=given["basis"],
            driver=given["driver"],
            keywords=parse_keywords(given["keywords"]) or None,
        )
    results: list[CalibrationResult] = []

    def show(result: CalibrationResult) -> None:
        results.append(result)
        tuning, path = result.tuning, result.path
        click.echo(f"{tuning.method}: {verdict(tuning)}")
        for caution in tuning.evidence.cautions:
            click.echo(f"careful: {caution}")
        click.echo(f"stored in {path}" if result.stored else f"the tuning in {path} is confirmed and stays")

    calibrate(
        study_name,
        workload=source,
        expansion=expansion,
        budget_s=given["budget"],
        strategies=names_of(given["strategies"]),
        search=names_of(given["search"]),
        force=given["force"],
        untouched=given["untouched"],
        output=given["output"],
        say=_say_nothing if given["quiet"] else _say,
        on_result=show,
        **method,
    )
    for result in results if picture else ():
        of = result.tuning.method
        several = f"-{of.program}-{of.method}-{of.basis}" if len(results) > 1 else ""
        assert picture is not None
        name = re.sub(r"[^\w.()+-]", "_", f"{picture.stem}{several}{picture.suffix}")
        calibration_picture.draw(result.tuning, picture.with_name(name))


def _say(line: str) -> None:
    click.echo(line, err=True)


def _say_nothing(_: str) -> None:
    pass
