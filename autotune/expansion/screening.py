"""Terms that are left out: which components these are, and the value that makes their term zero.

Rules: a component is left out where two of its fragments are too far apart for its level; higher levels reach no
farther than lower ones, so what is kept has all that lies below it. Where fragments are named, pairs without one of
them are left out; terms of more fragments need those pairs, so there are none. The value is inclusion-exclusion over
the components below, in the same kind of basis, so that upstream's own sums see a contribution of zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from autotune.base.types import Task
from autotune.expansion.component import Keys, Recipe

PAIR = 2


class Screen:
    """The components of a workload whose fragments are farther apart than a distance, or none of those that are named.

    Args:
        tasks: All tasks of the workload.
        recipe: What they are made of.
        counterpoise: The component of all fragments is one of a counterpoise correction.
        distance_angstrom: Largest distance of two fragments, between their nearest atoms, that is still computed: of
            all levels, or by level, see `cutoff_of`.
        around: Fragments, from 1, of which each pair must have one; empty for all.

    Attributes:
        dropped: The tasks that need not be computed, smaller ones first.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        recipe: Recipe,
        *,
        counterpoise: bool,
        distance_angstrom: float | Mapping[int, float] = math.inf,
        around: frozenset[int] = frozenset(),
    ) -> None:
        levels = {task.nbody for task in tasks if task.nbody >= PAIR}
        cutoffs = {nbody: cutoff_of(nbody, distance_angstrom) for nbody in levels}
        pairs = {cutoff: near_pairs(recipe, cutoff) for cutoff in {*cutoffs.values()} - {math.inf}}
        self._counterpoise, self._fragments = counterpoise, len(recipe.molecule.fragments)
        self._keys = Keys(recipe)

        def is_kept(task: Task) -> bool:
            if task.nbody < PAIR:
                return True
            cutoff = cutoffs[task.nbody]
            near = cutoff == math.inf or pairs[cutoff].issuperset(combinations(task.real, PAIR))
            return near and (not around or not around.isdisjoint(task.real))

        self.dropped = tuple(sorted((task for task in tasks if not is_kept(task)), key=lambda task: task.nbody))

    def values(self, known: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
        """Return the energies (Eh) of the dropped tasks by key, made of those of all others.

        Args:
            known: By task key, `energy` of every task that is not dropped.
        """
        energies: dict[str, float] = {}
        keys: dict[tuple[str, tuple[int, ...], tuple[int, ...]], str] = {}  # pairs are below many triples
        for task in self.dropped:
            terms = []
            # Of all fragments, real and basis are the same in either correction.
            own = task.basis == task.real and not (self._counterpoise and task.nbody == self._fragments)
            for size in range(1, task.nbody):
                sign = (-1) ** (task.nbody - size - 1)
                for real in combinations(task.real, size):
                    below = task.level, real, real if own else task.basis
                    key = keys.get(below) or keys.setdefault(below, self._keys.key(*below))
                    terms.append(sign * (energies[key] if key in energies else known[key]["energy"]))
            energies[task.key] = math.fsum(terms)
        return {key: {"energy": energy} for key, energy in energies.items()}


def cutoff_of(nbody: int, stated: float | Mapping[int, float]) -> float:
    """Return the distance, Å, up to which terms of a level are computed; infinite below all levels that are named.

    Args:
        nbody: The level.
        stated: One distance, or some by level; a level that is not named has that of the next lower one.
    """
    if not isinstance(stated, Mapping):
        return stated
    below = [level for level in stated if level <= nbody]
    return stated[max(below)] if below else math.inf


def near_pairs(recipe: Recipe, distance_angstrom: float) -> set[tuple[int, int]]:
    """Return the pairs of 1-based fragments, the lower first, of which two atoms lie within a distance (Å)."""
    import numpy as np
    from qcelemental import constants
    from scipy.spatial import cKDTree

    whole = recipe.molecule
    atoms = cKDTree(whole.geometry * constants.bohr2angstroms)
    owner = np.repeat(0, atoms.n)
    for number, fragment in enumerate(whole.fragments, start=1):
        owner[list(fragment)] = number
    near: set[tuple[int, int]] = set()
    for number, fragment in enumerate(whole.fragments, start=1):
        within = atoms.query_ball_point(atoms.data[list(fragment)], distance_angstrom)
        others = np.unique(owner[np.concatenate(within).astype(int)])
        near |= {(number, other) for other in others[others > number].tolist()}
    return near
