"""The bound, the efficiency, and where the rest of the time went.

Rules: pure arithmetic on task records. Bounds are those no schedule of the *measured* task times can beat. Times are
measured under whatever load the run made, so contention between tasks is inside them and not in the gap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from autotune.base.records import Gap, TaskRecord


def lower_bound_s(
    records: Sequence[TaskRecord],
    *,
    cores: int,
    memory_gib: float = math.inf,
    narrow_s: Mapping[int, float] | None = None,
    speeds: Sequence[float] = (),
    gpu_places: int = 1,
) -> float:
    """Return what no schedule of these tasks can be shorter than, in seconds; 0 without tasks.

    The largest of: the area, with each task as narrow as it can be, over the cores; the longest task, as wide as it
    ran; memory times time over the memory; the tasks that need more than half of the memory, one after another; tasks
    on GPUs over their places.

    Args:
        records: Finished tasks.
        cores: Usable cores.
        memory_gib: What tasks may hold together.
        narrow_s: Core-seconds that wide tasks would take on one core, by number, where that is known; a task left out
            counts with its width times its time, which is more.
        gpu_places: Tasks that may be on all GPUs at once.
        speeds: Of the workers where they are not alike; the fastest has 1, and tasks count as if they had run there.
    """
    if not records:
        return 0.0
    narrow = narrow_s or {}
    wall_s = [r.wall_s * r.speed for r in records]
    alone_s = [min(narrow.get(r.number, math.inf), r.width * s) for r, s in zip(records, wall_s, strict=True)]
    held = sum(r.peak_gib * s for r, s in zip(records, wall_s, strict=True)) / memory_gib
    exclusive = sum(s for r, s in zip(records, wall_s, strict=True) if r.peak_gib > memory_gib / 2)
    area = lower_bound_of_speeds_s(alone_s, speeds) if speeds else sum(alone_s) / cores
    on_gpus = sum(r.wall_s for r in records if r.gpus) / gpu_places
    return max(area, *wall_s, held, exclusive, on_gpus)


def lower_bound_of_speeds_s(alone_s: Sequence[float], speeds: Sequence[float]) -> float:
    """Return what no schedule of narrow tasks on cores of these speeds can be shorter than, in seconds.

    The k longest tasks have at most the k fastest cores for themselves, for every k; all tasks have all cores.

    Args:
        alone_s: Seconds of each task on a core of speed 1.
        speeds: Of the cores.
    """
    longest, fastest = sorted(alone_s, reverse=True), sorted(speeds, reverse=True)
    most = zip(itertools.accumulate(longest), itertools.accumulate(fastest), strict=False)
    return max([sum(longest) / sum(fastest), *(work_s / speed for work_s, speed in most)])


def gap(
    records: Sequence[TaskRecord],
    failed: Sequence[TaskRecord] = (),
    *,
    cores: int,
    wall_s: float,
    memory_idle_core_s: float,
    lost_core_s: float,
) -> Gap:
    """Return how idle core time divides, each in seconds of the whole run (core-seconds over cores).

    Args:
        records: Finished tasks; starts count from the start of the run.
        failed: Tasks that failed for good; where nothing finished, the time of these is what the run was busy with.
        cores: Usable cores.
        wall_s: Length of the run.
        memory_idle_core_s: Core-seconds idle while a ready task waited for memory.
        lost_core_s: Core-seconds of attempts that failed.
    """
    if not records and failed:
        first = min(wall_s, *(record.started_s for record in failed))
        end = min(wall_s, max(record.started_s + record.wall_s for record in failed))
        lost = min(lost_core_s / cores, max(0.0, end - first))
        return Gap(startup=first, retries=lost, scheduler=max(0.0, end - first - lost), assembly=max(0.0, wall_s - end))
    if not records:
        return Gap(startup=wall_s)
    first = min(record.started_s for record in records)
    last_start = max(record.started_s for record in records)
    end = max(record.started_s + record.wall_s for record in records)
    middle = _idle_core_s(records, cores, first, last_start)
    tail = _idle_core_s(records, cores, last_start, end)
    memory = min(memory_idle_core_s, middle)
    retries = min(lost_core_s, middle - memory)
    return Gap(
        startup=first,
        tail=tail / cores,
        memory=memory / cores,
        retries=retries / cores,
        scheduler=(middle - memory - retries) / cores,
        assembly=max(0.0, wall_s - end),
    )


def _idle_core_s(records: Sequence[TaskRecord], cores: int, start_s: float, end_s: float) -> float:
    """Return core-seconds without a task between two times; oversubscribed cores are not idle, nor less than none."""
    changes: list[tuple[float, int]] = []
    for record in records:
        begin, finish = max(record.started_s, start_s), min(record.started_s + record.wall_s, end_s)
        if finish > begin:
            changes += [(begin, record.width), (finish, -record.width)]
    idle = 0.0
    busy, at = 0, start_s
    for time_s, change in [*sorted(changes), (end_s, 0)]:
        idle += max(0, cores - busy) * (time_s - at)
        busy, at = busy + change, time_s
    return idle
