"""Instances: the sets of tasks that calibration times as a whole, from a study's workloads or the user's own input.

Rules: nothing is run here. What the search sees, the confirmation does not: other clusters, or the other half of the
tasks of each size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autotune.base.errors import InputError
from autotune.base.types import Method, Task, TaskSize
from autotune.calibration import studies
from autotune.expansion import workload
from autotune.expansion.component import Recipe
from autotune.programs.facts import facts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One set of tasks.

    Attributes:
        name: For people.
        kind: What it stands for; see `study.Rung`.
        recipe: What workers build inputs from.
        tasks: What is run.
    """

    name: str
    kind: str
    recipe: Recipe
    tasks: tuple[Task, ...]

    @property
    def methods(self) -> tuple[Method, ...]:
        """Model chemistries of the tasks."""
        return tuple(dict.fromkeys(task.method for task in self.tasks))


def whole(work: workload.Workload, *, name: str, kind: str = "even") -> Instance:
    """Return all tasks of a workload as one instance; raises InputError where there are none."""
    if not work.tasks:
        raise InputError(f"{name} has nothing to compute; choose another BSSE treatment or n-body level")
    return Instance(name=name, kind=kind, recipe=work.recipe, tasks=work.tasks)


def ladders(
    chosen: studies.Study, rungs: Sequence[studies.Rung], method: studies.MethodChoice
) -> dict[str, Iterator[Instance]]:
    """Return the workloads of a study by kind, cheapest first, made when they are asked for.

    Programs that know no ghost atoms get those that need none.
    """
    if not facts_of(method.program).ghosts:
        rungs = [rung for rung in rungs if set(rung.bsse) <= {"nocp"}]

    def made(kind: str) -> Iterator[Instance]:
        for rung in rungs:
            if rung.kind == kind:
                yield whole(workload.load(studies.fields_of(chosen, rung, method)), name=rung.name, kind=kind)

    return {kind: made(kind) for kind in dict.fromkeys(rung.kind for rung in rungs)}


def halves(work: workload.Workload, *, name: str, seed: int) -> tuple[Instance, Instance]:
    """Return two instances that share no task: of every size, every other task in random order.

    Raises:
        InputError: There are too few tasks, or several model chemistries.
    """
    if len({task.method for task in work.tasks}) > 1:
        raise InputError(f"{name} has several model chemistries; calibrate each of them by itself")
    shuffled = list(work.tasks)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a choice of tasks, not a secret
    by_size: dict[TaskSize, list[Task]] = {}
    for task in shuffled:
        by_size.setdefault(task.size, []).append(task)
    sides: tuple[list[Task], list[Task]] = ([], [])
    for turn, members in enumerate(by_size.values()):
        for number, task in enumerate(members):
            sides[(turn + number) % 2].append(task)
    if not all(sides):
        raise InputError(f"{name} has {len(work.tasks)} tasks, too few for a search and a confirmation")
    search, confirm = (
        Instance(name=f"{name}, {side} half", kind="own", recipe=work.recipe, tasks=_in_order(tasks))
        for side, tasks in zip(("one", "other"), sides, strict=True)
    )
    return search, confirm


def part(instance: Instance, *, cost_s: Callable[[Task], float], most_s: float) -> Instance:
    """Return what of an instance takes at most `most_s` core-seconds: of each size the same share, but at least one."""
    total_s = sum(cost_s(task) for task in instance.tasks)
    if total_s <= most_s:
        return instance
    by_size: dict[TaskSize, list[Task]] = {}
    for task in instance.tasks:
        by_size.setdefault(task.size, []).append(task)
    share = most_s / total_s
    kept = [task for members in by_size.values() for task in members[: max(1, math.floor(len(members) * share))]]
    return replace(instance, tasks=_in_order(kept))


def _in_order(tasks: Sequence[Task]) -> tuple[Task, ...]:
    return tuple(sorted(tasks, key=lambda task: task.number))
