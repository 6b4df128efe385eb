"""What a decision costs: the real scheduler on a virtual clock, for a thousand to a million tasks.

Tasks have the sizes of a 3-body expansion of waters and methanols with HF/6-31G*, no two with quite the same estimate;
the policy is what the strategies make of the cores. They take up to a tenth more or less than predicted. Where the
run learns, the real `Expectations` predict again each time the number of finished tasks has doubled, and the scheduler
ranks what waits again; predicting is timed apart. Each case runs in a process of its own. Times are CPU
times of the process, which does nothing else.

    python tests/bench/large.py --output results/large.json
"""

from __future__ import annotations

import dataclasses
import gc
import heapq
import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from harness import Benchmark, call_in_process

from autotune.base.types import Context, Machine, Method, Resources, Task, TaskSize
from autotune.costs.cost_law import Costs
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.runtime.expectations import Expectations
from autotune.schedule.events import Finished, Learned
from autotune.schedule.scheduler import Scheduler

SIZES = (1_000, 10_000, 100_000, 1_000_000)
METHOD = Method(program="pyscf", method="hf", basis="6-31g*", driver="energy")
FRAGMENTS = ((3, 10, 19), (6, 18, 38))  # atoms, electrons and functions of water and methanol, in turn
OFF = 0.1  # a task takes up to so much more or less than predicted
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Case(NamedTuple):
    """A machine, and whether the run learns."""

    cores: int
    gib_per_core: float
    learns: bool

    @property
    def name(self) -> str:
        scarce = "" if self.gib_per_core >= 1.0 else f", {self.gib_per_core:g} GiB a core"
        return f"{self.cores} cores{scarce}{', learning' if self.learns else ''}"


CASES = (
    *(Case(cores, 4.0, learns) for cores in (2, 64, 1000) for learns in (False, True)),
    Case(64, 0.2, False),  # memory is scarcer than cores: tasks wait for it
)


def measure(arguments) -> Iterator[dict]:
    for number, case in enumerate(CASES):
        if case.name in arguments.cases:
            sizes = [call_in_process(plan_and_drive, number, size) for size in SIZES if size <= arguments.most]
            growth = sizes[-1]["scheduler_us_per_task"] / sizes[0]["scheduler_us_per_task"]
            yield {"case": case.name, **case._asdict(), "growth": growth, "sizes": sizes}


def plan_and_drive(number: int, count: int) -> dict:
    """Return what planning and driving the scheduler took; memory is that of the scheduler alone."""
    case = CASES[number]
    tasks = list(itertools.islice(expansion(), count))
    pretended = machine_of(case)
    manager = Manager()
    context = Context(machine=pretended, methods=(METHOD,), tasks=count)
    made = composition.compose(composition.choose(manager.strategies, None), {}, context)
    plan = planning.fixed_plan(made, costs=Costs(), budget_gib=made.memory_fraction * pretended.memory_gib)
    began = time.process_time()
    expected = Expectations(tasks, plan=plan, manager=manager, machine=pretended)
    predicted_s = time.process_time() - began
    levels = {task.number: task.nbody for task in tasks}
    gc.collect()
    held = resident_bytes()
    began = time.process_time()
    scheduler = Scheduler(expected.of, levels, made, budget=Resources(cores=case.cores, memory_gib=plan.budget_gib))
    setup_s = time.process_time() - began
    driven = drive(scheduler, expected, learns=case.learns)
    scheduler_s = setup_s + driven["decide_s"] + driven["handle_s"] + driven["learned_s"]
    return {
        "tasks": count,
        "scheduler_us_per_task": 1e6 * scheduler_s / count,
        "setup_us_per_task": 1e6 * setup_s / count,
        "decide_us_per_task": 1e6 * driven["decide_s"] / count,
        "handle_us_per_task": 1e6 * driven["handle_s"] / count,
        "ranked_anew_us_per_task": 1e6 * driven["learned_s"] / count,
        "predicted_us_per_task": 1e6 * (predicted_s + driven["predicted_s"]) / count,
        "longest_decision_ms": 1e3 * driven["longest_s"],
        "starts": driven["starts"],
        "bytes_per_task": (driven["resident_bytes"] - held) / count,
        "makespan_s": driven["makespan_s"],
    }


def drive(
    scheduler: Scheduler, expected: Expectations, *, learns: bool, now: Callable[[], float] = time.process_time
) -> dict:
    """Run all tasks on a virtual clock; return the seconds, by the clock `now`, that scheduler and predicting took."""
    decide_s = handle_s = learned_s = predicted_s = longest_s = clock = 0.0
    ends: list[tuple[float, int, float, int]] = []
    begun = 0
    first_bytes = 0
    while not scheduler.done:
        began = now()
        starts = scheduler.decide(clock)
        took = now() - began
        decide_s, longest_s = decide_s + took, max(longest_s, took)
        first_bytes = first_bytes or resident_bytes()
        begun += len(starts)
        for start in starts:
            at, width = clock, start.resources.cores
            for number in start.numbers:
                wall_s = expected.of[number].wall_s(width) * off(number)
                at += wall_s
                heapq.heappush(ends, (at, number, wall_s, width))
        clock, number, wall_s, width = heapq.heappop(ends)
        began = now()
        scheduler.handle(Finished(number))
        handle_s += now() - began
        if learns:
            began = now()
            expected.finish(number)
            fresh = expected.learn(number, wall_s=wall_s, width=width, peak_gib=0.3)
            predicted_s += now() - began
            if fresh:
                began = now()
                scheduler.handle(Learned(fresh))
                learned_s += now() - began
    return {
        "decide_s": decide_s,
        "handle_s": handle_s,
        "learned_s": learned_s,
        "predicted_s": predicted_s,
        "longest_s": longest_s,
        "starts": begun,
        "resident_bytes": first_bytes,
        "makespan_s": clock,
    }


def expansion() -> Iterator[Task]:
    """Yield the tasks of a 3-body expansion: all monomers, dimers and trimers of 200 fragments in a row."""
    fragments = range(200)
    number = itertools.count()
    # As many of each kind as the smallest cluster with enough of them would have: by its last fragment.
    for last in fragments:
        for bodies in (1, 2, 3):
            for others in itertools.combinations(range(last), bodies - 1):
                real = (*others, last)
                yield Task(
                    number=next(number),
                    key="",
                    level="",
                    real=real,
                    basis=real,
                    labels=("",),
                    method=METHOD,
                    size=size_of(tuple(f - real[0] + real[0] % 2 for f in real)),
                )


@cache
def size_of(real: tuple[int, ...]) -> TaskSize:
    """Return the size of a task that begins at one of the first two fragments; it is the same farther on."""
    atoms, electrons, functions = (sum(FRAGMENTS[f % 2][kind] for f in real) for kind in range(3))
    # Pairs of primitives overlap less the farther apart their fragments are.
    pairs = sum(900.0 * FRAGMENTS[f % 2][0] * FRAGMENTS[g % 2][0] / (1 + (f - g) ** 2) for f in real for g in real)
    return TaskSize(atoms=atoms, ghost_atoms=0, electrons=electrons, functions=functions, pairs=pairs)


def off(number: int) -> float:
    """Return a factor around one on the time of a task, different from one task to the next and the same each time."""
    return 1.0 + OFF * (2.0 * ((number * 2654435761) % 2**32 / 2**32) - 1.0)


def machine_of(case: Case) -> Machine:
    here = detection.detect()
    return dataclasses.replace(here, cores=case.cores, memory_gib=case.gib_per_core * case.cores)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


BENCHMARK = Benchmark(
    what="what the scheduler takes for each task on a virtual clock, from a thousand tasks to a million",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=tuple(case.name for case in CASES),
    options={"--most": {"type": int, "default": SIZES[-1], "metavar": "TASKS", "help": "only so many tasks"}},
)
