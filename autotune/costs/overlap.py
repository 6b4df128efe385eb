"""Pairs of primitive basis functions that overlap: what two-electron integrals cost in a given geometry.

Rules: pure geometry and exponents. The product of two Gaussians with exponents a and b at a distance R is smaller than
their product at the same place by exp(-R² ab / (a + b)) (Gaussian product theorem); programs leave out what is below
some 1e-10. Of equally large tasks those of one compact molecule take up to twice the time of loose dimers.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache

from autotune.costs.basis import primitives

_NEGLIGIBLE = 25.0  # -ln of an overlap that programs leave out


class Overlaps:
    """Overlapping pairs of primitives within and between the fragments of a cluster.

    Args:
        symbols: Element symbols of each fragment.
        positions: Their coordinates in a0.
        basis: Name of the basis set.
    """

    def __init__(
        self, symbols: Sequence[Sequence[str]], positions: Sequence[Sequence[Sequence[float]]], basis: str
    ) -> None:
        self._atoms = [list(zip(*fragment, strict=True)) for fragment in zip(symbols, positions, strict=True)]
        self._basis = basis
        self._between: dict[tuple[int, int], float] = {}
        self._sums: dict[tuple[int, ...], float] = {}

    def of(self, fragments: Sequence[int]) -> float:
        """Return the pairs of functions within some fragments, numbered from 0, each pair counted both ways."""
        key = tuple(fragments)
        if key not in self._sums:
            inner = sum(self._pairs(f, f) for f in key)
            outer = sum(self._pairs(f, g) for position, f in enumerate(key) for g in key[:position])
            total = inner + 2 * outer
            if len(key) <= _FEW:
                return total
            self._sums[key] = total  # counterpoise tasks all ask for the whole cluster
        return self._sums[key]

    def _pairs(self, one: int, other: int) -> float:
        key = (min(one, other), max(one, other))
        if key not in self._between:
            self._between[key] = sum(
                _overlapping(self._basis, min(a, b), max(a, b), math.dist(x, y) ** 2)
                for a, x in self._atoms[one]
                for b, y in self._atoms[other]
            )
        return self._between[key]


_FEW = 4  # fragments whose sum is made again each time


def _overlapping(basis: str, one: str, other: str, square_distance: float) -> float:
    reaches, counts = _reaches(basis, one, other)
    return counts[bisect_right(reaches, square_distance)]


@cache
def _reaches(basis: str, one: str, other: str) -> tuple[list[float], list[float]]:
    """Return the squared distances up to which pairs of two elements overlap, sorted, and how many are left beyond."""
    reach = sorted(
        (_NEGLIGIBLE * (a + b) / (a * b), float(m * n))
        for a, m in primitives(basis, one)
        for b, n in primitives(basis, other)
    )
    counts = [0.0]
    for _, pairs in reversed(reach):
        counts.append(counts[-1] + pairs)
    return [square for square, _ in reach], counts[::-1]
