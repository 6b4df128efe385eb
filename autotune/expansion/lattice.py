"""The n-mers of a crystal: which are distinct, how often each occurs, and the lattice energy of their terms.

Rules: pure. A crystal's energy per cell is the sum of the terms of all its pairs, triples and so on, each shared
equally by its molecules. N-mers that a symmetry operation carries into each other, mirror images among them, have equal
terms, so one of them is computed: the one whose first molecule lies in the cell (0, 0, 0). Which n-mers count is said
for each size by the largest distance of two of their molecules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING

from autotune.base.errors import InputError
from autotune.base.options import METRICS
from autotune.base.records import Lattice, LatticeLevel, NmerTerm
from autotune.base.text import quote
from autotune.base.types import PAIR, Method
from autotune.expansion.crystal import Crystal, Site
from autotune.expansion.exactness import error_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBERS: tuple[type, ...] = (Real,)  # those of numpy, too
MOST_NMERS = 3_000_000  # to be looked at: half a minute
ROUND_ANGSTROM = 1.0e-6  # by which a distance at the cutoff may be off


@dataclass(frozen=True, slots=True, kw_only=True)
class Nmer:
    """Those n-mers of a crystal that are equal by symmetry, and the one that stands for them.

    Attributes:
        name: Unique, as `2mer-0001`; the nearest have the lowest numbers.
        sites: Its molecules; the first is in the cell (0, 0, 0).
        per_cell: How many of them there are for each unit cell.
        distances_angstrom: Of its pairs of molecules, by the metric, ascending.
    """

    name: str
    sites: tuple[Site, ...]
    per_cell: int
    distances_angstrom: tuple[float, ...]

    @property
    def nbody(self) -> int:
        """The number of its molecules."""
        return len(self.sites)


class _Distances:
    """The distances of a crystal's molecules."""

    def __init__(self, crystal: Crystal, metric: str) -> None:
        import numpy as np

        self._crystal, self._metric = crystal, metric
        self._own = [molecule.positions_angstrom for molecule in crystal.molecules]
        self._centres = [_centre(molecule.symbols, molecule.positions_angstrom) for molecule in crystal.molecules]
        self._radii = [
            float(np.linalg.norm(own - centre, axis=1).max())
            for own, centre in zip(self._own, self._centres, strict=True)
        ]
        self.between = cache(self._between)

    def _between(self, one: int, other: int, cell: tuple[int, int, int]) -> float:
        """Return the distance of a molecule in the cell (0, 0, 0) and one in another."""
        import numpy as np

        shift = np.array(cell) @ self._crystal.vectors_angstrom
        if self._metric == "centres":
            return float(np.linalg.norm(self._centres[other] + shift - self._centres[one]))
        apart = np.linalg.norm(self._own[other][None] + shift - self._own[one][:, None], axis=-1)
        return float(apart.min() if self._metric == "nearest" else apart.max())

    def of(self, one: Site, other: Site) -> float:
        """Return the distance of two molecules."""
        if one > other:
            one, other = other, one  # so that it is the same number
        x, y, z = (there - here for here, there in zip(one[1], other[1], strict=True))
        return self.between(one[0], other[0], (x, y, z))

    def near(self, molecule: int, cutoff_angstrom: float) -> list[Site]:
        """Return the sites within the cutoff of a molecule in the cell (0, 0, 0)."""
        import numpy as np

        vectors = self._crystal.vectors_angstrom
        heights = abs(np.linalg.det(vectors)) / np.linalg.norm(np.cross(vectors[[1, 2, 0]], vectors[[2, 0, 1]]), axis=1)
        reach = cutoff_angstrom + 2.0 * max(self._radii)
        if 4.0 / 3.0 * math.pi * reach**3 / abs(np.linalg.det(vectors)) * len(self._own) > MOST_NMERS:
            raise InputError(_too_many(PAIR, cutoff_angstrom))
        found = []
        for other in range(len(self._own)):
            # No farther than that can a centre be.
            reach = cutoff_angstrom + self._radii[molecule] + self._radii[other]
            between = (self._centres[molecule] - self._centres[other]) @ np.linalg.inv(vectors)
            ranges = [
                range(math.floor(place - reach / height), math.ceil(place + reach / height) + 1)
                for place, height in zip(between, heights, strict=True)
            ]
            cells = np.array(list(itertools.product(*ranges)))
            centres = cells @ vectors + self._centres[other]
            close = cells[np.linalg.norm(centres - self._centres[molecule], axis=1) <= reach]
            for x, y, z in close.tolist():
                site = other, (x, y, z)
                is_itself = site == (molecule, (0, 0, 0))
                if not is_itself and self.of((molecule, (0, 0, 0)), site) <= cutoff_angstrom + ROUND_ANGSTROM:
                    found.append(site)
        return sorted(found)


def find_nmers(
    crystal: Crystal, cutoffs_angstrom: Mapping[int, float], *, metric: str = METRICS[0]
) -> tuple[Nmer, ...]:
    """Return the distinct n-mers of a crystal, by level, those with the shortest distances first.

    Args:
        crystal: With its symmetry.
        cutoffs_angstrom: Of each level, the largest distance of two molecules of an n-mer; levels from 2 on.
        metric: What that is of: the `nearest` atoms, the `centres` of mass, or the `farthest` atoms.

    Raises:
        InputError: A level or a distance cannot be meant, there is no such n-mer, or there are too many.
    """
    check_cutoffs(cutoffs_angstrom, metric)
    distances = _Distances(crystal, metric)
    found: list[Nmer] = []
    for nbody, cutoff in sorted(cutoffs_angstrom.items()):
        nmers = _nmers_of(crystal, nbody, cutoff, distances)
        if not nmers:
            raise InputError(
                f"no {nbody} molecules of {crystal.name} lie within {cutoff:g} Å of each other ({metric}); give a"
                " larger cutoff"
            )
        found += nmers
    return tuple(found)


def lattice_energy(
    crystal: Crystal,
    nmers: Sequence[Nmer],
    terms_hartree: Mapping[str, Mapping[str, float]],
    *,
    cutoffs_angstrom: Mapping[int, float],
    metric: str,
    methods: Mapping[int, Method],
) -> Lattice:
    """Return the lattice energy that the terms of all distinct n-mers add up to.

    Args:
        crystal: The crystal.
        nmers: As `find_nmers` gives them.
        terms_hartree: By the name of the n-mer and by BSSE treatment, what it adds to its parts (Eh).
        cutoffs_angstrom: As for `find_nmers`.
        metric: As for `find_nmers`.
        methods: The model chemistry of each level.
    """
    units = crystal.formula_units
    levels, rows = [], []
    for bsse in terms_hartree[nmers[0].name]:
        through = 0.0
        for nbody in sorted(cutoffs_angstrom):
            own = [nmer for nmer in nmers if nmer.nbody == nbody]
            contributions = [nmer.per_cell * terms_hartree[nmer.name][bsse] / units for nmer in own]
            rows += [
                NmerTerm(
                    name=nmer.name,
                    bsse=bsse,
                    nbody=nbody,
                    distance_angstrom=nmer.distances_angstrom[-1],
                    per_cell=nmer.per_cell,
                    term_hartree=terms_hartree[nmer.name][bsse],
                    contribution_hartree=contribution,
                    running_hartree=running,
                )
                for nmer, contribution, running in zip(
                    own, contributions, itertools.accumulate(contributions), strict=True
                )
            ]
            through += math.fsum(contributions)
            levels.append(
                LatticeLevel(
                    bsse=bsse,
                    nbody=nbody,
                    cutoff_angstrom=cutoffs_angstrom[nbody],
                    distinct=len(own),
                    per_cell=sum(nmer.per_cell for nmer in own),
                    contribution_hartree=math.fsum(contributions),
                    through_hartree=through,
                )
            )
    return Lattice(
        crystal=f"{crystal.name}: {crystal.describe()}",
        unit=crystal.unit,
        units_per_cell=units,
        method={level: str(method) for level, method in methods.items()},
        metric=metric,
        off_hartree=_off_hartree(crystal, nmers, methods),
        levels=tuple(levels),
        nmers=tuple(rows),
    )


def _off_hartree(crystal: Crystal, nmers: Sequence[Nmer], methods: Mapping[int, Method]) -> float | None:
    """Return what errors of energies at their thresholds make of the lattice energy, Eh; None where they are not known.

    The errors of the molecules are taken as one, because their energies are, and all others as independent.
    """
    squares: dict[Method, float] = {}
    of_molecules: dict[Method, float] = {}
    for nmer in nmers:
        method, share = methods[nmer.nbody], nmer.per_cell / crystal.formula_units
        others = sum(math.comb(nmer.nbody, size) for size in range(PAIR, nmer.nbody + 1))
        squares[method] = squares.get(method, 0.0) + share**2 * others
        factor = (-1) ** (nmer.nbody - 1) * nmer.nbody * share
        of_molecules[method] = of_molecules.get(method, 0.0) + factor
    parts = []
    for method, square in squares.items():
        error = error_of(method)
        if error is None:
            return None
        parts.append(error**2 * (square + of_molecules[method] ** 2))
    return math.sqrt(math.fsum(parts))


def check_cutoffs(cutoffs_angstrom: Mapping[int, float], metric: str) -> None:
    """Refuse cutoffs and metrics that cannot be meant; raises InputError."""
    if not isinstance(cutoffs_angstrom, Mapping) or not cutoffs_angstrom:
        raise InputError("a crystal needs cutoffs in Å by level, such as 2=12,3=8")
    for level, cutoff in cutoffs_angstrom.items():
        if type(level) is not int or level < PAIR:
            raise InputError(f"a cutoff names level {quote(level)}; n-mers have 2 molecules or more")
        if not isinstance(cutoff, _NUMBERS) or not 0.0 < cutoff < math.inf:
            raise InputError(f"the cutoff of level {level} is {quote(cutoff)}; give a distance in Å")
    if metric not in METRICS:
        raise InputError(f"the metric is {quote(metric)}; there are {', '.join(METRICS)}")


def _nmers_of(crystal: Crystal, nbody: int, cutoff: float, distances: _Distances) -> list[Nmer]:
    """Return the distinct n-mers of one level."""
    met: set[tuple[Site, ...]] = set()
    distinct: list[tuple[tuple[float, ...], tuple[Site, ...]]] = []
    counts: list[int] = []
    looked_at = 0
    for kind in crystal.kinds:
        home = kind[0], (0, 0, 0)
        near = distances.near(kind[0], cutoff)
        for others in _cliques(near, nbody - 1, cutoff, distances):
            looked_at += 1
            if looked_at > MOST_NMERS:
                raise InputError(_too_many(nbody, cutoff))
            nmer = _at_home((home, *others))
            if nmer in met:
                continue
            # All that are equal by symmetry count, also where rounding puts one of them beyond the cutoff.
            images = {_at_home(operation.apply(nmer)) for operation in crystal.operations}
            met |= images
            apart = tuple(sorted(distances.of(*pair) for pair in itertools.combinations((home, *others), 2)))
            distinct.append((apart, (home, *others)))
            counts.append(len(images))
    order = sorted(range(len(distinct)), key=lambda place: (_rounded(distinct[place][0]), distinct[place][1]))
    digits = max(4, len(str(len(order))))
    return [
        Nmer(
            name=f"{nbody}mer-{number:0{digits}d}",
            sites=distinct[place][1],
            per_cell=counts[place],
            distances_angstrom=distinct[place][0],
        )
        for number, place in enumerate(order, start=1)
    ]


def _too_many(nbody: int, cutoff: float) -> str:
    return f"there are more than {MOST_NMERS:,} {nbody}-mers within {cutoff:g} Å; give a smaller cutoff"


def _rounded(distances: Sequence[float]) -> tuple[float, ...]:
    """Return distances from the largest on, by which n-mers are ordered whatever the last bits are."""
    return tuple(round(distance, 5) for distance in reversed(distances))


def _cliques(near: Sequence[Site], size: int, cutoff: float, distances: _Distances) -> Iterator[tuple[Site, ...]]:
    """Yield all sets of so many sites that lie within the cutoff of each other."""
    if size == 1:
        for site in near:
            yield (site,)
        return
    for place, site in enumerate(near):
        rest = [other for other in near[place + 1 :] if distances.of(site, other) <= cutoff + ROUND_ANGSTROM]
        for others in _cliques(rest, size - 1, cutoff, distances):
            yield (site, *others)


def _at_home(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Return an n-mer as it is written whatever cell it lies in."""
    # One with its molecule of the lowest number in the cell (0, 0, 0); of several such, the first in order.
    lowest = min(molecule for molecule, _ in sites)
    return min(
        tuple(sorted((molecule, (x - a, y - b, z - c)) for molecule, (x, y, z) in sites))
        for first, (a, b, c) in sites
        if first == lowest
    )


def _centre(symbols: Sequence[str], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centre of mass, shape (3,), Å."""
    import numpy as np
    from qcelemental import periodictable

    masses = np.array([float(periodictable.to_mass(symbol)) for symbol in symbols])
    centre: NDArray[np.float64] = masses @ positions / masses.sum()
    return centre
