"""Terms that are left out: which components these are, and the value that makes their term zero, or a cheap method's.

Rules: what is kept has all that lies below it, so the sum stays an expansion. A component is left out where two of its
fragments are too far apart for its level (higher levels reach no farther than lower ones), where fragments are named
and it has none of them (of pairs; terms of more fragments need those pairs, so there are none), where terms are named
and it is none of them nor below one, or where a cheap method finds its term small. The value is inclusion-exclusion
over the components below, in the same kind of basis, so that upstream's own sums see a contribution of zero, or of the
cheap method's term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from autotune.base.types import PAIR, Task
from autotune.expansion.component import Keys, Recipe

Fragments: TypeAlias = tuple[int, ...]  # from 1


class Parts:
    """The components below others.

    Args:
        recipe: What components are made of.
        counterpoise: The component of all fragments is one of a counterpoise correction.
    """

    def __init__(self, recipe: Recipe, *, counterpoise: bool) -> None:
        self._counterpoise, self._fragments = counterpoise, len(recipe.molecule.fragments)
        self._by_content = Keys(recipe)
        self._keys: dict[tuple[str, Fragments, Fragments], str] = {}  # pairs are below many triples

    def is_own(self, task: Task) -> bool:
        """Return whether a component has only its own basis functions, and is not one of a counterpoise correction."""
        # Of all fragments, real and basis are the same in either correction.
        return task.basis == task.real and not (self._counterpoise and task.nbody == self._fragments)

    def below(self, task: Task, energy: Callable[[str], float]) -> float:
        """Return what the energy (Eh) of a component would be without its own term.

        Args:
            task: The component.
            energy: Returns the energy of one below, by its key.
        """
        own, terms = self.is_own(task), []
        for size in range(1, task.nbody):
            sign = (-1) ** (task.nbody - size - 1)
            for real in combinations(task.real, size):
                below = task.level, real, real if own else task.basis
                key = self._keys.get(below) or self._keys.setdefault(below, self._by_content.key(*below))
                terms.append(sign * energy(key))
        return math.fsum(terms)


class Screen:
    """The components of a workload that are not computed.

    Args:
        tasks: All tasks of the workload.
        parts: What lies below them.
        is_kept: Returns whether a component of two or more fragments is computed; then all below it are.
        term: Returns the term (Eh) of a component that is not computed.
        is_near: Returns whether a component is not left out for where its fragments are; None where all are for that.

    Attributes:
        dropped: The tasks that need not be computed, smaller ones first.
        near: The keys of those among them that are left out for their term.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        parts: Parts,
        is_kept: Callable[[Task], bool],
        *,
        term: Callable[[Task], float] = lambda _: 0.0,
        is_near: Callable[[Task], bool] | None = None,
    ) -> None:
        self._parts, self._term = parts, term
        dropped = (task for task in tasks if task.nbody >= PAIR and not is_kept(task))
        self.dropped = tuple(sorted(dropped, key=lambda task: task.nbody))
        self.near = frozenset(task.key for task in self.dropped if is_near is not None and is_near(task))

    def values(self, known: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
        """Return the energies (Eh) of the dropped tasks by key, made of those of all others.

        Args:
            known: By task key, `energy` of every task that is not dropped.
        """
        energies: dict[str, float] = {}

        def energy(key: str) -> float:
            found: float = energies[key] if key in energies else known[key]["energy"]
            return found

        for task in self.dropped:
            energies[task.key] = self._parts.below(task, energy) + self._term(task)
        return {key: {"energy": energy} for key, energy in energies.items()}


def are_near(
    tasks: Sequence[Task],
    recipe: Recipe,
    *,
    distance_angstrom: float | Mapping[int, float] = math.inf,
    metric: str = "nearest",
    around: Collection[int] = (),
    terms: Collection[Fragments] = (),
) -> Callable[[Task], bool]:
    """Return whether a component is wanted for where its fragments are, and which.

    Args:
        tasks: All tasks of the workload.
        recipe: What they are made of.
        distance_angstrom: Largest distance of two of its fragments: of all levels, or by level, see `cutoff_of`.
        metric: What that is; see `near_pairs`.
        around: Fragments of which it must have one; empty for all.
        terms: Those that are wanted, with all below them; empty for all.
    """
    levels = {task.nbody for task in tasks if task.nbody >= PAIR}
    cutoffs = {nbody: cutoff_of(nbody, distance_angstrom) for nbody in levels}
    pairs = {cutoff: near_pairs(recipe, cutoff, metric=metric) for cutoff in {*cutoffs.values()} - {math.inf}}
    named, wanted = frozenset(around), with_all_below(tuple(sorted(set(term))) for term in terms)

    def is_near(task: Task) -> bool:
        cutoff = cutoffs[task.nbody]
        near = cutoff == math.inf or pairs[cutoff].issuperset(combinations(task.real, PAIR))
        return near and (not named or not named.isdisjoint(task.real)) and (not wanted or task.real in wanted)

    return is_near


def with_all_below(terms: Iterable[Fragments]) -> frozenset[Fragments]:
    """Return the fragments of terms, and of all terms below them, of two and more; each in ascending order."""
    found = set(terms)
    for term in list(found):
        for size in range(PAIR, len(term)):
            found.update(combinations(term, size))
    return frozenset(found)


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


def near_pairs(recipe: Recipe, distance_angstrom: float, *, metric: str = "nearest") -> set[tuple[int, int]]:
    """Return the pairs of 1-based fragments, the lower first, that lie within a distance of each other.

    Args:
        recipe: What the cluster is.
        distance_angstrom: The largest, Å.
        metric: Between their `nearest` atoms, their `centres` of mass, or the two atoms that are `farthest` apart.
    """
    import numpy as np
    from qcelemental import constants
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import cdist

    whole = recipe.molecule
    places = whole.geometry * constants.bohr2angstroms
    fragments = [list(fragment) for fragment in whole.fragments]
    if metric == "centres":
        masses = whole.masses
        centres = [np.average(places[atoms], axis=0, weights=masses[atoms]) for atoms in fragments]
        return {(one + 1, other + 1) for one, other in cKDTree(centres).query_pairs(distance_angstrom)}
    tree, owner = cKDTree(places), np.repeat(0, len(places))
    for number, atoms in enumerate(fragments, start=1):
        owner[atoms] = number
    near: set[tuple[int, int]] = set()
    for number, atoms in enumerate(fragments, start=1):
        within = tree.query_ball_point(places[atoms], distance_angstrom)
        others = np.unique(owner[np.concatenate(within).astype(int)])
        near |= {(number, other) for other in others[others > number].tolist()}
    if metric == "nearest":
        return near
    return {
        (one, other)
        for one, other in near
        if cdist(places[fragments[one - 1]], places[fragments[other - 1]]).max() <= distance_angstrom
    }
