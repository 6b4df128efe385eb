"""The tasks of many inputs as those of one: equal tasks once, one recipe for the workers.

Rules: pure. Fragments of all inputs stand in one molecule that is never computed as a whole; a component has fragments
of one input only, so what its program is given is what it is given where that input runs by itself, but for the name
of the molecule. Keys stay those of single runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from autotune.base.types import Method, Task
from autotune.expansion.component import Recipe
from autotune.expansion.workload import Workload

if TYPE_CHECKING:
    from qcelemental.models.v2 import Molecule


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """The tasks of several inputs.

    Attributes:
        inputs: How many.
        recipe: What workers need to build each task's input.
        tasks: Distinct component calculations; their labels begin with the name of the input.
    """

    inputs: int
    recipe: Recipe
    tasks: tuple[Task, ...]

    @property
    def methods(self) -> tuple[Method, ...]:
        """Model chemistries of the tasks, in order of appearance."""
        return tuple(dict.fromkeys(task.method for task in self.tasks))


def kind(work: Workload) -> tuple[object, ...]:
    """Return what inputs must have in common to be joined: what a recipe has once.

    An input whose components see all of it by embedding charges, or are given back whole, with the names of their
    molecules, is a kind of its own.
    """
    recipe = work.recipe
    return recipe.molecule.fix_symmetry, id(work) if recipe.embedding or recipe.keep_results else None


def label(name: str, of_task: str) -> str:
    """Return what a task of an input is called among those of others."""
    return f"{name} {of_task}"


def join(works: Mapping[str, Workload], *, first: int = 0) -> Joint:
    """Return inputs of one kind as one.

    Args:
        works: By the name of the input.
        first: Number of the first task.
    """
    recipes = [work.recipe for work in works.values()]
    if len(recipes) == 1:
        recipe = recipes[0]
        levels = [{level: level for level in recipe.programs}]
    else:
        recipe, levels = _join_recipes(recipes)
    befores = [0, *accumulate(len(of.molecule.fragments) for of in recipes)]
    tasks: dict[str, Task] = {}
    for (name, work), names, before in zip(works.items(), levels, befores, strict=False):
        for task in work.tasks:
            if task.key not in tasks:
                tasks[task.key] = replace(
                    task,
                    number=first + len(tasks),
                    level=names[task.level],
                    real=tuple(before + fragment for fragment in task.real),
                    basis=tuple(before + fragment for fragment in task.basis),
                    labels=tuple(label(name, each) for each in task.labels),
                )
    return Joint(inputs=len(works), recipe=recipe, tasks=tuple(tasks.values()))


def _join_recipes(recipes: Sequence[Recipe]) -> tuple[Recipe, list[dict[str, str]]]:
    """Return one recipe for several, and for each of them the names there of its model chemistries."""
    programs: dict[str, str] = {}
    specifications: dict[str, Mapping[str, Any]] = {}
    known: dict[str, str] = {}
    levels: list[dict[str, str]] = []
    for recipe in recipes:
        names = {}
        for level, fields in recipe.specifications.items():
            chemistry = repr((recipe.programs[level], fields))
            if chemistry not in known:
                known[chemistry] = level if level not in programs else f"{level} ({len(programs) + 1})"
                programs[known[chemistry]], specifications[known[chemistry]] = recipe.programs[level], fields
            names[level] = known[chemistry]
        levels.append(names)
    molecule = _join_molecules([recipe.molecule for recipe in recipes])
    return replace(recipes[0], molecule=molecule, programs=programs, specifications=specifications), levels


def _join_molecules(molecules: Sequence[Molecule]) -> Molecule:
    """Return one molecule with the fragments of several, one after another."""
    import numpy as np
    from qcelemental.models.v2 import Molecule

    befores = [0, *accumulate(len(of.symbols) for of in molecules)]
    fragments = [
        [before + int(atom) for atom in fragment]
        for of, before in zip(molecules, befores, strict=False)
        for fragment in of.fragments
    ]
    charges = [float(charge) for of in molecules for charge in of.fragment_charges]
    multiplicities = [multiplicity for of in molecules for multiplicity in of.fragment_multiplicities]
    fields: dict[str, Any] = {
        "validated": True,
        "name": molecules[0].name,
        "symbols": np.concatenate([of.symbols for of in molecules]),
        "geometry": np.concatenate([of.geometry for of in molecules]),
        "masses": np.concatenate([of.masses for of in molecules]),
        "fragments": fragments,
        "fragment_charges": charges,
        "fragment_multiplicities": multiplicities,
        "molecular_charge": sum(charges),
        "molecular_multiplicity": sum(of - 1 for of in multiplicities) + 1,
        "fix_com": True,
        "fix_orientation": True,
        "provenance": molecules[0].provenance,
    }
    if molecules[0].fix_symmetry:
        fields["fix_symmetry"] = molecules[0].fix_symmetry
    return Molecule(validate=False, **fields)
