"""Energies that a calculation contains of lower methods: CCSD(T) has CCSD's, MP2's and HF's on its way.

Rules: strict. Only programs of which a plugin states that contained energies are those of the lower method alone;
everything but the method and the keywords that act on correlation only must be equal. DFT contains nothing. Knows
nothing of upstream.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from autotune.base.types import Task
from autotune.expansion.component import ENERGIES, Keys, Recipe
from autotune.programs.facts import facts_of

ENERGY_OF = {
    "hf": "scf_total_energy",
    "scf": "scf_total_energy",
    "mp2": "mp2_total_energy",
    "ccsd": "ccsd_total_energy",
}
RANKS = {"hf": 0, "scf": 0, "mp2": 1, "ccsd": 2, "ccsd(t)": 3}


class Source(NamedTuple):
    """Where a task's energy is to be had: the key of the task that contains it, and the property (Eh) that it is."""

    key: str
    energy: str


def energies(properties: object) -> dict[str, float]:
    """Return those of `ENERGIES` (Eh) that a result's properties have, as far as they are finite."""
    found = {name: getattr(properties, name, None) for name in ENERGIES}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def sources(tasks: Iterable[Task], recipe: Recipe) -> dict[str, Source]:
    """Return, by task key, where the energies come from that other tasks among these contain."""
    hosts = [level for level in recipe.programs if _rank(recipe, level) > 0]
    # By level, the levels that contain its method, the highest first: what contains it is then itself not contained.
    above = {
        level: sorted((h for h in hosts if _contains(recipe, h, level)), key=lambda host: -_rank(recipe, host))
        for level in recipe.programs
    }
    tasks, keys = tuple(tasks), Keys(recipe)
    there = {task.key for task in tasks}
    given = {}
    for task in tasks:
        found = (keys.key(host, task.real, task.basis) for host in above[task.level])
        key = next((key for key in found if key in there), None)
        if key is not None:
            given[task.key] = Source(key, ENERGY_OF[_method(recipe, task.level)])
    return given


def _contains(recipe: Recipe, host: str, level: str) -> bool:
    """Return whether the calculations of a model chemistry hold the energy of another one, to the letter."""
    rank = _rank(recipe, level)
    program = recipe.programs[level]
    stated = facts_of(program).contained
    if stated is None or program != recipe.programs[host] or not 0 <= rank < _rank(recipe, host):
        return False
    idle = {RANKS["hf"]: stated.correlation_keywords, RANKS["mp2"]: stated.coupled_cluster_keywords}
    without = idle.get(rank, frozenset())
    return _rest(recipe, level, without) == _rest(recipe, host, without)


def _rest(recipe: Recipe, level: str, idle: frozenset[str]) -> str:
    """Return all of a model chemistry but its method and the keywords that are idle in the lower of two."""
    fields: dict[str, Any] = dict(recipe.specifications[level])
    given: Mapping[str, Any] = fields.get("keywords") or {}
    fields["keywords"] = {name: value for name, value in given.items() if name not in idle}
    fields["model"] = {name: value for name, value in dict(fields["model"]).items() if name != "method"}
    return json.dumps(fields, sort_keys=True, default=str)


def _method(recipe: Recipe, level: str) -> str:
    return str(recipe.specifications[level]["model"]["method"]).strip().lower()


def _rank(recipe: Recipe, level: str) -> int:
    """Return a method's place in the row of those that contain each other; -1 for the others."""
    return RANKS.get(_method(recipe, level), -1)
