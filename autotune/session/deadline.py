"""How much of a machine, or how many machines, a workload needs to be done by a deadline.

Rules: the schedules are those of `forecast.py`; the fewest that suffice are looked for by halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from autotune.base.errors import InputError
from autotune.base.options import GivenOptions
from autotune.expansion.workload import Workload, load
from autotune.session.forecast import MOST_NODES, simulate, simulate_scaling
from autotune.session.preparation import input_of

if TYPE_CHECKING:
    from autotune.expansion.expansion import Expansion


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """How much of this kind of machine a workload needs to be done in time.

    Attributes:
        nodes: Machines such as this one.
        cores: Of each; fewer than it has only where one machine suffices.
        wall_s: Seconds that the workload then takes, start-up not counted.
    """

    nodes: int
    cores: int
    wall_s: float


def needed_within(
    source: object, within_s: float, *, expansion: Expansion | None = None, **options: Unpack[GivenOptions]
) -> Needed:
    """Return the fewest cores of this machine, or the fewest machines such as this, that do a workload in time.

    A number below the one that is returned may do as well by luck: it is looked for by halves.

    Args:
        source: As for `estimate`.
        within_s: Wall time in seconds.
        expansion: As for `estimate`.
        options: As for `estimate`; `cores` and `memory_gib` describe the largest machine.

    Returns:
        Where no number of machines suffices, one machine for each task, and their time, which is longer.

    Raises:
        InputError: As for `estimate`, or the time is not positive.
    """
    if not 0.0 < within_s < math.inf:
        raise InputError(f"the time is {within_s:g} s, but must be positive and finite")
    source = source if isinstance(source, Workload) else load(input_of(source, expansion))  # planned once
    here = simulate(source, **options)
    whole, largest = here.machine, min(here.tasks, MOST_NODES)

    def on_cores(cores: int) -> float:
        # Less of a machine has less of its memory.
        memory_gib = whole.memory_gib * cores / whole.cores
        changed = GivenOptions(**{**options, "cores": cores, "memory_gib": memory_gib})
        return simulate(source, **changed).schedule.makespan_s

    if on_cores(whole.cores) <= within_s:
        cores, wall_s = _fewest(on_cores, within_s, most=whole.cores)
        return Needed(nodes=1, cores=cores, wall_s=wall_s)

    def on_nodes(nodes: int) -> float:
        return simulate_scaling(source, [nodes], **options).scaling.runs[0].makespan_s

    most = 1
    while most < largest and on_nodes(most) > within_s:
        most = min(2 * most, largest)
    nodes, wall_s = _fewest(on_nodes, within_s, most=most)
    return Needed(nodes=nodes, cores=whole.cores, wall_s=wall_s)


def _fewest(wall_s: Callable[[int], float], within_s: float, *, most: int) -> tuple[int, float]:
    """Return the lowest number from 1 on at which a wall time is short enough, and that time; else the highest."""
    below, enough = 0, most
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if wall_s(middle) <= within_s else (middle, enough)
    return enough, wall_s(enough)
