"""`autotune estimate`: what a workload will cost, before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import options

if TYPE_CHECKING:
    from autotune.session.deadline import Needed
    from autotune.session.forecast import WorkloadEstimate


@click.command("estimate")
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@options.omission_options
@click.option("--within", metavar="TIME", help="Say how many cores or nodes do it in this time: 30m, 2h.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(source: str, within: str | None, as_json: bool, **given: Any) -> None:
    """Predict what a many-body expansion costs: tasks by class, time, memory, width, total.

    Takes the INPUT, and the options for what is computed and how, of `autotune run`, and starts nothing. Nine of ten
    tasks are expected to take the time shown within the factor next to it, up or down. Without a tuning of the method
    the times are an uncalibrated guess: only relative times are meaningful.
    """
    from autotune.base.quantities import parse_duration
    from autotune.session.deadline import needed_within
    from autotune.session.forecast import estimate
    from autotune.session.preparation import NothingToComputeError

    within_s = parse_duration(within) if within else None
    fields, told = options.many_body_fields(source, given), options.session_options(given)
    try:
        found = estimate(fields, **told)
        needed = needed_within(fields, within_s, **told) if within_s else None
    except NothingToComputeError:
        click.echo(json.dumps({"tasks": 0}) if as_json else options.NOTHING)
    else:
        if as_json:
            in_time = {"within_s": within_s, "needed": asdict(needed) if needed else None} if within_s else {}
            click.echo(json.dumps(_fields(found) | in_time, indent=1))
            return
        click.echo(_table(found))
        if within and within_s and needed:
            click.echo(_needed_words(needed, within, within_s, cores=found.machine.cores))


def _needed_words(needed: Needed, within: str, within_s: float, *, cores: int) -> str:
    from autotune.base.text import count

    took = f"{needed.wall_s:.3g} s, start-up not counted"
    if needed.wall_s > within_s:
        return f"within {within}: no number of machines such as this one suffices; {needed.nodes} of them take {took}"
    if needed.nodes == 1:
        return f"within {within}: {needed.cores} of this machine's {count(cores, 'core')} ({took})"
    hours = needed.nodes * needed.cores * needed.wall_s / 3600
    return f"within {within}: {needed.nodes} machines such as this one ({took}; {hours:.2g} core-hours in all)"


def _fields(found: WorkloadEstimate) -> dict[str, Any]:
    return {
        "understood": found.understood,
        "tuning": {"match": found.tuning.match, "reason": found.tuning.reason},
        "cores": found.machine.cores,
        "memory_budget_gib": found.memory_budget_gib,
        "tasks": found.tasks,
        "core_s": found.core_s,
        "core_hours": found.core_s / 3600,
        "wall_s": found.wall_s,
        "lower_bound_s": found.lower_bound_s,
        "classes": [asdict(each) for each in found.classes],
    }


def _table(found: WorkloadEstimate) -> str:
    from autotune.base.text import duration
    from autotune.reports.tables import text_table

    headings = ("n-body", "tasks", "functions", "electrons", "ghosts", "s/task", "within", "GiB", "width")
    rows = [
        (
            *map(str, (row.nbody, row.tasks, row.functions, row.electrons, row.ghost_atoms)),
            f"{row.task_s:.3f}",
            f"×/{row.within_factor:.2f}",
            f"{row.memory_gib:.2f}",
            str(row.width),
            f"{row.total_s:.1f}",
            row.method,
        )
        for row in found.classes
    ]
    lines = [
        found.understood,
        *text_table((*headings, "core-seconds", "method"), rows, words=(10,)),
        (
            f"{found.tasks} tasks, {found.core_s:.1f} core-seconds ({found.core_s / 3600:.3g} core-hours); about"
            f" {duration(found.wall_s)} on {found.machine.cores} cores within"
            f" {found.memory_budget_gib:.1f} GiB, start-up not counted"
        ),
        f"times from: {found.tuning.match} - {found.tuning.reason}",
    ]
    return "\n".join(lines)
