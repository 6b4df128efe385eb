"""`autotune simulate`: the real scheduler on a machine that is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError
from autotune.cli import nodes, options

if TYPE_CHECKING:
    from autotune.base.types import Estimate, Machine, Task
    from autotune.runtime.planning import Plan
    from autotune.schedule.simulator import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretence:
    """What is simulated, and on what.

    Attributes:
        tasks: Tasks of the workload.
        estimates: What is believed of them, by number.
        machine: The machine pretended, or one node.
        plan: What would be done there.
        durations_s: Seconds alone on one core of a record that is replayed, by number; None where none is.
        measured: What is believed comes from measured times.
        contention: How much longer a task takes while all cores are busy.
        times_from: Where the times come from, in words.
    """

    tasks: tuple[Task, ...]
    estimates: Mapping[int, Estimate]
    machine: Machine
    plan: Plan
    durations_s: Mapping[int, float] | None
    measured: bool
    contention: float
    times_from: str

    def slower(self, busy: float) -> float:
        """Return the factor on a task's time while a share of the cores is busy."""
        return 1.0 + (self.contention - 1.0) * min(1.0, busy)


@click.command()
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@options.omission_options
@click.option("--replay", metavar="FILE", help="Take the tasks' times from this run record instead of predicting them.")
@click.option(
    "--contention",
    type=options.AboveZero(float, least=1.0),
    default=1.0,
    metavar="FACTOR",
    help="How much longer a task takes while all cores are busy than alone; as measured, such as 1.1.",
)
@nodes.node_options
@click.option("--plot", metavar="FILE", help="Draw the schedule, or the scaling of --nodes: a PNG, SVG or PDF file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(source: str, replay: str | None, contention: float, plot: str | None, as_json: bool, **given: Any) -> None:
    """Show how a many-body expansion would run on another machine, or on several.

    Takes the INPUT, and the options for what is computed and how, of `autotune run`; --cores and --memory describe the
    machine pretended. The scheduler is the real one, the clock is virtual, and the answer says that it is simulated.

    With --nodes it is one of several machines that share the tasks in bundles: one number, several with commas, or a
    range, for which a table shows how many nodes are worth it. The answer names what was assumed.

    \b
    autotune simulate water16.xyz --program pyscf --method hf --basis '6-31g*' --max-nbody 3 --cores 64 --memory 256
    autotune simulate water64.xyz --program pyscf --method hf --basis '6-31g*' --max-nbody 3 --cores 64 --memory 256 \\
        --nodes 1-100 --stragglers 0.05x2 --plot scaling.png
    """
    asked = nodes.asked(given)
    pretence = _pretence(source, replay, contention, given)
    if pretence is None:
        click.echo(json.dumps({"tasks": 0}) if as_json else "nothing has to be computed for this expansion")
        return
    click.echo(
        nodes.answer(pretence, asked, plot, as_json=as_json) if asked else _answer(pretence, plot, as_json=as_json)
    )


def _pretence(source: str, replay: str | None, contention: float, given: dict[str, Any]) -> Pretence | None:
    """Return what is simulated, None for an expansion without tasks."""
    from autotune.expansion import readers, workload
    from autotune.machine import detection
    from autotune.plugin.manager import Manager
    from autotune.runtime import planning
    from autotune.session import reductions

    text, name = readers.read_text(source)
    fields = readers.many_body_fields(text, name=name, expansion=options.expansion(given, text=text, name=name))
    chosen = options.session_options(given)
    work = reductions.plan(workload.load(fields), chosen).work
    if not work.tasks:
        return None
    here, manager = detection.detect(), Manager()
    pretended = replace(here, cores=chosen.cores or here.cores)
    # The tuning is looked up for this machine: it is where the times were measured.
    measured = planning.make(work, machine=here, manager=manager, options=replace(chosen, cores=None))
    estimates = {
        task.number: planning.estimate(task, costs=measured.costs, manager=manager, machine=here) for task in work.tasks
    }
    return Pretence(
        tasks=work.tasks,
        estimates=estimates,
        machine=pretended,
        plan=planning.make(work, machine=pretended, manager=manager, options=chosen),
        durations_s=_replayed(replay, work, estimates) if replay else None,
        measured=measured.tuning is not None,
        contention=contention,
        times_from=replay or f"{measured.chosen.match} - {measured.chosen.reason}",
    )


def _answer(pretence: Pretence, plot: str | None, *, as_json: bool) -> str:
    """Return what one machine would do, as words or JSON, and draw it where a file is given."""
    from autotune.schedule import simulator

    cores = pretence.machine.cores
    run = simulator.simulate(
        pretence.tasks,
        pretence.estimates,
        policy=pretence.plan.policy,
        machine=pretence.machine,
        memory_budget_gib=pretence.plan.budget_gib,
        durations_s=pretence.durations_s,
        contention=pretence.slower,
    )
    if plot:
        from autotune.reports import run_pictures

        title = f"simulated: {len(pretence.tasks)} tasks on {cores} cores"
        run_pictures.draw_schedule(run.records, cores=cores, title=title, path=Path(plot))
    answer = {
        "simulated": True,
        "cores": cores,
        "memory_budget_gib": pretence.plan.budget_gib,
        "tasks": len(pretence.tasks),
        "makespan_s": run.makespan_s,
        "lower_bound_s": run.lower_bound_s,
        "efficiency": run.efficiency,
        "times_from": pretence.times_from,
    }
    return json.dumps(answer, indent=1) if as_json else _words(answer, run, cores)


def _replayed(path: str, work: Any, estimates: dict[int, Any]) -> dict[int, float]:
    from autotune.base import json_files

    record = json_files.load_run(Path(path))
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
    from autotune.reports.progress import duration

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
