"""Monomers of one shape: equal up to rotation and translation, so that one of them gives the energy of all.

Rules: energies are equal for methods whose energy turns with the molecule only; the grid of a DFT calculation does not,
and keywords may name a direction (a field, charges) where it is not known that they cannot. Mirror images are not
equal. A monomer is compared with the first of its shape, never with one that was itself taken for another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from autotune.base.types import Method, Task
from autotune.expansion.component import Recipe
from autotune.programs.facts import facts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]

TOLERANCE_BOHR = 1.0e-6  # by which an atom may be elsewhere, once two monomers lie on each other
# Methods without a grid: their energies depend on nothing but distances.
METHODS = frozenset({"hf", "scf", "rhf", "uhf", "rohf", "mp2", "ccsd", "ccsd(t)"})


class _Shapes:
    """The shapes that were seen of monomers of one kind, and the tasks that have them."""

    def __init__(self) -> None:
        # By the sum of their distances in units of the most by which that of equal ones can differ.
        self._seen: dict[int, list[tuple[str, Numbers]]] = {}

    def first(self, key: str, positions: Numbers) -> str:
        """Return the key of the first task with these positions, shape (natom, 3), a0; this one's if there is none."""
        import numpy as np

        distances = np.sqrt(((positions[:, None] - positions[None]) ** 2).sum(axis=-1))
        # With both of its atoms moved, a distance changes by at most twice the tolerance.
        place = int(distances.sum() // (2 * TOLERANCE_BOHR * distances.size))
        for near in (place - 1, place, place + 1):
            for other, there in self._seen.get(near, ()):
                if deviation_bohr(there, positions) <= TOLERANCE_BOHR:
                    return other
        self._seen.setdefault(place, []).append((key, positions))
        return key


def equal_monomers(tasks: Iterable[Task], recipe: Recipe) -> dict[str, str]:
    """Return, by key of a task whose monomer's energy is that of an earlier one at its level, that one's key.

    Those of `equal_shapes` whose energy `turns`.
    """
    return equal_shapes((task for task in tasks if turns(task.method)), recipe)


def equal_shapes(tasks: Iterable[Task], recipe: Recipe) -> dict[str, str]:
    """Return, by key of a task whose monomer has the shape of an earlier one's at its level, that one's key.

    Only 1-body tasks without ghosts. Equal are order, symbols and masses of the atoms, charge and multiplicity, and the
    geometry within `TOLERANCE_BOHR`.
    """
    whole = recipe.molecule
    masses = whole.masses  # looked up again each time it is asked for
    shapes: dict[tuple[object, ...], _Shapes] = {}
    equal = {}
    for task in tasks:
        if task.real != task.basis or task.nbody != 1:
            continue
        fragment = task.real[0] - 1
        atoms = list(whole.fragments[fragment])
        kind = (
            task.level,
            tuple(whole.symbols[atoms].tolist()),
            tuple(masses[atoms].tolist()),
            whole.fragment_charges[fragment],
            whole.fragment_multiplicities[fragment],
        )
        first = shapes.setdefault(kind, _Shapes()).first(task.key, whole.geometry[atoms])
        if first != task.key:
            equal[task.key] = first
    return equal


def turns(method: Method) -> bool:
    """Return whether it is known that a model chemistry's energy is the same in every orientation of a molecule."""
    return method.method in METHODS and (method.keywords == "{}" or facts_of(method.program).directionless)


def deviation_bohr(one: Numbers, other: Numbers) -> float:
    """Return how far the worst atom is off once two geometries lie on each other as well as they can without a mirror.

    Kabsch's rotation, Acta Cryst. A 32, 922 (1976).

    Args:
        one: Shape (natom, 3), a0.
        other: The same atoms in the same order.
    """
    import numpy as np
    from qcelemental.molutil.align import kabsch_align

    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    # By quaternions, which have no mirror. Where all coordinates agree to five digits nothing is turned: then two that
    # could lie on each other may count as apart, never the other way round.
    _, rotation, _ = kabsch_align(one, other)
    return float(np.sqrt(((other @ rotation - one) ** 2).sum(axis=1)).max())
