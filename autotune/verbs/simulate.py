"""`autotune simulate`: the real scheduler on a machine that is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.errors import InputError
from autotune.verbs import options

if TYPE_CHECKING:
    from autotune.simulate import Simulation


@click.command()
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@click.option("--replay", metavar="FILE", help="Take the tasks' times from this run record instead of predicting them.")
@click.option(
    "--contention",
    type=click.FloatRange(min=1.0),
    default=1.0,
    metavar="FACTOR",
    help="How much longer a task takes while all cores are busy than alone; as measured, such as 1.1.",
)
@click.option("--plot", metavar="FILE", help="Draw the schedule: a PNG, SVG or PDF file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(source: str, replay: str | None, contention: float, plot: str | None, as_json: bool, **given: Any) -> None:
    """Show how a many-body expansion would run on another machine.

    Takes the same INPUT and options as `autotune run`; --cores and --memory describe the machine pretended. The
    scheduler is the real one, the clock is virtual, and the answer says that it is simulated.

    \b
    autotune simulate water16.xyz --program pyscf --method hf --basis '6-31g*' --max-nbody 3 --cores 64 --memory 256
    """
    from autotune import inputs, machine, planning, workload
    from autotune import simulate as simulator
    from autotune.manager import Manager

    text, name = inputs.read_text(source)
    fields = inputs.many_body_fields(text, name=name, expansion=options.expansion(given))
    work = workload.load(fields)
    chosen = options.session_options(given)
    here, manager = machine.detect(), Manager()
    pretended = replace(here, cores=chosen.cores or here.cores)
    # The tuning is looked up for this machine: it is where the times were measured.
    measured = planning.make(work, machine=here, manager=manager, options=replace(chosen, cores=None))
    plan = planning.make(work, machine=pretended, manager=manager, options=chosen)
    estimates = {
        task.number: planning.estimate(task, costs=measured.costs, manager=manager, machine=here) for task in work.tasks
    }
    run = simulator.simulate(
        work.tasks,
        estimates,
        policy=plan.policy,
        machine=pretended,
        memory_budget_gib=plan.budget_gib,
        durations_s=_replayed(replay, work, estimates) if replay else None,
        contention=lambda busy: 1.0 + (contention - 1.0) * min(1.0, busy),
    )
    if plot:
        from autotune import plots

        title = f"simulated: {len(work.tasks)} tasks on {pretended.cores} cores"
        plots.schedule(run.records, cores=pretended.cores, title=title, path=Path(plot))
    answer = {
        "simulated": True,
        "cores": pretended.cores,
        "memory_budget_gib": plan.budget_gib,
        "tasks": len(work.tasks),
        "makespan_s": run.makespan_s,
        "lower_bound_s": run.lower_bound_s,
        "efficiency": run.efficiency,
        "times_from": replay or f"{measured.chosen.match} - {measured.chosen.reason}",
    }
    click.echo(json.dumps(answer, indent=1) if as_json else _words(answer, run, pretended.cores))


def _replayed(path: str, work: Any, estimates: dict[int, Any]) -> dict[int, float]:
    from autotune import store

    record = store.load_run(Path(path))
    done = {task.label: task for task in record.task_records if task.status == "done"}
    times = {}
    for task in work.tasks:
        if task.labels[0] in done:
            before, expected = done[task.labels[0]], estimates[task.number]
            times[task.number] = before.wall_s * expected.wall_s(1) / expected.wall_s(before.width)
    if len(times) < len(work.tasks):
        missing = len(work.tasks) - len(times)
        raise InputError(f"{path} has no times for {missing} of the {len(work.tasks)} tasks; it is of another workload")
    return times


def _words(answer: dict[str, Any], run: Simulation, cores: int) -> str:
    from autotune.progress import duration

    return "\n".join(
        [
            (
                f"simulated: {answer['tasks']} tasks on {cores} cores in {duration(answer['makespan_s'])}"
                f" ({answer['makespan_s']:.2f} s)"
            ),
            (
                f"no schedule of these tasks takes less than {answer['lower_bound_s']:.2f} s: efficiency"
                f" {answer['efficiency']:.2f}"
            ),
            _picture(run, cores),
            f"times from: {answer['times_from']}",
        ]
    )


def _picture(run: Simulation, cores: int, columns: int = 72) -> str:
    """Return busy cores over time as one line of text blocks."""
    shades = " ▁▂▃▄▅▆▇█"
    bins = [0.0] * columns
    for record in run.records:
        first = int(record.started_s / run.makespan_s * columns)
        last = min(columns - 1, int((record.started_s + record.wall_s) / run.makespan_s * columns))
        for column in range(first, last + 1):
            begin, end = column * run.makespan_s / columns, (column + 1) * run.makespan_s / columns
            overlap = min(end, record.started_s + record.wall_s) - max(begin, record.started_s)
            bins[column] += max(0.0, overlap) / (end - begin) * record.width
    line = "".join(shades[min(8, round(8 * busy / cores))] for busy in bins)
    return f"busy cores over time |{line}|"
