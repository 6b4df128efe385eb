"""What it costs to check results: doubts a task, and the way down from saddle points a PySCF task.

Doubts are counted on an expansion of 5,488 tasks without any doubt and with one in every kind of pair. The check of the
SCF is timed in one process, each component with it and without it in turn, in random order: open shells pay, closed
shells are not checked, so that their ratio shows the noise.

    python tests/bench/checks.py --output results/checks.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import statistics
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import qcengine

from autotune.base.versions import library_versions
from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.session.plausibility import implausible

ROUNDS = 9
RADICAL = (
    "8\n\nO 0 0 0\nH .2 .1 .94\nO 0 .1 2.9\nH .757 .2 3.486\nH -.757 .1 3.486\nO 2.7 .3 -.9\nH 3.3 .9 -.5\nH 1.8 .2 -.6"
)
METHODS = ("hf", "b3lyp")


def doubts() -> dict:
    """Return microseconds a task of an expansion of water32, with and without terms to doubt."""
    text = (files("autotune.studies") / "workloads" / "water32.xyz").read_text()
    expansion = Expansion(program="pyscf", method="hf", basis="sto-3g", max_nbody=3)
    work = workload.load(from_xyz(text, name="water32", expansion=expansion))
    found = {}
    for name, noise in (("no doubt", 1e-4), ("many doubts", 0.1)):
        chance = random.Random(1)
        values = {task.key: {"energy": -75.0 * task.nbody + chance.uniform(-noise, noise)} for task in work.tasks}
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            told = implausible(work.tasks, work.recipe, values)
            times.append(time.perf_counter() - began)
        found[name] = {"us_per_task": 1e6 * statistics.median(times) / len(work.tasks), "sentences": len(told)}
    return {"tasks": len(work.tasks), **found}


def ways_down() -> list[dict]:
    """Return the time of components with the check over that without, with 95 % intervals."""
    rows = []
    for method in METHODS:
        sides = {}
        for stability in (True, False):
            expansion = Expansion(
                program="pyscf",
                method=method,
                basis="6-31g*",
                multiplicities="1:2",
                keywords={} if stability else {"stability": False},
            )
            sides[stability] = workload.load(from_xyz(RADICAL, name="OH and waters", expansion=expansion)).recipe
        for real in ((1,), (1, 2), (1, 2, 3), (2, 3)):
            times: dict[bool, list[float]] = {True: [], False: []}
            energies: dict[bool, float] = {}
            for _ in range(ROUNDS + 1):
                for side in random.sample([True, False], 2):
                    given = atomic_input(sides[side], "(auto)", real, real)
                    began = time.perf_counter()
                    done = qcengine.compute(given, "pyscf", raise_error=True, task_config={"ncores": 1, "memory": 4.0})
                    times[side].append(time.perf_counter() - began)
                    energies[side] = done.properties.return_energy
            logs = [math.log(a / b) for a, b in zip(times[True][1:], times[False][1:], strict=True)]
            mean, error = statistics.fmean(logs), 2.306 * statistics.stdev(logs) / math.sqrt(len(logs))  # t, 8 degrees
            rows.append(
                {
                    "method": f"{method}/6-31g*",
                    "component": f"{'OH and ' * (1 in real)}{len(real) - (1 in real)} waters",
                    "open_shell": 1 in real,
                    "ratio": math.exp(mean),
                    "interval": [math.exp(mean - error), math.exp(mean + error)],
                    "energies_equal": energies[True] == energies[False],
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    Manager().register_programs()
    record = {
        "schema": "autotune.benchmark/1",
        "what": "the cost of checking results",
        "command": "python tests/bench/checks.py",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "doubts": doubts(),
        "ways_down": ways_down(),
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
