"""The atoms of one cluster, what its file states of them, and which atoms its bonds make fragments.

Rules:
- Positions are in ångström; atoms and fragments count from 1 in messages, from 0 in tuples; no file is opened here.
- Atoms within the scaled sum of their covalent radii are bonded. Alkali and alkaline-earth metals never bond: in
  clusters they are cations, and water lies well within their radii. Transition metals do, and take their first shell
  along. Where that is wrong (organolithium, metal clusters, complexes), the fragments must be stated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from autotune.base.errors import InputError
from autotune.expansion.bonds import Position, bonded_pairs, close_pairs, reaches, without_radius
from autotune.expansion.cell import MIN_HEIGHT_ANGSTROM, Cell, bond_across, complete, heights_angstrom

Fragments: TypeAlias = tuple[tuple[int, ...], ...]
Bonds: TypeAlias = list[tuple[int, int]]

MAX_ATOMS = 200_000
OVERLAP_ANGSTROM = 0.4
BOND_SCALE = 1.2
CATIONS = {"Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Fr": 1, "Be": 2, "Mg": 2, "Ca": 2, "Sr": 2, "Ba": 2, "Ra": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a file states of charges and spins; None or empty where it states nothing.

    Attributes:
        charge: Of all atoms together.
        multiplicity: Of all atoms together, 2S + 1.
        spin: Of all atoms together, 2S or 2S + 1, whichever fits the number of electrons.
        fragments: Atoms of each fragment.
        charges: Of each fragment, None where one is not stated.
        multiplicities: Of each fragment, None where one is not stated.
        where: What messages call the place where all this is stated.
    """

    charge: int | None = None
    multiplicity: int | None = None
    spin: int | None = None
    fragments: Fragments | None = None
    charges: tuple[int | None, ...] = ()
    multiplicities: tuple[int | None, ...] = ()
    where: str = "line 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The atoms of one cluster.

    Attributes:
        symbols: Element symbol of each atom, capitalised as in `Na`.
        coordinates_angstrom: Position of each atom, shape `(natom, 3)`.
        stated: What the file states of charges and spins.
        atom_charges: Formal charge of each atom, None for one of which none is stated; empty where the file has none.
        units: Of the positions in the file.
        mass_numbers: Of stated isotopes, -1 for other atoms; empty where the file names none.
        notes: Sentences on what was read in a way that the user should know.
    """

    symbols: tuple[str, ...]
    coordinates_angstrom: tuple[Position, ...]
    stated: Stated
    atom_charges: tuple[int | None, ...] = ()
    units: str = "angstrom"
    mass_numbers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def check_apart(symbols: Sequence[str], positions: Sequence[Position], *, name: str) -> None:
    """Raise `InputError` where two atoms of the file `name` are in one place; positions are in Å."""
    for i, j, distance in close_pairs(positions, OVERLAP_ANGSTROM):
        pair = f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) are only {distance:.3f} Å apart"
        raise InputError(f"{name}: {pair}; remove a duplicate, or convert the coordinates to ångström")


def check_cell(
    symbols: Sequence[str], positions: Sequence[Position], cell: Cell, *, keyword: str, line: int, name: str
) -> tuple[str, ...]:
    """Return what is to be said of a cell; raise `InputError` where it cuts molecules.

    Args:
        symbols: Element symbols.
        positions: Shape (natom, 3), Å.
        cell: With vectors in Å.
        keyword: What states the cell in the file.
        line: Where, from 1.
        name: What messages call the file.
    """
    if not any(cell.periodic):
        return ()
    cell = complete(cell)
    if not all(
        height >= MIN_HEIGHT_ANGSTROM
        for height, flag in zip(heights_angstrom(cell), cell.periodic, strict=True)
        if flag
    ):
        raise InputError(f"{name}: {keyword} in line {line} spans no cell that holds an atom; correct it or remove it")
    reach = reaches(set(symbols) - CATIONS.keys() - without_radius(symbols), scale=BOND_SCALE)
    if cut := bond_across(symbols, positions, cell, reach):
        i, j = cut
        pair = f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) are bonded across the boundary of the cell"
        cure = f"write whole molecules (unwrap them) and remove {keyword}, as no periodic images are computed"
        raise InputError(f"{name}: {pair}; {cure}")
    return ("the periodic cell is ignored: no images are computed",)


def covalent_bonds(geometry: Geometry, *, scale: float = BOND_SCALE, skip: Collection[str] = ()) -> Bonds:
    """Return the pairs of bonded atoms (`bonds.bonded_pairs`); metals of groups 1 and 2 have none.

    Raises `InputError` for an element without a radius unless it is among those to `skip`.
    """
    alone = {*CATIONS, *skip}
    return bonded_pairs(geometry.symbols, geometry.coordinates_angstrom, alone=alone, scale=scale)


def refuse(name: str, problems: Sequence[str], most: int = 3) -> None:
    """Raise `InputError` with the first of the problems, if there are any."""
    if problems:
        more = f"; and {len(problems) - most} more" if len(problems) > most else ""
        raise InputError(f"{name}: {'; '.join(problems[:most])}{more}")
