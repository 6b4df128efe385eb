"""Simulate how runs on many nodes of 64 cores scale: 1 to 1,000 nodes, real dealer, real scheduler, virtual clock.

Nothing is computed. Times of tasks are those of a law fitted to tasks that ran alone on one core (the record of
`prediction.py`), with its scatter. (H2O)64 goes the ordinary way. The million tasks are made up: as many monomers,
dimers and trimers as (H2O)182 has, each with the size, and so the time, of one of (H2O)64 drawn at random. Prints
tables, writes a record, draws the pictures.

    python tests/bench/nodes.py --output results/nodes.json --pictures docs/images
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from autotune.base.options import Options
from autotune.base.records import Law
from autotune.base.types import Method, TaskSize
from autotune.base.versions import library_versions
from autotune.costs import cost_law
from autotune.expansion import workload
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.reports import scaling
from autotune.runtime import planning
from autotune.schedule.events import Planned
from autotune.schedule.node_simulator import simulate_nodes
from autotune.schedule.virtual_nodes import PretendedNodes

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "results" / "prediction.json"
FRAGMENTS = 182  # (H2O)182 has 1,004,913 components up to 3-body
FITTED = ("water6", "ammonia5", "benzene3", "water4")
FEW, MANY = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000), (1, 3, 10, 30, 100, 300, 1000)
CORES, MEMORY_GIB = 64, 256.0
STRAGGLERS, SLOWER, LOST = 0.05, 2.0, 2


class Case(NamedTuple):
    name: str
    method: str
    basis: str
    million: bool
    counts: Sequence[int]
    picture: str = ""
    troubled: bool = False

    def nodes(self, count: int) -> PretendedNodes:
        sound = PretendedNodes(count=count, cores=CORES, memory_gib=MEMORY_GIB)
        if not self.troubled:
            return sound
        return dataclasses.replace(sound, stragglers=STRAGGLERS, slower=SLOWER, lost=min(LOST, count - 1))


WATERS, MILLION, TROUBLE = "(H2O)64", "a million tasks", "5 % of nodes twice as slow, 2 lost"
CASES = (
    Case(f"{WATERS} HF/6-31G*", "hf", "6-31g*", False, FEW, "nodes.svg"),
    Case(f"{WATERS} CCSD(T)/cc-pVDZ", "ccsd(t)", "cc-pvdz", False, FEW),
    Case(f"{WATERS} CCSD(T)/cc-pVDZ, {TROUBLE}", "ccsd(t)", "cc-pvdz", False, FEW, troubled=True),
    Case(f"{MILLION} HF/6-31G*", "hf", "6-31g*", True, MANY, "nodes_million.svg"),
    Case(f"{MILLION} CCSD(T)/cc-pVDZ", "ccsd(t)", "cc-pvdz", True, MANY[::2]),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", metavar="TEXT", help="only cases whose name contains this")
    parser.add_argument("--output", type=Path, help="write the record here, beside the cases that are there already")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the pictures here")
    arguments = parser.parse_args()
    before = arguments.output and arguments.output.exists() and json.loads(arguments.output.read_text())["cases"]
    rows = {row["case"]: row for row in before or []}
    for case in CASES:
        if any(part in case.name for part in arguments.case or [""]):
            rows[case.name] = simulated(case, arguments.pictures)
            if arguments.output:
                write(arguments.output, [rows[each.name] for each in CASES if each.name in rows])


def simulated(case: Case, pictures: Path | None) -> dict[str, object]:
    started = time.process_time()
    expansion = Expansion(program="pyscf", method=case.method, basis=case.basis, max_nbody=3)
    text = (files("autotune.studies") / "workloads" / "water64.xyz").read_text()
    work = workload.load(from_xyz(text, name="water64", expansion=expansion))
    law = fitted(f"{case.method.upper()}/{'6-31G*' if case.basis == '6-31g*' else 'cc-pVDZ'}", work.methods[0])
    here = dataclasses.replace(detection.detect(), cores=CORES, memory_gib=MEMORY_GIB)
    options = Options(tuning="none", memory_gib=MEMORY_GIB)
    policy = planning.make(work, machine=here, manager=Manager(), options=options).policy
    predicted = cost_law.Costs({work.methods[0]: law})
    tasks = [Planned(number=t.number, level=t.nbody, estimate=predicted.estimate(t)) for t in work.tasks]
    if case.million:
        tasks = list(made_up(tasks))
    runs = [simulate_nodes(tasks, policy=policy, nodes=case.nodes(n), measured=True) for n in case.counts]
    found = scaling.Scaling(runs=tuple(runs))
    assumptions = scaling.assumed(case.nodes(max(case.counts)), spread=law.spread)
    core_s = sum(task.estimate.alone_s for task in tasks)
    print(f"{case.name}: {len(tasks):,} tasks, {core_s / len(tasks):.3f} s each on one core (all simulated)")
    print(f"{scaling.table(found)}\n{scaling.verdict(found)}")
    print(f"{time.process_time() - started:.0f} s of this machine's core\n", flush=True)
    if pictures and case.picture:
        title = f"{case.name}: {len(tasks):,} tasks of {core_s / len(tasks):.2f} s on nodes of {CORES} cores"
        scaling.draw(found, title=title, assumptions=assumptions, path=pictures / case.picture)
    return {
        "case": case.name,
        "tasks": len(tasks),
        "core_s": core_s,
        "cores": CORES,
        "memory_gib": MEMORY_GIB,
        "spread": law.spread,
        "runs": scaling.fields(found),
        "worth_it": found.worth.nodes.count,
        "assumed": assumptions,
    }


def fitted(name: str, method: Method) -> Law:
    """Return the law that fits the measured tasks which `prediction.py` fits, too."""
    names = [field.name for field in dataclasses.fields(TaskSize)]
    rows = [
        (TaskSize(**{field: row[field] for field in names}), row["seconds"])
        for row in json.loads(MEASURED.read_text())["cases"][name]["tasks"]
        if row["cluster"][0] in FITTED and row["cluster"][1] == "nocp"
    ]
    equal = Counter(size for size, _ in rows)
    return cost_law.fit_law(method, [(size, seconds, 1.0 / equal[size]) for size, seconds in rows])


def made_up(known: Sequence[Planned]) -> Iterator[Planned]:
    """Yield as many tasks of each level as a larger cluster has, each like a random one of that level."""
    chance, number = random.Random(0), 0
    for level in (1, 2, 3):
        alike = [task.estimate for task in known if task.level == level]
        for estimate in chance.choices(alike, k=math.comb(FRAGMENTS, level)):
            yield Planned(number=number, level=level, estimate=estimate)
            number += 1


def write(output: Path, rows: Sequence[dict[str, object]]) -> None:
    record = {
        "schema": "autotune.benchmark/1",
        "what": "simulated: one workload on 1 to 1,000 nodes of 64 cores, with times by a law fitted to measured tasks",
        "simulated": True,
        "command": "python tests/bench/nodes.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "cases": rows,
    }
    output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
