"""The facts that installed plugins state about programs, by name; the same everywhere in a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from autotune.base.types import Parameter, Task
from autotune.plugin.facts import ProgramFacts
from autotune.plugin.manager import DISABLED_VARIABLE, Manager


def facts_of(program: str) -> ProgramFacts:
    """Return what is stated about a program of this name, in any case of letters; the defaults where nothing is."""
    name = program.lower()
    return known_facts().get(name) or ProgramFacts(name=name)


def known_facts() -> Mapping[str, ProgramFacts]:
    """Return everything that is stated, by name of the program."""
    return _facts(os.environ.get(DISABLED_VARIABLE, ""))


def ranks(tasks: Iterable[Task], tunables: Iterable[tuple[str, Parameter]]) -> dict[int, int]:
    """Return how far ahead tasks are to start that make what others use, by number; see `Tunable.ahead`."""
    rules: dict[str, list[tuple[Callable[[Parameter, Task], int], Parameter]]] = {}
    for name, value in tunables:
        program, _, own = name.partition(".")
        for each in facts_of(program).tunables:
            if each.name == own and each.ahead is not None:
                rules.setdefault(program, []).append((each.ahead, value))
    if not rules:
        return {}
    found = {
        task.number: max([ahead(value, task) for ahead, value in rules.get(task.method.program, ())], default=0)
        for task in tasks
    }
    return {number: rank for number, rank in found.items() if rank}


@cache
def _facts(disabled: str) -> Mapping[str, ProgramFacts]:
    del disabled  # the key: who leaves out a plugin leaves out what it states
    return Manager().program_facts
