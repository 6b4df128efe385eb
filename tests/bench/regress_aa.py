"""How often does `autotune regress` call a change that is none, and how often does it miss one that is there?

Real runs first, whole processes as `autotune regress --exec` measures them, in turn and in random order: each workload
twice as it is (A and A'), once with a sleep of 10 % of its time, once with 5 %, and once with one worker less. Then
comparisons are drawn from them, all workloads together: stretches of pairs as they were measured one after the other,
from random places: a pilot, and as many after it as the real rule asks for. The verdicts are the real code's.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import Benchmark, Computation, autotune_command, run_command, take_turns

from autotune.compare import regression, side_by_side
from autotune.compare.samples import Sample
from autotune.machine import detection

WORKLOADS = {
    "water6 GFN2-xTB 3-body": Computation("water6", "gfn2-xtb", max_nbody=3, program="tblite"),
    "water4 HF/6-31G* 2-body": Computation("water4", "hf", "6-31g*", 2),
    "methanol_water6 HF/STO-3G 2-body": Computation("methanol_water6", "hf", "sto-3g", 2),
    "water4 cp HF/STO-3G 2-body": Computation("water4", "hf", "sto-3g", 2, "cp"),
}
PLANTED = {"A": 0.0, "A'": 0.0, "+10%": 0.10, "+5%": 0.05}
LOST = "one worker less"


def measure(arguments) -> dict:
    earlier = arguments.walls and json.loads(arguments.walls.read_text())["walls_s"]
    walls = earlier or run_all(arguments.repeats)
    compared = [side for side in next(iter(walls.values())) if side != "A"]
    return {
        "noise": {
            name: {
                "of_runs": statistics.stdev(map(math.log, sides["A"])),
                "of_pairs": statistics.stdev(
                    math.log(one / other) for one, other in zip(sides["A"], sides["A'"], strict=True)
                ),
            }
            for name, sides in walls.items()
        },
        "against_A": {side: judge(walls, side, comparisons=arguments.comparisons) for side in compared},
        "walls_s": walls,
    }


def run_all(repeats: int) -> dict[str, dict[str, list[float]]]:
    """Return the wall times of all sides of each workload, by position of their round."""
    sides = [(name, side) for name in WORKLOADS for side in (*PLANTED, LOST)]
    with tempfile.TemporaryDirectory() as folder:
        inputs = {name: Path(folder) / f"{number}.json" for number, name in enumerate(WORKLOADS)}
        for name, path in inputs.items():
            path.write_text(json.dumps(WORKLOADS[name].fields))
        usual = {name: statistics.median(run(inputs[name], sleep_s=0.0) for _ in range(4)) for name in WORKLOADS}

        def run_side(name: str, side: str) -> float:
            sleep_s = PLANTED.get(side, 0.0) * usual[name]
            return round(run(inputs[name], sleep_s=sleep_s, fewer=side == LOST), 4)

        walls = take_turns({each: lambda each=each: run_side(*each) for each in sides}, repeats=repeats)
    return {name: {side: walls[name, side] for side in (*PLANTED, LOST)} for name in WORKLOADS}


def run(path: Path, *, sleep_s: float, fewer: bool = False) -> float:
    """Return the wall time of a process that runs an input and sleeps."""
    workers = ["--cores", max(1, detection.detect().cores - 1)] if fewer else []
    command = autotune_command("run", path, "-o", f"{path}.out", "--quiet", "--journal", "none", "--tuning", "none")
    wall_s, _ = run_command([*command, *map(str, workers)])
    time.sleep(sleep_s)
    return wall_s + sleep_s


def judge(walls: dict[str, dict[str, list[float]]], side: str, *, comparisons: int) -> dict[str, object]:
    """Return what comparisons of a side with A say, over all workloads of each."""
    order = random.Random(1)
    verdicts: Counter[str] = Counter()
    families: Counter[str] = Counter()
    pairs, detectable, called = [], [], 0
    for _ in range(comparisons):
        base: list[Sample] = []
        head: list[Sample] = []
        for name, sides in walls.items():
            both = list(zip(sides["A"], sides[side], strict=True))
            start = order.randrange(len(both))
            turned = both[start:] + both[:start]
            first = samples(name, turned[: side_by_side.PILOT_PAIRS])
            counted = turned[side_by_side.PILOT_PAIRS :]
            wanted = min(side_by_side._pairs_wanted(*first, 0.05), len(counted))
            pairs.append(wanted)
            one, other = samples(name, counted[:wanted])
            base += one
            head += other
        answer = regression.judge(base, head, paired=True)
        verdicts.update(row.verdict for row in answer.rows)
        families[answer.verdict] += 1
        called += any(row.verdict in ("faster", "slower") for row in answer.rows)
        detectable += [row.detectable for row in answer.rows if row.detectable is not None]
    rows = sum(verdicts.values())
    return {
        "comparisons": comparisons,
        "workloads_compared": rows,
        "verdicts": dict(verdicts),
        "shares": {verdict: round(count / rows, 4) for verdict, count in verdicts.items()},
        "whole_answers": dict(families),
        "share_with_any_faster_or_slower": round(called / comparisons, 4),
        "median_pairs": statistics.median(pairs),
        "median_detectable": round(statistics.median(detectable), 4),
    }


def samples(name: str, pairs: list[tuple[float, float]]) -> tuple[list[Sample], list[Sample]]:
    def of(walls: list[float]) -> list[Sample]:
        return [Sample(workload=name, wall_s=wall, machine="", created="", source="") for wall in walls]

    return of([one for one, _ in pairs]), of([other for _, other in pairs])


BENCHMARK = Benchmark(
    what="verdicts of autotune regress on real runs: equal sides, planted sleeps, a lost worker",
    measure=measure,
    repeats=40,
    options={
        "--comparisons": {"type": int, "default": 500},
        "--walls": {"type": Path, "metavar": "RECORD", "help": "take the runs of an earlier record"},
    },
)
