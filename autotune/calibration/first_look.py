"""The first look of a calibration: which workloads fit the budget, how noisy the machine is, what tasks cost.

Rules: only the default is run, and single tasks at other widths. The runs repeat, one workload after the other, so that
their scatter is that of runs some time apart. A few tasks stand for all: the largest size of each method and one in the
middle. The first task of a fresh worker pays for what its program sets up once, so each probe runs two tasks and the
faster one counts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from autotune.base.errors import InputError, TaskError
from autotune.base.records import TaskRecord
from autotune.base.types import Machine, Policy, Task, TaskSize
from autotune.calibration.instances import Instance
from autotune.calibration.timing import Budget, Timed, Timing
from autotune.compare import judgement

LOOK_SHARE = 0.25  # of the budget
TOO_LONG = 1.5  # times what is allowed: then the rung before is taken
LEAST_NOISE = 0.005  # no machine repeats its times better than that for long
UNKNOWN_NOISE = 0.05
MOST_CONTENTION = 4.0  # more is a machine that does something else meanwhile


class Looked(NamedTuple):
    """What was seen.

    Attributes:
        instances: What every trial of the search runs: one of each kind.
        default_s: Wall times of the default, for each instance.
        noise: Run-to-run coefficient of variation of these; `UNKNOWN_NOISE` where nothing could be repeated.
        contention: Time of a task while all cores work over its time alone.
    """

    instances: tuple[Instance, ...]
    default_s: tuple[tuple[float, ...], ...]
    noise: float
    contention: float


def look(
    ladders: Mapping[str, Iterator[Instance]],
    *,
    timing: Timing,
    budget: Budget,
    allowed_s: float,
    repeats: int,
    say: Callable[[str], None],
) -> Looked:
    """Look at the machine.

    Args:
        ladders: Workloads by kind, cheapest first; the most expensive that is allowed is taken of each.
        timing: Runs them, and learns.
        budget: Of which `LOOK_SHARE` may be used.
        allowed_s: For one run of all instances.
        repeats: Runs of the default.
        say: Called with one line for each run.
    """
    instances: list[Instance] = []
    firsts: list[Timed] = []
    for kind, ladder in ladders.items():
        taken = _climb(ladder, timing=timing, allowed_s=allowed_s / len(ladders), must=not instances, say=say)
        if taken is None:
            say(f"  no workload of kind {kind} is small enough for this budget")
        else:
            instances.append(taken[0])
            firsts.append(taken[1])
    times = [[first.wall_s] for first in firsts]
    for _ in range(1, repeats):
        if budget.beyond(LOOK_SHARE, sum(first.wall_s for first in firsts)):
            break
        for instance, of_instance in zip(instances, times, strict=True):
            of_instance.append(timing.run(instance, timing.policy({}, instance), learn=True).wall_s)
    probed = probe(
        instances[0],
        firsts[0].records,
        plan=timing.policy({}, instances[0]),
        machine=timing.machine,
        run=lambda instance, plan: timing.run(instance, plan, learn=False),
        enough=lambda: budget.beyond(LOOK_SHARE),
    )
    timing.learn(instances[0], probed.wide)
    # As long as while all cores work, which is what the law is about.
    alone = [replace(record, wall_s=probed.contention * record.wall_s) for record in probed.alone]
    timing.learn(instances[0], alone)
    return Looked(
        instances=tuple(instances),
        default_s=tuple(map(tuple, times)),
        noise=pooled_noise(times),
        contention=probed.contention,
    )


def note(looked: Looked, timing: Timing) -> dict[str, Any]:
    """Return what `recall` needs to go on after an interruption; JSON values."""
    return {
        "tasks": {instance.name: [task.number for task in instance.tasks] for instance in looked.instances},
        "samples": timing.samples(),
        "default_s": looked.default_s,
        "noise": looked.noise,
        "contention": looked.contention,
    }


def recall(noted: Mapping[str, Any], ladders: Mapping[str, Iterator[Instance]], timing: Timing) -> Looked:
    """Return what was seen before an interruption; the timing learns again what it had learned then.

    Args:
        noted: What `note` returned.
        ladders: The same workloads, not yet taken from.
        timing: Of the new process.
    """
    instances = []
    samples = dict(noted["samples"])
    for ladder in ladders.values():
        for offered in ladder:
            # A ladder was climbed from its beginning; one's own input was offered several times.
            if offered.name not in samples:
                break
            timing.recall(offered, samples.pop(offered.name))
            if offered.name in noted["tasks"]:
                numbers = set(noted["tasks"][offered.name])
                instances.append(replace(offered, tasks=tuple(t for t in offered.tasks if t.number in numbers)))
    return Looked(
        instances=tuple(instances),
        default_s=tuple(map(tuple, noted["default_s"])),
        noise=noted["noise"],
        contention=noted["contention"],
    )


def affordable(ladders: Mapping[str, Iterator[Instance]], *, timing: Timing, allowed_s: float) -> tuple[Instance, ...]:
    """Return the most expensive instance of each kind that is predicted to fit, at least the cheapest of the first."""
    chosen: dict[str, Instance] = {}
    for kind, ladder in ladders.items():
        for offered in ladder:
            rung = timing.part(offered, allowed_s) if kind == "own" else offered
            fits = timing.predicted_s(rung) <= allowed_s
            if fits or not chosen:
                chosen[kind] = rung
            if not fits:
                break
    return tuple(chosen.values())


def pooled_noise(times_s: Sequence[Sequence[float]]) -> float:
    """Return the run-to-run coefficient of variation, pooled over instances: the deviation of the logarithms."""
    found = judgement.pooled_noise(times_s)
    return max(LEAST_NOISE, found.cv) if found else UNKNOWN_NOISE


def _climb(
    ladder: Iterator[Instance], *, timing: Timing, allowed_s: float, must: bool, say: Callable[[str], None]
) -> tuple[Instance, Timed] | None:
    """Return the largest workload of a kind that may be run so long, and its first run; one at least where it must."""
    taken: tuple[Instance, Timed] | None = None
    for offered in ladder:
        rung = timing.part(offered, allowed_s) if offered.kind == "own" else offered
        if not (must and taken is None) and timing.predicted_s(rung) > allowed_s:
            break
        try:
            if must and taken is None:
                # The very first run pays for what program and operating system set up once; it would mislead the costs.
                small = sorted(rung.tasks, key=lambda task: task.size.functions)[: timing.machine.cores]
                timing.run(replace(rung, tasks=tuple(small)), timing.policy({}, rung), learn=False)
            timed = timing.run(rung, timing.policy({}, rung), learn=True)
        except (InputError, TaskError) as error:
            if must and taken is None:
                raise
            say(f"  {rung.name} cannot be run: {error}")
            break
        say(f"  {rung.name}: {len(rung.tasks)} tasks in {timed.wall_s:.2f} s with the default")
        if taken is None or timed.wall_s <= TOO_LONG * allowed_s:
            taken = (rung, timed)
        if timed.wall_s > allowed_s:
            break
    return taken


# --- single tasks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Times of single tasks.

    Attributes:
        contention: Time while all cores work over the time alone, both at one core; at least 1.
        wide: What happened to tasks at larger widths, every core at work.
        alone: What happened to tasks at one core, the others idle.
    """

    contention: float
    wide: tuple[TaskRecord, ...]
    alone: tuple[TaskRecord, ...]


def probe(
    instance: Instance,
    loaded: Sequence[TaskRecord],
    *,
    plan: Policy,
    machine: Machine,
    run: Callable[[Instance, Policy], Timed],
    enough: Callable[[], bool],
) -> Probed:
    """Return what single tasks cost.

    Args:
        instance: The tasks.
        loaded: Their records, run with `plan` and all cores at work.
        plan: The policy whose workers, width and order are varied.
        machine: Its cores bound the widths.
        run: Runs an instance.
        enough: Asked before each run whether time is up.
    """
    chosen = list(_representatives(instance.tasks))
    loaded_s: dict[TaskSize, list[float]] = {}
    sizes = {task.number: task.size for task in instance.tasks}
    for record in loaded:
        if record.width == 1:
            loaded_s.setdefault(sizes[record.number], []).append(record.wall_s)
    factors: list[float] = []
    wide: list[TaskRecord] = []
    alone: list[TaskRecord] = []
    for tasks in chosen:
        width = 1
        while width <= machine.cores and not enough():
            # At width 1 alone; above, as many at once as the cores hold.
            at_once = 1 if width == 1 else max(1, machine.cores // width)
            two = replace(instance, tasks=tasks[: 2 * at_once])
            records = run(two, _narrow(plan, workers=at_once, width=width)).records
            fastest = min(records, key=lambda record: record.wall_s)
            (wide if width > 1 else alone).append(fastest)
            if width == 1 and tasks[0].size in loaded_s:
                factors.append(statistics.median(loaded_s[tasks[0].size]) / fastest.wall_s)
            width *= 2
    mean = math.exp(statistics.fmean(map(math.log, factors))) if factors else 1.0
    return Probed(contention=min(MOST_CONTENTION, max(1.0, mean)), wide=tuple(wide), alone=tuple(alone))


def _representatives(tasks: Sequence[Task]) -> Iterator[tuple[Task, ...]]:
    """Yield the tasks of the largest size and of one in the middle, largest first."""
    by_size: dict[TaskSize, list[Task]] = {}
    for task in tasks:
        by_size.setdefault(task.size, []).append(task)
    ranked = sorted(by_size.values(), key=lambda members: -members[0].size.functions)
    for position in sorted({0, len(ranked) // 2}):
        yield tuple(ranked[position])


def _narrow(plan: Policy, *, workers: int, width: int) -> Policy:
    return replace(
        plan,
        workers=workers,
        most_workers=workers,
        core_slots=workers * width,
        width=width,
        widest=width,
        widen_tail=False,
        batch_s=0.0,
    )
