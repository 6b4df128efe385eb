"""How a simulated run scales with the number of nodes, how many are worth it, what was assumed: in words and a picture.

Rules: every answer says that it is simulated, the picture with its assumptions, too. Nothing is said of more nodes than
were simulated.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.base.text import count, duration
from autotune.reports import figures
from autotune.reports.tables import text_table
from autotune.schedule.bundles import AT_A_NODE
from autotune.schedule.node_simulator import PLANNING_S, NodesSimulation, PretendedNodes
from autotune.session.forecast import WORTH, Scaling

TENTHS_BELOW_S = 100.0
_LETTERS = 150  # of a line of assumptions in the picture


def table(scaling: Scaling) -> str:
    """Return a table, a row for each number of nodes."""
    headings = ("nodes", "time", "speed-up", "efficiency", "node-hours", "computed twice")
    rows = [
        (
            f"{run.nodes.count:,}",
            _time(run.makespan_s),
            f"{scaling.speed_up(run):.2f}",
            f"{scaling.efficiency(run):.2f}",
            f"{run.node_hours:.3g}",
            f"{run.lost_core_s:,.0f} core-s",
        )
        for run in scaling.runs
    ]
    return "\n".join(text_table(headings, rows))


def fields(scaling: Scaling) -> list[dict[str, float]]:
    """Return the runs as JSON has them, with what follows from their numbers; times in seconds."""
    return [
        {
            "nodes": run.nodes.count,
            "makespan_s": run.makespan_s,
            "speed_up": scaling.speed_up(run),
            "parallel_efficiency": scaling.efficiency(run),
            "bound_s": run.bound_s,
            "efficiency": run.efficiency,
            "node_hours": run.node_hours,
            "done": run.done,
            "given_up": run.given_up,
            "bundles": run.bundles,
            "bundles_lost": run.bundles_lost,
            "nodes_lost": run.nodes_lost,
            "lost_core_s": run.lost_core_s,
            "waiting": run.waiting,
            "planning": run.planning,
            "within": run.within,
            "lost": run.lost,
        }
        for run in scaling.runs
    ]


def verdict(scaling: Scaling) -> str:
    """Return in words how many nodes are worth it."""
    first, worth, last = scaling.runs[0], scaling.worth, scaling.runs[-1]
    rule = f"the largest number with a parallel efficiency of at least {WORTH}"
    if len(scaling.runs) > 1:
        rule += f" against {count(first.nodes.count, 'node')}"
    more = "More were not simulated." if worth is last else _of_more(scaling)
    if worth is first:
        what = f"{count(worth.nodes.count, 'node')}, {_time(worth.makespan_s)}"
    else:
        what = f"up to {worth.nodes.count:,} nodes, {_time(worth.makespan_s)} instead of {_time(first.makespan_s)}"
    return f"worth it: {what} ({rule}). {more}"


def _of_more(scaling: Scaling) -> str:
    """Return what the fastest run with more nodes than are worth it would bring."""
    worth = scaling.worth
    fastest = min(scaling.runs, key=lambda run: (run.makespan_s, run.nodes.count))
    if fastest.nodes.count <= worth.nodes.count:
        return "More are not faster."
    times = fastest.node_hours / worth.node_hours if worth.node_hours else math.inf
    return (
        f"The fastest simulated: {fastest.nodes.count:,} nodes, {_time(fastest.makespan_s)},"
        f" for {times:.1f} times the node-hours."
    )


def effort(run: NodesSimulation) -> str:
    """Return in words what a run takes of the nodes."""
    words = f"{run.node_hours:.3g} node-hours, {count(run.bundles, 'bundle')}"
    if run.nodes_lost:
        words += (
            f"; {count(run.nodes_lost, 'node')} lost with {count(run.bundles_lost, 'bundle')},"
            f" {run.lost_core_s:,.0f} core-s computed twice"
        )
    return words


def idle_words(run: NodesSimulation) -> str:
    """Return where the core time of the nodes went."""
    busy = max(0.0, 1.0 - run.waiting - run.planning - run.within - run.lost)
    parts = (
        (busy, "tasks"),
        (run.within, "cores that waited for the last tasks of a bundle"),
        (run.planning, "what bundles cost besides their tasks"),
        (run.waiting, "nodes without a bundle"),
        (run.lost, "computed twice"),
    )
    return ", ".join(f"{100 * share:.1f} % {what}" for share, what in parts if share >= 0.0005)  # noqa: PLR2004 - is 0.0


def assumptions_of(nodes: PretendedNodes, *, spread: float | None, contention: float = 1.0) -> tuple[str, ...]:
    """Return the assumptions of a simulation as clauses.

    Args:
        nodes: The nodes; their number is not mentioned.
        spread: Standard deviation of the logarithm of single tasks' times; None where times are those of a record.
        contention: Factor on a task's time while all cores of its node are busy.
    """
    node = f"each node has {count(nodes.cores, 'core')} and {nodes.memory_gib:.0f} GiB for tasks"
    others = (
        f"; {100 * nodes.stragglers:.3g} % of the nodes take {nodes.slower:g} times as long" if nodes.stragglers else ""
    )
    start = (
        f"nodes start at random within {duration(nodes.start_spread_s)}"
        if nodes.start_spread_s
        else "all start at once"
    )
    if spread is None:
        times = "tasks take what they took in the record"
    elif spread:
        times = f"single tasks take {math.exp(spread):.2f} times more or less than predicted (one standard deviation)"
    else:
        times = "tasks take exactly what is predicted"
    busy = (
        f"{contention:g} times as long while all cores of a node are busy"
        if contention > 1
        else "tasks on one node do not slow each other down"
    )
    way = f"a bundle takes {nodes.latency_s:g} s to its node and its results {nodes.latency_s:g} s back"
    bundles = (
        f"it costs the node {PLANNING_S:g} s besides its tasks; a node has {AT_A_NODE}, one at work and one waiting"
    )
    return (
        f"{node}{others}; {start}",
        f"{way}; {bundles}",
        _lost_words(nodes),
        f"{times}, and {busy}",
        "dealing keeps up with any number of nodes; planning the expansion and assembling the result are not counted",
    )


def _lost_words(nodes: PretendedNodes) -> str:
    if not nodes.lost:
        return "no node is lost"
    after = (
        f"another takes its place {duration(nodes.back_s)} later" if nodes.back_s < math.inf else "none takes its place"
    )
    kept = " (one stays)" if nodes.back_s == math.inf else ""
    return (
        f"{count(nodes.lost, 'node')} lost at random times{kept}, which is noticed after {nodes.noticed_s:g} s; {after}"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < TENTHS_BELOW_S else duration(seconds)


def numbers_of_nodes(least: int, most: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50 and so on between two numbers, and both."""
    steps = [digit * 10**power for power in range(len(str(most))) for digit in (1, 2, 5)]
    return sorted({least, most, *(step for step in steps if least < step < most)})


# --- the picture ------------------------------------------------------------------------------------------------------


def draw(scaling: Scaling, *, title: str, assumptions: Sequence[str], path: Path) -> None:
    """Draw time and efficiency over the number of nodes; raises as `figures.save`.

    Args:
        scaling: What was simulated.
        title: Of the picture; "simulated" is set before it.
        assumptions: Clauses, written below.
        path: The file.
    """
    with figures.figure(size=(10, 5.4)) as drawn:
        drawn.suptitle(f"simulated: {title}", fontsize=12)
        times, shares = drawn.subplots(1, 2)
        numbers = [run.nodes.count for run in scaling.runs]
        _draw_times(times, scaling, numbers)
        _draw_efficiency(shares, scaling, numbers)
        for axes in (times, shares):
            axes.set(xscale="log", xlabel="nodes")
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.xaxis.set_minor_formatter("")
            axes.grid(visible=True, color=figures.RULE, lw=0.6)
        text = "\n".join(textwrap.wrap(f"Simulated. Assumed: {'; '.join(assumptions)}.", _LETTERS))
        drawn.supxlabel(text, fontsize=7.5, color=figures.SOFT, x=0.02, ha="left")
        figures.save(drawn, path, 120)


def _draw_times(axes: Any, scaling: Scaling, numbers: Sequence[int]) -> None:
    first = scaling.runs[0]
    ideal = [first.makespan_s * first.nodes.count / number for number in numbers]
    axes.plot(numbers, ideal, ls="--", color=figures.SOFT, lw=1.2, label="ideal: no loss by more nodes")
    axes.plot(
        numbers,
        [run.makespan_s for run in scaling.runs],
        marker="o",
        ms=4.5,
        color=figures.COLOURS[0],
        label="simulated",
    )
    worth = scaling.worth
    axes.plot(
        [worth.nodes.count],
        [worth.makespan_s],
        ls="",
        marker="D",
        ms=9,
        mfc="none",
        mec=figures.COLOURS[3],
        mew=1.8,
        label=f"worth it: up to {worth.nodes.count:,} ({WORTH:g} efficient)",
    )
    axes.set(yscale="log", ylabel="time, s", title="Time")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter("{x:,g}")  # within one power of ten only minor ticks have labels
    axes.legend(loc="upper right", fontsize=8)


def _draw_efficiency(axes: Any, scaling: Scaling, numbers: Sequence[int]) -> None:
    axes.axhline(WORTH, color=figures.COLOURS[3], lw=1.0, ls=":", label=f"{WORTH:g}: worth it above")
    shares = [scaling.efficiency(run) for run in scaling.runs]
    label = f"parallel efficiency against {scaling.runs[0].nodes.count:,}"
    axes.plot(numbers, shares, marker="o", ms=4.5, color=figures.COLOURS[0], label=label)
    busy = [run.efficiency for run in scaling.runs]
    axes.plot(numbers, busy, marker="s", ms=4, ls="-.", color=figures.COLOURS[2], label="against all cores always busy")
    axes.set(ylim=(0, 1.08), title="Efficiency")
    axes.legend(loc="lower left", fontsize=8)
