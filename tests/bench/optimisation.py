"""What it gains that an optimiser's steps start from where the step before ended: geomeTRIC on a water trimer.

Both sides optimise the same trimer by the procedure `autotune`, two-body gradients, in turn, each in a process of its
own; they differ by the option `reuse_densities`. Times are those of the optimisation, without imports.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from harness import Benchmark, call_in_process, cluster, interval, take_turns

from autotune.compare import judgement

CASES = {"HF/6-31G*": ("hf", "6-31g*"), "B3LYP/6-31G*": ("b3lyp", "6-31g*")}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        yield {"case": name, **compare(*CASES[name], rounds=arguments.repeats)}


def compare(method: str, basis: str, *, rounds: int) -> dict[str, Any]:
    sides = {
        side: lambda reuse=reuse: call_in_process(optimise, method, basis, reuse)
        for side, reuse in (("reuse", True), ("no reuse", False))
    }
    samples = take_turns(sides, repeats=rounds)
    walls = {side: [each["wall_s"] for each in found] for side, found in samples.items()}
    found = judgement.compare_pairs(walls["no reuse"], walls["reuse"])
    return {
        "share_of_the_time": round(1.0 / found.speedup, 3),
        "interval": [round(1.0 / end, 4) if end else None for end in reversed(interval(found))],
        "mean_s": {side: round(geometric_mean(times), 3) for side, times in walls.items()},
        "steps": {side: [each["steps"] for each in of_side] for side, of_side in samples.items()},
        "energies_differ_by": abs(samples["reuse"][0]["energy"] - samples["no reuse"][0]["energy"]),
        "samples_s": walls,
    }


def optimise(method: str, basis: str, reuse: bool) -> dict[str, float]:
    """Return the seconds, the steps and the last energy (Eh) of an optimisation."""
    import qcengine

    import autotune

    autotune.register(options=autotune.Options(journal="none", tuning="none", reuse_densities=reuse))
    molecule = cluster("water4", atoms=9, method=method, basis=basis)["molecule"]
    gradient = {
        "program": "autotune",
        "driver": "gradient",
        "model": {"method": method, "basis": basis},
        "keywords": {"program": "pyscf", "many_body": {"bsse_type": ["nocp"], "max_nbody": 2}},
    }
    asked = {
        "initial_molecule": molecule,
        "specification": {
            "keywords": {"maxiter": 100},
            "protocols": {"trajectory_results": "all"},
            "specification": gradient,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path.cwd()
        os.chdir(folder)  # geomeTRIC writes its trajectory where it runs
        started = time.perf_counter()
        found = qcengine.compute(asked, "geometric", raise_error=True)
        wall_s = time.perf_counter() - started
        os.chdir(home)
    energies = [step.properties.return_energy for step in found.trajectory_results]
    return {"wall_s": wall_s, "steps": len(energies), "energy": energies[-1]}


BENCHMARK = Benchmark(
    what="optimisations whose steps start from where the step before ended, against optimisations that forget; in turn",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    repeats=5,
)
