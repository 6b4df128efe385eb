"""Reads XYZ files and finds out which atoms make up the fragments.

Rules:
- Ångström unless the file says bohr; atoms and fragments count from 1 in texts and messages, from 0 in tuples; no file
  is opened here.
- Atoms within the scaled sum of their covalent radii are bonded. Alkali and alkaline-earth metals never bond: in
  clusters they are cations, and water lies well within their radii. Transition metals do, and take their first shell
  along. Where that is wrong (organolithium, metal clusters, complexes), the fragments must be stated.
- Fragments keep their numbers, as stated charges refer to them: bonded ones by first atom, stated ones as written.
- A guess is made only where nothing is stated; what is stated and wrong is an `InputError`, never ignored.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from autotune.base.errors import InputError
from autotune.expansion.bonds import Position, bonded_pairs, close_pairs, parts, reaches, without_radius
from autotune.expansion.cell import MIN_HEIGHT_ANGSTROM, bond_across, completed, heights_angstrom
from autotune.expansion.summary import formula
from autotune.expansion.xyz_atoms import electrons, read_atoms, report
from autotune.expansion.xyz_comment import NOTHING_STATED, Cell, Comment, Fragments, blocks, read_comment

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Bonds: TypeAlias = list[tuple[int, int]]

MAX_ATOMS = 200_000
OVERLAP_ANGSTROM = 0.4
BOND_SCALE = 1.2

_CATIONS = {"Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Fr": 1, "Be": 2, "Mg": 2, "Ca": 2, "Sr": 2, "Ba": 2, "Ra": 2}
ION_CHARGES = _CATIONS | dict.fromkeys(("F", "Cl", "Br", "I", "At"), -1)
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The atoms of one cluster.

    Attributes:
        symbols: Element symbol of each atom, capitalised as in `Na`.
        coordinates_angstrom: Position of each atom, shape `(natom, 3)`.
        comment: Second line of the file, or an empty text.
        stated: What the comment states.
        mass_numbers: Of stated isotopes, -1 for other atoms; empty where the file names none.
        notes: Sentences on what was read in a way that the user should know.
    """

    symbols: tuple[str, ...]
    coordinates_angstrom: tuple[Position, ...]
    comment: str = ""
    stated: Comment = NOTHING_STATED
    mass_numbers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def read_xyz(text: str, *, name: str) -> Geometry:
    """Read one geometry in XYZ format; `name` is what messages call the file.

    Elements are symbols in any case, atomic numbers or isotopes (D, 13C); columns beyond those of the position are
    ignored; Fortran's `1.0D+00` is understood. Raises `InputError` unless the text is one sound geometry of at most
    `MAX_ATOMS` atoms that can be read in one way only.
    """
    from qcelemental import constants

    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff").rstrip())
    count, comment, atom_lines = lines[0].strip(), "".join(lines[1:2]), lines[2:]
    if lines == [""]:
        raise InputError(f"{name}: the file is empty; it should hold a geometry in XYZ format")
    if not _COUNT.fullmatch(count) or not 0 < int(count) <= MAX_ATOMS:
        raise InputError(f"{name}: line 1 should be just the number of atoms (1 to {MAX_ATOMS}), not {count[:40]!r}")
    natom = int(count)
    if any(_COUNT.fullmatch(line.strip()) for line in atom_lines[natom:]):
        raise InputError(f"{name}: the file holds several frames; keep the {natom + 2} lines of the one to compute")
    if len(atom_lines) != natom:
        found = f"{len(atom_lines)} lines follow the comment"
        raise InputError(f"{name}: line 1 says {natom} atoms, but {found} in line 2; correct the number or the lines")
    stated = read_comment(comment, natom=natom, name=name)
    unit_angstrom = float(constants.bohr2angstroms) if stated.units == "bohr" else 1.0
    atoms = read_atoms(atom_lines, columns=stated.columns, unit_angstrom=unit_angstrom, name=name)
    for i, j, distance in close_pairs(atoms.positions, OVERLAP_ANGSTROM):
        pair = f"atoms {i + 1} ({atoms.symbols[i]}) and {j + 1} ({atoms.symbols[j]}) are only {distance:.3f} Å apart"
        raise InputError(f"{name}: {pair}; remove a duplicate, or convert the coordinates to ångström")
    notes = _periodicity(atoms.symbols, atoms.positions, stated.cell, unit_angstrom, name) if stated.cell else ()
    return Geometry(
        symbols=atoms.symbols,
        coordinates_angstrom=atoms.positions,
        comment=comment,
        stated=stated,
        mass_numbers=atoms.mass_numbers,
        notes=notes,
    )


def _periodicity(
    symbols: Sequence[str], positions: Sequence[Position], cell: Cell, unit_angstrom: float, name: str
) -> tuple[str, ...]:
    """Return what is to be said of a cell; raise `InputError` where it cuts molecules."""
    if not any(cell.periodic):
        return ()
    a, b, c = ((x * unit_angstrom, y * unit_angstrom, z * unit_angstrom) for x, y, z in completed(cell).vectors)
    cell = Cell(vectors=(a, b, c), periodic=cell.periodic)
    if not all(
        height >= MIN_HEIGHT_ANGSTROM
        for height, flag in zip(heights_angstrom(cell), cell.periodic, strict=True)
        if flag
    ):
        raise InputError(f"{name}: Lattice in line 2 spans no cell that holds an atom; correct it or remove it")
    reach = reaches(set(symbols) - _CATIONS.keys() - without_radius(symbols), scale=BOND_SCALE)
    if cut := bond_across(symbols, positions, cell, reach):
        i, j = cut
        pair = f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) are bonded across the boundary of the cell"
        cure = "write whole molecules (unwrap them) and remove Lattice, as no periodic images are computed"
        raise InputError(f"{name}: {pair}; {cure}")
    return ("the periodic cell is ignored: no images are computed",)


def covalent_bonds(geometry: Geometry, *, scale: float = BOND_SCALE, skip: Collection[str] = ()) -> Bonds:
    """Return the pairs of bonded atoms (`bonds.bonded_pairs`); metals of groups 1 and 2 have none.

    Raises `InputError` for an element without a radius unless it is among those to `skip`.
    """
    alone = {*_CATIONS, *skip}
    return bonded_pairs(geometry.symbols, geometry.coordinates_angstrom, alone=alone, scale=scale)


def fragments_by_connectivity(geometry: Geometry, bonds: Bonds | None = None) -> Fragments:
    """Return the covalently bonded parts of a geometry, numbered by their first atom.

    Metals of groups 1 and 2 stand alone. Raises `InputError` without a radius. `bonds` saves looking for them.
    """
    return parts(len(geometry.symbols), covalent_bonds(geometry) if bonds is None else bonds)


def parse_fragments(text: str, natom: int) -> Fragments:
    """Return the fragments that a text states, numbered as written, atoms ascending within each.

    Either sizes of consecutive fragments (`3x6,1` is six of three atoms and one of one), or atoms counted from 1, with
    `;` or `|` between fragments (`1-3;4-6,9`). Raises `InputError` unless each of the `natom` atoms occurs once.
    """
    shown = f"fragments {text[:40]!r}"
    groups = re.split(r"[;|]", text)
    if len(groups) == 1 and "-" in text and "," in text:
        raise InputError(f"{shown}: separate fragments with ';', as in 1-3;4-6")
    if len(groups) > 1 or "-" in text:
        return _atom_groups(groups, natom, shown)
    items = [re.fullmatch(r"\s*([0-9]{1,6})\s*(?:[xX]\s*([0-9]{1,6})\s*)?", item) for item in text.split(",")]
    sizes = [(int(item[1]), int(item[2] or 1)) for item in items if item]
    total = sum(size * times for size, times in sizes)
    if len(sizes) < len(items) or not all(size * times for size, times in sizes):
        raise InputError(f"{shown}: write sizes as 3,3,6 or 3x6 (six of three), or atoms as 1-3;4-6")
    if total != natom:
        raise InputError(f"{shown} hold {total} atoms, but the geometry has {natom}; the sizes must add up to that")
    return blocks([size for size, times in sizes for _ in range(times)])


def parse_charges(text: str, nfragments: int, *, label: Literal["charge", "multiplicity"] = "charge") -> dict[int, int]:
    """Return the charges (or multiplicities) that a text states, by fragment index counted from 0.

    Either `fragment:charge` with fragments counted from 1 (`1:+1,2:-1`), where the others are missing from the result,
    or one charge for every fragment (`+1,-1,0,0`). Raises `InputError` if the text does not fit.
    """
    shown = f"{label} {text[:40]!r}"
    pattern = re.compile(r"\s*(?:([0-9]{1,6})\s*:\s*)?([-+]?[0-9]{1,3})\s*")
    items = [pattern.fullmatch(item) for item in text.replace("\N{MINUS SIGN}", "-").split(",")]
    values = [int(item[2]) for item in items if item]
    named = [int(item[1]) for item in items if item and item[1]]
    if len(values) < len(items) or len(named) not in {0, len(items)}:
        raise InputError(f"{shown}: write fragment:{label} as in 1:2,3:1, or one {label} for every fragment as in 1,2")
    if label == "multiplicity" and min(values) < 1:
        raise InputError(f"{shown}: a multiplicity is at least 1 (singlet)")
    if not named and len(values) != nfragments:
        raise InputError(f"{shown}: {len(values)} for {nfragments} fragments; give all, or name some as in 1:2")
    numbers = named or list(range(1, nfragments + 1))
    if unknown := [number for number in numbers if not 1 <= number <= nfragments]:
        raise InputError(f"{shown}: there is no fragment {unknown[0]}; fragments count from 1 to {nfragments}")
    if twice := [number for number, times in Counter(numbers).items() if times > 1]:
        raise InputError(f"{shown}: fragment {twice[0]} is given twice; keep one")
    return {number - 1: value for number, value in zip(numbers, values, strict=True)}


def usual_charges(geometry: Geometry, fragments: Fragments) -> tuple[int, ...]:
    """Guess charges: that of its usual ion for a lone alkali, alkaline-earth or halogen atom, else 0."""
    return tuple(ION_CHARGES.get(geometry.symbols[atoms[0]], 0) * (len(atoms) == 1) for atoms in fragments)


def usual_multiplicities(geometry: Geometry, fragments: Fragments, charges: Sequence[int]) -> tuple[int, ...]:
    """Guess spin multiplicities 2S + 1: singlet for an even number of electrons, doublet for an odd one."""
    return tuple(
        1 + electrons((geometry.symbols[atom] for atom in atoms), charge) % 2
        for atoms, charge in zip(fragments, charges, strict=True)
    )


def check_electrons(
    geometry: Geometry, fragments: Fragments, charges: Sequence[int], multiplicities: Sequence[int]
) -> None:
    """Raise `InputError`, naming the fragments, unless each can have its charge and multiplicity together."""
    problems: list[str] = []
    for number, (atoms, charge, spin) in enumerate(zip(fragments, charges, multiplicities, strict=True), start=1):
        symbols = [geometry.symbols[atom] for atom in atoms]
        left = electrons(symbols, charge)
        what = f"fragment {number} ({formula(symbols)}, charge {charge:+d})"
        if left < 1:
            problems.append(f"{what} has no electrons left; correct its charge, as in --charges {number}:0")
        elif not 1 <= spin <= left + 1 or (left + spin) % 2 == 0:
            cure = f"give --multiplicities {number}:{1 + left % 2} or another charge in --charges"
            problems.append(f"{what} has {left} electrons and cannot have multiplicity {spin}; {cure}")
    report("charges and multiplicities", problems)


def _atom_groups(groups: Sequence[str], natom: int, shown: str) -> Fragments:
    owner: dict[int, int] = {}
    members: list[list[int]] = [[] for _ in groups]
    for fragment, group in enumerate(groups, start=1):
        for item in group.split(","):
            match = re.fullmatch(r"\s*([0-9]{1,6})\s*(?:-\s*([0-9]{1,6})\s*)?", item)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= first <= last <= natom:
                raise InputError(f"{shown}: {item[:40]!r} in fragment {fragment} is no atom or range within 1-{natom}")
            for atom in range(first, last + 1):
                if atom in owner:
                    raise InputError(f"{shown}: atom {atom} is given twice, in fragments {owner[atom]} and {fragment}")
                owner[atom] = fragment
                members[fragment - 1].append(atom - 1)
    if missing := sorted(set(range(1, natom + 1)) - owner.keys()):
        raise InputError(f"{shown} hold {len(owner)} of {natom} atoms; atom {missing[0]} is in none")
    return tuple(tuple(sorted(atoms)) for atoms in members)
