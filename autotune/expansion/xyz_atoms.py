"""The atom lines of an XYZ file: elements, isotopes and positions.

Rules: a line is read in one way only. Where columns can be read in two ways, or a label is no element, the file is
refused with the cure; positions come out in ångström.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autotune.base.errors import InputError
from autotune.expansion.bonds import Position
from autotune.expansion.xyz_comment import Columns

MAX_COORDINATE_ANGSTROM = 1.0e6
FIRST_COLUMNS = Columns(species=0, position=1)
MAX_LABEL = 60
_PLAIN_COLUMNS = 4
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eEdD][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?[0-9]{1,9}")
_ISOTOPE = re.compile(r"([0-9]{1,3})([A-Za-z]{1,2})")
_GHOST = re.compile(r"@.+|[Gg]h(ost)?([-_(:].*)?|.+:|[Bb]q.*|.*-[Bb]q|[Xx]{1,2}[0-9]*|[Dd][Uu](mmy)?")
_HYDROGENS = {"d": ("H", 2), "t": ("H", 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Atoms:
    """What the atom lines say.

    Attributes:
        symbols: Element symbols, capitalised as in `Na`.
        positions: Shape (natom, 3), Å.
        mass_numbers: Of stated isotopes, -1 for other atoms; empty where no line states one.
    """

    symbols: tuple[str, ...]
    positions: tuple[Position, ...]
    mass_numbers: tuple[int, ...]


def read_atoms(lines: Sequence[str], *, columns: Columns | None, unit_angstrom: float, name: str) -> Atoms:
    """Return the atoms of the lines from line 3 on of the file `name`.

    Args:
        lines: One for each atom.
        columns: Where the file says that element and position are; None for the first four columns.
        unit_angstrom: What a coordinate of 1 is.
        name: What messages call the file.

    Raises:
        InputError: A line that cannot be read, or columns that can be read in two ways.
    """
    rows = [line.split() for line in lines]
    if columns is None:
        _refuse_two_readings(rows, name)
    place = columns or FIRST_COLUMNS
    symbols, mass_numbers, positions, problems = [], [], [], []
    first, last, at = place.position, place.position + 3, place.species
    for number, row in enumerate(rows, start=3):
        symbol, mass_number, problem = species(row[at][:MAX_LABEL] if at < len(row) else "")
        position, wrong = _position(row[first:last], unit_angstrom)
        if problem or wrong:
            problems.append(f"line {number}: {problem or wrong}")
        symbols.append(symbol)
        mass_numbers.append(mass_number)
        positions.append(position)
    report(name, problems)
    isotopes = tuple(mass_numbers) if max(mass_numbers, default=-1) > 0 else ()
    return Atoms(symbols=tuple(symbols), positions=tuple(positions), mass_numbers=isotopes)


def report(name: str, problems: Sequence[str], most: int = 3) -> None:
    """Raise `InputError` with the first of the problems, if there are any."""
    if problems:
        more = f"; and {len(problems) - most} more" if len(problems) > most else ""
        raise InputError(f"{name}: {'; '.join(problems[:most])}{more}")


@functools.cache
def elements() -> dict[str, tuple[str, int]]:
    """Symbol and atomic number, by symbol and by atomic number as text."""
    from qcelemental import periodictable

    both = [(str(symbol), int(z)) for symbol, z in zip(periodictable.E, periodictable.Z, strict=True) if int(z)]
    return {key: (symbol, z) for symbol, z in both for key in (symbol, str(z))}


def electrons(symbols: Iterable[str], charge: int) -> int:
    """Return the number of electrons of atoms with a total charge."""
    known = elements()
    return sum(known[symbol][1] for symbol in symbols) - charge


@functools.lru_cache(maxsize=4096)
def species(label: str) -> tuple[str, int, str]:
    """Return the element and the mass number (-1 if not stated) of a label, and what is wrong with it or no text."""
    symbol, _ = elements().get(label.capitalize(), ("", 0))
    if symbol:
        return symbol, -1, ""
    if label.lower() in _HYDROGENS:
        return *_HYDROGENS[label.lower()], ""
    shown = label[:40]
    if (isotope := _ISOTOPE.fullmatch(label)) and isotope[2].capitalize() in elements():
        symbol, mass_number = isotope[2].capitalize(), int(isotope[1])
        if _is_isotope(symbol, mass_number):
            return symbol, mass_number, ""
        return "", -1, f"no isotope {shown!r} is known; write {symbol}, or a mass number that it has before it"
    if _GHOST.fullmatch(label):
        return "", -1, f"{shown!r} is a ghost or dummy atom; remove it: --bsse cp adds the ghosts that it needs"
    letters = re.sub("[^A-Z]", "", label.upper()).capitalize()
    meant, _ = elements().get(letters, ("", 0))
    cure = f"{meant} (labels are not read)" if meant else "a symbol, O, or atomic number, 8"
    return "", -1, f"unknown element {shown!r}; write {cure}"


def _is_isotope(symbol: str, mass_number: int) -> bool:
    from qcelemental import periodictable
    from qcelemental.exceptions import NotAnElementError

    try:
        return bool(periodictable.to_A(f"{symbol}{mass_number}") == mass_number)
    except NotAnElementError:
        return False


def _position(texts: Sequence[str], unit_angstrom: float) -> tuple[Position, str]:
    """Return a position in Å, and what is wrong with it or an empty text."""
    texts = [*texts, "", "", ""][:3]
    values = [float(re.sub("[dD]", "e", text)) if _NUMBER.fullmatch(text) else math.nan for text in texts]
    if unit_angstrom != 1.0:
        values = [value * unit_angstrom for value in values]
    wrong = [text for text, value in zip(texts, values, strict=True) if not abs(value) <= MAX_COORDINATE_ANGSTROM]
    problem = f"coordinate {wrong[0][:40]!r} is not a finite number of ångström; write it as -1.25" if wrong else ""
    return (values[0], values[1], values[2]), problem


def _refuse_two_readings(rows: Sequence[Sequence[str]], name: str) -> None:
    """Refuse columns of whole numbers before three more of numbers: freeze codes or flags, or x already?"""
    for skipped in range(1, min(map(len, rows)) - _PLAIN_COLUMNS + 1):
        last = skipped + 3
        codes = all(_WHOLE.fullmatch(row[skipped]) for row in rows)
        if not codes:
            return
        if all(_NUMBER.fullmatch(word) for row in rows for word in row[skipped + 1 : last + 1]):
            cure = "keep four columns, or name them in line 2 as in Properties=species:S:1:freeze:I:1:pos:R:3"
            raise InputError(f"{name}: columns 2-4 or {skipped + 2}-{last + 1} may be x, y, z; {cure}")
