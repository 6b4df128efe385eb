"""What the cost of a component depends on: atoms, electrons and their spin, basis functions, overlapping pairs.

Rules: sums are made once for all components of the same kinds of fragments; only overlaps depend on the geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from autotune.base.types import TaskSize
from autotune.costs import basis
from autotune.costs.overlap import Overlaps

if TYPE_CHECKING:
    from qcelemental.models.v2 import Molecule


class Sizes:
    """Sizes of components from per-fragment sums.

    Args:
        molecule: The whole cluster, with explicit fragments, charges and multiplicities.
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
        # Fragments that nothing but their geometry tells apart.
        self._unpaired = [int(multiplicity) - 1 for multiplicity in molecule.fragment_multiplicities]
        numbers: dict[tuple[tuple[str, ...], int, int], int] = {}
        self._kind = [
            numbers.setdefault((tuple(symbols), electrons, unpaired), len(numbers))
            for symbols, electrons, unpaired in zip(self._symbols, self._electrons, self._unpaired, strict=True)
        ]
        self._in: dict[str, _InBasis] = {}

    def of(self, basis_name: str, real: Sequence[int], in_basis: Sequence[int]) -> TaskSize:
        """Return the size of the component of 1-based fragments `real` in the basis of fragments `in_basis`."""
        known = self._in.get(basis_name)
        if known is None:
            known = self._in[basis_name] = self._in_basis(basis_name)
        kind = self._kind
        kinds = tuple([kind[f - 1] for f in real])
        key = (kinds, kinds if real == in_basis else tuple([kind[f - 1] for f in in_basis]))
        size = known.sizes.get(key)
        if size is None:
            size = known.sizes[key] = self._size(known.functions, real, in_basis)
        return size if known.overlaps is None else replace(size, pairs=known.overlaps.of([f - 1 for f in in_basis]))

    def _in_basis(self, name: str) -> _InBasis:
        functions = [sum(basis.functions(name, symbol) for symbol in symbols) for symbols in self._symbols]
        overlaps = Overlaps(self._symbols, self._positions, name) if any(functions) else None
        return _InBasis(functions, overlaps, {})

    def _size(self, functions: Sequence[int], real: Sequence[int], in_basis: Sequence[int]) -> TaskSize:
        atoms = sum(self._atoms[f - 1] for f in real)
        return TaskSize(
            atoms=atoms,
            ghost_atoms=sum(self._atoms[f - 1] for f in in_basis) - atoms,
            electrons=sum(self._electrons[f - 1] for f in real),
            functions=sum(functions[f - 1] for f in in_basis),
            unpaired=sum(self._unpaired[f - 1] for f in real),
        )


class _InBasis(NamedTuple):
    """What is known in one basis set: functions of each fragment, overlaps where there are any, sizes by kinds."""

    functions: list[int]
    overlaps: Overlaps | None
    sizes: dict[tuple[tuple[int, ...], tuple[int, ...]], TaskSize]
