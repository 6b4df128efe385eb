"""Measure how close whole runs come to the bound that no schedule can beat, and how they use cores and memory.

The bound is made of times measured alone: every task by itself on the idle machine, on one core, and on all cores where
that is what the run gave it. Then the run itself, at its defaults, from input to result with start-up. Prints a table,
writes a record.

    python tests/bench/efficiency.py --output results/efficiency.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from autotune.base.records import RunRecord
from autotune.base.versions import library_versions
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.runtime.planning import Options
from autotune.session.session import Session


class Load(NamedTuple):
    geometry: str
    method: str
    basis: str
    max_nbody: int
    memory_gib: float | None = None


LOADS = {
    "water8 B3LYP/def2-SVP 3-body": Load("water8", "b3lyp", "def2-svp", 3),
    "water4 CCSD(T)/cc-pVDZ 3-body": Load("water4", "ccsd(t)", "cc-pvdz", 3),
    "benzene3 HF/6-31G* 2-body within 2 GiB": Load("benzene3", "hf", "6-31g*", 2, 2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the record here")
    arguments = parser.parse_args()
    rows = []
    for name, load in LOADS.items():
        rows.append({"name": name, **measured(load)})
        print(json.dumps(rows[-1]), flush=True)
    if arguments.output:
        record = {
            "schema": "autotune.benchmark/1",
            "what": "bound from times measured alone over the wall time of whole runs; use of cores and memory",
            "command": "python tests/bench/efficiency.py " + " ".join(sys.argv[1:]),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dataclasses.asdict(detection.detect()),
            "versions": library_versions(),
            "loads": rows,
        }
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


def measured(load: Load) -> dict[str, object]:
    cores = detection.detect().cores
    memory_gib = load.memory_gib
    run = finished(load, Options(tuning="none", memory_gib=memory_gib))
    narrow = {task.number: task for task in finished(load, Options(tuning="none", workers=1, threads=1)).task_records}
    wide = {}
    if any(task.width > 1 for task in run.task_records):
        alone = finished(load, Options(tuning="none", workers=1, threads=cores))
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


def finished(load: Load, options: Options) -> RunRecord:
    text = (files("autotune.studies") / "workloads" / f"{load.geometry}.xyz").read_text()
    expansion = Expansion(program="pyscf", method=load.method, basis=load.basis, max_nbody=load.max_nbody)
    with Session(options) as session:
        session.run(from_xyz(text, name=load.geometry, expansion=expansion))
        assert session.record is not None
        return session.record


if __name__ == "__main__":
    main()
