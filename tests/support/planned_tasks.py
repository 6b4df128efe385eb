"""Tasks as tests of the schedule write them down, and the mappings by number that the scheduler takes."""

from __future__ import annotations

from typing import NamedTuple

from autotune.base.types import Estimate, Resources
from autotune.schedule.scheduler import Scheduler


class Planned(NamedTuple):
    """A task of which only its number, its predicted cost and its n-body level matter."""

    number: int
    estimate: Estimate
    level: int = 1


def mappings(tasks):
    """Return estimates and levels by number."""
    return {task.number: task.estimate for task in tasks}, {task.number: task.level for task in tasks}


def scheduler_of(tasks, policy, *, cores, memory_gib, ahead=None, speeds=()):
    budget = Resources(cores=cores, memory_gib=memory_gib)
    return Scheduler(*mappings(tasks), policy, budget=budget, ahead=ahead or {}, speeds=speeds)
