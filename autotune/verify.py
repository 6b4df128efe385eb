"""Verification of a stored tuning: does it still hold on this machine, with the programs that are there now?

Rules: quick; default and tuning alternate on the confirmation's workloads, and the law is held against what the default
took. What was found is stored only by whoever asked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from autotune import confirm, policy, study
from autotune.drift import Drift, drift
from autotune.errors import InputError
from autotune.instances import Instance, ladders
from autotune.look import affordable
from autotune.manager import Manager
from autotune.pairs import measure
from autotune.records import Pair, TaskRecord, Tuning
from autotune.timing import Budget, Timed, Timing
from autotune.types import Machine, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        holds: The tuning is not slower than the default, and times are what its law says.
        found: What the pairs say; None where the tuning is the default itself.
        drift: Measured over predicted times; None where too few tasks ran.
        program_version: Of the program now.
        tuning: The tuning, marked as verified with this version where it holds.
    """

    holds: bool
    found: confirm.Confirmation | None
    drift: Drift | None
    program_version: str
    tuning: Tuning


def verify(
    tuning: Tuning, *, machine: Machine, manager: Manager, budget_s: float, say: Callable[[str], None]
) -> Verification:
    """Measure a tuning again.

    Raises:
        InputError: It is of another machine, its method cannot run here, or the time allowed is too short for a pair.
    """
    if tuning.machine.key != machine.key:
        raise InputError(f"this tuning is of machine {tuning.machine.key}, not of this one ({machine.key}); calibrate")
    chosen, method = _study(tuning), tuning.method
    choice = study.MethodChoice(
        program=method.program,
        method=method.method,
        basis=method.basis,
        driver=method.driver,  # type: ignore[arg-type]  # a driver it ran with
        keywords=json.loads(method.keywords),
    )
    strategies = policy.choose(manager.strategies, tuning.strategies)
    budget = Budget(budget_s)
    tasks: list[Task] = []
    records: list[TaskRecord] = []
    pairs: list[Pair] = []

    def keep(instance: Instance, timed: Timed) -> None:
        shift = len(tasks)
        tasks.extend(replace(task, number=shift + n) for n, task in enumerate(instance.tasks))
        new = {task.number: shift + n for n, task in enumerate(instance.tasks)}
        records.extend(replace(record, number=new[record.number]) for record in timed.records)

    with Timing(
        machine=machine, manager=manager, strategies=strategies, budget=budget, laws={method: tuning.law}
    ) as timing:
        instances = affordable(
            ladders(chosen, chosen.confirm, choice), timing=timing, allowed_s=budget.left_s / (2 * confirm.LEAST_PAIRS)
        )
        if tuning.parameters:
            measure(
                pairs,
                instances,
                dict(tuning.parameters),
                timing=timing,
                budget=budget,
                order=random.Random(chosen.seed),  # noqa: S311 - an order of runs, not a secret
                say=say,
                on_default=keep,
            )
            if not pairs:
                raise InputError(f"{budget_s:g} s are too short to run default and tuning once each; allow more")
        else:
            for instance in instances:
                timed = timing.run(instance, timing.policy({}, [instance]), learn=False)
                say(f"  {instance.name}: {len(instance.tasks)} tasks in {timed.wall_s:.2f} s with the default")
                keep(instance, timed)
        version = timing.versions.get(method.program, "unknown")
    return _judged(tuning, pairs, drift(tasks, records, {method: tuning.law}), version)


def _judged(tuning: Tuning, pairs: Sequence[Pair], seen: Drift | None, version: str) -> Verification:
    found = confirm.concluded(pairs) if tuning.parameters else None
    holds = not (seen and seen.notable) and (found is None or found.verdict != "slower")
    if holds:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        tuning = replace(tuning, verified=now, program_version=version)
    return Verification(holds=holds, found=found, drift=seen, program_version=version, tuning=tuning)


def _study(tuning: Tuning) -> study.Study:
    """Return the packaged study it was made with, else the quick one: a tuning file does not name files to read."""
    name = tuning.evidence.study
    return study.load(name if name in study.packaged() else "quick")
