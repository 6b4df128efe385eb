"""Hold `calibrate --study standard` against an exhaustive grid, on clusters that the calibration never saw.

For each method: a calibration in a fresh folder; then every configuration of a grid (workers 1-6 x widths 1-2 x orders
x residency), each run once; then the tuned policy, the default and the grid's best three run again, in turn, because
the best of so many single runs was lucky. Regret is the tuned time over the best of those, both from the second
measurement. A grid run is stopped at three times the default's time and counts as long as it ran.

    python tests/bench/calibration.py --output results/calibration.json
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from autotune.base.records import Tuning
from autotune.base.types import Policy
from autotune.base.versions import library_versions
from autotune.calibration import studies
from autotune.calibration.calibration import Calibration
from autotune.calibration.instances import Instance, whole
from autotune.calibration.timing import Budget, Timing, TooSlowError
from autotune.compare import judgement
from autotune.expansion import workload
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.tunings import library

WORKERS, WIDTHS, ORDERS = range(1, 7), (1, 2), ("longest", "input", "shortest")
SLOWEST = 3.0  # times the default after which a run of the grid is stopped
FINALISTS = 3


class Case(NamedTuple):
    """A method, and the workload on which tuned, default and grid meet."""

    method: studies.MethodChoice
    geometry: str
    max_nbody: int
    molecules: int = 0  # the first so many of the cluster's waters; 0 for all


def pyscf(method: str, basis: str, **keywords: object) -> studies.MethodChoice:
    return studies.MethodChoice(program="pyscf", method=method, basis=basis, keywords=keywords or None)


CASES = {
    "HF/6-31G*": Case(pyscf("hf", "6-31g*"), "water8", 3),
    "MP2/cc-pVDZ": Case(pyscf("mp2", "cc-pvdz"), "water16", 2, molecules=12),
    "B3LYP/def2-SVP": Case(pyscf("b3lyp", "def2-svp"), "water10", 2, molecules=6),
    "DF-MP2/cc-pVTZ": Case(pyscf("mp2", "cc-pvtz", density_fit=True), "water10", 2),
    "CCSD(T)/cc-pVDZ": Case(pyscf("ccsd(t)", "cc-pvdz"), "water10", 2, molecules=5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--study", default="standard")
    parser.add_argument("--repeats", type=int, default=5, help="of tuned, default and the grid's best")
    parser.add_argument("--output", type=Path, help="write the record here, beside the cases that are there already")
    arguments = parser.parse_args()
    rows = json.loads(arguments.output.read_text())["cases"] if arguments.output and arguments.output.exists() else []
    for name in arguments.case or CASES:
        row = {"case": name, **measured(CASES[name], studies.load(arguments.study), arguments.repeats)}
        rows = [each for each in rows if each["case"] != name] + [row]
        print(json.dumps({key: row[key] for key in row if key not in ("grid", "samples_s")}), flush=True)
        if arguments.output:
            write(arguments.output, sorted(rows, key=lambda each: list(CASES).index(each["case"])))


def measured(case: Case, chosen: studies.Study, repeats: int) -> dict[str, object]:
    assert case.geometry not in {rung.geometry for rung in (*chosen.search, *chosen.confirm)}
    here, manager = detection.detect(), Manager()
    strategies = composition.choose(manager.strategies, None)
    said: list[str] = []
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as home,
        Calibration(
            chosen, case.method, machine=here, manager=manager, strategies=strategies, say=said.append
        ) as calibration,
    ):
        os.environ["AUTOTUNE_HOME"] = home
        tuning = calibration.run()
        library.save(tuning)
    calibration_s = time.perf_counter() - started
    print("\n".join(said), flush=True)
    laws = {tuning.method: tuning.law}  # as every later run will know it, whatever its policy
    instance = held_out(case)
    with (
        Timing(machine=here, manager=manager, strategies=strategies, budget=Budget(1e6), laws=laws) as adaptive,
        Timing(machine=here, manager=manager, strategies=(), budget=Budget(1e6), laws=laws) as fixed,
    ):
        default, tuned = (adaptive.policy(p, instance) for p in ({}, dict(tuning.parameters)))
        adaptive.run(instance, default, learn=False)
        default_s = adaptive.run(instance, default, learn=False).wall_s
        grid = explored(fixed, instance, default, SLOWEST * default_s)
        best = sorted((row for row in grid if row["done"]), key=lambda row: row["wall_s"])[:FINALISTS]
        sides = {"tuned": (adaptive, tuned), "default": (adaptive, default)}
        sides |= {
            f"grid {n}": (fixed, made(default, *(row[k] for k in ("workers", "width", "order", "resident"))))
            for n, row in enumerate(best, start=1)
        }
        samples = compared(sides, instance, repeats)
    return judged(tuning, samples, grid, best, calibration_s) | {
        "held_out": instance.name,
        "tasks": len(instance.tasks),
        "machine_noise": round(tuning.evidence.noise, 4),
        "budget_s": tuning.evidence.budget_s,
        "candidate": dict(tuning.evidence.candidate),
    }


def held_out(case: Case) -> Instance:
    text = (files("autotune.studies") / "workloads" / f"{case.geometry}.xyz").read_text()
    name = case.geometry
    if case.molecules:
        atoms = 3 * case.molecules
        text = "\n".join([str(atoms), "", *text.splitlines()[2 : 2 + atoms]]) + "\n"
        name = f"{case.molecules} molecules of {case.geometry}"
    expansion = Expansion(
        program="pyscf",
        method=case.method.method,
        basis=case.method.basis,
        max_nbody=case.max_nbody,
        keywords=dict(case.method.keywords or {}),
    )
    work = workload.load(from_xyz(text, name=case.geometry, expansion=expansion))
    return whole(work, name=f"{name} {case.max_nbody}-body")


def made(default: Policy, workers: int, width: int, order: str, resident: bool) -> Policy:
    """Return one point of the grid; the rest is the default's, its wide tail included."""
    return dataclasses.replace(
        default,
        workers=workers,
        most_workers=workers,
        width=width,
        core_slots=max(default.core_slots, workers * width),
        widest=max(width, default.widest),
        order=order,
        tasks_per_worker=default.tasks_per_worker if resident else 1,
    )


def explored(timing: Timing, instance: Instance, default: Policy, limit_s: float) -> list[dict[str, object]]:
    points = list(itertools.product(WORKERS, WIDTHS, ORDERS, (True, False)))
    random.Random(1).shuffle(points)
    rows = []
    for workers, width, order, resident in points:
        plan = made(default, workers, width, order, resident)
        started = time.perf_counter()
        try:
            wall_s, done = timing.run(instance, plan, learn=False, limit_s=limit_s).wall_s, True
        except TooSlowError:
            wall_s, done = time.perf_counter() - started, False
        point = {"workers": workers, "width": width, "order": order, "resident": resident}
        rows.append({**point, "wall_s": round(wall_s, 3), "done": done})
    return rows


def compared(sides: dict[str, tuple[Timing, Policy]], instance: Instance, repeats: int) -> dict[str, list[float]]:
    # A tuned policy that is the default is measured once: else noise would look like regret.
    same = sides["tuned"][1] == sides["default"][1]
    run = {name: side for name, side in sides.items() if name != "tuned" or not same}
    samples: dict[str, list[float]] = {name: [] for name in run}
    draw = random.Random(2)
    for _ in range(repeats):
        for name in draw.sample(list(run), len(run)):
            timing, plan = run[name]
            samples[name].append(timing.run(instance, plan, learn=False).wall_s)
    return {"tuned": samples["default"], **samples} if same else samples


def judged(
    tuning: Tuning,
    samples: dict[str, list[float]],
    grid: list[dict[str, object]],
    best: list[dict[str, object]],
    calibration_s: float,
) -> dict[str, object]:
    means = {name: math.exp(statistics.fmean(map(math.log, walls))) for name, walls in samples.items()}
    fastest = min(means, key=lambda name: means[name])
    against_best = judgement.paired(samples[fastest], samples["tuned"])
    against_default = judgement.paired(samples["default"], samples["tuned"])
    grid_s = sum(float(row["wall_s"]) for row in grid)  # type: ignore[arg-type]
    return {
        "verdict": tuning.evidence.verdict,
        "parameters": dict(tuning.parameters),
        "calibration_s": round(calibration_s, 1),
        "trials": len(tuning.evidence.trials),
        "grid_points": len(grid),
        "grid_s": round(grid_s, 1),
        "share_of_the_grids_time": round(calibration_s / grid_s, 3),
        "mean_s": {name: round(seconds, 3) for name, seconds in means.items()},
        "fastest": fastest,
        "best_of_grid": best[0] if best else None,
        "regret": round(means["tuned"] / means[fastest] - 1.0, 4),
        "regret_interval": [round(1 / against_best.high - 1, 4), round(1 / against_best.low - 1, 4)],
        "speed_up_over_default": round(against_default.speedup, 4),
        "speed_up_interval": [round(against_default.low, 4), round(against_default.high, 4)],
        "slower_than_default": against_default.verdict == "slower",
        "samples_s": {name: [round(wall, 3) for wall in walls] for name, walls in samples.items()},
        "grid": grid,
    }


def write(path: Path, rows: list[dict[str, object]]) -> None:
    record = {
        "schema": "autotune.benchmark/1",
        "what": "standard calibration against an exhaustive grid on workloads it did not see",
        "command": "python tests/bench/calibration.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "cases": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
