"""What each layer costs for each task: plan, predict, schedule, pipe, journal, assemble; for up to 10^6 tasks.

Workloads are the first waters of the packaged clusters, 3-body, HF/6-31G*; more than 64 waters are two copies of that
cluster side by side. Each layer works on all tasks at once, as in a run on this machine, and is timed by the clock on
the wall. Through the pipe go the same tasks for a program that does nothing, to one worker in batches as the scheduler
makes them of short tasks, at most a hundred thousand; what the worker spends in QCEngine is taken off. The pipe has a
process of its own, the other layers share one, whose peak of memory is noted.

    python tests/bench/layers.py --output results/layers.json
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import large
from harness import Benchmark, call_in_process, geometry, offer_faulty_program

from autotune.base import garbage
from autotune.base.options import Options
from autotune.base.types import Policy, Resources
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.expansion.xyz import read_xyz
from autotune.journal.entries import Entry
from autotune.journal.journal import Journal
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.runtime.expectations import Expectations
from autotune.schedule.scheduler import MOST_IN_A_BATCH, Scheduler
from autotune.workers.messages import Briefing, Check, Order, Reply
from autotune.workers.pool import Pool

WATERS = (18, 39, 84, 182)  # 987, 9,919, 98,854 and 1,004,913 tasks
MOST_THROUGH_THE_PIPE = 100_000
LAYERS = {
    "plan": "from the input to tasks, keys and sizes",
    "predict": "policy, costs, and what finished tasks teach about the others",
    "schedule": "setting up, all decisions, ranking again",
    "pipe": "an order to a worker and its reply back",
    "journal": "recording, until all is durable",
    "assemble": "from energies to the many-body result",
}
APART_ANGSTROM = 2.5  # between the two copies of a cluster; hydrogen bonds are shorter


def measure(arguments) -> Iterator[dict]:
    """Yield seconds of each layer, and medians and ranges per task."""
    for waters in arguments.waters or WATERS:
        runs = [
            {**call_in_process(in_the_parent, waters), **call_in_process(through_the_pipe, waters)}
            for _ in range(arguments.repeats)
        ]
        tasks = runs[0]["tasks"]
        counted = dict.fromkeys(LAYERS, tasks) | {"pipe": runs[0]["through_the_pipe"]}
        per_task = {layer: [1e6 * run[layer] / counted[layer] for run in runs] for layer in LAYERS}
        per_task["together"] = [sum(each) for each in zip(*per_task.values(), strict=True)]
        yield {
            "waters": waters,
            "tasks": tasks,
            "us_per_task": {
                layer: {"median": statistics.median(each), "low": min(each), "high": max(each)}
                for layer, each in per_task.items()
            },
            "peak_gib": max(run["peak_gib"] for run in runs),
            "runs_s": runs,
        }


@garbage.search_seldom()  # as a run does
def in_the_parent(waters: int) -> dict:
    """Return the seconds of all layers but the pipe, and the largest memory this process had."""
    workload.load(fields_of(2, "pyscf", "hf", "6-31g*"))  # what is imported and read once
    fields = fields_of(waters, "pyscf", "hf", "6-31g*")
    here, manager = detection.detect(), Manager()
    now = time.perf_counter
    began = now()
    work = workload.load(fields)
    seconds = {"plan": now() - began}
    began = now()
    plan = planning.make(work, machine=here, manager=manager, options=Options(tuning="none"))
    expected = Expectations(work.tasks, plan=plan, manager=manager, machine=here)
    seconds["predict"] = now() - began
    began = now()
    levels = {task.number: task.nbody for task in work.tasks}
    scheduler = Scheduler(
        expected.of, levels, plan.policy, budget=Resources(cores=here.cores, memory_gib=plan.budget_gib)
    )
    seconds["schedule"] = now() - began
    driven = large.drive(scheduler, expected, learns=plan.policy.learn, now=now)
    seconds["predict"] += driven["predicted_s"]
    seconds["schedule"] += driven["decide_s"] + driven["handle_s"] + driven["learned_s"]
    values = {task.key: {"energy": -76.0 * task.nbody - 0.01 * math.comb(task.nbody, 2)} for task in work.tasks}
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite3") as journal:
        began = now()
        for key, of_task in values.items():
            journal.record(Entry(key, "pyscf 2.14.0", "", of_task, None))
        journal.flush()
        seconds["journal"] = now() - began
    began = now()
    work.assemble(values, {})
    seconds["assemble"] = now() - began
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"tasks": len(work.tasks), **seconds, "peak_gib": peak_gib}


def through_the_pipe(waters: int) -> dict:
    """Return the seconds of all orders and replies, less what the worker spent in QCEngine."""
    offer_faulty_program()
    work = workload.load(fields_of(waters, "faulty", "nothing", ""))
    orders = [
        Order(task.number, task.level, task.real, task.basis, Resources(cores=1, memory_gib=1.0))
        for task in work.tasks[:MOST_THROUGH_THE_PIPE]
    ]
    spent_s = 0.0
    with Pool(programs=["faulty"], environment=planning.environment(Policy())) as pool:
        pool.brief(Briefing(work.recipe.to_json()))
        pool.prepare(1)
        pool.check(Check())
        for first in (True, False):  # once for what is imported and read once
            sent = orders[:1] if first else orders
            began = time.perf_counter()
            for start in range(0, len(sent), MOST_IN_A_BATCH):
                batch = sent[start : start + MOST_IN_A_BATCH]
                pool.start(batch)
                done = 0
                while done < len(batch):
                    for reply in pool.wait(timeout_s=60.0):
                        assert isinstance(reply, Reply)
                        assert not reply.error, reply.error
                        done += 1
                        spent_s += 0.0 if first else reply.wall_s
        seconds = time.perf_counter() - began
    return {"pipe": seconds - spent_s, "qcengine": spent_s, "through_the_pipe": len(orders)}


def fields_of(waters: int, program: str, method: str, basis: str) -> dict:
    """Return an input of the first waters of the packaged cluster of 64, and of a copy of it beside it."""
    found = read_xyz(geometry("water64"), name="water64")
    stated = found.stated.fragments
    assert stated is not None
    xs = [x for x, _, _ in found.coordinates_angstrom]
    aside = max(xs) - min(xs) + APART_ANGSTROM
    lines = []
    for copy in range(math.ceil(waters / len(stated))):
        for atoms in stated[: waters - copy * len(stated)]:
            for atom in atoms:
                x, y, z = found.coordinates_angstrom[atom]
                lines.append(f"{found.symbols[atom]} {x + copy * aside:.8f} {y:.8f} {z:.8f}")
    comment = json.dumps({"fragments": [3] * waters, "charges": [0] * waters, "species": ["H2O"] * waters})
    text = "\n".join([str(len(lines)), comment, *lines, ""])
    expansion = Expansion(program=program, method=method, basis=basis, max_nbody=min(3, waters))
    return many_body_fields(text, name=f"water{waters}", expansion=expansion)


BENCHMARK = Benchmark(
    what="wall time of each layer per task, of expansions of a thousand to a million tasks",
    measure=measure,
    rows="sizes",
    key=("waters",),
    repeats=3,
    options={
        "--waters": {"type": int, "action": "append", "metavar": "N", "help": "only clusters of N; may be repeated"}
    },
    summary=lambda _: {"layers": LAYERS},
)
