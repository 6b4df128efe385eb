"""The bound, the efficiency, and where the rest of the time went.

Rules: pure arithmetic on task records. Bounds are those no schedule of the *measured* task times can beat: the area
(core-seconds over cores) and the longest task. Times are measured under whatever load the run made, so contention
between tasks is inside them and not in the gap.
"""

from __future__ import annotations

from collections.abc import Sequence

from autotune.types import Gap, TaskRecord


def lower_bound_s(records: Sequence[TaskRecord], cores: int) -> float:
    """Return the larger of area over cores and longest task, in seconds; 0 without tasks."""
    area = sum(record.width * record.wall_s for record in records)
    return max(area / cores, max((record.wall_s for record in records), default=0.0))


def gap(
    records: Sequence[TaskRecord], *, cores: int, wall_s: float, memory_idle_core_s: float, lost_core_s: float
) -> Gap:
    """Return how idle core time divides, each in seconds of the whole run (core-seconds over cores).

    Args:
        records: Finished tasks; starts count from the start of the run.
        cores: Usable cores.
        wall_s: Length of the run.
        memory_idle_core_s: Core-seconds idle while a ready task waited for memory.
        lost_core_s: Core-seconds of attempts that failed.
    """
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
