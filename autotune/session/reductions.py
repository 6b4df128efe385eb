"""Tasks that need not be computed where an option says so, and the values they have without being computed.

Rules: nothing is left out unless asked for, and what is left out is said. What an option is not defined for is refused,
before anything is computed. First the screen drops tasks, then equal ones are found among the rest, then contained
energies among what is left; values are filled in the other way round. A task whose energy turns out not to be there
(its host failed, was computed with other keywords, or has no such energy) is computed after all.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from autotune.base.errors import InputError
from autotune.base.options import OMISSIONS, Options
from autotune.base.records import Omitted
from autotune.base.text import count, join_words
from autotune.base.types import Task
from autotune.expansion.component import Recipe
from autotune.expansion.summary import describe
from autotune.expansion.workload import Workload
from autotune.journal.entries import Entry
from autotune.journal.values import Values
from autotune.runtime.execution import Execution

if TYPE_CHECKING:
    from autotune.expansion.cheap_terms import CheapTerms
    from autotune.expansion.exactness import Exactness
    from autotune.expansion.lower_methods import Source
    from autotune.expansion.screening import Screen

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """What is left of a workload, and the way back to all of it.

    Attributes:
        whole: The workload.
        work: The same with only the tasks that are to be computed.
        options: What was asked for.
        screen: The components whose terms are left out; None where none are.
        by_energy: They are left out for what a cheap method finds.
        equal: By key of a task that another one's energy is taken for, the other one's.
        contained: By key of a task whose energy another one contains, where it is.
    """

    whole: Workload
    work: Workload
    options: Options
    screen: Screen | None = None
    by_energy: bool = False
    equal: Mapping[str, str] = field(default_factory=dict)
    contained: Mapping[str, Source] = field(default_factory=dict)

    @property
    def hosts(self) -> frozenset[str]:
        """Keys of the tasks whose contained energies are wanted."""
        return frozenset(source.key for source in self.contained.values())

    def exactness(self) -> Exactness | None:
        """Return how exact the sum can be; None where that is not known, and for what has no sum of energies."""
        from autotune.expansion.exactness import exactness

        whole = self.whole
        if not whole.levels or {method.driver for method in whole.methods} != {"energy"}:
            return None
        left_out = {task.key for task in self.screen.dropped} if self.screen is not None else ()
        fragments = len(whole.recipe.molecule.fragments)
        return exactness(whole.tasks, fragments=fragments, levels=whole.levels, left_out=left_out, equal=self.equal)

    def find_late(self, execution: Execution) -> Workload:
        """Return the tasks that must be computed after all, as a part of the workload; mostly none."""
        stopped = self.options.fail_fast and execution.failed
        missing = {key for key, source in self.contained.items() if _energy(execution, source) is None}
        return _part(self.whole, () if stopped else missing)

    def fill_in(self, execution: Execution) -> Execution:
        """Return what came out of a run without failures, with the values of all tasks."""
        if self.work is self.whole:
            return execution
        values = Values()
        values.add(execution.values)
        for key, source in self.contained.items():
            energy = _energy(execution, source)
            if energy is not None:
                values.keep(given(key, energy))
        for key, other in self.equal.items():
            values.keep(given(key, values[other]["energy"]))
        if self.screen is not None:
            for key, of in self.screen.values(values).items():
                values.keep(given(key, of["energy"]))
        return replace(execution, values=values)

    def join(self, late: Workload) -> Workload:
        """Return all tasks that were computed, the late ones with them."""
        found = copy.copy(self.work)
        found.tasks = (*self.work.tasks, *late.tasks)
        return found

    def describe(self) -> str:
        """Return what is computed, in words."""
        return describe(self.work.recipe.molecule)

    def list_omitted(self, late: Workload | None = None) -> tuple[Omitted, ...]:
        """Return what is left out, for people and records; less the tasks that were computed after all."""
        found: list[Omitted] = []
        if self.screen is not None:
            from autotune.session import screens

            found += screens.omitted(self.screen, self.whole.tasks, self.options, by_energy=self.by_energy)
        if asks_for_equal(self.options):
            found.append(equal_ones(len(self.equal), self.whole.tasks, self.options))
        if self.options.reuse_contained:
            number = len(self.contained) - (len(late.tasks) if late else 0)
            found.append(_contained(number, len(self.whole.tasks)))
        return tuple(found)


def plan(work: Workload, options: Options, cheap: CheapTerms | None = None) -> Omission:
    """Return what must be computed of a workload; all of it unless the options say otherwise.

    Args:
        work: The workload.
        options: What the user decided.
        cheap: Its terms by the cheap method of a screen by energy, once they are known.

    Raises:
        InputError: An option is not defined for this expansion.
    """
    asked = [name for option, name in OMISSIONS.items() if getattr(options, option)]
    if not asked:
        return Omission(whole=work, work=work, options=options)
    from autotune.expansion.lower_methods import sources

    check(work, join_words(asked))
    left, screen = {task.key: task for task in work.tasks}, None
    if cheap is not None or options.screen_distance is not None or options.around or options.terms:
        from autotune.session import screens

        screen = screens.screen(work, options, cheap)
        left = _without(left, (task.key for task in screen.dropped))
    equal = find_equal(left.values(), work.recipe, options)
    left = _without(left, equal)
    contained = sources(left.values(), work.recipe) if options.reuse_contained else {}
    left = _without(left, contained)
    return Omission(
        whole=work,
        work=_part(work, left),
        options=options,
        screen=screen,
        by_energy=cheap is not None,
        equal=equal,
        contained=contained,
    )


def note_what_is_left_out(result: _Result, omitted: Iterable[Omitted], more: Iterable[str] = ()) -> _Result:
    """Return a many-body result that says in `extras.autotune.omitted` what is not in it, or was not computed for it.

    Args:
        result: Of either schema version; anything else comes back as it is.
        omitted: What options left out.
        more: Further sentences.
    """
    words = [*(found.words for found in omitted if found.tasks), *more]
    if not words or not hasattr(result, "properties"):
        return result
    extras = {**(getattr(result, "extras", None) or {}), "autotune": {"omitted": words}}
    # QCSchema v1 models are pydantic v1.
    changed: _Result = (
        result.copy(update={"extras": extras})  # type: ignore[attr-defined]
        if getattr(result, "schema_version", 2) == 1
        else result.model_copy(update={"extras": extras})  # type: ignore[attr-defined]
    )
    return changed


def late_words(tasks: int) -> str:
    """Return what to say of so many tasks that are computed after all."""
    return (
        f"--reuse-contained: {count(tasks, 'task')} of these must be computed after all: what contains their"
        " energies failed, needed a second attempt with other keywords, or is in the journal without them"
    )


def check(work: Workload, asked: str) -> None:
    """Refuse what options that leave tasks out, as `asked` names them, are not defined for; raises InputError."""
    drivers = {method.driver for method in work.methods}
    if drivers != {"energy"}:
        raise InputError(
            f"{asked}: only energies can be had without computing, not driver {join_words(sorted(drivers))}"
        )
    if work.recipe.embedding:
        raise InputError(f"{asked}: not with embedding charges, which differ from task to task; leave out one of them")
    if work.recipe.keep_results:
        raise InputError(
            f"{asked}: whole results of components are asked for (protocols.cluster_results), and tasks that are not"
            " computed have none; leave out one of them"
        )


def asks_for_equal(options: Options) -> bool:
    """Return whether components of one shape are to be computed once."""
    return options.reuse_equal_monomers or options.reuse_equal_fragments


def find_equal(tasks: Iterable[Task], recipe: Recipe, options: Options) -> dict[str, str]:
    """Return, by key of a task that takes the energy of another one, the other one's, as far as options ask for it."""
    if not asks_for_equal(options):
        return {}
    from autotune.expansion.congruence import equal_shapes, turns

    turning = (task for task in tasks if turns(task.method))
    return equal_shapes(turning, recipe, monomers=not options.reuse_equal_fragments)


def equal_ones(number: int, tasks: Iterable[Task], options: Options) -> Omitted:
    """Return what to say of so many tasks that take another one's energy, of those of a workload."""
    from autotune.expansion.congruence import is_monomer, turns

    option, what = "reuse_equal_fragments", "component"
    tasks = tuple(tasks)
    if not options.reuse_equal_fragments:
        option, what = "reuse_equal_monomers", "monomer"
        tasks = tuple(task for task in tasks if is_monomer(task))
    words = f"{OMISSIONS[option]}: {number:,} of {count(len(tasks), what)} take the energy of one of their shape"
    others = sorted({str(task.method) for task in tasks if not turns(task.method)})
    if others:
        words += f"; not with {join_words(others)}, of which it is not known that energies turn with the molecule"
    return Omitted(option=option, tasks=number, of=len(tasks), words=words)


def _contained(number: int, of: int) -> Omitted:
    words = (
        f"{OMISSIONS['reuse_contained']}: {number:,} of {count(of, 'task')} take an energy that another task contains"
    )
    return Omitted(option="reuse_contained", tasks=number, of=of, words=words)


def given(key: str, energy: Any) -> Entry:
    """Return the entry of a task that was not computed; it goes into no journal."""
    return Entry(key, "", "", {"energy": float(energy)}, None)


def _energy(execution: Execution, source: Source) -> float | None:
    return execution.contained.get(source.key, {}).get(source.energy)


def _without(tasks: Mapping[str, Task], keys: Iterable[str]) -> dict[str, Task]:
    gone = set(keys)
    return {key: task for key, task in tasks.items() if key not in gone}


def _part(work: Workload, keys: Iterable[str]) -> Workload:
    """Return a workload with only the tasks of these keys; its recipe stays."""
    wanted, found = set(keys), copy.copy(work)
    found.tasks = tuple(task for task in work.tasks if task.key in wanted)
    return found
