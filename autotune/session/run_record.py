"""How a run ends: the record of what happened, and the error where tasks failed.

Rules: arithmetic and words on what came out; nothing is started or kept here.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from autotune.base import garbage
from autotune.base.errors import InputError, TaskError
from autotune.base.records import Omitted, RunRecord, TaskRecord, Term
from autotune.base.text import count
from autotune.base.types import Estimate, Machine
from autotune.base.versions import library_versions
from autotune.expansion import labels
from autotune.expansion.joint import Joint
from autotune.expansion.nbody_energies import nbody_energies
from autotune.expansion.workload import Workload
from autotune.machine.process import describe_limits
from autotune.runtime import failures
from autotune.runtime.execution import Execution
from autotune.runtime.planning import Plan
from autotune.schedule import bounds

NAMED_FAILURES = 5
SHOWN_TERMS = 10
MOST_TASKS_FOR_TERMS = 1_000  # dividing the sum of so many takes 60 ms
_NUMBERS = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


@garbage.search_seldom()
def record(
    execution: Execution,
    *,
    plan: Plan,
    machine: Machine,
    work: Workload | Joint,
    recalled: int,
    wall_s: float,
    versions: Mapping[str, str],
    result: object = None,
    nodes: int = 1,
    omitted: tuple[Omitted, ...] = (),
    doubts: tuple[str, ...] = (),
) -> RunRecord:
    """Return the record of a run.

    Args:
        execution: What came out.
        plan: What was to be done.
        machine: Where; of several machines, all together.
        work: What was computed.
        recalled: Tasks that the journal had.
        wall_s: From the call to the result.
        versions: Of the programs.
        result: The many-body result, if there is one.
        nodes: How many machines.
        omitted: What options left out.
        doubts: What was said against the numbers.
    """
    done = [record for record in execution.records if record.status == "done"]
    # Where workers outnumber cores, task times are stretched by sharing them: no bound for fewer slots follows.
    tasks = {task.number: task for task in work.tasks}
    bound_s = bounds.lower_bound_s(
        done,
        cores=max(machine.cores, nodes * plan.policy.core_slots),
        memory_gib=nodes * plan.budget_gib,
        narrow_s={r.number: _alone_s(r, plan.costs.estimate(tasks[r.number])) for r in done if r.width > 1},
        speeds=execution.speeds,
        gpu_places=max([machine.gpus * plan.policy.tasks_per_gpu(method.program) for method in work.methods] + [1]),
    )
    failed = [record for record in execution.records if record.status != "done"]
    gap = bounds.gap(
        done,
        failed,
        cores=machine.cores,
        wall_s=wall_s,
        memory_idle_core_s=execution.memory_idle_core_s,
        lost_core_s=execution.lost_core_s,
    )
    tasks_s = wall_s - gap.startup - gap.assembly
    return RunRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        workload=workload_words(work),
        content=_content(work),
        energy_hartree=_energy_hartree(result),
        wall_s=wall_s,
        tasks=len(work.tasks),
        recalled=recalled,
        attempts=execution.attempts,
        lower_bound_s=bound_s,
        efficiency=bound_s / wall_s,
        gap=gap,
        cpu_utilisation=sum(record.cpu_s for record in execution.records) / (wall_s * machine.cores),
        peak_memory_gib=execution.peak_gib,
        memory_budget_gib=plan.budget_gib,
        policy=plan.policy,
        tuning=plan.chosen,
        versions={**library_versions(), **versions},
        machine=machine,
        nodes=nodes,
        methods=work.methods,
        task_records=tuple(execution.records),
        omitted=omitted,
        doubts=doubts,
        other_cores=min(execution.other_core_s / tasks_s, float(machine.cores)) if tasks_s > 0.0 else 0.0,
        speeds=execution.speeds,
        energies=nbody_energies(result) if hasattr(result, "properties") else (),
        largest_terms=_largest_terms(result, tasks=len(work.tasks)),
    )


def _largest_terms(result: object, *, tasks: int) -> tuple[Term, ...]:
    if tasks > MOST_TASKS_FOR_TERMS or not hasattr(result, "properties"):
        return ()
    from autotune.expansion import terms

    with contextlib.suppress(InputError):  # an expansion that has none, or a result without its components
        return terms.largest(terms.terms(result), SHOWN_TERMS)
    return ()


def failure(execution: Execution, work: Workload) -> TaskError:
    """Return what to raise for a run with failed tasks: a line for people, everything by label for programs.

    Arrays that were too many to stay in memory are not read back for this.
    """
    failed = execution.failed
    groups = alike(failed)
    named = [
        f"{labels.in_words(group[0].label) or group[0].label}"
        f"{f' and {len(group) - 1} more alike' if group[1:] else ''}: {group[0].error_type}:"
        f" {' '.join(group[0].error.split())[-400:]}"
        for group in groups[:NAMED_FAILURES]
    ]
    left_out = sum(map(len, groups[NAMED_FAILURES:]))
    more = f"; and {left_out} more" if left_out else ""
    left = len(work.tasks) - len(execution.values) - len(failed)
    stopped = f"; {left} were not started after that" if left else ""
    errors = {record.number: (record.error_type, record.error) for record in failed}
    error = TaskError(
        f"{len(failed)} of {len(work.tasks)} tasks failed{stopped}: {'; '.join(named)}{more}",
        done={
            label: execution.values[task.key].as_json(arrays=execution.values.whole)
            for task in work.tasks
            if task.key in execution.values
            for label in task.labels
        },
        failed={label: errors[task.number] for task in work.tasks if task.number in errors for label in task.labels},
    )
    # A program that refuses an input says itself what is wrong with it.
    for cure in failures.cures(
        dict.fromkeys(group[0].error_type for group in groups if group[0].error_type != "input")
    ):
        error.add_note(cure)
    # A program that meets one says something else, or nothing.
    if limits := describe_limits():
        error.add_note(limits)
    if not execution.values.whole:
        error.add_note("of what was computed only energies are given here; gradients and Hessians are in the journal")
    return error


def alike(failed: Sequence[TaskRecord]) -> list[list[TaskRecord]]:
    """Return failed tasks in groups of one kind and message, but for numbers in it; the largest group first."""
    groups: dict[tuple[str, str], list[TaskRecord]] = {}
    for record in failed:
        groups.setdefault((record.error_type, _NUMBERS.sub("#", " ".join(record.error.split()))), []).append(record)
    return sorted(groups.values(), key=len, reverse=True)


def workload_words(work: Workload | Joint) -> str:
    """Return a workload's name, such as `H12O6 3-body, pyscf hf/6-31g* energy`, or `200 inputs 2-body, ...`."""
    highest = max(len(task.real) for task in work.tasks)
    ghosts = " with ghosts" if any(len(task.basis) > len(task.real) for task in work.tasks) else ""
    methods = " + ".join(map(str, work.methods))
    named = work.recipe.molecule.get_molecular_formula() if isinstance(work, Workload) else count(work.inputs, "input")
    return f"{named} {highest}-body{ghosts}, {methods}"


def _content(work: Workload | Joint) -> str:
    return hashlib.sha256("\n".join(sorted(task.key for task in work.tasks)).encode()).hexdigest()[:16]


def _energy_hartree(result: object) -> float | None:
    energy = getattr(getattr(result, "properties", None), "return_energy", None)
    return None if energy is None else float(energy)


def _alone_s(record: TaskRecord, expected: Estimate) -> float:
    """Return what a task that ran wide would have taken on one core, by the share that divides."""
    return record.wall_s * expected.wall_s(1) / expected.wall_s(record.width)
