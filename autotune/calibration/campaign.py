"""A campaign: the methods of a study calibrated one after the other on this machine, and their tunings stored.

Rules: what cannot be used or stored is found before anything is measured. A calibration that could not tell does not
replace a tuning that was confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from autotune.base import json_files
from autotune.base.errors import InputError
from autotune.base.records import Tuning
from autotune.calibration import effects, studies
from autotune.calibration.calibration import Calibration
from autotune.expansion.expansion import Expansion
from autotune.expansion.workload import Workload, load
from autotune.machine import detection, readiness
from autotune.plugin import composition
from autotune.plugin.hookspecs import Strategy
from autotune.plugin.manager import Manager
from autotune.plugin.program_tuning import ProgramTuning
from autotune.session.preparation import input_of
from autotune.tunings import folders, library, tuning_file


class GivenMethod(TypedDict, total=False):
    """Fields of a method by name; None, as none, leaves the study's."""

    program: str | None
    method: str | None
    basis: str | None
    driver: Literal["energy", "gradient", "hessian"] | None
    keywords: Mapping[str, Any] | None


def _log(line: str) -> None:
    logging.getLogger("autotune").info(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """What a calibration of one method found.

    Attributes:
        tuning: The tuning, with the evidence for it.
        path: Where it is stored; or the confirmed tuning that stays, because this calibration could not tell.
        stored: Whether the tuning was stored.
    """

    tuning: Tuning
    path: Path
    stored: bool


def calibrate(
    study: str | Path = "quick",
    *,
    workload: object = None,
    expansion: Expansion | None = None,
    budget_s: float | None = None,
    strategies: Sequence[str] | None = None,
    search: Sequence[str] | None = None,
    force: bool = False,
    untouched: bool = False,
    output: str | Path | None = None,
    say: Callable[[str], None] = _log,
    on_result: Callable[[CalibrationResult], None] = lambda _: None,
    **method: Unpack[GivenMethod],
) -> tuple[CalibrationResult, ...]:
    """Measure what is fastest on this machine, and store it where runs find it.

    Takes minutes: the budget for each method. After an interruption the same call goes on where it was, for a day.

    Args:
        study: A packaged study by name (`quick`, `standard`, ...), or the path of one.
        workload: What to calibrate on instead of the study's clusters: all that `run` takes.
        expansion: What to compute for a workload that is a geometry.
        budget_s: Wall time allowed for each method, in seconds; by default the study's.
        strategies: Names of those that are applied, in order, as in a run; by default the standard ones and the
            program's tunables, which `standard` stands for.
        search: Names of those whose parameters are searched; by default the study's, else all that are applied. Where
            `strategies` is left out, others than the standard ones are applied, too.
        force: Measure although the machine is loaded, throttled or short of memory.
        untouched: Start from programs that are left alone, instead of from the defaults of their tunables.
        output: Store the tuning in this file instead of the user's folder.
        say: Called with one line for each step; by default the logger `autotune` gets them, as information.
        on_result: Called with the result of each method as soon as it is there.
        method: `program`, `method`, `basis`, `driver` and `keywords` (a mapping) in place of those of the study's first
            method, which is then the only one.

    Returns:
        A result for each method.

    Raises:
        InputError: An argument cannot be used, or a method cannot run within the budget.
        TaskError: The default configuration fails.
        ResourceError: The machine is not ready to be measured, or a file cannot be written.
    """
    unknown = sorted(method.keys() - {field.name for field in fields(studies.MethodChoice)})
    if unknown:
        raise InputError(f"a method has no {', '.join(unknown)}; it has program, method, basis, driver and keywords")
    if workload is not None and any(value is not None for value in method.values()):
        raise InputError("a workload brings its own method; for a geometry give an expansion")
    if expansion is not None and workload is None:
        raise InputError("an expansion says what to compute for a geometry; give one as the workload")
    chosen = studies.with_method(studies.load(str(study)), **method)
    own = None if workload is None else _own(workload, expansion)
    target = None if output is None else Path(output)
    for folder in (json_files.home(), *([target.parent] if target else ())):  # the search is kept in the first
        json_files.check_writable(folder)
    # What must not be replaced is better found now than in minutes.
    if target and target.exists():
        library.load(target)
    here, manager = detection.detect(), Manager()
    methods = chosen.methods[:1] if own else chosen.methods
    for each in methods:
        tuning_file.check_storable(target or folders.path_of(here, own[0].methods[0] if own else each.as_method))
    composition.choose(manager.strategies, [*(strategies or ()), *(search or ()), *chosen.strategies])
    wanted = search if search is not None or strategies is not None else chosen.strategies or None
    results = []
    for each in methods:
        programs = {own[0].methods[0].program if own else each.program}
        applied = composition.choose(manager.strategies, strategies, programs=programs)
        searched = applied if wanted is None else composition.choose(manager.strategies, wanted, programs=programs)
        idle = [strategy for strategy in searched if strategy not in applied]
        if idle and strategies is not None:
            raise InputError(f"{idle[0].name} is to be searched, but not among the strategies to be applied; name it")
        applied += idle
        if untouched:
            applied, searched = ([_left_alone(strategy) for strategy in some] for some in (applied, searched))
        faults = readiness.check(here, force=force, say=say)
        with Calibration(
            chosen,
            each,
            machine=here,
            manager=manager,
            strategies=applied,
            searched=searched,
            budget_s=budget_s,
            own=own,
            faults=faults,
            known=[found for _, found in folders.everything() if not isinstance(found, str)],
            say=say,
        ) as calibration:
            tuning = calibration.run()
            confirmed = None if target else confirmed_tuning(tuning)
            path = confirmed or library.save(tuning, target, say=say)
            calibration.stored()
        results.append(CalibrationResult(tuning=tuning, path=path, stored=confirmed is None))
        on_result(results[-1])
    return tuple(results)


def confirmed_tuning(tuning: Tuning) -> Path | None:
    """Return the file of the confirmed tuning of the same method that one which could not tell must not replace."""
    evidence = tuning.evidence
    told = evidence.verdict != "not confirmed" or len(evidence.trials) >= effects.LEAST_TRIALS
    if evidence.verdict != "cannot tell" and told:
        return None
    for known, path in library.of_machine(tuning.machine):
        confirmed = known.evidence.verdict == "faster" and not library.version_note(known, tuning.program_version)
        if known.method == tuning.method and confirmed:
            return path
    return None


def _own(source: object, expansion: Expansion | None) -> tuple[Workload, str]:
    """Return the workload of a user's own input, and what to call it."""
    is_path = isinstance(source, Path) or (isinstance(source, str) and "\n" not in source)
    return load(input_of(source, expansion)), Path(str(source)).name if is_path else "your own input"


def _left_alone(strategy: Strategy) -> Strategy:
    return strategy.left_alone() if isinstance(strategy, ProgramTuning) else strategy
