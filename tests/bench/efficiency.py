"""Measure how close whole runs come to the bound that no schedule can beat, and how they use cores and memory.

The bound is made of times measured alone: every task by itself on the idle machine, on one core, and on all cores where
that is what the run gave it. Then the run itself, at its defaults, from input to result with start-up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from harness import Benchmark, Computation

from autotune.base.options import Options
from autotune.base.records import RunRecord
from autotune.machine import detection
from autotune.session.session import Session

# What is computed, and within how many GiB.
LOADS = {
    "water8 B3LYP/def2-SVP 3-body": (Computation("water8", "b3lyp", "def2-svp", 3), None),
    "water4 CCSD(T)/cc-pVDZ 3-body": (Computation("water4", "ccsd(t)", "cc-pvdz", 3), None),
    "benzene3 HF/6-31G* 2-body within 2 GiB": (Computation("benzene3", "hf", "6-31g*", 2), 2.0),
}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        yield {"name": name, **bound(*LOADS[name])}


def bound(load: Computation, memory_gib: float | None) -> dict[str, object]:
    cores = detection.detect().cores
    run = record_of(load, Options(tuning="none", memory_gib=memory_gib))
    narrow = {task.number: task for task in record_of(load, Options(tuning="none", workers=1, threads=1)).task_records}
    wide = {}
    if any(task.width > 1 for task in run.task_records):
        alone = record_of(load, Options(tuning="none", workers=1, threads=cores))
        wide = {task.number: task for task in alone.task_records}
    shortest = {n: min(task.wall_s, wide[n].wall_s if wide else task.wall_s) for n, task in narrow.items()}
    area_s = sum(task.wall_s for task in narrow.values()) / cores
    # Peaks are those of the run: what a program is granted decides what it takes.
    peaks = {task.number: task.peak_gib for task in run.task_records}
    held_s = sum(peaks[n] * seconds for n, seconds in shortest.items()) / run.memory_budget_gib
    bounds = {"area": area_s, "longest": max(shortest.values()), "memory": held_s}
    return {
        "tasks": run.tasks,
        "wall_s": round(run.wall_s, 2),
        "bounds_s": {bound: round(seconds, 2) for bound, seconds in bounds.items()},
        "efficiency": round(max(bounds.values()) / run.wall_s, 3),
        "cpu_utilisation": round(run.cpu_utilisation, 3),
        "peak_memory_gib": round(run.peak_memory_gib, 3),
        "memory_budget_gib": round(run.memory_budget_gib, 3),
        "widths": sorted({task.width for task in run.task_records}),
        "gap_s": {part: round(seconds, 3) for part, seconds in dataclasses.asdict(run.gap).items()},
    }


def record_of(load: Computation, options: Options) -> RunRecord:
    with Session(options) as session:
        session.run(load.fields)
        assert session.record is not None
        return session.record


BENCHMARK = Benchmark(
    what="bound from times measured alone over the wall time of whole runs; use of cores and memory",
    measure=measure,
    rows="loads",
    key=("name",),
    cases=LOADS,
)
