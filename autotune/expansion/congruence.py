"""Components of one shape: equal up to rotation, translation and reflection, so that one of them gives all energies.

Rules: energies are equal for methods whose energy turns with the molecule only; the grid of a DFT calculation does not,
and keywords may name a direction (a field, charges) where it is not known that they cannot. Two components have one
shape where their atoms can be paired so that all distances agree; then one lies on the other, or on its mirror image. A
component is compared with the first of its shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from autotune.base.types import Method, Task
from autotune.expansion.component import Recipe
from autotune.programs.facts import facts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]

_GOLDEN = 0.6180339887498949
TOLERANCE_BOHR = 1.0e-6  # by which an atom may be elsewhere, once two components lie on each other
# Methods without a grid: their energies depend on nothing but distances.
METHODS = frozenset({"hf", "scf", "rhf", "uhf", "rohf", "mp2", "ccsd", "ccsd(t)", "gfn1-xtb", "gfn2-xtb"})


class _Shapes:
    """The shapes that were seen of components with the same atoms, and the tasks that have them."""

    def __init__(self) -> None:
        # By a weighted sum of their distances in units of the most by which that of equal ones can differ.
        self._seen: dict[int, list[tuple[str, Numbers]]] = {}

    def first(self, key: str, distances: Numbers, kinds: Numbers) -> str:
        """Return the key of the first task of this shape; this one's if there is none.

        Args:
            key: Of the task.
            distances: Of its atoms, shape (natom, natom), a0.
            kinds: What each atom is, shape (natom,), ascending.
        """
        # Weights by kind, in [1, 2), tell apart which of the same places are ghosts.
        weights = 1.0 + (kinds * _GOLDEN) % 1.0
        # With both of its atoms moved, a distance changes by at most twice the tolerance.
        place = int(weights @ distances @ weights // (2 * TOLERANCE_BOHR * weights.sum() ** 2))
        for near in (place - 1, place, place + 1):
            for other, there in self._seen.get(near, ()):
                if are_congruent(there, distances, kinds):
                    return other
        self._seen.setdefault(place, []).append((key, distances))
        return key


class Shapes:
    """Finds components of one shape among tasks of one recipe.

    Equal are symbols, masses and which atoms are ghosts, charge and multiplicity of the fragments, and all distances
    within twice `TOLERANCE_BOHR`, whatever the order of atoms and fragments.
    """

    def __init__(self, recipe: Recipe) -> None:
        whole = recipe.molecule
        self._symbols, self._masses = whole.symbols, whole.masses  # masses are looked up each time they are asked for
        self._geometry, self._fragments = whole.geometry, whole.fragments
        self._states = list(zip(whole.fragment_charges, whole.fragment_multiplicities, strict=True))
        self._kinds: dict[tuple[object, ...], int] = {}
        self._shapes: dict[tuple[object, ...], _Shapes] = {}

    def first(self, task: Task) -> str:
        """Return the key of the first task that was asked for of this one's shape and level, or its own."""
        import numpy as np

        real, atoms, kinds = set(task.real), [], []
        for fragment in sorted(task.basis):
            is_real = fragment in real
            state = self._states[fragment - 1] if is_real else None
            for atom in self._fragments[fragment - 1]:
                kind = (self._symbols[atom], self._masses[atom], state)
                kinds.append(self._kinds.setdefault(kind, len(self._kinds)))
                atoms.append(atom)
        order = sorted(range(len(atoms)), key=kinds.__getitem__)
        sorted_kinds = np.array([kinds[place] for place in order])
        positions = self._geometry[[atoms[place] for place in order]]
        distances = np.sqrt(((positions[:, None] - positions[None]) ** 2).sum(axis=-1))
        # Two triplets coupled to a quintet have the atoms of one triplet of all.
        states = tuple(sorted(self._states[fragment - 1] for fragment in real))
        group = self._shapes.setdefault((task.level, states, *sorted_kinds.tolist()), _Shapes())
        return group.first(task.key, distances, sorted_kinds)


def equal_shapes(tasks: Iterable[Task], recipe: Recipe, *, monomers: bool) -> dict[str, str]:
    """Return, by key of a task that has the shape of an earlier one at its level, that one's key; see `Shapes`.

    Args:
        tasks: In the order in which they are compared.
        recipe: What they are made of.
        monomers: Only 1-body tasks without ghosts.
    """
    shapes, equal = Shapes(recipe), {}
    for task in tasks:
        if monomers and not is_monomer(task):
            continue
        first = shapes.first(task)
        if first != task.key:
            equal[task.key] = first
    return equal


def is_monomer(task: Task) -> bool:
    """Return whether a component is one fragment in its own basis functions."""
    return task.nbody == 1 and task.real == task.basis


def turns(method: Method) -> bool:
    """Return whether it is known that a model chemistry's energy is the same in every orientation of a molecule."""
    return method.method in METHODS and (method.keywords == "{}" or facts_of(method.program).directionless)


def are_congruent(one: Numbers, other: Numbers, kinds: Numbers) -> bool:
    """Return whether two sets of atoms can be paired so that all distances agree within twice `TOLERANCE_BOHR`.

    Args:
        one: Distances, shape (natom, natom), a0.
        other: The same of the other set.
        kinds: What the atoms of both are, shape (natom,), ascending; atoms of one kind can be paired.
    """
    import numpy as np

    within = 2 * TOLERANCE_BOHR
    # An atom's distances to the atoms of each kind, in their order, are those of the atom that it is paired with.
    blocks = np.split(np.arange(len(kinds)), np.flatnonzero(np.diff(kinds)) + 1)
    seen_by_one, seen_by_other = (
        np.concatenate([np.sort(distances[:, block], axis=1) for block in blocks], axis=1) for distances in (one, other)
    )
    partners_of: list[list[int]] = []
    for atom, row in enumerate(seen_by_one):
        like = np.flatnonzero(kinds == kinds[atom])
        close = np.abs(seen_by_other[like] - row).max(axis=1) <= within
        if not close.any():
            return False
        partners_of.append(like[close].tolist())
    return _pair(one, other, partners_of, within)


def _pair(one: Numbers, other: Numbers, partners_of: Sequence[Sequence[int]], within: float) -> bool:
    """Return whether each atom can have a partner of its own so that all distances agree; the rarest choices first."""
    import numpy as np

    order = sorted(range(len(partners_of)), key=lambda atom: len(partners_of[atom]))
    choices = [iter(partners_of[order[0]])]
    partners: list[int] = []
    while choices:
        depth = len(choices) - 1
        atom, before = order[depth], order[:depth]
        for partner in choices[-1]:
            if partner in partners:
                continue
            if not depth or np.abs(one[atom, before] - other[partner, partners]).max() <= within:
                partners.append(partner)
                break
        else:
            choices.pop()
            if partners:
                partners.pop()
            continue
        if len(partners) == len(order):
            return True
        choices.append(iter(partners_of[order[depth + 1]]))
    return False
