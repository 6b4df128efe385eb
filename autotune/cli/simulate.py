"""`autotune simulate`: the real scheduler on a machine that is not there, or on several.

Rules: options of several nodes are refused without --nodes; every answer on several nodes names its assumptions.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError
from autotune.base.text import quote
from autotune.cli import options

if TYPE_CHECKING:
    from autotune.schedule.simulator import Simulation
    from autotune.session.forecast import SimulatedRun, SimulatedScaling

_SPEED = re.compile(r"(\d{0,6}\.?\d{1,6})(?:x([1-9]\d{0,4}))?", re.ASCII)
_NOT_NEGATIVE = options.Number(min=0)
# Options of several nodes, and what the library calls them.
_CONDITIONS = {
    "latency": "latency_s",
    "stragglers": "stragglers",
    "lost": "lost",
    "noticed": "noticed_s",
    "back": "back_s",
    "start_spread": "start_spread_s",
    "spread": "spread",
    "seed": "seed",
}

_node_options = options.together(
    click.option("--nodes", metavar="LIST", help="Simulate so many machines: 8, or 1,2,4, or 1-1000 for a table."),
    click.option(
        "--latency",
        type=_NOT_NEGATIVE,
        metavar="SECONDS",
        help="Until a bundle is at its node; as long back. [default: 0.1]",
    ),
    click.option("--stragglers", metavar="SHARE[xFACTOR]", help="So many nodes are slower, as 0.05x2. [default: none]"),
    click.option(
        "--lost", type=options.WholeNumber(0), metavar="N", help="So many nodes are lost, at random times. [default: 0]"
    ),
    click.option(
        "--noticed",
        type=_NOT_NEGATIVE,
        metavar="SECONDS",
        help="So long after its last sign of life a node counts as lost. [default: 60]",
    ),
    click.option(
        "--back",
        type=_NOT_NEGATIVE,
        metavar="SECONDS",
        help="After a loss another node takes the place. [default: never]",
    ),
    click.option(
        "--start-spread", type=_NOT_NEGATIVE, metavar="SECONDS", help="Nodes start at random within. [default: 0]"
    ),
    click.option(
        "--spread", type=_NOT_NEGATIVE, metavar="S", help="Scatter of task times, 0.1 for 10 %. [default: as predicted]"
    ),
    click.option("--seed", type=int, metavar="N", help="Of chance in all this. [default: 0]"),
)


@click.command("simulate")
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@options.omission_options
@click.option("--replay", metavar="FILE", help="Take the tasks' times from this run record instead of predicting them.")
@click.option(
    "--contention",
    type=options.Number(min=1),
    default=1.0,
    metavar="FACTOR",
    help="How much longer a task takes while all cores are busy than alone; as measured, such as 1.1.",
)
@click.option("--core-speeds", metavar="LIST", help="Cores that are not alike: 1x8,0.5x8 for 8, and 8 half as fast.")
@_node_options
@click.option("--plot", metavar="FILE", help="Draw the schedule, or the scaling of --nodes: a PNG, SVG or PDF file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(source: str, plot: str | None, as_json: bool, **given: Any) -> None:
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
    from autotune.session.forecast import simulate, simulate_scaling
    from autotune.session.preparation import NothingToComputeError

    counts, conditions = _numbers_of_nodes(given), _conditions(given)
    speeds = _core_speeds(given)
    picture = _picture_file(plot, counts)
    fields = options.many_body_fields(source, given)
    times = {name: given[name] for name in ("replay", "contention")}
    try:
        if counts:
            several = simulate_scaling(fields, counts, **times, **conditions, **options.session_options(given))
            answer = _of_several(several, picture, as_json=as_json)
        else:
            one = simulate(fields, **times, core_speeds=speeds, **options.session_options(given))
            answer = _of_one(one, picture, as_json=as_json)
    except NothingToComputeError:
        answer = json.dumps({"tasks": 0}) if as_json else options.NOTHING
    click.echo(answer)


# --- what was asked for -----------------------------------------------------------------------------------------------


def _numbers_of_nodes(given: dict[str, Any]) -> tuple[int, ...]:
    """Return the numbers of nodes that are asked for, increasing; none where one machine is meant."""
    if given["nodes"] is None:
        for flag in options.flags(given, list(_CONDITIONS)):
            raise InputError(f"{flag} is about several nodes; say how many with --nodes")
        return ()
    from autotune.reports.scaling import numbers_of_nodes
    from autotune.session.forecast import MOST_NODES

    counts: set[int] = set()
    for part in given["nodes"].split(","):
        least, _, most = part.partition("-")
        try:
            ends = int(least), int(most or least)
        except ValueError:
            ends = 0, 0
        if not 1 <= ends[0] <= ends[1] <= MOST_NODES:
            raise InputError(
                f"--nodes {quote(given['nodes'])} is no list of numbers up to {MOST_NODES:,}, such as 8, 1,2,4 or"
                " 1-1000"
            )
        counts.update(numbers_of_nodes(*ends))
    return tuple(sorted(counts))


def _conditions(given: dict[str, Any]) -> dict[str, Any]:
    """Return what befalls the nodes, by the names of the library."""
    found = {name: given[shown] for shown, name in _CONDITIONS.items() if given[shown] is not None}
    if "stragglers" in found:
        found["stragglers"], found["slower"] = _stragglers(found["stragglers"])
    return found


def _core_speeds(given: dict[str, Any]) -> list[float]:
    """Return the speed of each core; none where all are alike."""
    text = given["core_speeds"]
    if text is None:
        return []
    if given["nodes"] is not None:
        raise InputError("--core-speeds are those of one machine; leave out --nodes")
    speeds: list[float] = []
    for part in text.split(","):
        found = _SPEED.fullmatch(part.strip())
        speeds += [float(found[1])] * int(found[2] or 1) if found else []
        if not found or float(found[1]) == 0.0:
            raise InputError(
                f"--core-speeds {quote(text)} is no list of speeds and numbers of cores, such as 1x8,0.5x8"
            )
    return speeds


def _stragglers(text: str) -> tuple[float, float]:
    share, _, slower = text.partition("x")
    try:
        numbers = float(share), float(slower or "2")
    except ValueError:
        numbers = -1.0, 0.0
    if not 0 <= numbers[0] <= 1 or not 1 <= numbers[1] < math.inf:
        raise InputError(
            f"--stragglers {quote(text)} is no share of nodes and how much longer they take, such as 0.05x2 or 0.1"
        )
    return numbers


def _picture_file(plot: str | None, counts: tuple[int, ...]) -> Path | None:
    """Return the file to draw, or refuse one that could not be drawn after the simulation."""
    if plot is None:
        return None
    from autotune.reports import figures

    if len(counts) == 1:
        raise InputError("a picture of a scaling needs several numbers of nodes, such as --nodes 1-1000")
    figures.check(Path(plot))
    return Path(plot)


# --- one machine ------------------------------------------------------------------------------------------------------


def _of_one(found: SimulatedRun, picture: Path | None, *, as_json: bool) -> str:
    """Return what one machine would do, as words or JSON, and draw it where a file is given."""
    from autotune.base.text import duration

    run, cores = found.schedule, found.machine.cores
    if picture:
        from autotune.reports import run_pictures

        title = f"simulated: {found.tasks} tasks on {cores} cores"
        run_pictures.draw_schedule(run.records, cores=cores, title=title, path=picture)
    if as_json:
        fields = {
            "simulated": True,
            "cores": cores,
            "memory_budget_gib": found.memory_budget_gib,
            "tasks": found.tasks,
            "makespan_s": run.makespan_s,
            "lower_bound_s": run.lower_bound_s,
            "efficiency": run.efficiency,
            "times_from": found.times_from,
        }
        return json.dumps(fields, indent=1)
    lines = (
        (f"simulated: {found.tasks} tasks on {cores} cores in {duration(run.makespan_s)} ({run.makespan_s:.2f} s)"),
        (f"no schedule of these tasks takes less than {run.lower_bound_s:.2f} s: efficiency {run.efficiency:.2f}"),
        _busy_cores(run, cores),
        f"times from: {found.times_from}",
    )
    return "\n".join(lines)


def _busy_cores(run: Simulation, cores: int, columns: int = 72) -> str:
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


# --- several machines -------------------------------------------------------------------------------------------------


def _of_several(found: SimulatedScaling, picture: Path | None, *, as_json: bool) -> str:
    """Return what several nodes would do, as words or JSON, and draw it where a file is given."""
    from autotune.reports import scaling

    assumptions = scaling.assumptions_of(found.nodes, spread=found.spread, contention=found.contention)
    if picture:
        from autotune.reports import scaling

        title = f"{found.tasks:,} tasks on nodes of {found.machine.cores} cores"
        scaling.draw(found.scaling, title=title, assumptions=assumptions, path=picture)
    if not as_json:
        return _words(found, assumptions)
    fields = {
        "simulated": True,
        "tasks": found.tasks,
        "core_s": found.scaling.runs[0].core_s,
        "cores": found.machine.cores,
        "memory_budget_gib": found.memory_budget_gib,
        "runs": scaling.fields(found.scaling),
        "worth_it": found.scaling.worth.nodes.count,
        "assumed": assumptions,
        "times_from": found.times_from,
    }
    return json.dumps(fields, indent=1)


def _words(found: SimulatedScaling, assumptions: tuple[str, ...]) -> str:
    from autotune.base.text import count, duration
    from autotune.reports import scaling

    runs = found.scaling.runs
    first, tasks, cores = runs[0], count(found.tasks, "task"), count(found.machine.cores, "core")
    if len(runs) > 1:
        lines = [f"simulated: {tasks}, {first.core_s:,.0f} core-s, on nodes of {cores}"]
        lines += [scaling.table(found.scaling), scaling.verdict(found.scaling)]
    else:
        where = f"{count(first.nodes.count, 'node')} of {cores}"
        lines = [f"simulated: {tasks} on {where} in {duration(first.makespan_s)} ({first.makespan_s:.2f} s)"]
        lines += [
            f"with all cores always busy they would take {first.bound_s:.2f} s: efficiency {first.efficiency:.2f}",
            scaling.effort(first),
            f"core time of the nodes: {scaling.idle_words(first)}",
        ]
    if given_up := max(run.given_up for run in runs):
        lines += [f"given up, because their nodes were lost again and again: {count(given_up, 'task')}"]
    return "\n".join(
        [*lines, "assumed:", *(f"  - {clause}" for clause in assumptions), f"times from: {found.times_from}"]
    )
