"""The facts that installed plugins state about programs, by name; the same everywhere in a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from autotune.plugin.facts import ProgramFacts
from autotune.plugin.manager import DISABLED_VARIABLE, Manager


def facts_of(program: str) -> ProgramFacts:
    """Return what is stated about a program of this name, in any case of letters; the defaults where nothing is."""
    name = program.lower()
    return known_facts().get(name) or ProgramFacts(name=name)


def known_facts() -> Mapping[str, ProgramFacts]:
    """Return everything that is stated, by name of the program."""
    return _facts(os.environ.get(DISABLED_VARIABLE, ""))


@cache
def _facts(disabled: str) -> Mapping[str, ProgramFacts]:
    del disabled  # the key: who leaves out a plugin leaves out what it states
    return Manager().program_facts
