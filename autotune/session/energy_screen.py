"""A run in two passes: a cheap method for all terms, the expensive one for those that the cheap one finds large.

Rules: each pass is planned, run and journalled like any expansion. What the screen can make of the sum is estimated
from the terms that both passes have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from autotune.base.errors import InputError, TaskError
from autotune.base.options import OMISSIONS, Options
from autotune.base.records import Omitted
from autotune.base.types import PAIR
from autotune.expansion.cheap_terms import CheapTerms, cheaper
from autotune.expansion.expansion import parse_chemistry
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE
from autotune.expansion.screen_error import Computed, largest_error
from autotune.expansion.screening import Parts
from autotune.expansion.workload import Workload
from autotune.runtime.execution import Execution
from autotune.session import reductions, screens
from autotune.session.reductions import Omission


def check(work: Workload, options: Options) -> None:
    """Refuse a screen by energy that is not defined, before anything is computed; raises InputError."""
    reductions.check(work, OMISSIONS["screen_energy"])
    screens.check(work, options)


def compute(
    work: Workload, options: Options, values_of: Callable[[str, Omission], Execution]
) -> tuple[Execution, tuple[Omitted, ...], tuple[str, ...]]:
    """Return the values of all tasks of a workload, what was left out, and what that can make of the result, in words.

    Args:
        work: The workload; `check` has let it through.
        options: With a threshold and a cheap method.
        values_of: Computes a pass, by its name; returns the values of all tasks.

    Raises:
        InputError: A method cannot be computed.
        TaskError: A task failed.
    """
    by_place = replace(options, screen_energy=None, screen_method="")
    try:
        chemistry = parse_chemistry(options.screen_method, program=next(iter(work.recipe.programs.values())))
        cheap_work = cheaper(work, chemistry)
        filled = values_of("cheap", reductions.plan(cheap_work, by_place))
    except (InputError, TaskError) as error:
        # What it computed is none of the input's components.
        raise type(error)(f"--screen-method {options.screen_method}: {error}") from error
    corrected = screens.is_corrected(cheap_work)
    cheap = CheapTerms(cheap_work.tasks, cheap_work.recipe, counterpoise=corrected, values=filled.values)
    lean = reductions.plan(work, options, cheap)
    filled = values_of("expensive", lean)
    return filled, lean.list_omitted(), tuple(_error_words(lean, cheap, filled.values, options))


def _error_words(
    lean: Omission, cheap: CheapTerms, values: Mapping[str, Mapping[str, Any]], options: Options
) -> Iterator[str]:
    """Yield what the screen may make of the energy, for each treatment of the BSSE that leaves something out."""
    screen, threshold = lean.screen, options.screen_energy
    assert screen is not None
    assert threshold is not None
    dropped, work = {task.key for task in screen.dropped}, lean.whole
    corrected = screens.is_corrected(work)
    parts = Parts(work.recipe, counterpoise=corrected)
    expensive = CheapTerms(work.tasks, work.recipe, counterpoise=corrected, values=values)
    left: defaultdict[bool, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    both: defaultdict[tuple[bool, int], list[Computed]] = defaultdict(list)
    for task in work.tasks:
        if task.nbody < PAIR:
            continue
        own = parts.is_own(task)
        small = cheap.term(task.real, own=own)
        if task.key in screen.near:
            left[own][task.nbody].append(small)
        elif task.key not in dropped:
            both[own, task.nbody].append(Computed(small, expensive.term(task.real, own=own)))
    for own, levels in left.items():
        of = f" ({'nocp' if own else 'cp'})" if len(left) > 1 else ""
        errors = [
            largest_error(both[own, nbody], terms, threshold=threshold / KCAL_PER_HARTREE)
            for nbody, terms in levels.items()
        ]
        if any(error is None for error in errors):
            yield f"too few terms were computed with both methods to estimate what the screen does to the energy{of}"
        else:
            error = sum(filter(None, errors)) * KCAL_PER_HARTREE
            yield f"by an estimate the screen changes the energy{of} by less than {error:.2g} kcal/mol"
