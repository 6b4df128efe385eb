"""Simulate how runs on many nodes of 64 cores scale: 1 to 1,000 nodes, real dealer, real scheduler, virtual clock.

Nothing is computed. Times of tasks are those of a law fitted to tasks that ran alone on one core (the record of
`prediction.py`), with its scatter. (H2O)64 goes the ordinary way. The million tasks are made up: as many monomers,
dimers and trimers as (H2O)182 has, each with the size, and so the time, of one of (H2O)64 drawn at random.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness import TESTS, Benchmark, cluster

from autotune.base.options import Options
from autotune.base.records import Law
from autotune.base.types import Estimate, Method, TaskSize
from autotune.costs import cost_law
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.reports import scaling
from autotune.runtime import planning
from autotune.schedule.node_simulator import PretendedNodes, simulate_nodes
from autotune.session.forecast import Scaling

MEASURED = TESTS.parent / "results" / "prediction.json"
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


def measure(arguments) -> Iterator[dict]:
    for case in CASES:
        if case.name in arguments.cases:
            yield simulate(case, arguments.pictures)


def simulate(case: Case, pictures: Path | None) -> dict[str, object]:
    started = time.process_time()
    fields = cluster("water64", method=case.method, basis=case.basis, max_nbody=3)
    work = workload.load(fields)
    law = fit(f"{case.method.upper()}/{'6-31G*' if case.basis == '6-31g*' else 'cc-pVDZ'}", work.methods[0])
    here = dataclasses.replace(detection.detect(), cores=CORES, memory_gib=MEMORY_GIB)
    options = Options(tuning="none", memory_gib=MEMORY_GIB)
    policy = planning.make(work, machine=here, manager=Manager(), options=options).policy
    predicted = cost_law.Costs({work.methods[0]: law})
    estimates = {task.number: predicted.estimate(task) for task in work.tasks}
    levels = {task.number: task.nbody for task in work.tasks}
    if case.million:
        estimates, levels = multiply(estimates, levels)
    tasks = len(estimates)
    runs = [simulate_nodes(estimates, levels, policy=policy, nodes=case.nodes(n), measured=True) for n in case.counts]
    found = Scaling(runs=tuple(runs))
    assumptions = scaling.assumptions_of(case.nodes(max(case.counts)), spread=law.spread)
    core_s = sum(estimate.alone_s for estimate in estimates.values())
    print(f"{case.name}: {tasks:,} tasks, {core_s / tasks:.3f} s each on one core (all simulated)")
    print(f"{scaling.table(found)}\n{scaling.verdict(found)}")
    print(f"{time.process_time() - started:.0f} s of this machine's core\n", flush=True)
    if pictures and case.picture:
        title = f"{case.name}: {tasks:,} tasks of {core_s / tasks:.2f} s on nodes of {CORES} cores"
        scaling.draw(found, title=title, assumptions=assumptions, path=pictures / case.picture)
    return {
        "case": case.name,
        "tasks": tasks,
        "core_s": core_s,
        "cores": CORES,
        "memory_gib": MEMORY_GIB,
        "spread": law.spread,
        "runs": scaling.fields(found),
        "worth_it": found.worth.nodes.count,
        "assumed": assumptions,
    }


def fit(name: str, method: Method) -> Law:
    """Return the law that fits the measured tasks which `prediction.py` fits, too."""
    names = [field.name for field in dataclasses.fields(TaskSize) if field.name != "unpaired"]  # all closed shells
    rows = [
        (TaskSize(**{field: row[field] for field in names}), row["seconds"])
        for row in json.loads(MEASURED.read_text())["cases"][name]["tasks"]
        if row["cluster"][0] in FITTED and row["cluster"][1] == "nocp"
    ]
    equal = Counter(size for size, _ in rows)
    return cost_law.fit_law(method, [(size, seconds, 1.0 / equal[size]) for size, seconds in rows])


def multiply(
    known: Mapping[int, Estimate], known_levels: Mapping[int, int]
) -> tuple[dict[int, Estimate], dict[int, int]]:
    """Return estimates and levels of as many tasks as a larger cluster has, each like a random one of its level."""
    chance, estimates, levels = random.Random(0), list[Estimate](), list[int]()
    for level in (1, 2, 3):
        alike = [estimate for number, estimate in known.items() if known_levels[number] == level]
        count = math.comb(FRAGMENTS, level)
        estimates += chance.choices(alike, k=count)
        levels += [level] * count
    return dict(enumerate(estimates)), dict(enumerate(levels))


BENCHMARK = Benchmark(
    what="simulated: one workload on 1 to 1,000 nodes of 64 cores, with times by a law fitted to measured tasks",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=tuple(case.name for case in CASES),
    options={"--pictures": {"type": Path, "metavar": "FOLDER", "help": "draw the pictures here"}},
    summary=lambda _: {"simulated": True},
)
