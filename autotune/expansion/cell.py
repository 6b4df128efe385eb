"""Bonds that cross the boundary of a periodic cell: a file of whole molecules has none.

Rules: geometry only, in ångström; atoms count from 0. A cluster is computed without its images, so molecules that the
cell cuts would come out as wrong fragments.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.expansion.bonds import Position, close_pairs

MIN_HEIGHT_ANGSTROM = 1.5
_Shift = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The box of a periodic system.

    Attributes:
        vectors: Shape (3, 3), Å.
        periodic: Whether it repeats along each vector.
    """

    vectors: tuple[Position, Position, Position]
    periodic: tuple[bool, bool, bool]


def heights_angstrom(cell: Cell) -> tuple[float, float, float]:
    """Return the distances of opposite faces; 0 for vectors that span no volume."""
    a, b, c = cell.vectors
    volume = abs(_dot(a, _cross(b, c)))
    x, y, z = (volume / area if (area := math.hypot(*_cross(*pair))) else 0.0 for pair in ((b, c), (c, a), (a, b)))
    return x, y, z


def complete(cell: Cell) -> Cell:
    """Return the cell with vectors of length 0 along which it does not repeat, as of slabs, made perpendicular."""
    vectors = list(cell.vectors)
    for axis, flag in enumerate(cell.periodic):
        if flag or any(vectors[axis]):
            continue
        one, other = vectors[axis - 2], vectors[axis - 1]
        if not any(one) or not any(other):
            given = one if any(one) else other
            least = min(range(3), key=lambda place: abs(given[place]))
            unit = (float(least == 0), float(least == 1), float(least == 2))  # noqa: PLR2004 - z
            one, other = given, unit
        normal = _cross(one, other)
        length = math.hypot(*normal) or 1.0
        vectors[axis] = (normal[0] / length, normal[1] / length, normal[2] / length)
    return Cell(vectors=(vectors[0], vectors[1], vectors[2]), periodic=cell.periodic)


def bond_across(
    symbols: Sequence[str], positions: Sequence[Position], cell: Cell, reach: dict[tuple[str, str], float]
) -> tuple[int, int] | None:
    """Return two atoms of which one is bonded to a periodic image of the other, None if there are none.

    Args:
        symbols: Element symbols.
        positions: Shape (natom, 3), Å; molecules may stick out of the cell.
        cell: With vectors in Å that span a volume, each height at least `MIN_HEIGHT_ANGSTROM`.
        reach: Distance (Å) below which two elements are bonded; those that it lacks do not bond.
    """
    bonding = {symbol for pair in reach for symbol in pair}
    cutoff = max(reach.values(), default=0.0)
    if not cutoff:
        return None
    a, b, c = cell.vectors
    volume = _dot(a, _cross(b, c))
    inverse = [[value / volume for value in row] for row in (_cross(b, c), _cross(c, a), _cross(a, b))]
    margins = [
        cutoff / height if flag else 0.0 for height, flag in zip(heights_angstrom(cell), cell.periodic, strict=True)
    ]
    places: list[Position] = []
    owners: list[tuple[int, _Shift]] = []
    for atom, position in enumerate(positions):
        if symbols[atom] not in bonding:
            continue
        fraction = [_dot(row, position) for row in inverse]
        inside = [math.floor(value) if flag else 0 for value, flag in zip(fraction, cell.periodic, strict=True)]
        images = [
            [
                n
                for n in range(-math.ceil(margin), math.ceil(margin) + 1)
                if -margin <= value - whole + n <= 1.0 + margin
            ]
            for value, whole, margin in zip(fraction, inside, margins, strict=True)
        ]
        for image in itertools.product(*images):
            shift = (image[0] - inside[0], image[1] - inside[1], image[2] - inside[2])
            places.append(_moved(position, cell, shift))
            owners.append((atom, shift))
    for one, other, distance in close_pairs(places, cutoff):
        (i, shift_i), (j, shift_j) = owners[one], owners[other]
        if shift_i != shift_j and distance < reach.get((symbols[i], symbols[j]), 0.0):
            return min(i, j), max(i, j)
    return None


def _moved(position: Position, cell: Cell, shift: _Shift) -> Position:
    x, y, z = (
        value + sum(n * vector[axis] for n, vector in zip(shift, cell.vectors, strict=True))
        for axis, value in enumerate(position)
    )
    return x, y, z


def _cross(u: Sequence[float], v: Sequence[float]) -> Position:
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


def _dot(u: Sequence[float], v: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(u, v, strict=True))
