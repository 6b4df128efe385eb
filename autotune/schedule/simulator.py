"""The virtual clock: the real scheduler on a machine that is not there.

Rules: the same `Scheduler` as in a run; only time is pretended. Durations come from estimates or from a record of
measured times, stretched by a contention factor when many cores are busy. Whatever comes out is marked as simulated
by whoever shows it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autotune.base.records import TaskRecord, task_record
from autotune.base.types import Estimate, Machine, Policy, Resources, Task
from autotune.programs.facts import ranks
from autotune.schedule import bounds
from autotune.schedule.events import Finished, Start
from autotune.schedule.scheduler import Scheduler
from autotune.schedule.seats import Seats

DISPATCH_S = 0.5e-3  # measured cost of one task in the runtime beside its own work; results/overhead.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a simulated run would do.

    Attributes:
        makespan_s: From the first start to the last end.
        lower_bound_s: What no schedule of these durations can beat.
        records: Every task, as a run would record it.
    """

    makespan_s: float
    lower_bound_s: float
    records: tuple[TaskRecord, ...]

    @property
    def efficiency(self) -> float:
        """Bound over makespan."""
        return self.lower_bound_s / self.makespan_s if self.makespan_s else 1.0


def simulate(
    tasks: Sequence[Task],
    estimates: Mapping[int, Estimate],
    *,
    policy: Policy,
    machine: Machine,
    memory_budget_gib: float,
    durations_s: Mapping[int, float] | None = None,
    contention: Callable[[float], float] = lambda _: 1.0,
    speeds: Sequence[float] = (),
) -> Simulation:
    """Run a policy's schedule on a virtual clock.

    Args:
        tasks: Tasks of the workload.
        estimates: What the scheduler believes, by task number.
        policy: The policy.
        machine: The machine pretended.
        memory_budget_gib: What tasks may be granted together.
        durations_s: Seconds alone on one core that tasks really take; by default what the scheduler believes.
        contention: From the share of busy cores at a task's start to a factor on its time.
        speeds: Of the cores, where they are not alike; see `seats.py`. Tasks must take one core each.
    """
    by_number = {task.number: task for task in tasks}
    records: list[TaskRecord] = []
    seats, work_s = Seats(speeds), list[float]()

    def note(number: int, start: Start, begins_s: float, wall_s: float) -> None:
        record = task_record(
            by_number[number],
            estimates[number],
            start.resources,
            started_s=begins_s,
            wall_s=wall_s,
            cpu_s=wall_s * start.resources.cores,
            peak_gib=estimates[number].memory_gib,
        )
        records.append(record)
        work_s.append(wall_s * seats.speed_of(start.seat))

    end_s = makespan_s(
        {task.number: estimates[task.number] for task in tasks},
        {task.number: task.nbody for task in tasks},
        policy=policy,
        budget=Resources(cores=machine.cores, memory_gib=memory_budget_gib, gpus=machine.gpus),
        durations_s=durations_s,
        contention=contention,
        started=note,
        ahead=ranks(tasks, policy.tunables),
        speeds=speeds,
        gpu_memory_gib=machine.gpu_memory_gib,
    )
    alone_s = {n: _wall_s(n, 1, estimate, durations_s) for n, estimate in estimates.items()}
    places = max([machine.gpus * policy.tasks_per_gpu(task.method.program) for task in tasks] + [1])
    if not seats.even:
        bound_s = bounds.lower_bound_of_speeds_s(work_s, speeds)
    else:
        alone_s = {number: seconds / seats.speed_of(0) for number, seconds in alone_s.items()}
        bound_s = bounds.lower_bound_s(
            records, cores=max(machine.cores, policy.core_slots), narrow_s=alone_s, gpu_places=places
        )
    return Simulation(makespan_s=end_s, lower_bound_s=bound_s, records=tuple(records))


def makespan_s(
    estimates: Mapping[int, Estimate],
    levels: Mapping[int, int],
    *,
    policy: Policy,
    budget: Resources,
    durations_s: Mapping[int, float] | None = None,
    contention: Callable[[float], float] = lambda _: 1.0,
    started: Callable[[int, Start, float, float], None] | None = None,
    ahead: Mapping[int, int] = MappingProxyType({}),
    speeds: Sequence[float] = (),
    gpu_memory_gib: Sequence[float] = (),
) -> float:
    """Return when the last task ends, in seconds; `started` is told number, start, begin and wall time of each.

    Estimates, levels, budget, ahead, speeds and memory of GPUs are those of `Scheduler`, the other arguments those of
    `simulate`, with as many durations as there are tasks or more.
    """
    scheduler = Scheduler(
        estimates, levels, policy, budget=budget, ahead=ahead, speeds=speeds, gpu_memory_gib=gpu_memory_gib
    )
    seats = Seats(speeds)
    clock, sequence = 0.0, 0
    ends: list[tuple[float, int, int]] = []
    while not scheduler.done:
        for start in scheduler.decide(clock):
            busy, width = scheduler.cores_in_use / budget.cores, start.resources.cores
            slower = contention(busy) * max(1.0, busy)
            if start.place is None:
                slower /= seats.speed_of(start.seat)
            begins_s = clock
            for number in start.numbers:
                wall_s = _wall_s(number, width, estimates[number], durations_s)
                if start.together and number != start.numbers[0]:
                    wall_s = max(0.0, wall_s - estimates[number].start_s)
                wall_s *= slower
                if started:
                    started(number, start, begins_s, wall_s)
                sequence += 1
                # Between the tasks of a batch the worker waits for nobody.
                begins_s += wall_s + (DISPATCH_S if number == start.numbers[-1] else 0.0)
                heapq.heappush(ends, (begins_s, sequence, number))
        clock, _, number = heapq.heappop(ends)
        scheduler.handle(Finished(number))
    return clock


def _wall_s(number: int, width: int, estimate: Estimate, durations_s: Mapping[int, float] | None) -> float:
    if durations_s is None:
        return estimate.wall_s(width)
    return durations_s[number] * estimate.wall_s(width) / estimate.wall_s(1)
