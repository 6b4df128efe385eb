"""What charge the bonds of a molecule suggest: that of a closed-shell Lewis structure.

Rules: pure, knows elements of the main groups and which atoms are bonded, no distances. It serves to ask, never to
assign: sulphate, oxalate or a peptide with two ammonium groups has an even number of electrons and no neutral
structure, so somebody must say its charge.

Atoms with free valences are paired by a maximum matching (Edmonds, Can. J. Math. 17 (1965) 449); what stays unpaired
takes valences that only some elements have (five at N and P, four and six at S), and what is left then is a charge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

MAX_FREE_VALENCES = 3000
_VALENCE = {
    **dict.fromkeys(("H", "F", "Cl", "Br", "I", "At"), 1),
    **dict.fromkeys(("O", "S", "Se", "Te"), 2),
    **dict.fromkeys(("B", "Al", "Ga", "In", "N", "P", "As", "Sb", "Bi"), 3),
    **dict.fromkeys(("C", "Si", "Ge", "Sn"), 4),
    **dict.fromkeys(("Kr", "Xe"), 0),
}
_PNICTOGENS = {"N", "P", "As", "Sb", "Bi"}
_CHALCOGENS = {"S", "Se", "Te"}
_HALOGENS = {"F", "Cl", "Br", "I", "At"}
_TETRAVALENT = {"C", "Si", "Ge", "Sn"}
_ELECTRON_POOR = {"B", "Al", "Ga", "In"}
_MOST_BONDS = {"H": 2, "B": 4, "C": 4, "N": 4, "O": 3, "F": 2}
_HIGHEST = dict.fromkeys(_PNICTOGENS, 5) | dict.fromkeys(_CHALCOGENS, 6) | dict.fromkeys(("Cl", "Br", "I", "At"), 7)


def suggested_charge(symbols: Sequence[str], bonds: Iterable[tuple[int, int]]) -> int | None:
    """Return the charge of a closed-shell structure with these bonds, None where the elements or bonds do not tell.

    Unpaired valences of carbon, silicon and boron count as neutral: carbenes, not ions.
    """
    neighbours: list[list[int]] = [[] for _ in symbols]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    degrees = [len(atoms) for atoms in neighbours]
    if any(s not in _VALENCE or d > _MOST_BONDS.get(s, 8) for s, d in zip(symbols, degrees, strict=True)):
        return None
    free = [max(0, _VALENCE[symbol] - degree) for symbol, degree in zip(symbols, degrees, strict=True)]
    more = [_spare(symbol, degree) for symbol, degree in zip(symbols, degrees, strict=True)]
    if sum(free) > MAX_FREE_VALENCES:
        return None
    extra = _multiple_bonds(neighbours, free, more)
    return sum(
        _formal_charge(symbol, degree, bonds, [symbols[other] for other in others])
        for symbol, degree, bonds, others in zip(symbols, degrees, extra, neighbours, strict=True)
    )


def _spare(symbol: str, degree: int) -> int:
    """Return how many bonds more than its lowest valence an atom can have; at the end of a chain none."""
    if symbol not in _HIGHEST or degree < (1 if symbol in _PNICTOGENS else 2):
        return 0
    return max(0, _HIGHEST[symbol] - max(degree, _VALENCE[symbol]))


def _formal_charge(symbol: str, degree: int, extra: int, neighbours: Sequence[str]) -> int:
    total, charge = degree + extra, 0
    if symbol == "H" and degree > 1:
        # Bridges of boranes are part of electron-deficient bonds; a proton between two bases is shared; two hydrogen
        # atoms that touch are a crowded geometry, not a bond.
        charge = 1 if _ELECTRON_POOR.issuperset(neighbours) else -("H" not in neighbours)
    elif symbol in _PNICTOGENS:
        charge = {4: 1, 6: -1}.get(total, min(0, total - 3))
    elif symbol == "O":
        charge = total - 2
    elif symbol in _CHALCOGENS:
        charge = min(total - 2, total % 2)
    elif symbol in _HALOGENS:
        charge = 1 - total % 2
    elif symbol in _ELECTRON_POOR:
        charge = min(0, 3 - total) if total > _VALENCE[symbol] else 0
    elif symbol in _TETRAVALENT:
        charge = min(0, 4 - total)
    return charge


def _multiple_bonds(neighbours: Sequence[Sequence[int]], free: Sequence[int], more: Sequence[int]) -> list[int]:
    """Return how many bonds beyond single ones each atom takes part in."""
    places = [atom for atom, count in enumerate(free) for _ in range(count)]
    needed = len(places)
    if not needed:
        return [0] * len(free)
    near = {atom for atom, count in enumerate(free) if count} | {
        n for atom, c in enumerate(free) if c for n in neighbours[atom]
    }
    places += [atom for atom in sorted(near) for _ in range(more[atom])]
    of_atom: dict[int, list[int]] = {}
    for place, atom in enumerate(places):
        of_atom.setdefault(atom, []).append(place)
    beside = [[place for other in neighbours[atom] for place in of_atom.get(other, ())] for atom in places]
    partner = _matching(beside, needed)
    extra = [0] * len(free)
    for place, other in enumerate(partner):
        extra[places[place]] += other >= 0
    return extra


def _matching(beside: Sequence[Sequence[int]], needed: int) -> list[int]:
    """Return the partner of each vertex, or -1; as many as can be of the first `needed` have one.

    Those pair among themselves first; only those that remain then take one of the others.
    """
    partner = [-1] * len(beside)
    for vertex in sorted(range(needed), key=lambda v: len(beside[v])):
        if partner[vertex] < 0:
            other = next((o for o in beside[vertex] if o < needed and partner[o] < 0), -1)
            if other >= 0:
                partner[vertex], partner[other] = other, vertex
    for allowed in (needed, len(beside)):
        for vertex in range(needed):
            if partner[vertex] < 0:
                _Search(beside, partner, root=vertex, allowed=allowed).augment()
    return partner


class _Search:
    """The search for an augmenting path from one vertex without a partner, among the first `allowed` vertices."""

    def __init__(self, beside: Sequence[Sequence[int]], partner: list[int], *, root: int, allowed: int) -> None:
        self._beside, self._partner, self._root, self._allowed = beside, partner, root, allowed
        self._parent = [-1] * len(beside)
        self._base = list(range(len(beside)))
        self._outer = {root}
        self._queue = deque([root])

    def augment(self) -> None:
        """Give the root a partner, if there is a path to one."""
        while self._queue:
            vertex = self._queue.popleft()
            for other in self._beside[vertex]:
                if other >= self._allowed or self._base[vertex] == self._base[other] or self._partner[vertex] == other:
                    continue
                if other == self._root or (self._partner[other] >= 0 and self._parent[self._partner[other]] >= 0):
                    self._contract(vertex, other)
                elif self._parent[other] < 0:
                    self._parent[other] = vertex
                    if self._partner[other] < 0:
                        self._swap(other)
                        return
                    self._reach(self._partner[other])

    def _reach(self, vertex: int) -> None:
        if vertex not in self._outer:
            self._outer.add(vertex)
            self._queue.append(vertex)

    def _swap(self, end: int) -> None:
        """Exchange partners along the path from the root to `end`."""
        while end >= 0:
            before = self._parent[end]
            following = self._partner[before]
            self._partner[end], self._partner[before] = before, end
            end = following

    def _contract(self, one: int, other: int) -> None:
        """Make one vertex of the odd cycle that two outer vertices close."""
        top, inside = self._common(one, other), set[int]()
        for start, child in ((one, other), (other, one)):
            vertex = start
            following = child
            while self._base[vertex] != top:
                partner = self._partner[vertex]
                inside |= {self._base[vertex], self._base[partner]}
                self._parent[vertex] = following
                following = partner
                vertex = self._parent[partner]
        for vertex, base in enumerate(self._base):
            if base in inside:
                self._base[vertex] = top
                self._reach(vertex)

    def _common(self, one: int, other: int) -> int:
        """Return the vertex in which the paths from two outer vertices to the root meet."""
        seen = set()
        vertex = self._base[one]
        seen.add(vertex)
        while self._partner[vertex] >= 0:
            vertex = self._base[self._parent[self._partner[vertex]]]
            seen.add(vertex)
        vertex = self._base[other]
        while vertex not in seen:
            vertex = self._base[self._parent[self._partner[vertex]]]
        return vertex
