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


def makers(tasks: Iterable[Task], tunables: Iterable[tuple[str, Parameter]]) -> frozenset[int]:
    """Return the numbers of tasks that make what others use, by what their programs' tunables are set to."""
    rules: dict[str, list[tuple[Callable[[Parameter, Task], bool], Parameter]]] = {}
    for name, value in tunables:
        program, _, own = name.partition(".")
        for each in facts_of(program).tunables:
            if each.name == own and each.makes is not None:
                rules.setdefault(program, []).append((each.makes, value))
    if not rules:
        return frozenset()
    return frozenset(
        task.number for task in tasks if any(makes(value, task) for makes, value in rules.get(task.method.program, ()))
    )


@cache
def _facts(disabled: str) -> Mapping[str, ProgramFacts]:
    del disabled  # the key: who leaves out a plugin leaves out what it states
    return Manager().program_facts
