"""How many cores each task gets: the widths that make the bound on the makespan smallest.

Rules: pure; knows estimates, not queues. Dual search for moldable tasks (Turek, Wolf and Yu 1992; Ludwig and Tiwari
1994): for a deadline each task takes the fewest cores that meet it; the deadline can be met only if the area fits the
cores. Halving finds the smallest such deadline. Only tasks longer than a core's share of the whole work can need more
cores, and those are fewer than the cores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from autotune.types import Estimate

SEARCH_STEPS = 20  # halvings of the interval in which the bound lies
WIDENING_GAIN = 0.8  # a task is widened only where its predicted time falls below this share


def widths(
    estimates: Mapping[int, Estimate],
    *,
    cores: int,
    narrowest: int,
    widest: int,
    memory_gib: float = math.inf,
    committed_core_s: float = 0.0,
) -> dict[int, int]:
    """Return the widths of those tasks that must be wider than `narrowest`, by task number.

    Args:
        estimates: Tasks that have not started.
        cores: Usable cores.
        narrowest: Width of an ordinary task.
        widest: Most cores of one task.
        memory_gib: What tasks may hold together.
        committed_core_s: What running tasks will still take.
    """
    if widest <= narrowest or not estimates:
        return {}
    base = {}
    if memory_gib < math.inf:
        base = _by_memory(estimates, cores=cores, narrowest=narrowest, widest=widest, memory_gib=memory_gib)
    narrow = {n: (base.get(n, narrowest), e) for n, e in estimates.items()}
    area = committed_core_s + sum(width * e.wall_s(width) for width, e in narrow.values())
    low = area / cores
    long = {n: (width, e) for n, (width, e) in narrow.items() if e.wall_s(width) > low}
    high = max((e.wall_s(width) for width, e in long.values()), default=low)
    best: dict[int, int] = {}
    for _ in range(SEARCH_STEPS):
        deadline = (low + high) / 2
        chosen = _meeting(deadline, long, area, cores=cores, widest=widest)
        if chosen is None:
            low = deadline
        else:
            high, best = deadline, chosen
    return base | {n: width for n, width in best.items() if _pays(long[n][1], long[n][0], width)}


def _by_memory(
    estimates: Mapping[int, Estimate], *, cores: int, narrowest: int, widest: int, memory_gib: float
) -> dict[int, int]:
    """Return widths where memory is scarcer than cores: where three such tasks fit, each gets a third of the cores.

    Tasks that need more than half of the memory exclude each other, so each of them counts as all of it.
    """
    together = {n: max(1, int(memory_gib / max(e.memory_gib, 1e-9))) for n, e in estimates.items()}
    core_s = sum(narrowest * e.wall_s(narrowest) for e in estimates.values())
    held_s = sum(e.wall_s(narrowest) / together[n] for n, e in estimates.items())
    if held_s <= core_s / cores:
        return {}
    shares = {n: round(cores / count) for n, count in together.items()}
    wider = {n: min(widest, share) for n, share in shares.items() if share > narrowest}
    return {n: width for n, width in wider.items() if _pays(estimates[n], narrowest, width)}


def _meeting(
    deadline: float, long: Mapping[int, tuple[int, Estimate]], area: float, *, cores: int, widest: int
) -> dict[int, int] | None:
    """Return the fewest cores of each long task that meet a deadline, or None where nothing does."""
    chosen: dict[int, int] = {}
    for number, (narrow, estimate) in long.items():
        if estimate.wall_s(narrow) <= deadline:
            continue
        width = _fewest(estimate, deadline, narrow)
        if width > widest:
            return None
        chosen[number] = int(width)
        area += width * estimate.wall_s(int(width)) - narrow * estimate.wall_s(narrow)
    return chosen if area <= cores * deadline else None


def _fewest(estimate: Estimate, deadline: float, narrowest: int) -> float:
    """Return the fewest cores, above `narrowest`, with which a task meets a deadline; infinity where none do."""
    left_s = deadline - estimate.alone_s * (1.0 - estimate.parallel)
    if left_s <= 0:
        return math.inf
    return max(narrowest + 1, math.ceil(estimate.alone_s * estimate.parallel / left_s - 1e-9))


def _pays(estimate: Estimate, narrow: int, wide: int) -> bool:
    return estimate.wall_s(wide) < WIDENING_GAIN * estimate.wall_s(narrow)
