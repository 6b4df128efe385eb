"""What single tasks cost at widths 1, 2, 4, …, alone and while all cores work.

Rules: a few tasks stand for all: the largest size of each method and one in the middle. The first task of a fresh
worker pays for what its program sets up once, so each probe runs two tasks and the faster one counts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autotune.base.records import TaskRecord
from autotune.base.types import Machine, Policy, Task, TaskSize
from autotune.calibration.instances import Instance
from autotune.calibration.timing import Timed

MOST_CONTENTION = 4.0  # more is a machine that does something else meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Times of single tasks.

    Attributes:
        contention: Time while all cores work over the time alone, both at one core; at least 1.
        wide: What happened to tasks at larger widths, every core at work.
        alone: What happened to tasks at one core, the others idle.
    """

    contention: float
    wide: tuple[TaskRecord, ...]
    alone: tuple[TaskRecord, ...]


def probe(
    instance: Instance,
    loaded: Sequence[TaskRecord],
    *,
    plan: Policy,
    machine: Machine,
    run: Callable[[Instance, Policy], Timed],
    enough: Callable[[], bool],
) -> Probed:
    """Return what single tasks cost.

    Args:
        instance: The tasks.
        loaded: Their records, run with `plan` and all cores at work.
        plan: The policy whose workers, width and order are varied.
        machine: Its cores bound the widths.
        run: Runs an instance.
        enough: Asked before each run whether time is up.
    """
    chosen = list(_representatives(instance.tasks))
    loaded_s: dict[TaskSize, list[float]] = {}
    sizes = {task.number: task.size for task in instance.tasks}
    for record in loaded:
        if record.width == 1:
            loaded_s.setdefault(sizes[record.number], []).append(record.wall_s)
    factors: list[float] = []
    wide: list[TaskRecord] = []
    alone: list[TaskRecord] = []
    for tasks in chosen:
        width = 1
        while width <= machine.cores and not enough():
            # At width 1 alone; above, as many at once as the cores hold.
            at_once = 1 if width == 1 else max(1, machine.cores // width)
            two = replace(instance, tasks=tasks[: 2 * at_once])
            records = run(two, _narrowed(plan, workers=at_once, width=width)).records
            fastest = min(records, key=lambda record: record.wall_s)
            (wide if width > 1 else alone).append(fastest)
            if width == 1 and tasks[0].size in loaded_s:
                factors.append(statistics.median(loaded_s[tasks[0].size]) / fastest.wall_s)
            width *= 2
    mean = math.exp(statistics.fmean(map(math.log, factors))) if factors else 1.0
    return Probed(contention=min(MOST_CONTENTION, max(1.0, mean)), wide=tuple(wide), alone=tuple(alone))


def _representatives(tasks: Sequence[Task]) -> Iterator[tuple[Task, ...]]:
    """Yield the tasks of the largest size and of one in the middle, largest first."""
    by_size: dict[TaskSize, list[Task]] = {}
    for task in tasks:
        by_size.setdefault(task.size, []).append(task)
    ranked = sorted(by_size.values(), key=lambda members: -members[0].size.functions)
    for position in sorted({0, len(ranked) // 2}):
        yield tuple(ranked[position])


def _narrowed(plan: Policy, *, workers: int, width: int) -> Policy:
    return replace(
        plan,
        workers=workers,
        most_workers=workers,
        core_slots=workers * width,
        width=width,
        widest=width,
        widen_tail=False,
        batch_s=0.0,
    )
