"""Run records made to order, with bound and gap as a run would work them out; for tests of what is said about runs."""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import replace

import found
import typical

from autotune.base.records import RunRecord, TuningChoice
from autotune.base.types import Policy
from autotune.schedule import bounds

POLICY = Policy(
    workers=2,
    core_slots=2,
    widest=2,
    order="longest",
    level_barriers=False,
    widen_tail=True,
    memory_admission=True,
    tasks_per_worker=2000,
    resident_programs=True,
)
TUNED = TuningChoice(
    match="exact",
    reason="measured on this machine for this method",
    source="tunings/pyscf-hf.json",
    strategies=("hybrid",),
    parameters={"hybrid.width": 1},
)


def task(number, *, start, wall, nbody=2, width=1, predicted=None, peak=0.2, status="done", **others):
    real = list(range(1, nbody + 1))
    told = {
        "label": json.dumps(["(auto)", real, real]),
        "cpu_s": wall * width,
        "predicted_s": wall if predicted is None else predicted,
        **others,
    }
    return typical.record(
        number, nbody=nbody, status=status, started_s=start, wall_s=wall, width=width, peak_gib=peak, **told
    )


def run(given, *, wall=None, cores=2, budget=10.0, memory_idle=0.0, lost=0.0, **others):
    """Return the record of a run of these tasks; `others` replace what follows from them."""
    done = [each for each in given if each.status == "done"]
    ends = [each.started_s + each.wall_s for each in given]
    wall_s = wall or max(ends, default=1.0)
    bound_s = bounds.lower_bound_s(done, cores=cores, memory_gib=budget)
    gap = bounds.gap(done, cores=cores, wall_s=wall_s, memory_idle_core_s=memory_idle, lost_core_s=lost)
    made = RunRecord(
        created="2026-11-26T12:00:00+00:00",
        workload="H12O6 3-body, pyscf mp2/cc-pvdz energy",
        content="0123456789abcdef",
        energy_hartree=-457.25,
        wall_s=wall_s,
        tasks=len(given),
        recalled=0,
        attempts=sum(each.attempts for each in given),
        lower_bound_s=bound_s,
        efficiency=bound_s / wall_s,
        gap=gap,
        cpu_utilisation=sum(each.cpu_s for each in given) / wall_s / cores,
        peak_memory_gib=1.5,
        memory_budget_gib=budget,
        policy=replace(POLICY, workers=cores, core_slots=cores, widest=cores),
        tuning=TUNED,
        versions={"pyscf": "2.14.0", "qc-autotune": "0.1.0"},
        machine=replace(found.MACHINE, cores=cores),
        methods=(found.METHOD,),
        task_records=tuple(given),
    )
    return replace(made, **others)


def filled(number, *, cores, seed=1, mean_s=1.0, failed=()):
    """Return the record of a run of many tasks, the longest first, each on the core that is free first."""
    draw = random.Random(seed)
    levels = sorted((draw.choice((3, 3, 3, 2, 2, 1)) for _ in range(number)), reverse=True)
    free, tasks = [(0.5, core) for core in range(cores)], []
    for place, nbody in enumerate(levels):
        start, core = heapq.heappop(free)
        wall = mean_s * nbody**2 / 6 * draw.lognormvariate(0.0, 0.1)
        predicted = wall * draw.lognormvariate(0.0, 0.12)
        status = "failed" if place in failed else "done"
        told = {"error_type": "convergence", "error": "did not converge"} if status == "failed" else {}
        tasks.append(
            replace(
                task(
                    place,
                    start=start,
                    wall=wall,
                    nbody=nbody,
                    predicted=predicted,
                    peak=0.1 * nbody,
                    status=status,
                ),
                label=json.dumps(["(auto)", *2 * [sorted(draw.sample(range(1, 65), nbody))]]),
                **told,
            )
        )
        heapq.heappush(free, (start + wall + 0.001, core))
    return run(tasks, cores=cores, budget=0.5 * cores)
