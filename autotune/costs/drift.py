"""How far measured times are from what a tuning's law predicts, and when to say so. Pure."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autotune.base.records import Law, TaskRecord, Tuning
from autotune.base.types import Method, Task
from autotune.costs.cost_law import Costs, by_itself_s

LEAST_TASKS = 5
WORTH_SAYING = 0.3  # of the time, either way
SPREADS = 3.0  # standard deviations of the law that are no drift


class Drift(NamedTuple):
    """Median of measured over predicted times, and whether that is more than the law's own errors explain."""

    factor: float
    notable: bool


def drift(tasks: Sequence[Task], records: Sequence[TaskRecord], laws: Mapping[Method, Law]) -> Drift | None:
    """Return how far the finished tasks of these laws' methods are from them; None where there are too few."""
    by_number = {task.number: task for task in tasks}
    costs = Costs(laws)
    logs, spreads = [], []
    for record in records:
        task = by_number[record.number]
        if record.status == "done" and task.method in laws and record.wall_s > 0:
            wall_s = by_itself_s(task.method, record.wall_s, sharers=record.sharers, speed=record.speed)
            logs.append(math.log(wall_s / costs.estimate(task).wall_s(record.width)))
            spreads.append(laws[task.method].spread)
    if len(logs) < LEAST_TASKS:
        return None
    middle = statistics.median(logs)
    # The median of n tasks errs less than one; a law errs alike for tasks of one size, so no root of n is taken off.
    notable = abs(middle) > max(math.log1p(WORTH_SAYING), SPREADS * statistics.fmean(spreads))
    return Drift(math.exp(middle), notable)


def note(tuning: Tuning, tasks: Sequence[Task], records: Sequence[TaskRecord], *, workers: int, cores: int) -> str:
    """Return one sentence where the times of a run are not what its tuning predicts; else an empty text.

    A run with more workers than cores says nothing: its tasks wait for each other. Nor does one with fewer: its tasks
    have the machine to themselves.
    """
    usual = min(cores, len(tasks))
    seen = drift(tasks, records, {tuning.method: tuning.law}) if workers == usual else None
    if seen is None or not seen.notable:
        return ""
    return (
        f"tasks took {seen.factor:.2g} times what the tuning of {tuning.created[:10]} predicts; check it with"
        f" `autotune tunings verify {shlex.quote(str(tuning.method))}`"
    )
