"""How often does `autotune regress` call a change that is none, and how often does it miss one that is there?

Real runs first, whole processes as `autotune regress --exec` measures them, in turn and in random order: each workload
twice as it is (A and A'), once with a sleep of 10 % of its time, once with 5 %, and once with one worker less. Then
comparisons are drawn from them, all workloads together: stretches of pairs as they were measured one after the other,
from random places: a pilot, and as many after it as the real rule asks for. The verdicts are the real code's.

    python tests/bench/regress_aa.py --output results/regress_aa.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from autotune.base.versions import library_versions
from autotune.compare import regression, side_by_side
from autotune.compare.samples import Sample
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection

WORKLOADS = {
    "water6 GFN2-xTB 3-body": ("water6", "tblite", "gfn2-xtb", "", "nocp", 3),
    "water4 HF/6-31G* 2-body": ("water4", "pyscf", "hf", "6-31g*", "nocp", 2),
    "methanol_water6 HF/STO-3G 2-body": ("methanol_water6", "pyscf", "hf", "sto-3g", "nocp", 2),
    "water4 cp HF/STO-3G 2-body": ("water4", "pyscf", "hf", "sto-3g", "cp", 2),
}
PLANTED = {"A": 0.0, "A'": 0.0, "+10%": 0.10, "+5%": 0.05}
LOST = "one worker less"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--comparisons", type=int, default=500)
    parser.add_argument("--walls", type=Path, metavar="RECORD", help="take the runs of an earlier record")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    walls = json.loads(arguments.walls.read_text())["walls_s"] if arguments.walls else measured(arguments.repeats)
    found = {
        side: judged(walls, side, comparisons=arguments.comparisons) for side in walls[next(iter(walls))] if side != "A"
    }
    record = {
        "schema": "autotune.benchmark/1",
        "what": "verdicts of autotune regress on real runs: equal sides, planted sleeps, a lost worker",
        "command": "python tests/bench/regress_aa.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "load_before": os.getloadavg(),
        "versions": library_versions(),
        "noise": {
            name: {
                "of_runs": statistics.stdev(map(math.log, sides["A"])),
                "of_pairs": statistics.stdev(
                    math.log(one / other) for one, other in zip(sides["A"], sides["A'"], strict=True)
                ),
            }
            for name, sides in walls.items()
        },
        "against_A": found,
        "walls_s": walls,
    }
    print(json.dumps({key: record[key] for key in ("noise", "against_A")}, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


def measured(repeats: int) -> dict[str, dict[str, list[float]]]:
    """Return the wall times of all sides of each workload, by position of their round."""
    walls: dict[str, dict[str, list[float]]] = {name: {side: [] for side in (*PLANTED, LOST)} for name in WORKLOADS}
    with tempfile.TemporaryDirectory() as folder:
        inputs = {name: written(name, Path(folder) / f"{number}.json") for number, name in enumerate(WORKLOADS)}
        usual = {name: statistics.median(run(inputs[name], sleep_s=0.0) for _ in range(4)) for name in WORKLOADS}
        order = random.Random(0)
        for number in range(repeats):
            for name in order.sample(list(WORKLOADS), len(WORKLOADS)):
                for side in order.sample([*PLANTED, LOST], len(PLANTED) + 1):
                    fewer = side == LOST
                    sleep_s = 0.0 if fewer else PLANTED[side] * usual[name]
                    walls[name][side].append(round(run(inputs[name], sleep_s=sleep_s, fewer=fewer), 4))
            print(number + 1, {name: sides["A"][-1] for name, sides in walls.items()}, flush=True)
    return walls


def written(name: str, path: Path) -> Path:
    geometry, program, method, basis, bsse, max_nbody = WORKLOADS[name]
    text = (files("autotune.studies") / "workloads" / f"{geometry}.xyz").read_text()
    expansion = Expansion(program=program, method=method, basis=basis, bsse=(bsse,), max_nbody=max_nbody)
    path.write_text(json.dumps(from_xyz(text, name=geometry, expansion=expansion)))
    return path


def run(path: Path, *, sleep_s: float, fewer: bool = False) -> float:
    """Return the wall time of a process that runs an input and sleeps."""
    workers = ["--cores", str(max(1, detection.detect().cores - 1))] if fewer else []
    command = [sys.executable, "-P", "-m", "autotune", "run", str(path), "-o", str(path) + ".out", "--quiet"]
    started = time.perf_counter()
    subprocess.run([*command, "--journal", "none", "--tuning", "none", *workers], check=True)
    time.sleep(sleep_s)
    return time.perf_counter() - started


def judged(walls: dict[str, dict[str, list[float]]], side: str, *, comparisons: int) -> dict[str, object]:
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


if __name__ == "__main__":
    main()
