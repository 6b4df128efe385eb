"""Reads PDB files: one model of whole molecules with their hydrogen atoms, as Open Babel, PyMOL or VMD write them.

Rules: columns are those of the format (wwPDB, version 3.3). An element that columns 77-78 do not state is taken from
the atom's name where that can be read in one way only. Nothing is chosen for the user: several models, alternate
locations, missing hydrogen atoms and bonds that CONECT states and the distances deny are refused with the cure. Bonded
residues are one molecule, so a chain is one fragment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autotune.base.errors import InputError
from autotune.base.text import count, quote
from autotune.expansion.bonds import Position, parts, without_radius
from autotune.expansion.cell import Cell
from autotune.expansion.elements import elements, species
from autotune.expansion.geometry import (
    MAX_ATOMS,
    Bonds,
    Geometry,
    Stated,
    check_apart,
    check_cell,
    covalent_bonds,
    refuse,
)

WATERS = frozenset({"HOH", "WAT", "H2O", "DOD", "SOL", "SPC", "TIP", "TIP3", "TIP4", "TP3", "TP4"})
# Amino acids with their protonation states and caps, and nucleotides: their atoms are H, C, N, O, S and P alone, so the
# first letter of a name is the element.
_BIOPOLYMERS = re.compile(
    r"ALA|ARG|ASH|ASN|ASP|CYM|CYS|CYX|GLH|GLN|GLU|GLY|HID|HIE|HIP|HIS|HSD|HSE|HSP|ILE|LEU|LYN|LYS|MET|PHE|PRO|SER|THR"
    r"|TRP|TYR|VAL|ACE|NME|D?[ACGI]|U|DT|DU"
)
_COORDINATE = re.compile(r"\s*[-+]?[0-9]*\.[0-9]+\s*")
_WORD = re.compile(r"[A-Za-z]+")
# Files of before 1996 have their own name and the number of the line in the columns of element and charge.
_OLD_COLUMNS = re.compile(r"[0-9][A-Z0-9]{3}[ 0-9]{4}")
_CHARGE = re.compile(r"([0-9])([-+])|([-+])([0-9])")
# Without its hydrogen atoms a carbon atom has one neighbour farther than any triple bond, or two not in line with it.
_TRIPLE_BOND_ANGSTROM = 1.25
_BENT_DEGREES = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Atom:
    """What an ATOM or HETATM line says; `line` counts from 1, `charge` is None where none is stated."""

    line: int
    serial: str
    residue: str
    place: str
    symbol: str
    mass_number: int
    position: Position
    charge: int | None


def read_pdb(text: str, name: str) -> Geometry:
    """Read one geometry in PDB format; `name` is what messages call the file.

    Formal charges (columns 79-80) are taken as stated, and of an isotope only deuterium (D). Raises `InputError` unless
    the text is one model of at most `MAX_ATOMS` atoms that can be read in one way only and lacks no hydrogen atom.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    atoms = _atoms(lines, name)
    symbols, positions = tuple(atom.symbol for atom in atoms), tuple(atom.position for atom in atoms)
    check_apart(symbols, positions, name=name)
    mass_numbers = tuple(atom.mass_number for atom in atoms)
    geometry = Geometry(
        symbols=symbols,
        coordinates_angstrom=positions,
        stated=Stated(where=name),
        atom_charges=tuple(atom.charge for atom in atoms),
        mass_numbers=mass_numbers if max(mass_numbers) > 0 else (),
    )
    bonds = covalent_bonds(geometry, skip=without_radius(symbols))
    _check_hydrogens(atoms, bonds, name)
    molecules = parts(len(atoms), bonds)
    _check_stated_bonds(lines, atoms, molecules, name)
    notes = [
        note
        for line, cell in _cells(lines, name)
        for note in check_cell(symbols, positions, cell, keyword="CRYST1", line=line, name=name)
    ]
    most = max(len({atoms[atom].place for atom in molecule}) for molecule in molecules)
    if most > 1:
        notes.append(f"bonded residues are one molecule and one fragment, here up to {count(most, 'residue')}")
    return replace(geometry, notes=tuple(notes))


# --- atoms -----------------------------------------------------------------------------------------------------------


def _atoms(lines: Sequence[str], name: str) -> list[_Atom]:
    """Return the atoms of the one model that the lines hold."""
    atoms: list[_Atom] = []
    problems: list[str] = []
    locations: dict[str, str] = {}
    ended = False
    for number, line in enumerate(lines, start=1):
        record = line[:6].rstrip()
        if record in ("END", "ENDMDL"):
            ended = ended or bool(atoms)
        if record not in ("ATOM", "HETATM"):
            if record[:4].upper() in ("ATOM", "HETA"):  # such as one whose serial number has six digits
                problems.append(f"line {number}: columns 1-6 are {quote(record)}, not ATOM or HETATM; mend them")
            continue
        if ended:
            cure = "keep the lines of the one to compute, from MODEL to ENDMDL"
            raise InputError(f"{name}: line {number} begins another model or frame; {cure}")
        location, place = line[16:17].strip(), line[21:27].strip()
        if location and (first := locations.setdefault(place, location)) != location:
            which = f"both {quote(first)} and {quote(location)} for residue {quote(line[17:27].strip())}"
            cure = "keep the lines of one of these alternate locations"
            raise InputError(f"{name}: column 17 of line {number} and lines before has {which}; {cure}")
        if len(atoms) == MAX_ATOMS:
            raise InputError(f"{name}: the file holds more than {MAX_ATOMS} atoms; keep those to compute")
        atom, problem = _atom(line, number)
        if problem:
            problems.append(f"line {number}: {problem}")
        atoms.append(atom)
    refuse(name, problems)
    if not atoms:
        raise InputError(f"{name}: the file has no ATOM or HETATM line; it should hold a geometry in PDB format")
    return atoms


def _atom(line: str, number: int) -> tuple[_Atom, str]:
    """Return the atom of a line, and what is wrong with it or an empty text."""
    problems = []
    texts = [line[at : at + 8] for at in (30, 38, 46)]
    if line[29:30].strip() or not all(map(_COORDINATE.fullmatch, texts)):
        problems.append(f"columns 31-54 are {quote(line[29:54].strip())}, not x, y, z in eight columns each")
        texts = ["0", "0", "0"]
    x, y, z = map(float, texts)
    residue, last = line[17:21].strip(), line[72:80].ljust(8)
    label, stated = ("", "") if _OLD_COLUMNS.fullmatch(last) else (last[4:6].strip(), last[6:].strip())
    symbol, mass_number, problem = species(label) if label else (_by_name(line), -1, "")
    if not symbol:
        unclear = f"the name {quote(line[12:16].strip())} of residue {quote(residue)} does not tell the element"
        problems.append(problem or f"{unclear} in one way only; state it in columns 77-78, as Open Babel does")
    charge = _CHARGE.fullmatch(stated)
    if stated and not charge:
        problems.append(f"columns 79-80 state charge {quote(stated)}; write it as 1+ or 2-")
    atom = _Atom(
        line=number,
        serial=line[6:11].strip(),
        residue=residue,
        place=line[17:27].strip(),
        symbol=symbol,
        mass_number=mass_number,
        position=(x, y, z),
        charge=int(f"{charge[2] or charge[3]}{charge[1] or charge[4]}") if charge else None,
    )
    return atom, "; ".join(problems)


def _by_name(line: str) -> str:
    """Return the element that an atom's name tells; an empty text where it may be another.

    The format has the symbol end in column 14, which many programs do not heed: `CA` is calcium or the carbon atom of
    an amino acid.
    """
    residue, known = line[17:21].strip(), elements()
    name, whole = (found[0].capitalize() if (found := _WORD.search(text)) else "" for text in (line[12:16], residue))
    one, two = known.get(name[:1], ""), known.get(name[:2], "")
    if name == whole:
        return known.get(name, "")  # an ion is named as its residue; SOD and CLA, say, are no symbols
    if residue in WATERS or _BIOPOLYMERS.fullmatch(residue):
        return one if one in {"H", "C", "N", "O", "S", "P"} else ""
    if len(name) == 1 or not two:
        return one
    return "" if one else two


# --- what is missing or contradicts ----------------------------------------------------------------------------------


def _check_hydrogens(atoms: Sequence[_Atom], bonds: Bonds, name: str) -> None:
    """Raise `InputError` where hydrogen atoms are missing, as in crystal structures."""
    neighbours: list[list[int]] = [[] for _ in atoms]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    for atom, beside in zip(atoms, neighbours, strict=True):
        positions = [atoms[other].position for other in beside]
        lacking = atom.symbol == "O" and atom.residue in WATERS and len(beside) < 2  # noqa: PLR2004 - H2O
        if atom.symbol == "C":
            lacking = (len(beside) == 1 and math.dist(atom.position, positions[0]) > _TRIPLE_BOND_ANGSTROM) or (
                len(beside) == 2 and _degrees(positions[0], atom.position, positions[1]) < _BENT_DEGREES  # noqa: PLR2004
            )
        if lacking:
            what = f"the {atom.symbol} atom in line {atom.line} (residue {quote(atom.place)}) lacks hydrogen atoms"
            cure = "add them (obabel -h, reduce or PDB2PQR), or give what is meant so as an XYZ file"
            raise InputError(f"{name}: {what}, as crystal structures do; {cure}")


def _degrees(one: Position, centre: Position, other: Position) -> float:
    a, b, c = math.dist(one, centre), math.dist(other, centre), math.dist(one, other)
    return math.degrees(math.acos(max(-1.0, min(1.0, (a * a + b * b - c * c) / (2.0 * a * b)))))


def _check_stated_bonds(
    lines: Sequence[str], atoms: Sequence[_Atom], molecules: Sequence[Sequence[int]], name: str
) -> None:
    """Raise `InputError` where CONECT bonds atoms that lie in different molecules by their distances."""
    molecule_of = {atom: number for number, members in enumerate(molecules) for atom in members}
    numbers: dict[str, int] = {}
    for number, atom in enumerate(atoms):
        numbers[atom.serial] = -1 if atom.serial in numbers else number
    for at, line in enumerate(lines, start=1):
        if line[:6] != "CONECT":
            continue
        serials = [text for start in range(6, 31, 5) if (text := line[start : start + 5].strip())]
        bonded = [numbers.get(serial, -1) for serial in serials]
        if -1 in bonded:
            serial = quote(serials[bonded.index(-1)])
            raise InputError(
                f"{name}: CONECT in line {at} names atom {serial}, which no line or more than one is; mend or remove it"
            )
        if other := [atom for atom in bonded if molecule_of[atom] != molecule_of[bonded[0]]]:
            one, two = atoms[bonded[0]], atoms[other[0]]
            apart = f"{one.symbol} and {two.symbol}, which are {math.dist(one.position, two.position):.2f} Å apart"
            raise InputError(f"{name}: CONECT in line {at} bonds {apart}; mend the geometry or remove the record")


def _cells(lines: Sequence[str], name: str) -> Iterator[tuple[int, Cell]]:
    """Yield line and cell of CRYST1; a cell of 1 Å or 0 is how programs say that there is none."""
    for number, line in enumerate(lines, start=1):
        if line[:6] != "CRYST1":
            continue
        try:
            a, b, c = (float(line[at : at + 9]) for at in (6, 15, 24))
            alpha, beta, gamma = (math.radians(float(line[at : at + 7])) for at in (33, 40, 47))
        except ValueError:
            a = b = c = alpha = beta = gamma = math.nan
        if max(a, b, c) <= 1.0:
            continue
        x = (math.cos(alpha) - math.cos(beta) * math.cos(gamma)) / math.sin(gamma) if gamma else math.nan
        z_squared = 1.0 - math.cos(beta) ** 2 - x * x
        if not (z_squared > 0.0 and max(a, b, c) < math.inf):
            raise InputError(f"{name}: CRYST1 in line {number} states no cell; correct it or remove it")
        vectors = (
            (a, 0.0, 0.0),
            (b * math.cos(gamma), b * math.sin(gamma), 0.0),
            (c * math.cos(beta), c * x, c * math.sqrt(z_squared)),
        )
        yield number, Cell(vectors=vectors, periodic=(True, True, True))
