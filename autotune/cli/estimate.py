"""`autotune estimate`: what a workload will cost, before anything runs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import options

if TYPE_CHECKING:
    from autotune.base.types import Estimate, Task


NINE_OF_TEN = 1.645  # standard deviations to either side


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Tasks of one class: one method, one n-body level, one size; nine of ten take `task_s` within the factor."""

    method: str
    nbody: int
    functions: int
    electrons: int
    ghost_atoms: int
    tasks: int
    task_s: float
    within_factor: float
    memory_gib: float
    width: int
    total_s: float


@click.command()
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@options.omission_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def estimate(source: str, as_json: bool, **given: Any) -> None:
    """Predict what a many-body expansion costs: tasks by class, time, memory, width, total.

    Takes the INPUT, and the options for what is computed and how, of `autotune run`, and starts nothing. Nine of ten
    tasks are expected to take the time shown within the factor beside it, up or down. Without a tuning of the method
    the times are an uncalibrated guess, good for proportions only.
    """
    from autotune.expansion import readers, workload
    from autotune.expansion.summary import understood
    from autotune.machine import detection
    from autotune.plugin.manager import Manager
    from autotune.runtime import planning
    from autotune.schedule import simulator
    from autotune.session import reductions

    text, name = readers.read_text(source)
    fields = readers.many_body_fields(text, name=name, expansion=options.expansion(given, text=text, name=name))
    chosen = options.session_options(given)
    work = reductions.plan(workload.load(fields), chosen).work
    if not work.tasks:
        click.echo(json.dumps({"tasks": 0}) if as_json else "nothing has to be computed for this expansion")
        return
    # A tuning of the whole machine is still the nearest for fewer cores, as in a run.
    limited = detection.detect(cores=chosen.cores, memory_gib=chosen.memory_gib)
    here, manager = replace(limited, key=detection.detect().key), Manager()
    plan = planning.make(work, machine=here, manager=manager, options=chosen)
    estimates = {
        task.number: planning.estimate(task, costs=plan.costs, manager=manager, machine=here) for task in work.tasks
    }
    run = simulator.simulate(work.tasks, estimates, policy=plan.policy, machine=here, memory_budget_gib=plan.budget_gib)
    widths = {record.number: record.width for record in run.records}
    rows = _rows(work.tasks, estimates, widths)
    answer = {
        "understood": understood(work.recipe.molecule),
        "tuning": {"match": plan.chosen.match, "reason": plan.chosen.reason},
        "cores": here.cores,
        "memory_budget_gib": plan.budget_gib,
        "tasks": len(work.tasks),
        "core_s": sum(estimate.alone_s for estimate in estimates.values()),
        "wall_s": run.makespan_s,
        "lower_bound_s": run.lower_bound_s,
        "classes": [asdict(row) for row in rows],
    }
    click.echo(json.dumps(answer, indent=1) if as_json else _table(answer, rows))


def _rows(tasks: tuple[Task, ...], estimates: dict[int, Estimate], widths: dict[int, int]) -> list[_Row]:
    groups: dict[Any, list[Task]] = {}
    for task in tasks:
        groups.setdefault((str(task.method), task.nbody, task.size), []).append(task)
    rows = []
    for (method, nbody, size), members in groups.items():
        first = members[0].number
        walls = [estimates[task.number].wall_s(widths[task.number]) for task in members]
        rows.append(
            _Row(
                method=method,
                nbody=nbody,
                functions=size.functions,
                electrons=size.electrons,
                ghost_atoms=size.ghost_atoms,
                tasks=len(members),
                task_s=sum(walls) / len(walls),
                within_factor=math.exp(NINE_OF_TEN * estimates[first].spread),
                memory_gib=estimates[first].memory_gib,
                width=max(widths[task.number] for task in members),
                total_s=sum(wall * widths[task.number] for wall, task in zip(walls, members, strict=True)),
            )
        )
    return sorted(rows, key=lambda row: -row.total_s)


def _table(answer: dict[str, Any], rows: list[_Row]) -> str:
    from autotune.reports.progress import duration

    lines = [
        answer["understood"],
        "n-body   tasks   functions   electrons   ghosts   s/task   within      GiB   width   core-seconds   method",
        *(
            f"{row.nbody:6d} {row.tasks:7d} {row.functions:11d} {row.electrons:11d} {row.ghost_atoms:8d}"
            f" {row.task_s:8.3f}   ×/{row.within_factor:5.2f} {row.memory_gib:8.2f} {row.width:7d} {row.total_s:14.1f}"
            f"   {row.method}"
            for row in rows
        ),
        (
            f"{answer['tasks']} tasks, {answer['core_s']:.1f} core-seconds; about {duration(answer['wall_s'])} on"
            f" {answer['cores']} cores within {answer['memory_budget_gib']:.1f} GiB, start-up not counted"
        ),
        f"times from: {answer['tuning']['match']} - {answer['tuning']['reason']}",
    ]
    return "\n".join(lines)
