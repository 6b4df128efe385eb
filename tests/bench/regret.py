"""How far the stored tunings are from the best of a grid, on even, uneven, large and charged workloads.

For each workload: the policy that `results/calibration.json` found for its method (the default, where that was kept)
and a grid of fixed policies (workers 1-4 x widths 1-2 x two orders), each run once; then tuned, default and the grid's
best three again, in turn, and regret from those, as `calibration.py` does it.

    python tests/bench/regret.py --output results/regret.json
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import calibration

from autotune.base.versions import library_versions
from autotune.calibration.instances import Instance, whole
from autotune.calibration.timing import Budget, Timing, TooSlowError
from autotune.compare import judgement
from autotune.expansion import workload
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager

WORKERS, WIDTHS, ORDERS = (1, 2, 3, 4), (1, 2), ("longest", "input")
# Case of `calibration.CASES` whose tuning is used; geometry, n-body level, BSSE treatment.
WORKLOADS = (
    ("HF/6-31G*", "methanol_water6", 2, "nocp"),
    ("HF/6-31G*", "sodium_chloride_water6", 2, "nocp"),
    ("HF/6-31G*", "water4", 2, "cp"),
    ("HF/6-31G*", "ammonia5", 2, "vmfc"),
    ("HF/6-31G*", "benzene3", 1, "nocp"),
    ("MP2/cc-pVDZ", "ammonia5", 2, "nocp"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of tuned, default and the grid's best")
    parser.add_argument("--calibration", type=Path, default=Path("results/calibration.json"))
    parser.add_argument("--output", type=Path, help="write the record here")
    arguments = parser.parse_args()
    found = {case["case"]: case["parameters"] for case in json.loads(arguments.calibration.read_text())["cases"]}
    rows = []
    for workload_ in WORKLOADS:
        rows.append(measured(*workload_, parameters=found[workload_[0]], repeats=arguments.repeats))
        print(json.dumps({key: rows[-1][key] for key in rows[-1] if key not in ("grid", "samples_s")}), flush=True)
        if arguments.output:
            write(arguments.output, rows)


def measured(
    case: str, geometry: str, max_nbody: int, bsse: str, *, parameters: dict[str, object], repeats: int
) -> dict[str, object]:
    here, manager = detection.detect(), Manager()
    strategies = composition.choose(manager.strategies, None)
    instance = made(case, geometry, max_nbody, bsse)
    with Timing(machine=here, manager=manager, strategies=strategies, budget=Budget(1e6)) as adaptive:
        default, tuned = (adaptive.policy(p, instance) for p in ({}, parameters))
        adaptive.run(instance, default, learn=True)
        default_s = adaptive.run(instance, default, learn=False).wall_s
        laws = adaptive.costs.laws()
        with Timing(machine=here, manager=manager, strategies=(), budget=Budget(1e6), laws=laws) as fixed:
            grid = explored(fixed, instance, default, calibration.SLOWEST * default_s)
            best = sorted((row for row in grid if row["done"]), key=lambda row: row["wall_s"])[: calibration.FINALISTS]
            sides = {"tuned": (adaptive, tuned), "default": (adaptive, default)}
            for number, row in enumerate(best, start=1):
                point = calibration.made(default, row["workers"], row["width"], row["order"], True)
                sides[f"grid {number}"] = (fixed, point)
            samples = calibration.compared(sides, instance, repeats)
    means = {name: sum(walls) / len(walls) for name, walls in samples.items()}
    fastest = min(means, key=lambda name: means[name])
    regret = judgement.paired(samples[fastest], samples["tuned"])
    against_default = judgement.paired(samples["default"], samples["tuned"])
    return {
        "method": case,
        "workload": instance.name,
        "tasks": len(instance.tasks),
        "parameters": parameters,
        "mean_s": {name: round(seconds, 3) for name, seconds in means.items()},
        "fastest": fastest,
        "best_of_grid": best[0],
        "regret": round(means["tuned"] / means[fastest] - 1.0, 4),
        "regret_interval": [round(1 / regret.high - 1, 4), round(1 / regret.low - 1, 4)],
        "slower_than_default": against_default.verdict == "slower",
        "samples_s": {name: [round(wall, 3) for wall in walls] for name, walls in samples.items()},
        "grid": grid,
    }


def made(case: str, geometry: str, max_nbody: int, bsse: str) -> Instance:
    method = calibration.CASES[case].method
    text = (files("autotune.studies") / "workloads" / f"{geometry}.xyz").read_text()
    expansion = Expansion(
        program=method.program,
        method=method.method,
        basis=method.basis,
        keywords=dict(method.keywords or {}),
        bsse=(bsse,),
        max_nbody=max_nbody,
    )
    work = workload.load(from_xyz(text, name=geometry, expansion=expansion))
    return whole(work, name=f"{geometry} {bsse} {max_nbody}-body")


def explored(timing: Timing, instance: Instance, default: object, limit_s: float) -> list[dict[str, object]]:
    points = list(itertools.product(WORKERS, WIDTHS, ORDERS))
    random.Random(1).shuffle(points)
    rows = []
    for workers, width, order in points:
        started = time.perf_counter()
        try:
            plan = calibration.made(default, workers, width, order, True)
            wall_s, done = timing.run(instance, plan, learn=False, limit_s=limit_s).wall_s, True
        except TooSlowError:
            wall_s, done = time.perf_counter() - started, False
        rows.append({"workers": workers, "width": width, "order": order, "wall_s": round(wall_s, 3), "done": done})
    return rows


def write(path: Path, rows: list[dict[str, object]]) -> None:
    regrets = [float(row["regret"]) for row in rows]  # type: ignore[arg-type]
    record = {
        "schema": "autotune.benchmark/1",
        "what": "regret of the stored tunings against a grid of fixed policies, over workloads of all kinds",
        "command": "python tests/bench/regret.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "load_before": os.getloadavg(),
        "versions": library_versions(),
        "within_ten_percent": sum(regret <= 0.10 for regret in regrets) / len(regrets),
        "workloads": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
