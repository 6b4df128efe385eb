"""How far the stored tunings are from the best of a grid, on even, uneven, large and charged workloads.

For each workload: the policy that `results/calibration.json` found for its method (the default, where that was kept)
and a grid of fixed policies (workers 1-4 x widths 1-2 x two orders), each run once; then tuned, default and the grid's
best three again, in turn, and regret from those, as `calibration.py` does it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import calibration
from harness import Benchmark

GRID = tuple(itertools.product((1, 2, 3, 4), (1, 2), ("longest", "input"), (True,)))
# Case of `calibration.CASES` whose tuning is used; geometry, n-body level, BSSE treatment.
WORKLOADS = (
    ("HF/6-31G*", "methanol_water6", 2, "nocp"),
    ("HF/6-31G*", "sodium_chloride_water6", 2, "nocp"),
    ("HF/6-31G*", "water4", 2, "cp"),
    ("HF/6-31G*", "ammonia5", 2, "vmfc"),
    ("HF/6-31G*", "benzene3", 1, "nocp"),
    ("MP2/cc-pVDZ", "ammonia5", 2, "nocp"),
)
CASES = {
    f"{case} {geometry} {bsse} {most}-body": (case, geometry, most, bsse) for case, geometry, most, bsse in WORKLOADS
}


def measure(arguments) -> Iterator[dict]:
    stored = {case["case"]: case["parameters"] for case in json.loads(arguments.calibration.read_text())["cases"]}
    for name in arguments.cases:
        case, geometry, max_nbody, bsse = CASES[name]
        instance = calibration.instance_of(
            calibration.CASES[case].method,
            geometry,
            f"{geometry} {bsse} {max_nbody}-body",
            bsse=bsse,
            max_nbody=max_nbody,
        )
        found = calibration.compare_with_grid(instance, stored[case], GRID, repeats=arguments.repeats)
        tasks = len(instance.tasks)
        yield {"method": case, "workload": instance.name, "tasks": tasks, "parameters": stored[case], **found}


def share_within_ten_percent(rows: Sequence[dict]) -> dict:
    return {"within_ten_percent": sum(row["regret"] <= 0.10 for row in rows) / len(rows)}


BENCHMARK = Benchmark(
    what="regret of the stored tunings against a grid of fixed policies, over workloads of all kinds",
    measure=measure,
    rows="workloads",
    key=("method", "workload"),
    cases=CASES,
    repeats=5,  # of tuned, default and the grid's best
    options={"--calibration": {"type": Path, "default": Path("results/calibration.json"), "metavar": "RECORD"}},
    summary=share_within_ten_percent,
)
