"""Reads XYZ files and finds out which atoms, charges and spins make up the fragments.

Rules:
- Ångström; atoms and fragments count from 1 in texts and messages, from 0 in tuples; no file is opened here.
- Atoms within the scaled sum of their covalent radii are bonded. Alkali and alkaline-earth metals never bond: in
  clusters they are cations, and water lies well within their radii. Transition metals do, and take their first shell
  along. Where that is wrong (organolithium, metal clusters, complexes), the fragments must be stated.
- Fragments keep their numbers, as stated charges refer to them: bonded ones by first atom, stated ones as written.
- A guess is made only where nothing is stated; what is stated and wrong is an `InputError`, never ignored.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from autotune.bonds import Position, bonded_parts, close_pairs
from autotune.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Fragments: TypeAlias = tuple[tuple[int, ...], ...]

MAX_ATOMS = 200_000
MAX_COORDINATE_ANGSTROM = 1.0e6
MAX_STATED = 1_000_000
OVERLAP_ANGSTROM = 0.4

_CATIONS = {"Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Fr": 1, "Be": 2, "Mg": 2, "Ca": 2, "Sr": 2, "Ba": 2, "Ra": 2}
_ION_CHARGES = _CATIONS | dict.fromkeys(("F", "Cl", "Br", "I", "At"), -1)
_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eEdD][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The atoms of one cluster.

    Attributes:
        symbols: Element symbol of each atom, capitalised as in `Na`.
        coordinates_angstrom: Position of each atom, shape `(natom, 3)`.
        comment: Second line of the file, or an empty text.
    """

    symbols: tuple[str, ...]
    coordinates_angstrom: tuple[Position, ...]
    comment: str = ""


def read_xyz(text: str, *, name: str) -> Geometry:
    """Read one geometry in XYZ format; `name` is what messages call the file.

    Elements are symbols in any case or atomic numbers; further columns are ignored; Fortran's `1.0D+00` is understood.
    Raises `InputError` unless the text is one sound geometry of at most `MAX_ATOMS` atoms.
    """
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
    if (layout := re.search(r"Properties=(\S+)", comment)) and not layout[1].startswith("species:S:1:pos:R:3"):
        raise InputError(f"{name}: line 2 orders the columns {layout[1][:40]!r}; put species and pos first")
    symbols, positions, problems = zip(*map(_read_atom, atom_lines), strict=True)
    _report(name, [f"line {number}: {problem}" for number, problem in enumerate(problems, start=3) if problem])
    for i, j, distance in close_pairs(positions, OVERLAP_ANGSTROM):
        pair = f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) are only {distance:.3f} Å apart"
        raise InputError(f"{name}: {pair}; remove a duplicate, or convert the coordinates to ångström")
    return Geometry(symbols=symbols, coordinates_angstrom=positions, comment=comment)


def fragments_by_connectivity(geometry: Geometry, *, scale: float = 1.2) -> Fragments:
    """Return the covalently bonded parts of a geometry (`bonds.bonded_parts`), numbered by their first atom.

    Metals of groups 1 and 2 stand alone. Raises `InputError` without a radius.
    """
    return bonded_parts(geometry.symbols, geometry.coordinates_angstrom, alone=_CATIONS, scale=scale)


def fragments_from_comment(geometry: Geometry, *, name: str) -> tuple[Fragments, tuple[int, ...]] | None:
    """Return fragments and charges that the comment states as JSON, or None where it states none.

    `{"fragments": [3, 1], "charges": [0, -1]}` gives atoms and charge per fragment, in order; charges that it does not
    state come back empty. Raises `InputError` if what is stated does not fit the geometry, the file `name`.
    """
    try:
        stated = json.loads(geometry.comment)
    except (ValueError, RecursionError):
        return None
    if not isinstance(stated, dict) or "fragments" not in stated:
        return None
    sizes, natom = _integers(stated["fragments"]), len(geometry.symbols)
    if sizes is None or min(sizes, default=0) < 1 or sum(sizes) != natom:
        raise InputError(f'{name}: "fragments" in line 2 must list sizes, as in [3, 3], that add up to {natom} atoms')
    fragments = _blocks(sizes)
    if stated.get("charges") is None:
        return fragments, ()
    charges = _integers(stated["charges"])
    if charges is None or len(charges) != len(fragments):
        raise InputError(f'{name}: "charges" in line 2 must list {len(fragments)} whole numbers, one per fragment')
    return fragments, charges


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
    return _blocks([size for size, times in sizes for _ in range(times)])


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


def contiguous(geometry: Geometry, fragments: Fragments) -> tuple[Geometry, Fragments, tuple[int, ...]]:
    """Return the geometry with each fragment in one block, as QCManyBody wants it, the fragments, and the order.

    New atom `i` is old atom `order[i]`; fragments keep their numbers. Raises `InputError` unless each atom occurs once.
    """
    order = tuple(itertools.chain.from_iterable(fragments))
    if sorted(order) != list(range(len(geometry.symbols))):
        raise InputError(f"the fragments must hold each of the {len(geometry.symbols)} atoms exactly once")
    symbols = tuple(geometry.symbols[atom] for atom in order)
    positions = tuple(geometry.coordinates_angstrom[atom] for atom in order)
    sizes = [len(atoms) for atoms in fragments]
    return replace(geometry, symbols=symbols, coordinates_angstrom=positions), _blocks(sizes), order


def usual_charges(geometry: Geometry, fragments: Fragments) -> tuple[int, ...]:
    """Guess charges: that of its usual ion for a lone alkali, alkaline-earth or halogen atom, else 0."""
    return tuple(_ION_CHARGES.get(geometry.symbols[atoms[0]], 0) * (len(atoms) == 1) for atoms in fragments)


def usual_multiplicities(geometry: Geometry, fragments: Fragments, charges: Sequence[int]) -> tuple[int, ...]:
    """Guess spin multiplicities 2S + 1: singlet for an even number of electrons, doublet for an odd one."""
    return tuple(1 + _electrons(geometry, *both) % 2 for both in zip(fragments, charges, strict=True))


def check_electrons(
    geometry: Geometry, fragments: Fragments, charges: Sequence[int], multiplicities: Sequence[int]
) -> None:
    """Raise `InputError`, naming the fragments, unless each can have its charge and multiplicity together."""
    problems: list[str] = []
    for number, (atoms, charge, spin) in enumerate(zip(fragments, charges, multiplicities, strict=True), start=1):
        electrons = _electrons(geometry, atoms, charge)
        counts = sorted(Counter(geometry.symbols[atom] for atom in atoms).items())
        formula = "".join(f"{symbol}{times if times > 1 else ''}" for symbol, times in counts)
        what = f"fragment {number} ({formula}, charge {charge:+d})"
        if electrons < 1:
            problems.append(f"{what} has no electrons left; correct its charge, as in --charges {number}:0")
        elif not 1 <= spin <= electrons + 1 or (electrons + spin) % 2 == 0:
            cure = f"give --multiplicities {number}:{1 + electrons % 2} or another charge in --charges"
            problems.append(f"{what} has {electrons} electrons and cannot have multiplicity {spin}; {cure}")
    _report("charges and multiplicities", problems)


def _report(name: str, problems: Sequence[str], most: int = 3) -> None:
    if problems:
        more = f"; and {len(problems) - most} more" if len(problems) > most else ""
        raise InputError(f"{name}: {'; '.join(problems[:most])}{more}")


@functools.cache
def _elements() -> dict[str, tuple[str, int]]:
    """Symbol and atomic number, by symbol and by atomic number as text."""
    from qcelemental import periodictable

    both = [(str(symbol), int(z)) for symbol, z in zip(periodictable.E, periodictable.Z, strict=True) if int(z)]
    return {key: (symbol, z) for symbol, z in both for key in (symbol, str(z))}


def _read_atom(line: str) -> tuple[str, Position, str]:
    """Return the symbol and position on a line, and what is wrong with it or an empty text."""
    label, *texts = (line.split() + [""] * 4)[:4]
    symbol, _ = _elements().get(label.capitalize(), ("", 0))
    values = [float(re.sub("[dD]", "e", text)) if _NUMBER.fullmatch(text) else math.nan for text in texts]
    wrong = [text for text, value in zip(texts, values, strict=True) if not abs(value) <= MAX_COORDINATE_ANGSTROM]
    problem = f"coordinate {wrong[0][:40]!r} is not a finite number of ångström; write it as -1.25" if wrong else ""
    if not symbol:
        letters = re.sub("[^A-Z]", "", label.upper()).capitalize()
        meant, _ = _elements().get({"D": "H", "T": "H"}.get(letters, letters), ("", 0))
        cure = f"{meant} (labels, isotopes and ghosts are not read)" if meant else "a symbol, O, or atomic number, 8"
        problem = f"unknown element {label[:40]!r}; write {cure}"
    return symbol, (values[0], values[1], values[2]), problem


def _blocks(sizes: Sequence[int]) -> Fragments:
    """Return consecutive fragments of these sizes."""
    return tuple(tuple(range(end - size, end)) for size, end in zip(sizes, itertools.accumulate(sizes), strict=True))


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


def _integers(values: object) -> tuple[int, ...] | None:
    """Return a JSON list of whole numbers up to `MAX_STATED`, or None if it is anything else."""
    if not isinstance(values, list) or not all(type(value) is int and abs(value) <= MAX_STATED for value in values):
        return None
    return tuple(values)


def _electrons(geometry: Geometry, atoms: Sequence[int], charge: int) -> int:
    return sum(_elements()[geometry.symbols[atom]][1] for atom in atoms) - charge
