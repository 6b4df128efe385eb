"""Which atoms are close to each other, and which are bonded.

Rules: distances and covalent radii only, in ångström; atoms count from 0. What a bond is to the fragments of a cluster,
and which atoms never bond, is `geometry.py`'s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from autotune.errors import InputError

Position: TypeAlias = tuple[float, float, float]

# The slack of a bond is that of an ordinary single bond at least: 1.2 times the radii alone would lose F2 and
# stretched H2, and would make a lone proton of the one that two molecules share.
SLACK_FROM_ANGSTROM = 1.5
_NEIGHBOURS = tuple(itertools.product((-1, 0, 1), repeat=3))


def close_pairs(positions: Sequence[Position], cutoff: float) -> Iterator[tuple[int, int, float]]:
    """Yield `(i, j, distance)` of the pairs closer than `cutoff`; linear in atoms, by cells of that size."""
    cells: dict[tuple[int, int, int], list[int]] = {}
    for j, position in enumerate(positions):
        x, y, z = (math.floor(value / cutoff) for value in position)
        for dx, dy, dz in _NEIGHBOURS:
            for i in cells.get((x + dx, y + dy, z + dz), ()):
                if (distance := math.dist(positions[i], position)) < cutoff:
                    yield i, j, distance
        cells.setdefault((x, y, z), []).append(j)


def bonded_parts(
    symbols: Sequence[str], positions: Sequence[Position], *, alone: Collection[str], scale: float
) -> tuple[tuple[int, ...], ...]:
    """Return the bonded parts of some atoms, numbered by their first atom.

    Two atoms whose covalent radii (Cordero et al., Dalton Trans. 2008, 2832) add up to r are bonded if they are closer
    than r + (scale - 1) max(r, 1.5 Å). Raises `InputError` without a radius.

    Args:
        symbols: Element symbols.
        positions: Shape (natom, 3), Å.
        alone: Elements that do not bond.
        scale: Of the radii.
    """
    bonding = [atom for atom, symbol in enumerate(symbols) if symbol not in alone]
    radii = {symbol: _radius_angstrom(symbol) for symbol in {symbols[atom] for atom in bonding}}
    if unknown := sorted(symbol for symbol, radius in radii.items() if radius <= 0.0):
        raise InputError(f"no covalent radius is known for {', '.join(unknown)}; state the fragments")
    sums = {pair: radii[pair[0]] + radii[pair[1]] for pair in itertools.product(radii, repeat=2)}
    reach = {pair: total + (scale - 1.0) * max(total, SLACK_FROM_ANGSTROM) for pair, total in sums.items()}
    part_of = [[atom] for atom in range(len(symbols))]
    for i, j, distance in close_pairs([positions[atom] for atom in bonding], max(reach.values(), default=1.0)):
        small, large = sorted((part_of[bonding[i]], part_of[bonding[j]]), key=len)
        if small is not large and distance < reach[symbols[bonding[i]], symbols[bonding[j]]]:
            large.extend(small)
            for atom in small:
                part_of[atom] = large
    return tuple(sorted(tuple(sorted(part)) for part in {id(part): part for part in part_of}.values()))


def _radius_angstrom(symbol: str) -> float:
    """Return a covalent radius in Å, 0 where none is known."""
    from qcelemental import covalentradii
    from qcelemental.exceptions import DataUnavailableError

    try:
        # As it is in the table: a conversion would load a library of units, which takes half a second.
        found = covalentradii.get(symbol, return_tuple=True)
    except DataUnavailableError:
        return 0.0
    assert found.units == "angstrom"
    return float(found.data)
