"""Calibrate against copies of the default: how often is something "faster" installed that is not?

First the real noise of this machine: the default runs many times, one after the other, on a calibration workload. Then
whole calibrations are simulated, in which every configuration takes the same time but for that noise: blocks of runs as
they were measured, one after the other from random places, so that slow minutes stay slow minutes. Look, search, final,
confirmation are the real code; only the clock and the runs are pretended.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness import Benchmark, cluster
from scipy.stats import binomtest

from autotune.base.types import Policy
from autotune.calibration import calibration, studies
from autotune.calibration.instances import Instance, whole
from autotune.calibration.timing import Budget, Timed, Timing
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.schedule.simulator import simulate


def measure(arguments) -> dict:
    earlier = arguments.noise and json.loads(arguments.noise.read_text())["walls_s"]
    walls = earlier or real_walls(arguments.repeats)
    logs = [math.log(wall) for wall in walls]
    mean = statistics.fmean(logs)
    noise = [log - mean for log in logs]
    verdicts: Counter[str] = Counter()
    speed_ups = []
    for number in range(arguments.calibrations):
        verdict, speed_up = calibrate(studies.load(arguments.study), noise, seed=number)
        verdicts[verdict] += 1
        speed_ups += [speed_up] if verdict == "faster" else []
        print(number + 1, dict(verdicts), flush=True)
    test = binomtest(verdicts["faster"], max(1, arguments.calibrations), alternative="less")
    return {
        "noise": statistics.stdev(logs),
        "lag_one_correlation": statistics.correlation(noise[:-1], noise[1:]),
        "calibrations": arguments.calibrations,
        "verdicts": dict(verdicts),
        "rate_at_most": float(test.proportion_ci(0.95, method="exact").high),
        "installed_speed_ups": speed_ups,
        "walls_s": [round(wall, 4) for wall in walls],
    }


def real_walls(runs: int) -> list[float]:
    """Return wall times of the default on a workload of the search, one after the other."""
    here, manager = detection.detect(), Manager()
    fields = cluster("water4", method="hf", basis="6-31g*", max_nbody=3)
    instance = whole(workload.load(fields), name="water4")
    strategies = composition.choose(manager.strategies, None)
    with Timing(machine=here, manager=manager, strategies=strategies, budget=Budget(1e6)) as timing:
        plan = timing.policy({}, instance)
        timing.run(instance, plan, learn=False)
        return [timing.run(instance, plan, learn=False).wall_s for _ in range(runs)]


def calibrate(study: studies.Study, noise: list[float], *, seed: int) -> tuple[str, float]:
    """Return verdict and speed-up of one simulated calibration."""
    stream, spent_s = noise_again(noise, random.Random(seed)), 0.0

    class SimulatedBudget(Budget):
        @property
        def spent_s(self) -> float:
            return spent_s

    class SimulatedTiming(Timing):
        def run(self, instance: Instance, plan: Policy, *, learn: bool, limit_s: float | None = None) -> Timed:
            nonlocal spent_s
            del plan, limit_s  # all take the same time
            default = self.policy({}, instance)
            factor = math.exp(next(stream))
            run = simulate(
                instance.tasks,
                {task.number: self.costs.estimate(task) for task in instance.tasks},
                policy=default,
                machine=self.machine,
                memory_budget_gib=8.0,
            )
            wall_s = run.makespan_s * factor
            spent_s += wall_s + 0.05
            records = [dataclasses.replace(record, wall_s=record.wall_s * factor) for record in run.records]
            if learn:
                self.learn(instance, records)
            return Timed(wall_s, 1.0, 8.0, records)

    here, manager = detection.detect(), Manager()
    calibration.Budget, calibration.Timing = SimulatedBudget, SimulatedTiming  # type: ignore[misc]
    strategies = composition.choose(manager.strategies, None)
    with tempfile.TemporaryDirectory() as home:
        os.environ["AUTOTUNE_HOME"] = home
        with calibration.Calibration(
            dataclasses.replace(study, seed=seed),
            study.methods[0],
            machine=here,
            manager=manager,
            strategies=strategies,
        ) as simulated:
            tuning = simulated.run()
    return tuning.evidence.verdict, tuning.evidence.speed_up


def noise_again(noise: list[float], chance: random.Random) -> Iterator[float]:
    """Yield the measured noise without end, in blocks of ten to forty runs from random places."""
    while True:
        length, at = chance.randint(10, 40), chance.randrange(len(noise))
        yield from (noise[(at + step) % len(noise)] for step in range(length))


BENCHMARK = Benchmark(
    what="simulated calibrations in which nothing is faster than the default, with this machine's real noise",
    measure=measure,
    repeats=120,  # of the default, for the noise
    options={
        "--noise": {"type": Path, "metavar": "RECORD", "help": "take the runs of an earlier record"},
        "--calibrations": {"type": int, "default": 200},
        "--study": {"default": "standard"},
    },
)
