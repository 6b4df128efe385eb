"""What the older executor's statistics say, from the records of its runs.

Rules: pure. Measured times are those of fragments side by side, and a serial run was never made: its time is a
prediction, says so, and is made of times that no other fragment stretched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from autotune.base.records import Law, RunRecord, TaskRecord
from autotune.base.types import Method, Task
from autotune.costs.cost_law import Costs

CALIBRATED = "predicted: every fragment alone on one core, as calibrated on this machine"
CORRECTED = "predicted: every fragment alone on one core, by the cost model and the CPU times of this run"
PARTLY = f"{CALIBRATED} for some methods, and by the cost model and the CPU times of this run for the others"


class Done(NamedTuple):
    """One call: what it did, and the n-body level of each label it answered."""

    record: RunRecord
    levels: tuple[int, ...]


def statistics(
    calls: Sequence[Done], tasks: Mapping[int, Task], *, laws: Mapping[Method, Law], histogram_bins: int | None
) -> dict[str, Any]:
    """Return the statistics of some calls of an executor.

    Args:
        calls: In the order they were made.
        tasks: Of the expansion, by number.
        laws: Fitted times of the methods that were calibrated on this machine.
        histogram_bins: Bins of the histogram; None for no histogram.

    Returns:
        `total_fragments`; `levels_executed`; `parallel_time`, `serial_time` and `sequential_time_estimate` (its older
        name) in seconds; `serial_time_source`, where it comes from; `speedup_factor`; `levels`, by n-body level the
        `count` of fragments and the `seconds` they took one by one; `fragment_histogram`, edges in seconds and counts.
    """
    records = [record for call in calls for record in call.record.task_records if record.status == "done"]
    counts = Counter(level for call in calls for level in call.levels)
    seconds = dict.fromkeys(sorted(counts), 0.0)
    for record in records:
        seconds[record.nbody] += record.wall_s
    parallel_s = sum(call.record.wall_s for call in calls)
    serial_s, source = serial_time(records, tasks, laws)
    return {
        "total_fragments": sum(counts.values()),
        "levels_executed": len(counts),
        "parallel_time": parallel_s,
        "serial_time": serial_s,
        "serial_time_source": source,
        "sequential_time_estimate": serial_s,
        "speedup_factor": serial_s / parallel_s if parallel_s else 0.0,
        "levels": {level: {"count": counts[level], "seconds": seconds[level]} for level in seconds},
        "fragment_histogram": _histogram(records, histogram_bins) if histogram_bins else {},
    }


def serial_time(
    records: Sequence[TaskRecord], tasks: Mapping[int, Task], laws: Mapping[Method, Law]
) -> tuple[float, str]:
    """Return what finished tasks would take one after another on one core, in seconds, and where that comes from.

    A calibrated law knows what tasks side by side cost each other, and that is taken off. Without one the cost model is
    corrected by the tasks' CPU times: a task that shares its core is on the clock longer, but computes no longer.
    """
    if not records:
        return 0.0, ""
    calibrated, learned = Costs(laws), Costs()
    for record in records:
        task = tasks[record.number]
        if task.method not in laws:
            learned.observe(task, wall_s=_own_s(record), width=record.width, peak_gib=record.peak_gib)
    total_s = 0.0
    for record in records:
        task = tasks[record.number]
        if task.method in laws:
            total_s += calibrated.estimate(task).alone_s / laws[task.method].contention
        else:
            total_s += learned.estimate(task).alone_s
    known = {tasks[record.number].method in laws for record in records}
    return total_s, PARTLY if len(known) > 1 else CALIBRATED if known == {True} else CORRECTED


def _own_s(record: TaskRecord) -> float:
    """Return the time of a task without its waiting for a core; a wide task's CPU time is that of all its threads."""
    alone = record.width == 1 and 0.0 < record.cpu_s < record.wall_s
    return record.cpu_s if alone else record.wall_s


def _histogram(records: Sequence[TaskRecord], bins: int) -> dict[str, list[float] | list[int]]:
    import numpy as np

    counts, edges_s = np.histogram([record.wall_s for record in records], bins=bins)
    return {"edges_s": edges_s.tolist(), "counts": counts.tolist()}
