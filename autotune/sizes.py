"""What the cost of a component depends on: atoms, electrons, basis functions, overlapping pairs.

Rules: sums over fragments are made once, so that each of many components costs a few additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotune import basis
from autotune.overlap import Overlaps
from autotune.types import TaskSize

if TYPE_CHECKING:
    from qcelemental.models.v2 import Molecule


class Sizes:
    """Sizes of components from per-fragment sums.

    Args:
        molecule: The whole cluster, with explicit fragments and charges.
    """

    def __init__(self, molecule: Molecule) -> None:
        self._atoms = [len(fragment) for fragment in molecule.fragments]
        self._symbols = [[str(molecule.symbols[atom]) for atom in fragment] for fragment in molecule.fragments]
        self._electrons = [
            basis.electrons(symbols, charge)
            for symbols, charge in zip(self._symbols, molecule.fragment_charges, strict=True)
        ]
        positions = molecule.geometry.tolist()
        self._positions = [[positions[atom] for atom in fragment] for fragment in molecule.fragments]
        self._functions: dict[str, list[int]] = {}
        self._overlaps: dict[str, Overlaps] = {}

    def of(self, basis_name: str, real: Sequence[int], in_basis: Sequence[int]) -> TaskSize:
        """Return the size of the component of 1-based fragments `real` in the basis of fragments `in_basis`."""
        functions = self._functions.get(basis_name)
        if functions is None:
            functions = [sum(basis.functions(basis_name, s) for s in symbols) for symbols in self._symbols]
            self._functions[basis_name] = functions
            self._overlaps[basis_name] = Overlaps(self._symbols, self._positions, basis_name)
        atoms = sum(self._atoms[f - 1] for f in real)
        return TaskSize(
            atoms=atoms,
            ghost_atoms=sum(self._atoms[f - 1] for f in in_basis) - atoms,
            electrons=sum(self._electrons[f - 1] for f in real),
            functions=sum(functions[f - 1] for f in in_basis),
            pairs=self._overlaps[basis_name].of([f - 1 for f in in_basis]),
        )
