"""Verification of a stored tuning: does it still hold on this machine, with the programs that are there now?

Rules: quick; default and tuning alternate on the confirmation's workloads, and the law is held against what the default
took, for tasks of sizes that it was fitted to. Only a tuning that holds is stored again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from autotune.base.errors import InputError, ResourceError
from autotune.base.records import Pair, TaskRecord, Tuning
from autotune.base.types import Machine, Task
from autotune.calibration import confirmation, search_database, studies
from autotune.calibration.confirmation import LostError, measure
from autotune.calibration.first_look import affordable
from autotune.calibration.instances import Instance, ladders
from autotune.calibration.timing import Budget, Timed, Timing
from autotune.costs.drift import Drift, drift
from autotune.machine import detection, readiness
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.tunings import folders, library, selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        verdict: `holds` (not slower than the default, and times are what its law says), `fails`, or `cannot tell`.
        found: What the pairs say; None where the tuning is the default itself.
        drift: Measured over predicted times; None where too few tasks of the right sizes ran.
        program_version: Of the program now.
        study: Name of the study whose workloads were run.
        tuning: The tuning, marked as verified with this version where it holds.
    """

    verdict: Literal["holds", "fails", "cannot tell"]
    found: confirmation.Confirmation | None
    drift: Drift | None
    program_version: str
    study: str
    tuning: Tuning


def verify_stored(
    which: str, *, budget_s: float, force: bool = False, say: Callable[[str], None] = lambda _: None
) -> Verification:
    """Measure the tuning of a file, or the one of this machine that words of its method name; store that it holds.

    It is stored where it was, one of the site's or of the package in the user's own folder.

    Args:
        which: A file with one tuning, or words of a method.
        budget_s: Time allowed.
        force: Measure although the machine is loaded, throttled or short of memory.
        say: Called with each line about what is done.

    Raises:
        InputError: No tuning is meant, or several are; or as `verify`.
        ResourceError: The machine is not fit to be measured; or the file has changed meanwhile, or cannot be written.
    """
    tuning, path = selection.only(which)
    here = detection.detect()
    readiness.check(here, force=force, say=say)
    found = verify(tuning, machine=here, manager=Manager(), budget_s=budget_s, say=say)
    if found.verdict == "holds":
        own = path if selection.is_file(which) or folders.is_own(path) else None
        if tuning not in library.load(path):
            raise ResourceError(f"{path} has changed meanwhile; it is left as it is")
        library.save(found.tuning, own, say=say)
    return found


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
    choice = studies.MethodChoice(
        program=method.program,
        method=method.method,
        basis=method.basis,
        driver=method.driver,  # type: ignore[arg-type]  # a driver it ran with
        keywords=json.loads(method.keywords),
    )
    strategies = composition.choose(manager.strategies, tuning.strategies)
    budget = Budget(budget_s)
    tasks: list[Task] = []
    records: list[TaskRecord] = []
    pairs: list[Pair] = []
    lost = False

    def keep(instance: Instance, timed: Timed) -> None:
        smallest, largest = tuning.evidence.smallest_functions, tuning.evidence.largest_functions
        by_number = {task.number: task for task in instance.tasks}
        for record in timed.records:
            if smallest <= by_number[record.number].size.functions <= largest:
                tasks.append(replace(by_number[record.number], number=len(tasks)))
                records.append(replace(record, number=len(records)))

    laws = {method: tuning.law}
    with (
        search_database.alone(),
        Timing(machine=machine, manager=manager, strategies=strategies, budget=budget, laws=laws) as timing,
    ):
        instances = affordable(
            ladders(chosen, chosen.confirm, choice),
            timing=timing,
            allowed_s=budget.left_s / (2 * confirmation.LEAST_PAIRS),
        )
        if tuning.parameters:
            try:
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
            except LostError as error:
                say(f"  the tuning failed: {error}")
                lost = True
            if not pairs and not lost:
                raise InputError(f"{budget_s:g} s are too short to run default and tuning once each; allow more")
        else:
            for instance in instances:
                if records and timing.predicted_s(instance) > budget.left_s:
                    break
                timed = timing.run(instance, timing.policy({}, instance), learn=False)
                say(f"  {instance.name}: {len(instance.tasks)} tasks in {timed.wall_s:.2f} s with the default")
                keep(instance, timed)
        version = timing.versions.get(method.program, "unknown")
    judged = _judge(tuning, pairs, drift(tasks, records, laws), version, chosen.name)
    return replace(judged, verdict="fails", tuning=tuning) if lost else judged


def _judge(tuning: Tuning, pairs: Sequence[Pair], seen: Drift | None, version: str, study_name: str) -> Verification:
    found = confirmation.conclude(pairs) if tuning.parameters else None
    drifted, slower = seen is not None and seen.notable, found is not None and found.verdict == "slower"
    verdict: Literal["holds", "fails", "cannot tell"] = "holds"
    if drifted or slower:
        verdict = "fails"
    elif seen is None or (found is not None and found.verdict == "cannot tell" and found.speed_up < 1.0):
        verdict = "cannot tell"
    if verdict == "holds":
        now = datetime.now(UTC).isoformat(timespec="seconds")
        tuning = replace(tuning, verified=now, program_version=version)
    return Verification(
        verdict=verdict, found=found, drift=seen, program_version=version, study=study_name, tuning=tuning
    )


def _study(tuning: Tuning) -> studies.Study:
    """Return the packaged study it was made with, else the quick one: a tuning file does not name files to read."""
    name = tuning.evidence.study
    return studies.load(name if name in studies.packaged_names() else "quick")
