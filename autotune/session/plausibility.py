"""Which results physics does not allow: terms of an expansion that are too large for where their fragments are.

Rules: doubts, never refusals; a line for each kind, with the labels and what to try. Bounds are generous, since a doubt
about a sound number makes people overlook the next one: what is named here is wrong by tens of kcal/mol, as when an SCF
ends on a saddle point, a charge is in the wrong place, or two programs take a basis set differently.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from autotune.base.types import PAIR, Task
from autotune.expansion.bonds import bonded_parts
from autotune.expansion.component import Recipe
from autotune.expansion.congruence import equal_shapes
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]

Fragments: TypeAlias = tuple[int, ...]
Energies: TypeAlias = Mapping[Fragments, float]

NAMED = 3  # terms of a kind that are named

# Largest term of two fragments without a bond, Eh: of neutral ones, and what charges add (q q / R, and the largest
# dipole, 5 D, and polarisability that a charge meets as near as R).
TOUCHING_HARTREE, APART_HARTREE = 0.15, 0.016
CHARGES, CHARGE_AND_DIPOLE_A0 = 1.5, 2.0
TOUCH = 1.05  # times the sum of van der Waals radii: fragments that near each other touch
METAL_ANGSTROM = 2.3  # where no van der Waals radius is known
SMALL_HARTREE = 0.004  # terms below, 2.5 kcal/mol, are never doubted
FALLS = 1.5  # times as far apart as a nearer pair of the same kind
LARGER = 2.0  # times as large as all nearer ones, or as the terms it is a correction to
PROGRAMS_HARTREE_PER_ATOM = 5e-5  # density fitting and DFT grids differ by less, Cartesian and spherical by more
SHAPES_HARTREE = 1e-4  # DFT grids, which do not turn with the molecule, differ by less


def implausible(tasks: Sequence[Task], recipe: Recipe, values: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a sentence for each kind of result that cannot be right.

    Args:
        tasks: Of an expansion.
        recipe: What they are made of.
        values: By task key, `energy` (Eh) of all of them.
    """
    energies = {task.key: energy for task in tasks if (energy := values[task.key].get("energy")) is not None}
    tasks = [task for task in tasks if task.key in energies]
    cluster, found = _Cluster(recipe), []
    for own in _expansions(tasks, energies):
        terms = _terms(own)
        found += [*_without_contact(terms, cluster), *_not_falling(terms, cluster), *_growing(terms)]
    found += [*_program_doubts(tasks, energies, recipe), *_shape_doubts(tasks, energies, recipe)]
    return tuple(dict.fromkeys(found))


def _expansions(tasks: Sequence[Task], energies: Mapping[str, float]) -> list[Energies]:
    """Return the energies by real fragments of each level, alone and in each larger basis of ghosts."""
    own: defaultdict[str, dict[Fragments, float]] = defaultdict(dict)
    others: defaultdict[tuple[str, Fragments], dict[Fragments, float]] = defaultdict(dict)
    for task in tasks:
        if len(task.basis) == len(task.real):
            own[task.level][task.real] = energies[task.key]
        else:
            others[task.level, task.basis][task.real] = energies[task.key]
    for (level, basis), in_basis in others.items():
        if basis in own[level]:
            in_basis[basis] = own[level][basis]
    return [*own.values(), *others.values()]


def _terms(energies: Energies) -> dict[Fragments, float]:
    """Return the n-body terms (Eh) for which all energies below are known, pairs and larger."""
    terms: dict[Fragments, float] = {}
    for real in sorted(energies, key=len):
        if len(real) < PAIR:
            continue
        try:
            term = energies[real]
            for one in real:
                term -= energies[one,]
            for size in range(PAIR, len(real)):
                for part in combinations(real, size):
                    term -= terms[part]
        except KeyError:
            continue
        terms[real] = term
    return terms


# --- two fragments ----------------------------------------------------------------------------------------------------


class _Cluster:
    """Distances and charges of the fragments of a cluster; fragments count from 1."""

    def __init__(self, recipe: Recipe) -> None:
        from qcelemental import constants

        whole = self._whole = recipe.molecule
        self.bohr_angstrom = float(constants.bohr2angstroms)
        self.charges = [float(charge) for charge in whole.fragment_charges]
        self._kinds = [
            (tuple(whole.symbols[list(atoms)].tolist()), charge, float(multiplicity))
            for atoms, charge, multiplicity in zip(
                whole.fragments, self.charges, whole.fragment_multiplicities, strict=True
            )
        ]

    def kind(self, pair: Fragments) -> tuple[object, ...]:
        """Return what two fragments are made of."""
        return tuple(sorted((self._kinds[fragment - 1] for fragment in pair), key=repr))

    def nearest_angstrom(self, pair: Fragments) -> float:
        """Return the distance of the nearest atoms of two fragments."""
        return float(self._distances(pair).min())

    def touches(self, pair: Fragments) -> bool:
        """Return whether two fragments lie within reach of each other's electrons."""
        import numpy as np

        one, other = (np.array([_radius_angstrom(symbol) for symbol in self._symbols(f)]) for f in pair)
        return bool((self._distances(pair) < TOUCH * (one[:, None] + other[None])).any())

    def bonded(self, pair: Fragments) -> bool:
        """Return whether a bond was cut between two fragments."""
        atoms = [atom for fragment in pair for atom in self._whole.fragments[fragment - 1]]
        symbols = self._whole.symbols[atoms].tolist()
        positions = [tuple(position) for position in (self._whole.geometry[atoms] * self.bohr_angstrom).tolist()]
        first = len(self._whole.fragments[pair[0] - 1])
        parts = bonded_parts(symbols, positions, alone=(), scale=1.2)
        return any(min(part) < first <= max(part) for part in parts)

    def _symbols(self, fragment: int) -> list[str]:
        symbols: list[str] = self._whole.symbols[list(self._whole.fragments[fragment - 1])].tolist()
        return symbols

    def _distances(self, pair: Fragments) -> Numbers:
        import numpy as np

        one, other = (self._whole.geometry[list(self._whole.fragments[fragment - 1])] for fragment in pair)
        distances: Numbers = np.linalg.norm(one[:, None] - other[None], axis=-1) * self.bohr_angstrom
        return distances


@cache
def _radius_angstrom(symbol: str) -> float:
    """Return a van der Waals radius in Å (Mantina et al., J. Phys. Chem. A 113, 5806 (2009)); a guess for others."""
    from qcelemental import vdwradii
    from qcelemental.exceptions import DataUnavailableError

    try:
        # As it is in the table: a conversion would load a library of units, which takes half a second.
        found = vdwradii.get(symbol, return_tuple=True)
    except DataUnavailableError:
        return METAL_ANGSTROM
    assert found.units == "angstrom"
    return float(found.data)


def _without_contact(terms: Energies, cluster: _Cluster) -> Iterable[str]:
    """Yield a sentence on pairs whose term is larger than electrostatics can make it at their distance."""
    wrong = []
    for pair, term in terms.items():
        if len(pair) != PAIR or abs(term) <= APART_HARTREE:
            continue
        near = cluster.nearest_angstrom(pair)
        one, other = (abs(cluster.charges[fragment - 1]) for fragment in pair)
        distance_a0 = near / cluster.bohr_angstrom
        bound = CHARGES * one * other / distance_a0 + CHARGE_AND_DIPOLE_A0 * (one + other) / distance_a0**2
        if abs(term) <= bound + APART_HARTREE:
            continue
        if cluster.touches(pair) and (abs(term) <= bound + TOUCHING_HARTREE or cluster.bonded(pair)):
            continue
        wrong.append((abs(term), f"{_fragments(pair)} {_kcal(term)} at {near:.1f} Å"))
    yield from _sentence(
        "the 2-body term",
        wrong,
        "more than such fragments can have without a bond: check charges and multiplicities, or try another initial"
        " guess or a stability analysis, since an SCF may have ended in a wrong state",
    )


def _not_falling(terms: Energies, cluster: _Cluster) -> Iterable[str]:
    """Yield a sentence on pairs that interact more strongly than all nearer ones of their kind."""
    kinds: defaultdict[tuple[object, ...], list[tuple[float, Fragments]]] = defaultdict(list)
    large = {pair for pair, term in terms.items() if len(pair) == PAIR and abs(term) > SMALL_HARTREE}
    wanted = {cluster.kind(pair) for pair in large}
    if not wanted:
        return
    for pair in terms:
        if len(pair) == PAIR and (kind := cluster.kind(pair)) in wanted:
            kinds[kind].append((cluster.nearest_angstrom(pair), pair))
    wrong = []
    for pairs in kinds.values():
        pairs.sort()
        for near, pair in pairs:
            nearer = [abs(terms[other]) for distance, other in pairs if distance * FALLS <= near]
            if pair in large and nearer and abs(terms[pair]) > LARGER * max(nearer) + SMALL_HARTREE:
                wrong.append((abs(terms[pair]), f"{_fragments(pair)} {_kcal(terms[pair])} at {near:.1f} Å"))
    yield from _sentence(
        "the 2-body term",
        wrong,
        "more than that of all nearer pairs of the same kind: compare the energies of their components, one of which"
        " may be of another state",
    )


def _growing(terms: Energies) -> Iterable[str]:
    """Yield a sentence on terms of three fragments and more that are larger than all those they correct."""
    wrong = []
    for real, term in terms.items():
        if len(real) == PAIR or abs(term) <= SMALL_HARTREE:
            continue
        parents = max(abs(terms[part]) for part in combinations(real, len(real) - 1))
        if abs(term) > LARGER * parents + SMALL_HARTREE:
            wrong.append((abs(term), f"{_fragments(real)} {_kcal(term)} where parts have {_kcal(parents, sign='')}"))
    yield from _sentence(
        "a higher-order term",
        wrong,
        "larger than the terms that it corrects: compare the energies of its components, one of which may be of another"
        " state",
    )


# --- equal molecules --------------------------------------------------------------------------------------------------


def _program_doubts(tasks: Sequence[Task], energies: Mapping[str, float], recipe: Recipe) -> Iterable[str]:
    """Yield a sentence on components to which two programs give different energies by the same method."""
    if len(set(recipe.programs.values())) == 1:
        return
    seen: dict[tuple[object, ...], Task] = {}
    wrong = []
    for task in tasks:
        first = seen.setdefault((task.method.method, task.method.basis, task.real, task.basis), task)
        apart = abs(energies[task.key] - energies[first.key])
        if first.method.program != task.method.program and apart > PROGRAMS_HARTREE_PER_ATOM * task.size.atoms:
            both = f"{first.method.program} and {task.method.program}"
            wrong.append((apart, f"{_fragments(task.real)} by {both} ({apart:.1e} Eh)"))
    yield from _sentence(
        "the energy",
        wrong,
        "differs between programs for the same method and basis set, so that their levels do not fit together: give"
        " both the same keywords (Cartesian or spherical functions, frozen core, density fitting, grids)",
    )


def _shape_doubts(tasks: Sequence[Task], energies: Mapping[str, float], recipe: Recipe) -> Iterable[str]:
    """Yield a sentence on monomers of one shape that have different energies."""
    if recipe.embedding:
        return
    monomers = {task.key: task for task in tasks if task.nbody == 1}
    wrong = []
    for key, first in equal_shapes(monomers.values(), recipe, monomers=True).items():
        apart = abs(energies[key] - energies[first])
        if apart > SHAPES_HARTREE:
            both = f"{monomers[first].real[0]} and {monomers[key].real[0]}"
            wrong.append((apart, f"fragments {both} ({apart:.1e} Eh)"))
    yield from _sentence(
        "the energy",
        wrong,
        "differs although they are equal but for their place: one of them may be in another state; try another initial"
        " guess or a stability analysis",
    )


# --- words ------------------------------------------------------------------------------------------------------------


def _sentence(what: str, wrong: Sequence[tuple[float, str]], why: str) -> Iterable[str]:
    if wrong:
        worst = [words for _, words in sorted(wrong, reverse=True)]
        more = f", and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
        yield f"doubtful: {what} of {'; '.join(worst[:NAMED])}{more}: {why}"


def _fragments(real: Fragments) -> str:
    return f"fragment {real[0]}" if len(real) == 1 else f"fragments {'+'.join(map(str, real))}"


def _kcal(energy: float, *, sign: str = "+") -> str:
    kcal = energy * KCAL_PER_HARTREE
    return f"{kcal:{sign}.1f} kcal/mol" if math.isfinite(kcal) else "no number"
