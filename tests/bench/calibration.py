"""Hold `calibrate --study standard` against an exhaustive grid, on clusters that the calibration never saw.

For each method: a calibration in a fresh folder; then every configuration of a grid (workers 1-6 x widths 1-2 x orders
x residency), each run once; then the tuned policy, the default and the grid's best three run again, in turn, because
the best of so many single runs was lucky. Regret is the tuned time over the best of those, both from the second
measurement. A grid run is stopped at three times the default's time and counts as long as it ran.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import geometric_mean
from typing import NamedTuple

from harness import Benchmark, cluster, take_turns

from autotune.base.records import Law
from autotune.base.types import Method, Policy
from autotune.calibration import studies
from autotune.calibration.calibration import Calibration
from autotune.calibration.instances import Instance, whole
from autotune.calibration.timing import Budget, Timing, TooSlowError
from autotune.compare import judgement
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.tunings import library

# Workers, width, order, and whether programs stay loaded.
GRID = tuple(itertools.product(range(1, 7), (1, 2), ("longest", "input", "shortest"), (True, False)))
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


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        yield {"case": name, **hold(CASES[name], studies.load(arguments.study), arguments.repeats)}


def hold(case: Case, study: studies.Study, repeats: int) -> dict[str, object]:
    """Return what a calibration and the grid show of one method."""
    assert case.geometry not in {rung.geometry for rung in (*study.search, *study.confirm)}
    here, manager = detection.detect(), Manager()
    strategies = composition.choose(manager.strategies, None)
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as home,
        Calibration(study, case.method, machine=here, manager=manager, strategies=strategies, say=print) as calibration,
    ):
        os.environ["AUTOTUNE_HOME"] = home
        tuning = calibration.run()
        library.save(tuning)
    calibration_s = time.perf_counter() - started
    name = f"{case.molecules} molecules of {case.geometry}" if case.molecules else case.geometry
    held_out = instance_of(
        case.method, case.geometry, f"{name} {case.max_nbody}-body", max_nbody=case.max_nbody, atoms=3 * case.molecules
    )
    # The law is as every later run will know it, whatever its policy.
    found = compare_with_grid(held_out, tuning.parameters, GRID, laws={tuning.method: tuning.law}, repeats=repeats)
    grid_s = sum(float(row["wall_s"]) for row in found["grid"])
    return {
        "held_out": held_out.name,
        "tasks": len(held_out.tasks),
        "machine_noise": round(tuning.evidence.noise, 4),
        "budget_s": tuning.evidence.budget_s,
        "candidate": dict(tuning.evidence.candidate),
        "verdict": tuning.evidence.verdict,
        "parameters": dict(tuning.parameters),
        "calibration_s": round(calibration_s, 1),
        "trials": len(tuning.evidence.trials),
        "grid_points": len(found["grid"]),
        "grid_s": round(grid_s, 1),
        "share_of_the_grids_time": round(calibration_s / grid_s, 3),
        **found,
    }


def instance_of(method: studies.MethodChoice, geometry: str, name: str, **expansion: object) -> Instance:
    like = {"program": method.program, "method": method.method, "basis": method.basis}
    fields = cluster(geometry, **like, keywords=dict(method.keywords or {}), **expansion)
    return whole(workload.load(fields), name=name)


def compare_with_grid(
    instance: Instance,
    parameters: Mapping[str, object],
    points: Sequence[tuple[int, int, str, bool]],
    *,
    laws: Mapping[Method, Law] | None = None,
    repeats: int,
) -> dict[str, object]:
    """Return the regret of tuned parameters, from times of tuned, default and the grid's best in turn.

    Without laws of costs they come from a first run with the default.
    """
    here, manager = detection.detect(), Manager()
    strategies = composition.choose(manager.strategies, None)
    with Timing(machine=here, manager=manager, strategies=strategies, budget=Budget(1e6), laws=laws) as adaptive:
        default, tuned = (adaptive.policy(p, instance) for p in ({}, dict(parameters)))
        adaptive.run(instance, default, learn=laws is None)
        default_s = adaptive.run(instance, default, learn=False).wall_s
        laws = laws or adaptive.costs.laws()
        with Timing(machine=here, manager=manager, strategies=(), budget=Budget(1e6), laws=laws) as fixed:
            grid = run_grid(fixed, instance, default, points, limit_s=SLOWEST * default_s)
            best = sorted((row for row in grid if row["done"]), key=lambda row: row["wall_s"])[:FINALISTS]
            sides = {"tuned": (adaptive, tuned), "default": (adaptive, default)}
            for number, row in enumerate(best, start=1):
                point = (row[name] for name in ("workers", "width", "order", "resident"))
                sides[f"grid {number}"] = (fixed, fixed_policy(default, *point))
            samples = run_in_turn(sides, instance, repeats)
    means = {name: geometric_mean(walls) for name, walls in samples.items()}
    fastest = min(means, key=lambda name: means[name])
    against_best = judgement.compare_pairs(samples[fastest], samples["tuned"])
    against_default = judgement.compare_pairs(samples["default"], samples["tuned"])
    return {
        "mean_s": {name: round(seconds, 3) for name, seconds in means.items()},
        "fastest": fastest,
        "best_of_grid": best[0] if best else None,
        "regret": round(means["tuned"] / means[fastest] - 1.0, 4),
        "regret_interval": [round(1 / against_best.high - 1, 4), round(1 / against_best.low - 1, 4)],
        "speed_up_over_default": round(against_default.speedup, 4),
        "speed_up_interval": [round(against_default.low, 4), round(against_default.high, 4)],
        "slower_than_default": against_default.verdict == "slower",
        "samples_s": samples,
        "grid": grid,
    }


def fixed_policy(default: Policy, workers: int, width: int, order: str, resident: bool) -> Policy:
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


def run_grid(
    timing: Timing, instance: Instance, default: Policy, points: Sequence[tuple[int, int, str, bool]], *, limit_s: float
) -> list[dict[str, object]]:
    rows = []
    for workers, width, order, resident in random.Random(1).sample(points, len(points)):
        policy = fixed_policy(default, workers, width, order, resident)
        started = time.perf_counter()
        try:
            wall_s, done = timing.run(instance, policy, learn=False, limit_s=limit_s).wall_s, True
        except TooSlowError:
            wall_s, done = time.perf_counter() - started, False
        point = {"workers": workers, "width": width, "order": order, "resident": resident}
        rows.append({**point, "wall_s": round(wall_s, 3), "done": done})
    return rows


def run_in_turn(sides: dict[str, tuple[Timing, Policy]], instance: Instance, repeats: int) -> dict[str, list[float]]:
    # A tuned policy that is the default is measured once: else noise would look like regret.
    same = sides["tuned"][1] == sides["default"][1]

    def run(timing: Timing, policy: Policy) -> float:
        return round(timing.run(instance, policy, learn=False).wall_s, 3)

    runs = {name: lambda side=side: run(*side) for name, side in sides.items() if name != "tuned" or not same}
    samples = take_turns(runs, repeats=repeats, seed=2)
    return {"tuned": samples["default"], **samples} if same else samples


BENCHMARK = Benchmark(
    what="standard calibration against an exhaustive grid on workloads it did not see",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    repeats=5,  # of tuned, default and the grid's best
    options={"--study": {"default": "standard"}},
)
