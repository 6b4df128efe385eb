"""Two-electron integrals of three or four fragments, put together from those of their pairs.

Rules
- Of the integrals of three equal fragments 45 in 81 have all their functions on two of them: a trimer takes these from
  the files of its dimers and computes the rest. Four fragments have 88 in 256, five 145 in 625, which gains nothing.
- A pair's integrals are those that its own task computes, found or made again: the same bits either way.
- PySCF packs (ij|kl) with i >= j, k >= l, ij >= kl; a pair of functions i >= j has the number i (i + 1) / 2 + j, and so
  have pairs of pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyscf import gto

FRAGMENTS = (3, 4)

Integrals: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]


def together(
    molecule: gto.Mole, fragments: Sequence[Sequence[int]], of_pair: Callable[[int, int], Integrals]
) -> Integrals:
    """Return the packed integrals (ij|kl) of a molecule, as `intor("int2e", aosym="s8")` does.

    Args:
        molecule: PySCF's.
        fragments: Atoms of each, which follow each other and are all that the molecule has.
        of_pair: Returns the packed integrals of two fragments, by their places in the list, the lower one first.
    """
    slices = molecule.aoslice_by_atom()
    shells = [(int(slices[atoms[0], 0]), int(slices[atoms[-1], 1])) for atoms in fragments]
    functions = [np.arange(slices[atoms[0], 2], slices[atoms[-1], 3]) for atoms in fragments]
    last = _number(molecule.nao - 1, molecule.nao - 1)
    whole = np.empty(_number(last, last) + 1)
    for first, second in itertools.combinations(range(len(fragments)), 2):
        _fill_with_pair(whole, np.concatenate([functions[first], functions[second]]), of_pair(first, second))
    for one, other in _blocks(len(fragments)):
        ends = [end for fragment in (*one, *other) for end in shells[fragment]]
        # The same fragment twice is first, and then its pairs of functions are packed, too.
        block = molecule.intor("int2e", aosym="s2ij" if one[0] == one[1] else "s1", shls_slice=tuple(ends))
        rows, columns = (_pairs(functions[i], functions[j]) for i, j in (one, other))
        _fill_with_block(whole, rows, columns, block.reshape(len(rows), len(columns)))
    return whole


def _fill_with_pair(whole: Integrals, functions: Numbers, packed: Integrals) -> None:
    """Put the packed integrals of two fragments, which have these functions, where they belong."""
    pairs = _pairs(functions, functions)
    start = 0
    # Row by row: a table of all places would be as large as the integrals.
    for row, base in enumerate(_number(pairs, 0)):
        whole[base + pairs[: row + 1]] = packed[start : start + row + 1]
        start += row + 1


def _fill_with_block(whole: Integrals, rows: Numbers, columns: Numbers, block: Integrals) -> None:
    """Put integrals of two different pairs of fragments, given the ascending numbers of their pairs of functions."""
    bases = _number(columns, 0)
    for pair, below, values in zip(rows, np.searchsorted(columns, rows), block, strict=True):
        whole[_number(pair, 0) + columns[:below]] = values[:below]
        whole[bases[below:] + pair] = values[below:]


def _blocks(fragments: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return pairs of pairs of fragments that three or more take part in, the same fragment twice first."""
    pairs = [(i, j) for i in range(fragments) for j in range(i + 1)]
    found = [
        (one, other)
        for place, one in enumerate(pairs)
        for other in pairs[:place]
        if len({*one, *other}) > 2  # noqa: PLR2004 - those of two are known
    ]
    return [(other, one) if other[0] == other[1] else (one, other) for one, other in found]


def _pairs(rows: Numbers, columns: Numbers) -> Numbers:
    """Return the numbers of the pairs of functions of two fragments, ascending; those of one with itself once."""
    if len(rows) == len(columns) and rows[0] == columns[0]:
        higher, lower = np.tril_indices(len(rows))
        return np.asarray(_number(rows[higher], rows[lower]))
    return np.asarray(_number(rows[:, None], columns[None, :])).ravel()


def _number(higher: Any, lower: Any) -> Any:
    return higher * (higher + 1) // 2 + lower
