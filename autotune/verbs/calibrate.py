"""`autotune calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autotune.verbs.tunings import verdict


@click.command()
@click.option("--study", "study_name", default="quick", show_default=True, metavar="NAME|FILE", help="What to run.")
@click.option("--program", metavar="NAME", help="QCEngine program, instead of the study's.")
@click.option("--method", metavar="NAME", help="Method, instead of the study's.")
@click.option("--basis", metavar="NAME", help="Basis set, instead of the study's.")
@click.option("--driver", type=click.Choice(["energy", "gradient", "hessian"]), help="Driver, instead of the study's.")
@click.option("--keywords", metavar="LIST", default="", help="Program keywords: name=value,... or a JSON object.")
@click.option("--budget", metavar="TIME", help="Time allowed: 90s, 2m, 1h. [default: the study's]")
@click.option(
    "--strategies",
    metavar="LIST",
    help="Strategies to search, with commas; others than the five built in are applied, too. [default: the five]",
)
@click.option("-o", "--output", metavar="FILE", help="Store the tuning here instead of the user's folder.")
@click.option("--quiet", is_flag=True, help="Say only the outcome.")
def calibrate(
    study_name: str, budget: str | None, strategies: str | None, output: str | None, quiet: bool, **method: Any
) -> None:
    """Measure what is fastest on this machine, and remember it.

    Runs a calibration workload with the real program, lets Optuna search the strategies' parameters, proves the winner
    against the default on a workload the search did not see, and stores a tuning that `autotune run` finds by itself.

    \b
    autotune calibrate
    autotune calibrate --method mp2 --basis cc-pvdz --budget 5m
    """
    from autotune import inputs, machine, policy, store, study
    from autotune.calibrate import Calibration
    from autotune.manager import Manager

    keywords = inputs.parse_keywords(method.pop("keywords"))
    chosen = study.with_method(study.load(study_name), keywords=keywords or None, **method)
    manager = Manager()
    searched = policy.choose(manager.strategies, strategies.split(",")) if strategies else None
    applied = policy.choose(manager.strategies, None)
    applied += [strategy for strategy in searched or () if strategy not in applied]
    store.check_writable(Path(output).parent if output else store.home())
    with Calibration(
        chosen,
        machine=machine.detect(),
        manager=manager,
        strategies=applied,
        searched=searched,
        budget_s=study.parse_duration(budget) if budget else None,
        say=(lambda _: None) if quiet else (lambda line: click.echo(line, err=True)),
    ) as calibration:
        tuning = calibration.run()
    path = store.save_tuning(tuning, Path(output) if output else None)
    click.echo(verdict(tuning))
    click.echo(f"stored in {path}")
