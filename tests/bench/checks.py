"""What it costs to check results: doubts a task, and the way down from saddle points a PySCF task.

Doubts are counted on an expansion of 5,488 tasks without any doubt and with one in every kind of pair. The check of the
SCF is timed in one process, each component with it and without it in turn, in random order: open shells pay, closed
shells are not checked, so that their ratio shows the noise.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from functools import partial

import qcengine
from harness import Benchmark, cluster, interval, take_turns

from autotune.compare import judgement
from autotune.expansion import workload
from autotune.expansion.component import Recipe, atomic_input
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.plugin.manager import Manager
from autotune.session.plausibility import implausible

RADICAL = (
    "8\n\nO 0 0 0\nH .2 .1 .94\nO 0 .1 2.9\nH .757 .2 3.486\nH -.757 .1 3.486\nO 2.7 .3 -.9\nH 3.3 .9 -.5\nH 1.8 .2 -.6"
)
METHODS = ("hf", "b3lyp")


COMPONENTS = ((1,), (1, 2), (1, 2, 3), (2, 3))  # with OH, and waters alone
WITH, WITHOUT = "with the check", "without"


def measure(arguments) -> dict:
    Manager().register_programs()
    ways = itertools.product(METHODS, COMPONENTS)
    return {
        "doubts": doubts(arguments.repeats),
        "ways_down": [way_down(method, real, arguments.repeats) for method, real in ways],
    }


def doubts(rounds: int) -> dict:
    """Return microseconds a task of an expansion of water32, with and without terms to doubt."""
    work = workload.load(cluster("water32", method="hf", basis="sto-3g", max_nbody=3))
    found = {}
    for name, noise in (("no doubt", 1e-4), ("many doubts", 0.1)):
        chance = random.Random(1)
        values = {task.key: {"energy": -75.0 * task.nbody + chance.uniform(-noise, noise)} for task in work.tasks}
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            sentences = implausible(work.tasks, work.recipe, values)
            times.append(time.perf_counter() - began)
        found[name] = {"us_per_task": 1e6 * statistics.median(times) / len(work.tasks), "sentences": len(sentences)}
    return {"tasks": len(work.tasks), **found}


def way_down(method: str, real: tuple[int, ...], rounds: int) -> dict:
    """Return the time of a component with the check over that without, with the 95 % interval."""
    energies: dict[str, float] = {}

    def run(side: str, recipe: Recipe) -> float:
        given = atomic_input(recipe, "(auto)", real, real)
        began = time.perf_counter()
        done = qcengine.compute(given, "pyscf", raise_error=True, task_config={"ncores": 1, "memory": 4.0})
        energies[side] = done.properties.return_energy
        return time.perf_counter() - began

    sides = {}
    for side, keywords in ((WITH, {}), (WITHOUT, {"stability": False})):
        like = Expansion(program="pyscf", method=method, basis="6-31g*", multiplicities="1:2", keywords=keywords)
        sides[side] = partial(
            run, side, workload.load(many_body_fields(RADICAL, name="OH and waters", expansion=like)).recipe
        )
    times = take_turns(sides, repeats=rounds + 1)  # the first loads what is loaded once
    found = judgement.compare_pairs(times[WITH][1:], times[WITHOUT][1:])
    return {
        "method": f"{method}/6-31g*",
        "component": f"{'OH and ' * (1 in real)}{len(real) - (1 in real)} waters",
        "open_shell": 1 in real,
        "ratio": found.speedup,
        "interval": interval(found),
        "energies_equal": energies[WITH] == energies[WITHOUT],
    }


BENCHMARK = Benchmark(what="the cost of checking results", measure=measure, repeats=9)
