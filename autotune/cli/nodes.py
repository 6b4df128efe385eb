"""What `autotune simulate --nodes` asks and answers.

Rules: what several nodes are told is refused without --nodes; every answer names its assumptions.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from autotune.base.errors import InputError, quoted
from autotune.cli import options

if TYPE_CHECKING:
    from autotune.cli.simulate import Pretence
    from autotune.reports.scaling import Scaling
    from autotune.schedule.virtual_nodes import PretendedNodes

MOST_NODES = 100_000
_CHANGES = ("latency", "stragglers", "lost", "back", "start_spread", "spread", "seed")
_NOT_NEGATIVE = click.FloatRange(min=0.0)

node_options = options.together(
    click.option("--nodes", metavar="LIST", help="Simulate so many machines: 8, or 1,2,4, or 1-1000 for a table."),
    click.option(
        "--latency",
        type=_NOT_NEGATIVE,
        metavar="SECONDS",
        help="Until a bundle is at its node; as long back. [default: 0.1]",
    ),
    click.option("--stragglers", metavar="SHARE[xFACTOR]", help="So many nodes are slower, as 0.05x2. [default: none]"),
    click.option(
        "--lost", type=click.IntRange(0), metavar="N", help="So many nodes are lost, at random times. [default: 0]"
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


class Asked(NamedTuple):
    """What was asked of several nodes.

    Attributes:
        counts: Numbers of nodes, increasing.
        told: Fields of `PretendedNodes` that were given.
    """

    counts: tuple[int, ...]
    told: dict[str, Any]


def asked(given: dict[str, Any]) -> Asked | None:
    """Return what the options ask of several nodes, or None where one machine is meant.

    Raises:
        InputError: An option cannot be meant, or is one of several nodes while no number of them is given.
    """
    given = {name: given[name] for name in ("nodes", *_CHANGES) if given[name] is not None}
    if "nodes" not in given:
        for name in given:
            raise InputError(f"--{name.replace('_', '-')} is about several nodes; say how many with --nodes")
        return None
    told: dict[str, Any] = {name: given[name] for name in ("lost", "spread", "seed") if name in given}
    told |= {f"{name}_s": given[name] for name in ("latency", "back", "start_spread") if name in given}
    if "stragglers" in given:
        told["stragglers"], told["slower"] = _stragglers(given["stragglers"])
    return Asked(_counts(given["nodes"]), told)


def answer(pretence: Pretence, asked: Asked, plot: str | None, *, as_json: bool) -> str:
    """Return what several nodes would do, as words or JSON, and draw it where a file is given."""
    from autotune.reports import figures, scaling
    from autotune.schedule.events import Planned
    from autotune.schedule.node_simulator import simulate_nodes

    if plot and len(asked.counts) == 1:
        raise InputError("a picture of a scaling needs several numbers of nodes, such as --nodes 1-1000")
    if plot:
        figures.check(Path(plot))
    tasks = [Planned(number=t.number, level=t.nbody, estimate=pretence.estimates[t.number]) for t in pretence.tasks]
    found = scaling.Scaling(
        runs=tuple(
            simulate_nodes(
                tasks,
                policy=pretence.plan.policy,
                nodes=_pretended(count, pretence, asked.told),
                measured=pretence.measured,
                durations_s=pretence.durations_s,
                contention=pretence.slower,
            )
            for count in asked.counts
        )
    )
    spread = asked.told.get("spread", scaling.spread_of([task.estimate.spread for task in tasks]))
    assumptions = scaling.assumed(
        _pretended(MOST_NODES, pretence, asked.told),
        spread=None if pretence.durations_s else spread,
        contention=pretence.contention,
    )
    if plot:
        title = f"{len(tasks):,} tasks on nodes of {pretence.machine.cores} cores"
        scaling.draw(found, title=title, assumptions=assumptions, path=Path(plot))
    return _fields(found, pretence, assumptions) if as_json else _words(found, pretence, assumptions)


def _pretended(count: int, pretence: Pretence, told: dict[str, Any]) -> PretendedNodes:
    from autotune.schedule.virtual_nodes import PretendedNodes

    lost = told.get("lost", 0)
    if told.get("back_s", math.inf) == math.inf:
        lost = min(lost, count - 1)  # somebody has to compute the rest
    return PretendedNodes(
        **{
            **told,
            "lost": min(lost, count),
            "count": count,
            "cores": pretence.machine.cores,
            "memory_gib": pretence.plan.budget_gib,
        }
    )


def _fields(found: Scaling, pretence: Pretence, assumptions: tuple[str, ...]) -> str:
    from autotune.reports import scaling

    fields = {
        "simulated": True,
        "tasks": len(pretence.tasks),
        "core_s": found.runs[0].core_s,
        "cores": pretence.machine.cores,
        "memory_budget_gib": pretence.plan.budget_gib,
        "runs": scaling.fields(found),
        "worth_it": found.worth.nodes.count,
        "assumed": assumptions,
        "times_from": pretence.times_from,
    }
    return json.dumps(fields, indent=1)


def _words(found: Scaling, pretence: Pretence, assumptions: tuple[str, ...]) -> str:
    from autotune.base.wording import count
    from autotune.reports import scaling
    from autotune.reports.progress import duration

    first, tasks = found.runs[0], count(len(pretence.tasks), "task")
    cores = f"{count(pretence.machine.cores, 'core')}"
    if len(found.runs) > 1:
        lines = [f"simulated: {tasks}, {first.core_s:,.0f} core-s, on nodes of {cores}"]
        lines += [scaling.table(found), scaling.verdict(found)]
    else:
        where = f"{count(first.nodes.count, 'node')} of {cores}"
        lines = [f"simulated: {tasks} on {where} in {duration(first.makespan_s)} ({first.makespan_s:.2f} s)"]
        lines += [
            f"with all cores always busy they would take {first.bound_s:.2f} s: efficiency {first.efficiency:.2f}",
            scaling.effort(first),
            f"core time of the nodes: {scaling.idle_words(first)}",
        ]
    given_up = max(run.given_up for run in found.runs)
    if given_up:
        lines += [f"given up, because their nodes were lost again and again: {count(given_up, 'task')}"]
    lines += ["assumed:", *(f"  - {clause}" for clause in assumptions)]
    return "\n".join([*lines, f"times from: {pretence.times_from}"])


def _counts(text: str) -> tuple[int, ...]:
    from autotune.reports.scaling import numbers_of_nodes

    counts: set[int] = set()
    for part in text.split(","):
        least, _, most = part.partition("-")
        try:
            ends = int(least), int(most or least)
        except ValueError:
            ends = 0, 0
        if not 1 <= ends[0] <= ends[1] <= MOST_NODES:
            raise InputError(
                f"--nodes {quoted(text)} is no list of numbers up to {MOST_NODES:,}, such as 8, 1,2,4 or 1-1000"
            )
        counts.update(numbers_of_nodes(*ends))
    return tuple(sorted(counts))


def _stragglers(text: str) -> tuple[float, float]:
    share, _, slower = text.partition("x")
    try:
        told = float(share), float(slower or "2")
    except ValueError:
        told = -1.0, 0.0
    if not 0 <= told[0] <= 1 or not 1 <= told[1] < math.inf:
        raise InputError(
            f"--stragglers {quoted(text)} is no share of nodes and how much longer they take, such as 0.05x2 or 0.1"
        )
    return told
