"""Which atoms are close to each other, and which are bonded.

Rules: distances and covalent radii only, in ångström; atoms count from 0. What a bond is to the fragments of a cluster,
and which atoms never bond, is `geometry.py`'s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeAlias

from autotune.base.errors import InputError

Position: TypeAlias = tuple[float, float, float]

# The slack of a bond is that of an ordinary single bond at least: 1.2 times the radii alone would lose F2 and
# stretched H2, and would make a lone proton of the one that two molecules share.
SLACK_FROM_ANGSTROM = 1.5
# Of the sum of the covalent radii of two non-metals. The shortest bonds, such as N2's, have 0.77 of it; F2 in ångström
# that is taken for bohr has 0.65. Bonds between metals may be shorter.
TOO_CLOSE = 0.7
HYDROGENS_ASKED = 20  # whether a geometry may be in bohr
BROKEN, LONGEST_IN_BOHR = 1.4, 2.4  # bond lengths: farther apart than any bond; what a bond of 1.27 is in bohr
NON_METALS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl")
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


def bonded_pairs(
    symbols: Sequence[str], positions: Sequence[Position], *, alone: Collection[str], scale: float
) -> list[tuple[int, int]]:
    """Return the pairs of bonded atoms.

    Two atoms whose covalent radii (Cordero et al., Dalton Trans. 2008, 2832) add up to r are bonded if they are closer
    than r + (scale - 1) max(r, 1.5 Å). Raises `InputError` without a radius.

    Args:
        symbols: Element symbols.
        positions: Shape (natom, 3), Å.
        alone: Elements that do not bond.
        scale: Of the radii.
    """
    bonding = [atom for atom, symbol in enumerate(symbols) if symbol not in alone]
    reach = reaches({symbols[atom] for atom in bonding}, scale=scale)
    close = close_pairs([positions[atom] for atom in bonding], max(reach.values(), default=1.0))
    pairs = ((bonding[i], bonding[j], distance) for i, j, distance in close)
    return [(i, j) for i, j, distance in pairs if distance < reach[symbols[i], symbols[j]]]


def bonded_parts(
    symbols: Sequence[str], positions: Sequence[Position], *, alone: Collection[str], scale: float
) -> tuple[tuple[int, ...], ...]:
    """Return the parts that the bonds of some atoms make (`bonded_pairs`, `parts`)."""
    return parts(len(symbols), bonded_pairs(symbols, positions, alone=alone, scale=scale))


def reaches(elements: Collection[str], *, scale: float) -> dict[tuple[str, str], float]:
    """Return the distance (Å) below which two elements are bonded; raise `InputError` without a radius."""
    radii = {symbol: _radius_angstrom(symbol) for symbol in elements}
    if unknown := sorted(symbol for symbol, radius in radii.items() if radius <= 0.0):
        raise InputError(f"no covalent radius is known for {', '.join(unknown)}; state the fragments")
    sums = {(one, other): radii[one] + radii[other] for one in radii for other in radii}
    return {pair: total + (scale - 1.0) * max(total, SLACK_FROM_ANGSTROM) for pair, total in sums.items()}


def without_radius(symbols: Iterable[str]) -> set[str]:
    """Return the elements among some symbols that have no covalent radius."""
    return {symbol for symbol in set(symbols) if _radius_angstrom(symbol) <= 0.0}


def closeness_words(symbols: Sequence[str], positions: Sequence[Position]) -> str:
    """Return which two non-metals are closer than any bond, in words; empty where none are.

    Args:
        symbols: Element symbols.
        positions: Shape (natom, 3), Å.
    """
    bond = reaches(set(NON_METALS).intersection(symbols), scale=1.0)
    for i, j, distance in close_pairs(positions, TOO_CLOSE * max(bond.values(), default=1.0)):
        if distance < TOO_CLOSE * bond.get((symbols[i], symbols[j]), 0.0):
            pair = f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]})"
            return f"{pair} are {distance:.2f} Å apart, much closer than a bond"
    return ""


def are_far_apart(symbols: Sequence[str], positions: Sequence[Position]) -> bool:
    """Return whether no hydrogen is as near to a non-metal as a bond, and each would be if positions were in bohr.

    The first few hydrogens answer for all.

    Args:
        symbols: Element symbols; where all are hydrogen, nothing is said.
        positions: Shape (natom, 3), Å.
    """
    hydrogens = [atom for atom, symbol in enumerate(symbols) if symbol == "H"]
    if not hydrogens or len(hydrogens) == len(symbols):
        return False
    bond = reaches(set(NON_METALS).intersection(symbols), scale=1.0)
    lengths = [bond.get(("H", symbol), math.inf) for symbol in symbols]

    def nearest(atom: int) -> float:
        """Return the distance to the nearest neighbour in bond lengths."""
        here = positions[atom]
        others = (other for other, length in enumerate(lengths) if other != atom and length < math.inf)
        return min((math.dist(here, positions[other]) / lengths[other] for other in others), default=math.inf)

    return all(BROKEN < nearest(atom) < LONGEST_IN_BOHR for atom in hydrogens[:HYDROGENS_ASKED])


def parts(natom: int, pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Return the parts that pairs of bonded atoms make of `natom` atoms, numbered by their first atom."""
    part_of = [[atom] for atom in range(natom)]
    for i, j in pairs:
        small, large = sorted((part_of[i], part_of[j]), key=len)
        if small is not large:
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
