"""The scheduler decides as it did: recorded decisions of random runs, replayed.

Running this file records anew what `decisions.json` holds; that is right only where other decisions are wanted. Each
run has its own tasks, policy, machine and faults, from a seed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
import random
from pathlib import Path

import pytest
from planned_tasks import Planned, mappings

from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule.events import Adapted, Failed, Finished, Learned, Paused
from autotune.schedule.scheduler import Scheduler

RECORDED = Path(__file__).parent / "decisions.json"
SEEDS = range(400)


def decisions(seed):
    """Return the decisions of one random run: seconds, tasks, width and memory of each start."""
    chance = random.Random(seed)
    cores = chance.choice([1, 2, 3, 4, 8, 16, 64, 200])
    equal = chance.random() < 0.2
    kinds = [estimate(chance) for _ in range(chance.randint(1, 6))]
    tasks = [
        Planned(number=n, level=chance.randint(1, 3), estimate=chance.choice(kinds) if equal else estimate(chance))
        for n in range(chance.choice([3, 20, 100, 400]))
    ]
    policy = policy_of(chance, cores)
    budget_gib = chance.choice([1.0, 4.0, 10.0, 100.0, 1000.0])
    budget = Resources(cores=cores, memory_gib=budget_gib)
    scheduler = Scheduler(*mappings(tasks), policy, budget=budget)
    estimates = {task.number: task.estimate for task in tasks}
    faulty, eventful = chance.choice([0.0, 0.1]), chance.choice([0.0, 0.02])
    off = chance.choice([0.0, 0.3])
    made, ends, clock, finished = [], [], 0.0, 0
    while not scheduler.done:
        for start in scheduler.decide(clock):
            given = start.resources
            made.append((clock, start.numbers, given.cores, given.memory_gib, scheduler.memory_bound))
            at = clock
            for number in start.numbers:
                at += estimates[number].wall_s(given.cores) * chance.uniform(1 - off, 1 + off)
                heapq.heappush(ends, (at, number))
        clock, number = heapq.heappop(ends)
        if chance.random() < faulty:
            scheduler.handle(Failed(number, again=True, alone=chance.random() < 0.3, suspect=chance.random() < 0.5))
            continue
        scheduler.handle(Finished(number))
        finished += 1
        if finished & (finished - 1) == 0 and chance.random() < 0.7:
            fresh = {n: learned(chance, estimates[n]) for n in estimates}
            estimates |= fresh
            scheduler.handle(Learned(fresh))
        if chance.random() < eventful:
            scheduler.handle(Adapted(policy_of(chance, cores), budget))
        scheduler.handle(Paused(chance.random() < eventful))
    return made


def estimate(chance):
    return Estimate(
        alone_s=chance.choice([chance.uniform(0.001, 0.2), chance.uniform(0.1, 10.0), chance.expovariate(0.1)]),
        parallel=chance.choice([0.0, chance.random(), 0.95, 1.0]),
        memory_gib=chance.choice([0.1, 0.2, chance.uniform(0.0, 3.0), chance.uniform(0.0, 0.5)]),
        one_core=chance.random() < 0.1,
    )


def learned(chance, before):
    return dataclasses.replace(before, alone_s=before.alone_s * chance.uniform(0.5, 2.0))


def policy_of(chance, cores):
    if chance.random() < 0.5:  # what the strategies make of most machines
        return Policy(
            workers=cores,
            core_slots=cores,
            widest=cores,
            order="longest",
            level_barriers=False,
            widen_tail=True,
            batch_s=0.1,
            memory_admission=True,
        )
    return Policy(
        workers=chance.randint(1, 2 * cores),
        core_slots=chance.randint(1, 2 * cores),
        width=chance.randint(1, 3),
        widest=chance.randint(1, cores + 2),
        order=chance.choice(["input", "longest", "shortest"]),
        level_barriers=chance.random() < 0.5,
        widen_tail=chance.random() < 0.5,
        memory_admission=chance.random() < 0.7,
        batch_s=chance.choice([0.0, 0.1, 5.0]),
    )


def digest(made):
    return hashlib.sha256(repr(made).encode()).hexdigest()[:16]


@pytest.mark.parametrize("part", range(8))
def test_the_scheduler_decides_as_was_recorded(part):
    recorded = json.loads(RECORDED.read_text())
    differ = [seed for seed in SEEDS[part::8] if digest(decisions(seed)) != recorded[seed]]
    assert differ == []


if __name__ == "__main__":
    RECORDED.write_text(json.dumps([digest(decisions(seed)) for seed in SEEDS], indent=0) + "\n")
