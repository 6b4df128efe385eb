"""`autotune calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.errors import InputError

if TYPE_CHECKING:
    from autotune.records import Tuning
    from autotune.study import MethodChoice, Study
    from autotune.workload import Workload


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
    from autotune import inputs, machine, readiness, store, study, tunings
    from autotune.manager import Manager

    names = ("program", "method", "basis", "driver")
    keywords = inputs.parse_keywords(given["keywords"]) or None
    changes = {name: given[name] for name in names}
    chosen = study.with_method(study.load(study_name), keywords=keywords, **changes)
    own = None
    if given["workload"]:
        if keywords or any(changes.values()):
            raise InputError("--workload brings its own method; leave out --program, --method, --basis, ...")
        own = _own(given["workload"])
    output, picture = (Path(given[name]) if given[name] else None for name in ("output", "picture"))
    store.check_writable(output.parent if output else store.home())
    if picture:
        store.check_writable(picture.parent)
    if output and output.exists():
        tunings.load(output)  # a file that must not be replaced is better found now than in minutes
    say = _silent if given["quiet"] else _say
    here, manager = machine.detect(), Manager()
    readiness.check(here, force=given["force"], say=_say)
    for method in chosen.methods[:1] if own else chosen.methods:
        tuning = _calibrated(chosen, method, given, own=own, machine=here, manager=manager, say=say)
        path = tunings.save(tuning, output, say=_say)
        click.echo(f"{tuning.method}: {_outcome(tuning)}")
        click.echo(f"stored in {path}")
        if picture:
            from autotune import plots

            plots.calibration(tuning, picture)


def _calibrated(
    chosen: Study,
    method: MethodChoice,
    given: dict[str, Any],
    *,
    own: tuple[Workload, str] | None,
    machine: Any,
    manager: Any,
    say: Any,
) -> Tuning:
    from autotune import policy, study, tunings
    from autotune.calibrate import Calibration

    wanted = given["strategies"].split(",") if given["strategies"] else list(chosen.strategies)
    searched = policy.choose(manager.strategies, wanted or None)
    applied = policy.choose(manager.strategies, None)
    applied += [strategy for strategy in searched if strategy not in applied]
    with Calibration(
        chosen,
        method,
        machine=machine,
        manager=manager,
        strategies=applied,
        searched=searched,
        budget_s=study.parse_duration(given["budget"]) if given["budget"] else None,
        own=own,
        known=[found for _, found in tunings.everything() if not isinstance(found, str)],
        say=say,
    ) as calibration:
        return calibration.run()


def _own(source: str) -> tuple[Workload, str]:
    from autotune import inputs, workload

    text, name = inputs.read_text(source)
    return workload.load(inputs.many_body_fields(text, name=name, expansion=None)), name


def _outcome(tuning: Tuning) -> str:
    from autotune.verbs.tunings import verdict

    return verdict(tuning)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _silent(_: str) -> None:
    pass
