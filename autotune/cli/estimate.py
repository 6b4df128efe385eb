"""`autotune estimate`: what a workload will cost, before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import options

if TYPE_CHECKING:
    from autotune.session.forecast import WorkloadEstimate


@click.command("estimate")
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@options.omission_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(source: str, as_json: bool, **given: Any) -> None:
    """Predict what a many-body expansion costs: tasks by class, time, memory, width, total.

    Takes the INPUT, and the options for what is computed and how, of `autotune run`, and starts nothing. Nine of ten
    tasks are expected to take the time shown within the factor beside it, up or down. Without a tuning of the method
    the times are an uncalibrated guess, good for proportions only.
    """
    from autotune.session.forecast import estimate
    from autotune.session.preparation import NothingToComputeError

    try:
        found = estimate(options.many_body_fields(source, given), **options.session_options(given))
    except NothingToComputeError:
        click.echo(json.dumps({"tasks": 0}) if as_json else options.NOTHING)
    else:
        click.echo(json.dumps(_fields(found), indent=1) if as_json else _table(found))


def _fields(found: WorkloadEstimate) -> dict[str, Any]:
    return {
        "understood": found.understood,
        "tuning": {"match": found.tuning.match, "reason": found.tuning.reason},
        "cores": found.machine.cores,
        "memory_budget_gib": found.memory_budget_gib,
        "tasks": found.tasks,
        "core_s": found.core_s,
        "wall_s": found.wall_s,
        "lower_bound_s": found.lower_bound_s,
        "classes": [asdict(each) for each in found.classes],
    }


def _table(found: WorkloadEstimate) -> str:
    from autotune.base.text import duration

    lines = [
        found.understood,
        "n-body   tasks   functions   electrons   ghosts   s/task   within      GiB   width   core-seconds   method",
        *(
            f"{row.nbody:6d} {row.tasks:7d} {row.functions:11d} {row.electrons:11d} {row.ghost_atoms:8d}"
            f" {row.task_s:8.3f}   ×/{row.within_factor:5.2f} {row.memory_gib:8.2f} {row.width:7d} {row.total_s:14.1f}"
            f"   {row.method}"
            for row in found.classes
        ),
        (
            f"{found.tasks} tasks, {found.core_s:.1f} core-seconds; about {duration(found.wall_s)} on"
            f" {found.machine.cores} cores within {found.memory_budget_gib:.1f} GiB, start-up not counted"
        ),
        f"times from: {found.tuning.match} - {found.tuning.reason}",
    ]
    return "\n".join(lines)
