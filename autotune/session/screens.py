"""Screens that options ask for: which terms they leave out, whether that is defined, and how it is said.

Rules: what a screen is not defined for is refused before anything is computed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from autotune.base.errors import InputError
from autotune.base.options import METRICS, OMISSIONS, Options
from autotune.base.records import Omitted
from autotune.base.types import PAIR, Task
from autotune.expansion.cheap_terms import CheapTerms
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE
from autotune.expansion.screening import Parts, Screen, are_near
from autotune.expansion.workload import Workload


def screen(work: Workload, options: Options, cheap: CheapTerms | None = None) -> Screen:
    """Return the screen of a workload.

    Args:
        work: The workload.
        options: What was asked for.
        cheap: The terms by the cheap method, from which those that the options leave out are zero already; None for a
            screen by distance and by name.

    Raises:
        InputError: The screen is not defined for this expansion.
    """
    check(work, options)
    counterpoise = is_corrected(work)
    parts = Parts(work.recipe, counterpoise=counterpoise)
    near = are_near(
        work.tasks,
        work.recipe,
        distance_angstrom=math.inf if options.screen_distance is None else options.screen_distance,
        metric=options.screen_metric,
        around=options.around,
        terms=options.terms,
    )
    if cheap is None:
        found = Screen(work.tasks, parts, near)
    else:
        assert options.screen_energy is not None
        kept = cheap.significant(options.screen_energy / KCAL_PER_HARTREE)
        found = Screen(
            work.tasks,
            parts,
            lambda task: near(task) and task.real in kept,
            term=lambda task: cheap.term(task.real, own=parts.is_own(task)) if near(task) else 0.0,
            is_near=near,
        )
    fragments = len(work.recipe.molecule.fragments)
    if len(work.keywords.bsse_type) > 1 and any(task.nbody == fragments for task in found.dropped):
        raise InputError(
            f"{_name(options)}: the component of all fragments would be left out, which nocp and cp share; take one of"
            " them, or a smaller max_nbody"
        )
    return found


def is_corrected(work: Workload) -> bool:
    """Return whether a workload is one with counterpoise corrections."""
    return any(kind.value == "cp" for kind in work.keywords.bsse_type)


def check(work: Workload, options: Options) -> None:
    """Refuse a screen where the term of a component is not what it leaves out; raises as `screen`."""
    keywords, name = work.keywords, _name(options)
    fragments = len(work.recipe.molecule.fragments)
    for option in ("around", "terms"):
        stated = getattr(options, option)
        named = stated if option == "around" else [fragment for term in stated for fragment in term]
        if beyond := [fragment for fragment in named if fragment > fragments]:
            raise InputError(f"{OMISSIONS[option]} names fragment {beyond[0]}, but there are {fragments}")
    highest = max(task.nbody for task in work.tasks)
    if too_high := [term for term in options.terms if len(set(term)) > highest]:
        shown = "-".join(map(str, too_high[0]))
        raise InputError(
            f"{OMISSIONS['terms']} names {shown}, but there are terms up to {highest}-body; raise max_nbody"
        )
    if options.around and highest > PAIR:
        raise InputError(f"{name}: terms of three fragments need pairs that are none of those; give --max-nbody 2")
    if any(kind.value == "vmfc" for kind in keywords.bsse_type):
        raise InputError(f"{name}: not with vmfc, in which a component is part of several terms; take nocp or cp")
    if "supersystem" in (keywords.levels or ()) or keywords.supersystem_ie_only:
        raise InputError(f"{name}: not with a supersystem, which has the terms left out in it; leave it out")
    if options.screen_energy is not None and len(work.recipe.programs) > 1:
        raise InputError(f"{name}: not with several methods, one for each level; give one, and the cheap one")


def _name(options: Options) -> str:
    return next(OMISSIONS[option] for option in _SCREENS if getattr(options, option))


def omitted(found: Screen, tasks: Sequence[Task], options: Options, *, by_energy: bool) -> tuple[Omitted, ...]:
    """Return what a screen leaves out, for people and records: by place, and by energy of what that keeps."""
    said = []
    if options.screen_distance is not None or options.around or options.terms:
        said.append(_omitted([task for task in found.dropped if task.key not in found.near], tasks, _by_place(options)))
    if by_energy:
        said.append(_omitted([task for task in found.dropped if task.key in found.near], tasks, _by_energy(options)))
    return tuple(said)


def _omitted(left: Sequence[Task], tasks: Iterable[Task], said: _Said) -> Omitted:
    option, name, nothing, instead = said
    all_of = Counter(task.nbody for task in tasks if task.nbody >= PAIR)
    dropped, of = Counter(task.nbody for task in left), sum(all_of.values())
    words = f"{name}: {nothing}, so all components are computed"
    if dropped:
        parts = (f"{nbody}-body {dropped[nbody]:,} of {all_of[nbody]:,}" for nbody in sorted(all_of))
        words = (
            f"{name}: {sum(dropped.values()):,} of {of:,} components are not computed ({', '.join(parts)});"
            f" their contributions are {instead}"
        )
    return Omitted(option=option, tasks=len(left), of=of, words=words)


_METRIC_WORDS = {"centres": "centres of mass", "farthest": "the farthest atoms"}
_SCREENS = ("terms", "around", "screen_distance", "screen_energy")
_Said = tuple[str, str, str, str]  # the option; what it is called; where nothing is left out; what stands in for terms


def _by_place(options: Options) -> _Said:
    distance, stated = options.screen_distance, []
    if options.terms:
        stated.append(f"{OMISSIONS['terms']}")
    if options.around:
        stated.append(f"{OMISSIONS['around']} {','.join(map(str, options.around))}")
    metric = "" if options.screen_metric == METRICS[0] else f" of {_METRIC_WORDS[options.screen_metric]}"
    if isinstance(distance, Mapping):
        limits = ",".join(f"{nbody}={distance[nbody]:g}" for nbody in sorted(distance))
        stated.append(f"{OMISSIONS['screen_distance']} {limits}{metric}")
    elif distance is not None:
        stated.append(f"{OMISSIONS['screen_distance']} {distance:g}{metric}")
    if options.terms:
        return "terms", " ".join(stated), "the terms that are named need all components", "taken as zero"
    if options.around:
        return "around", " ".join(stated), "all pairs have one of these fragments", "taken as zero"
    return "screen_distance", " ".join(stated), "no two fragments are farther apart", "taken as zero"


def _by_energy(options: Options) -> _Said:
    name = f"{OMISSIONS['screen_energy']} {options.screen_energy:g}"
    nothing = f"{options.screen_method} finds no contribution smaller than that"
    return "screen_energy", name, nothing, f"taken from {options.screen_method}"
