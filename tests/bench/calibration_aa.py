"""Calibrate against copies of the default: how often is something "faster" installed that is not?

First the real noise of this machine: the default runs many times, one after the other, on a calibration workload. Then
whole calibrations are simulated, in which every configuration takes the same time but for that noise: blocks of runs as
they were measured, one after the other from random places, so that slow minutes stay slow minutes. Look, search, final,
confirmation are the real code; only the clock and the runs are pretended.

    python tests/bench/calibration_aa.py --output results/calibration_aa.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import statistics
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from autotune.base.types import Policy
from autotune.base.versions import library_versions
from autotune.calibration import calibration, studies
from autotune.calibration.instances import Instance, whole
from autotune.calibration.timing import Budget, Timed, Timing
from autotune.expansion import workload
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.schedule.simulator import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=120, help="of the default, for the noise")
    parser.add_argument("--noise", type=Path, metavar="RECORD", help="take the runs of an earlier record")
    parser.add_argument("--calibrations", type=int, default=200)
    parser.add_argument("--study", default="standard")
    parser.add_argument("--output", type=Path, help="write the record here")
    arguments = parser.parse_args()
    known = arguments.noise and json.loads(arguments.noise.read_text())["walls_s"]
    walls = known or real_walls(arguments.runs)
    logs = [math.log(wall) for wall in walls]
    mean = statistics.fmean(logs)
    noise = [log - mean for log in logs]
    verdicts: Counter[str] = Counter()
    installed = []
    for number in range(arguments.calibrations):
        found = calibrated(studies.load(arguments.study), noise, seed=number)
        verdicts[found[0]] += 1
        if found[0] == "faster":
            installed.append(found[1])
        print(number + 1, dict(verdicts), flush=True)
    record = {
        "schema": "autotune.benchmark/1",
        "what": "simulated calibrations in which nothing is faster than the default, with this machine's real noise",
        "command": "python tests/bench/calibration_aa.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "noise": statistics.stdev(logs),
        "lag_one_correlation": correlation(noise),
        "calibrations": arguments.calibrations,
        "verdicts": dict(verdicts),
        "rate_at_most": at_most(verdicts["faster"], max(1, arguments.calibrations)),
        "installed_speed_ups": installed,
        "walls_s": [round(wall, 4) for wall in walls],
    }
    print(json.dumps({key: value for key, value in record.items() if key != "walls_s"}))
    if arguments.output:
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


def real_walls(runs: int) -> list[float]:
    """Return wall times of the default on a workload of the search, one after the other."""
    here, manager = detection.detect(), Manager()
    text = (files("autotune.studies") / "workloads" / "water4.xyz").read_text()
    expansion = Expansion(program="pyscf", method="hf", basis="6-31g*", max_nbody=3)
    instance = whole(workload.load(from_xyz(text, name="water4", expansion=expansion)), name="water4")
    strategies = composition.choose(manager.strategies, None)
    with Timing(machine=here, manager=manager, strategies=strategies, budget=Budget(1e6)) as timing:
        plan = timing.policy({}, [instance])
        timing.run(instance, plan, learn=False)
        return [timing.run(instance, plan, learn=False).wall_s for _ in range(runs)]


def correlation(noise: list[float]) -> float:
    return statistics.correlation(noise[:-1], noise[1:])


def calibrated(chosen: studies.Study, noise: list[float], *, seed: int) -> tuple[str, float]:
    """Return verdict and speed-up of one simulated calibration."""
    clock = Clock()
    stream = Stream(noise, seed)

    class SimulatedBudget(Budget):
        def __init__(self, total_s: float) -> None:
            super().__init__(total_s)

        @property
        def spent_s(self) -> float:
            return clock.now_s

    class SimulatedTiming(Timing):
        def run(self, instance: Instance, plan: Policy, *, learn: bool, limit_s: float | None = None) -> Timed:
            del plan, limit_s  # all take the same time
            default = self.policy({}, instance)
            factor = math.exp(stream.next())
            run = simulate(
                instance.tasks,
                {task.number: self.costs.estimate(task) for task in instance.tasks},
                policy=default,
                machine=self.machine,
                memory_budget_gib=8.0,
            )
            wall_s = run.makespan_s * factor
            clock.now_s += wall_s + 0.05
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
            dataclasses.replace(chosen, seed=seed),
            chosen.methods[0],
            machine=here,
            manager=manager,
            strategies=strategies,
        ) as calibrated:
            tuning = calibrated.run()
    return tuning.evidence.verdict, tuning.evidence.speed_up


class Clock:
    """Seconds that have passed in the simulated calibration."""

    now_s = 0.0


class Stream:
    """The measured noise in blocks of ten to forty runs from random places."""

    def __init__(self, noise: list[float], seed: int) -> None:
        self._noise, self._random = noise, random.Random(seed)
        self._block: list[float] = []

    def next(self) -> float:
        if not self._block:
            length = self._random.randint(10, 40)
            at = self._random.randrange(len(self._noise))
            self._block = [self._noise[(at + step) % len(self._noise)] for step in range(length)]
        return self._block.pop(0)


def at_most(count: int, of: int, confidence: float = 0.95) -> float:
    """Return the upper limit of a rate of which `count` of `of` were seen (Clopper and Pearson, one-sided)."""
    low, high = count / of, 1.0
    while high - low > 1e-6:
        rate = (low + high) / 2
        seen = sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(count + 1))
        low, high = (rate, high) if seen > 1 - confidence else (low, rate)
    return high


if __name__ == "__main__":
    main()
