"""What a run would take, before anything runs: on this machine, on another one, on several.

Rules: the tasks are predicted by the cost model, the schedule is the real scheduler's on a virtual clock. Costs are
those of this machine, where they were measured; limits are those of the machine that is pretended.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from autotune.base import json_files
from autotune.base.errors import InputError
from autotune.base.options import GivenConditions, GivenOptions, Options
from autotune.base.records import RunRecord, TuningChoice
from autotune.base.types import Estimate, Machine, Task, TaskSize
from autotune.expansion import workload
from autotune.expansion.summary import describe
from autotune.expansion.workload import Workload
from autotune.runtime import planning
from autotune.schedule.node_simulator import NodesSimulation, PretendedNodes
from autotune.schedule.simulator import Simulation
from autotune.session.preparation import Preparation, input_of, options_of, prepare

if TYPE_CHECKING:
    from autotune.expansion.expansion import Expansion

NINE_OF_TEN = 1.645  # standard deviations to either side
WORTH = 0.8  # of a parallel efficiency: each further node then still does most of what it could
MOST_NODES = 100_000
CONDITIONS = ("latency_s", "start_spread_s", "stragglers", "slower", "lost", "noticed_s", "back_s", "spread", "seed")


# --- on this machine --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClass:
    """Tasks of one class: of one method, one n-body level and one size.

    Attributes:
        method: Program, method, basis set and driver.
        nbody: The n-body level.
        functions: Basis functions of each task.
        electrons: Electrons of each task.
        ghost_atoms: Ghost atoms of each task.
        tasks: How many there are.
        task_s: Wall time of one task in seconds, on average.
        within_factor: Nine of ten tasks take `task_s` within this factor, up or down.
        memory_gib: Memory that one task of twenty exceeds.
        width: Most cores that one of them gets.
        total_s: Core-seconds of all of them.
    """

    method: str
    nbody: int
    functions: int
    electrons: int
    ghost_atoms: int
    tasks: int
    task_s: float
    within_factor: float
    memory_gib: float
    width: int
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEstimate:
    """What a many-body expansion is expected to take on this machine.

    Attributes:
        understood: How the input was understood, in one line.
        tuning: The tuning that the times and the policy come from.
        machine: What may be used.
        memory_budget_gib: What tasks may be granted together.
        tasks: Number of tasks.
        core_s: Seconds that all tasks take one after another on one core.
        wall_s: Seconds from the first task's start to the last one's end.
        lower_bound_s: Seconds that no schedule of these tasks can beat.
        classes: The tasks by class, the most expensive class first.
    """

    understood: str
    tuning: TuningChoice
    machine: Machine
    memory_budget_gib: float
    tasks: int
    core_s: float
    wall_s: float
    lower_bound_s: float
    classes: tuple[TaskClass, ...]


def estimate(
    source: object, *, expansion: Expansion | None = None, **options: Unpack[GivenOptions]
) -> WorkloadEstimate:
    """Return what a many-body expansion is expected to take on this machine; nothing is started.

    Without a tuning of the method the times are a guess that is meaningful only relative to each other; `tuning` in the
    answer says so.

    Args:
        source: A many-body input, the path of a file with one or with a geometry, or the text of such a file.
        expansion: What to compute for a geometry.
        options: As for `run`; see `Options`.

    Raises:
        InputError: The source or an option cannot be used, or there is nothing to compute.
        ResourceError: An option asks for more than this machine has.
    """
    prepared = prepare(_workload(source, expansion), options_of("estimate", options))
    plan, schedule = prepared.plan, prepared.simulate()
    return WorkloadEstimate(
        understood=describe(prepared.work.recipe.molecule),
        tuning=plan.chosen,
        machine=prepared.machine,
        memory_budget_gib=plan.budget_gib,
        tasks=len(prepared.work.tasks),
        core_s=sum(expected.alone_s for expected in prepared.estimates.values()),
        wall_s=schedule.makespan_s,
        lower_bound_s=schedule.lower_bound_s,
        classes=_classes(prepared, {record.number: record.width for record in schedule.records}),
    )


def _workload(source: object, expansion: Expansion | None) -> Workload:
    return source if isinstance(source, Workload) else workload.load(input_of(source, expansion))


def _classes(prepared: Preparation, widths: Mapping[int, int]) -> tuple[TaskClass, ...]:
    groups: dict[tuple[str, int, TaskSize], list[Task]] = {}
    for task in prepared.work.tasks:
        groups.setdefault((str(task.method), task.nbody, task.size), []).append(task)
    classes = []
    for (method, nbody, size), members in groups.items():
        first = prepared.estimates[members[0].number]
        walls_s = [prepared.estimates[task.number].wall_s(widths[task.number]) for task in members]
        classes.append(
            TaskClass(
                method=method,
                nbody=nbody,
                functions=size.functions,
                electrons=size.electrons,
                ghost_atoms=size.ghost_atoms,
                tasks=len(members),
                task_s=statistics.fmean(walls_s),
                within_factor=math.exp(NINE_OF_TEN * first.spread),
                memory_gib=first.memory_gib,
                width=max(widths[task.number] for task in members),
                total_s=sum(wall_s * widths[task.number] for wall_s, task in zip(walls_s, members, strict=True)),
            )
        )
    return tuple(sorted(classes, key=lambda each: -each.total_s))


# --- on a machine that is not there -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """How an expansion would run on a machine that is not there.

    Attributes:
        machine: The machine that is pretended.
        memory_budget_gib: What tasks may be granted together.
        tasks: Number of tasks.
        schedule: What would run when.
        times_from: Where the tasks' times come from, in words.
    """

    machine: Machine
    memory_budget_gib: float
    tasks: int
    schedule: Simulation
    times_from: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One workload on several numbers of nodes.

    Attributes:
        runs: At least one, by increasing number of nodes. Speed-ups are against the first.
    """

    runs: tuple[NodesSimulation, ...]

    def speed_up(self, run: NodesSimulation) -> float:
        """Return how many times as fast as the first a run is."""
        return self.runs[0].makespan_s / run.makespan_s if run.makespan_s else 1.0

    def efficiency(self, run: NodesSimulation) -> float:
        """Return the parallel efficiency: the speed-up over that of the number of nodes."""
        return self.speed_up(run) * self.runs[0].nodes.count / run.nodes.count

    @property
    def worth(self) -> NodesSimulation:
        """The run with most nodes whose parallel efficiency is at least `WORTH`."""
        return [run for run in self.runs if self.efficiency(run) >= WORTH][-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedScaling:
    """How an expansion would run on several numbers of nodes.

    Attributes:
        machine: One node.
        memory_budget_gib: What the tasks of one node may be granted together.
        tasks: Number of tasks.
        scaling: The runs.
        nodes: What befalls the nodes; their count means nothing here.
        spread: Standard deviation of the logarithm of single tasks' times; None where times are those of a record.
        contention: How much longer a task takes while all cores of its node are busy.
        times_from: Where the tasks' times come from, in words.
    """

    machine: Machine
    memory_budget_gib: float
    tasks: int
    scaling: Scaling
    nodes: PretendedNodes
    spread: float | None
    contention: float
    times_from: str


def simulate(
    source: object,
    *,
    expansion: Expansion | None = None,
    replay: RunRecord | str | Path | None = None,
    contention: float = 1.0,
    core_speeds: Sequence[float] = (),
    **options: Unpack[GivenOptions],
) -> SimulatedRun:
    """Return how a many-body expansion would run on a machine that is not there; nothing is started.

    Args:
        source: A many-body input, the path of a file with one or with a geometry, or the text of such a file.
        expansion: What to compute for a geometry.
        replay: The record of a run, or its file, whose tasks' times are taken instead of predicted ones.
        contention: How much longer a task takes while all cores are busy than alone.
        core_speeds: Of each core of the machine that is pretended, relative to this one's, where they are not alike.
        options: As for `run`; `cores` and `memory_gib` describe the machine that is pretended.

    Raises:
        InputError: An argument cannot be used, the record is of another workload, or there is nothing to compute.
    """
    if core_speeds:
        if not all(0 < speed < math.inf for speed in core_speeds):
            raise InputError("speeds of cores must be above 0 and finite")
        if options.setdefault("cores", len(core_speeds)) not in (None, len(core_speeds)):
            raise InputError(f"there are {len(core_speeds)} speeds for {options['cores']} cores; leave the cores out")
        options["cores"] = len(core_speeds)
    pretence = _pretend(source, expansion, replay, contention, options_of("simulate", options))
    if core_speeds and pretence.prepared.plan.policy.width > 1:
        raise InputError("where cores are not alike, only tasks of one core each are simulated; give --threads 1")
    return SimulatedRun(
        machine=pretence.prepared.machine,
        memory_budget_gib=pretence.prepared.plan.budget_gib,
        tasks=len(pretence.prepared.work.tasks),
        schedule=pretence.prepared.simulate(
            durations_s=pretence.durations_s, contention=pretence.slow_down, speeds=core_speeds
        ),
        times_from=pretence.times_from,
    )


def simulate_scaling(
    source: object,
    counts: Iterable[int],
    *,
    expansion: Expansion | None = None,
    replay: RunRecord | str | Path | None = None,
    contention: float = 1.0,
    **given: Unpack[GivenConditions],
) -> SimulatedScaling:
    """Return how a many-body expansion would run on several machines that share its tasks; nothing is started.

    Args:
        source: As for `simulate`.
        counts: Numbers of nodes to try.
        expansion: As for `simulate`.
        replay: As for `simulate`.
        contention: As for `simulate`.
        given: Options as for `simulate`, where `cores` and `memory_gib` describe one node; and what befalls the nodes:
            `latency_s`, `start_spread_s`, `stragglers`, `slower`, `lost`, `noticed_s`, `back_s`, `spread` and `seed`,
            see `PretendedNodes`.

    Raises:
        InputError: As for `simulate`, or there can be no such nodes.
    """
    from autotune.schedule.node_simulator import simulate_nodes

    numbers = sorted(set(counts))
    if not numbers or not 1 <= numbers[0] <= numbers[-1] <= MOST_NODES:
        raise InputError(f"numbers of nodes lie between 1 and {MOST_NODES:,}; give at least one")
    conditions: dict[str, Any] = {name: value for name, value in given.items() if name in CONDITIONS}
    options = {name: value for name, value in given.items() if name not in CONDITIONS}
    pretence = _pretend(source, expansion, replay, contention, options_of("simulate_scaling", options))
    prepared = pretence.prepared
    levels = {task.number: task.nbody for task in prepared.work.tasks}
    runs = tuple(
        simulate_nodes(
            prepared.estimates,
            levels,
            policy=prepared.plan.policy,
            nodes=_nodes(count, prepared, conditions),
            measured=pretence.measured,
            durations_s=pretence.durations_s,
            contention=pretence.slow_down,
        )
        for count in numbers
    )
    spread = conditions.get(
        "spread", statistics.median_high(estimate.spread for estimate in prepared.estimates.values())
    )
    return SimulatedScaling(
        machine=prepared.machine,
        memory_budget_gib=prepared.plan.budget_gib,
        tasks=len(levels),
        scaling=Scaling(runs=runs),
        nodes=_nodes(MOST_NODES, prepared, conditions),
        spread=None if pretence.durations_s else spread,
        contention=contention,
        times_from=pretence.times_from,
    )


def _nodes(count: int, prepared: Preparation, conditions: Mapping[str, Any]) -> PretendedNodes:
    lost = conditions.get("lost", 0)
    if conditions.get("back_s", math.inf) == math.inf:
        lost = min(lost, count - 1)  # somebody has to compute the rest
    return PretendedNodes(
        **{
            **conditions,
            "lost": min(lost, count),
            "count": count,
            "cores": prepared.machine.cores,
            "memory_gib": prepared.plan.budget_gib,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pretence:
    """What is simulated.

    Attributes:
        prepared: The workload, planned for the machine that is pretended.
        durations_s: Seconds alone on one core of a record that is replayed, by number; None where none is.
        measured: Whether what is believed of the tasks comes from measured times.
        contention: How much longer a task takes while all cores are busy.
        times_from: Where the times come from, in words.
    """

    prepared: Preparation
    durations_s: Mapping[int, float] | None
    measured: bool
    contention: float
    times_from: str

    def slow_down(self, busy: float) -> float:
        """Return the factor on a task's time while a share of the cores is busy."""
        return 1.0 + (self.contention - 1.0) * min(1.0, busy)


def _pretend(
    source: object,
    expansion: Expansion | None,
    replay: RunRecord | str | Path | None,
    contention: float,
    options: Options,
) -> _Pretence:
    if not 1.0 <= contention < math.inf:
        raise InputError(f"contention is {contention:g}, but must be 1 or more and finite")
    # Costs and the tuning are those of this machine, whose own limits do not bind the one that is pretended.
    unlimited = replace(options, cores=None, memory_gib=None, workers=None, threads=None)
    here = prepare(_workload(source, expansion), unlimited)
    machine = replace(
        here.machine,
        cores=options.cores or here.machine.cores,
        memory_gib=options.memory_gib or here.machine.memory_gib,
    )
    plan = planning.make(here.work, machine=machine, manager=here.manager, options=options, here=False)
    prepared = replace(here, machine=machine, plan=replace(plan, costs=here.plan.costs))
    durations_s, times_from = None, f"{here.plan.chosen.match} - {here.plan.chosen.reason}"
    if replay is not None:
        record = replay if isinstance(replay, RunRecord) else json_files.load_run(Path(replay))
        times_from = f"the run of {replay.created}" if isinstance(replay, RunRecord) else str(replay)
        durations_s = replayed_s(record, prepared.work.tasks, prepared.estimates, name=times_from)
    return _Pretence(
        prepared=prepared,
        durations_s=durations_s,
        measured=here.plan.tuning is not None,
        contention=contention,
        times_from=times_from,
    )


def replayed_s(
    record: RunRecord, tasks: Sequence[Task], estimates: Mapping[int, Estimate], *, name: str
) -> dict[int, float]:
    """Return the seconds that tasks took in a run, each as if alone on one core, by their number.

    Args:
        record: The run's record.
        tasks: Those whose times are wanted.
        estimates: By number; they say how a task's time depends on its width.
        name: What to call the record in messages.

    Raises:
        InputError: The record has no time of some task.
    """
    done = {task.label: task for task in record.task_records if task.status == "done"}
    times_s = {}
    for task in tasks:
        if task.labels[0] in done:
            before, expected = done[task.labels[0]], estimates[task.number]
            times_s[task.number] = before.wall_s * expected.wall_s(1) / expected.wall_s(before.width)
    if missing := len(tasks) - len(times_s):
        raise InputError(f"{name} has no times for {missing} of the {len(tasks)} tasks; it is of another workload")
    return times_s
