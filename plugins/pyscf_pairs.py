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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyscf import gto

FRAGMENTS = (3, 4)
_MOST_IN_TABLE = 2**21  # integrals: 63 functions; a table of more holds much memory in every worker
_TABLES = 2

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
    sizes = tuple(int(slices[atoms[-1], 3] - slices[atoms[0], 2]) for atoms in fragments)

    def pieces() -> Iterator[Integrals]:
        for first, second in itertools.combinations(range(len(fragments)), 2):
            yield of_pair(first, second)
        for one, other in _blocks(len(fragments)):
            ends = [end for fragment in (*one, *other) for end in shells[fragment]]
            # The same fragment twice is first, and then its pairs of functions are packed, too.
            yield molecule.intor("int2e", aosym="s2ij" if one[0] == one[1] else "s1", shls_slice=tuple(ends))

    if _packed(sizes) > _MOST_IN_TABLE:
        return _put_together(sizes, pieces(), np.dtype(np.float64))
    return np.concatenate([piece.ravel() for piece in pieces()])[_table(sizes)]


@lru_cache(maxsize=_TABLES)
def _table(sizes: tuple[int, ...]) -> Numbers:
    """Return where each packed integral of fragments with so many functions is found in their pieces, one by one.

    Expansions have few kinds of fragments, and all places at once are looked up faster than row by row.
    """
    ends = list(itertools.accumulate(_lengths(sizes), initial=0))
    numbers = (np.arange(*span) for span in itertools.pairwise(ends))
    return _put_together(sizes, numbers, np.dtype(np.intp))


def _put_together(sizes: Sequence[int], pieces: Iterable[NDArray[Any]], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return what is packed of the whole, from pieces: of pairs of fragments, packed, then of `_blocks`."""
    ends = list(itertools.accumulate(sizes, initial=0))
    functions = [np.arange(*span) for span in itertools.pairwise(ends)]
    whole = np.empty(_packed(sizes), kind)
    piece = iter(pieces)
    for first, second in itertools.combinations(range(len(sizes)), 2):
        _fill_with_pair(whole, np.concatenate([functions[first], functions[second]]), next(piece))
    for one, other in _blocks(len(sizes)):
        rows, columns = (_pairs(functions[i], functions[j]) for i, j in (one, other))
        _fill_with_block(whole, rows, columns, next(piece).reshape(len(rows), len(columns)))
    return whole


def _lengths(sizes: Sequence[int]) -> Iterator[int]:
    """Yield how many integrals each piece has."""
    for pair in itertools.combinations(sizes, 2):
        yield _packed(pair)
    for one, other in _blocks(len(sizes)):
        rows, columns = (_number(sizes[i], 0) if i == j else sizes[i] * sizes[j] for i, j in (one, other))
        yield rows * columns


def _packed(sizes: Iterable[int]) -> int:
    """Return how many packed integrals so many functions have."""
    pairs = _number(sum(sizes), 0)
    return int(_number(pairs, 0))


def _fill_with_pair(whole: NDArray[Any], functions: Numbers, packed: NDArray[Any]) -> None:
    """Put the packed integrals of two fragments, which have these functions, where they belong."""
    pairs = _pairs(functions, functions)
    start = 0
    # Row by row: a table of all places would be as large as the integrals.
    for row, base in enumerate(_number(pairs, 0)):
        whole[base + pairs[: row + 1]] = packed[start : start + row + 1]
        start += row + 1


def _fill_with_block(whole: NDArray[Any], rows: Numbers, columns: Numbers, block: NDArray[Any]) -> None:
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
