"""Reads XYZ files: elements, isotopes and positions of the atoms of one cluster, and what the comment states of them.

Rules: ångström unless the file says bohr. A line is read in one way only: where columns can be read in two ways, or a
label is no element, the file is refused with the cure. The comment is `xyz_comment.py`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.base.errors import InputError
from autotune.expansion.bonds import Position
from autotune.expansion.cell import Cell
from autotune.expansion.elements import MAX_LABEL, species
from autotune.expansion.geometry import MAX_ATOMS, Geometry, check_apart, check_cell, refuse
from autotune.expansion.xyz_comment import Columns, read_comment

MAX_COORDINATE_ANGSTROM = 1.0e6
FIRST_COLUMNS = Columns(species=0, position=1)
_PLAIN_COLUMNS = 4
_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eEdD][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?[0-9]{1,9}")


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


def read_xyz(text: str, name: str) -> Geometry:
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
        raise InputError(
            f"{name}: the file holds several frames; `autotune run` computes them all, otherwise keep the {natom + 2}"
            " lines of one"
        )
    if len(atom_lines) != natom:
        raise InputError(f"{name}: line 1 says {natom} atoms, but {_miscounted(comment, atom_lines)}")
    stated = read_comment(comment, natom=natom, name=name)
    unit_angstrom = float(constants.bohr2angstroms) if stated.units == "bohr" else 1.0
    atoms = read_atoms(atom_lines, columns=stated.columns, unit_angstrom=unit_angstrom, name=name)
    check_apart(atoms.symbols, atoms.positions, name=name)
    notes: tuple[str, ...] = ()
    if stated.cell:
        a, b, c = ((x * unit_angstrom, y * unit_angstrom, z * unit_angstrom) for x, y, z in stated.cell.vectors)
        cell = Cell(vectors=(a, b, c), periodic=stated.cell.periodic)
        notes = check_cell(atoms.symbols, atoms.positions, cell, keyword="Lattice", line=2, name=name)
    return Geometry(
        symbols=atoms.symbols,
        coordinates_angstrom=atoms.positions,
        stated=stated,
        units=stated.units or "angstrom",
        mass_numbers=atoms.mass_numbers,
        notes=notes,
    )


def _miscounted(comment: str, atom_lines: Sequence[str]) -> str:
    """Return how many lines follow the comment, and what is wrong with them, if that can be told."""
    follow = "1 line follows" if len(atom_lines) == 1 else f"{len(atom_lines)} lines follow"
    found = f"{follow} the comment in line 2"
    words = comment.split()
    if len(words) == _PLAIN_COLUMNS and all(_NUMBER.fullmatch(word) for word in words[1:]):
        return f"{found}, which looks like an atom itself: line 2 is for a comment, and may be empty"
    empty = [number for number, line in enumerate(atom_lines, start=3) if not line.strip()]
    if empty:
        return f"{found}, of which line {empty[0]} is empty; take it out"
    return f"{found}; correct the number or the lines"


def split_frames(text: str) -> list[str]:
    """Return the frames of a text in XYZ format, one after another, as texts of one geometry each.

    What is no frame, at the end of a trajectory that was cut off, say, is the last of them; empty lines between frames
    are left out. A text of one frame, sound or not, comes back as it is.
    """
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff").rstrip())
    frames, at = [], 0
    while at < len(lines):
        count = lines[at].strip()
        end = at + 2 + int(count) if _COUNT.fullmatch(count) else len(lines)
        if end < len(lines) and not _COUNT.fullmatch(next(filter(None, map(str.strip, lines[end:])), "")):
            end = len(lines)  # what follows is not the number of another frame's atoms
        frames.append("\n".join(lines[at:end]) + "\n")
        at = end
        while at < len(lines) and not lines[at].strip():
            at += 1
    return frames if len(frames) > 1 else [text]


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
    refuse(name, problems)
    isotopes = tuple(mass_numbers) if max(mass_numbers, default=-1) > 0 else ()
    return Atoms(symbols=tuple(symbols), positions=tuple(positions), mass_numbers=isotopes)


def _position(texts: Sequence[str], unit_angstrom: float) -> tuple[Position, str]:
    """Return a position in Å, and what is wrong with it or an empty text."""
    texts = [*texts, "", "", ""][:3]
    values = [float(re.sub("[dD]", "e", text)) if _NUMBER.fullmatch(text) else math.nan for text in texts]
    if unit_angstrom != 1.0:
        values = [value * unit_angstrom for value in values]
    wrong = [text for text, value in zip(texts, values, strict=True) if not abs(value) <= MAX_COORDINATE_ANGSTROM]
    position = (values[0], values[1], values[2])
    if not wrong:
        return position, ""
    cure = "write it with a point, as -1.25" if "," in wrong[0] else "write it as -1.25"
    return position, f"coordinate {wrong[0][:40]!r} is not a finite number of ångström; {cure}"


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
