"""Reads molecules as Psi4 writes them: atoms in blocks between lines of `--`, each with its charge and multiplicity.

Rules: QCElemental reads the atoms and the units; here the text is only taken apart into its blocks. It is given all
atoms as one fragment: left to guess the charges of many, it would search without bound. What a block does not state is
found as for an XYZ file. Nothing is fetched from elsewhere: a name for PubChem is refused, as are EFP fragments and
Z-matrices.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from dataclasses import dataclass

from autotune.base.errors import InputError
from autotune.base.text import one_line
from autotune.expansion.geometry import MAX_ATOMS, Geometry, Stated, check_apart

_RULE = re.compile(r"^[ \t]*--[ \t]*$", re.MULTILINE)
_MOLECULE = re.compile(r"^[ \t]*molecule\b[^\n{]*\{(?P<inside>[^}]*)\}", re.MULTILINE | re.IGNORECASE)
_COMMENT = re.compile(r"#.*")
_STATE = re.compile(r"(?P<charge>[-+]?\d+)(?:\.0*)?[ \t,]+(?P<multiplicity>\d+)")
# Lines about the whole molecule; the orientation is always kept, and the symmetry of parts of a cluster is their own.
_OF_ALL = re.compile(r"units?\b.*|no_?com|no_?reorient|symmetry\b.*", re.IGNORECASE)
_ELSEWHERE = re.compile(r"(pubchem|efp)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """One block between lines of `--`.

    Attributes:
        atoms: Its lines of atoms.
        state: Charge and multiplicity, None where they are not stated.
    """

    atoms: tuple[str, ...]
    state: tuple[int, int] | None


def is_psi4_block(text: str, _: str) -> bool:
    """Return whether a text is a molecule in Psi4's form: within `molecule {…}`, or with lines of `--`."""
    return bool(_MOLECULE.search(text) or _RULE.search(text))


def read_psi4_block(text: str, name: str) -> Geometry:
    """Return the molecule in a text; from the input of a Psi4 calculation its one `molecule {…}`.

    Args:
        text: The content of the file.
        name: What messages call it.

    Raises:
        InputError: A line that cannot be obeyed, two molecules, ghost atoms, or two atoms in one place.
    """
    wrapped = _MOLECULE.findall(text)
    if len(wrapped) > 1:
        raise InputError(f"{name} has {len(wrapped)} molecules; keep the one to compute")
    notes = ("only its molecule {} was read, none of the settings around it",) if _settings_around(text) else ()
    blocks, of_all = _blocks(_COMMENT.sub("", wrapped[0] if wrapped else text), name)
    total = None
    if blocks and not blocks[0].atoms and len(blocks) > 1:  # the first block may state charge and multiplicity of all
        total = blocks[0].state
        blocks = blocks[1:]
    if empty := [number for number, block in enumerate(blocks, start=1) if not block.atoms]:
        raise InputError(f"{name}: fragment {empty[0]} has no atoms; remove a line of `--`")
    lines = [line for block in blocks for line in block.atoms]
    if len(lines) > MAX_ATOMS:
        raise InputError(f"{name} has {len(lines)} atoms, more than the {MAX_ATOMS} that can be read")
    atoms = _atoms([*of_all, *lines], count=len(lines), name=name)
    charge, multiplicity = (total or blocks[0].state or (None, None)) if total or len(blocks) == 1 else (None, None)
    stated = Stated(charge=charge, multiplicity=multiplicity, where="the file")
    if len(blocks) > 1:
        ends = [sum(len(block.atoms) for block in blocks[:number]) for number in range(len(blocks) + 1)]
        stated = Stated(
            charge=charge,
            multiplicity=multiplicity,
            fragments=tuple(tuple(range(first, last)) for first, last in itertools.pairwise(ends)),
            charges=tuple(block.state[0] if block.state else None for block in blocks),
            multiplicities=tuple(block.state[1] if block.state else None for block in blocks),
            where="the file",
        )
    return _geometry(atoms, stated, notes, name=name)


def _settings_around(text: str) -> bool:
    return bool(_MOLECULE.search(text)) and bool(_COMMENT.sub("", _MOLECULE.sub("", text)).strip())


def _blocks(text: str, name: str) -> tuple[list[_Block], list[str]]:
    """Return the blocks of a text without comments, and its lines about the whole molecule."""
    blocks, of_all = [], []
    for number, part in enumerate(_RULE.split(text), start=1):
        atoms, states = [], []
        for line in filter(None, map(str.strip, part.splitlines())):
            if found := _STATE.fullmatch(line):
                states.append((int(found["charge"]), int(found["multiplicity"])))
            elif _OF_ALL.fullmatch(line):
                of_all.append(line)
            else:
                atoms.append(line)
        if len(states) > 1:
            raise InputError(
                f"{name}: block {number} states charge and multiplicity twice; separate fragments by lines of `--`"
            )
        blocks.append(_Block(atoms=tuple(atoms), state=states[0] if states else None))
    return blocks, of_all


def _atoms(lines: list[str], *, count: int, name: str) -> dict[str, object]:
    """Return what QCElemental makes of these lines, all as one fragment."""
    from qcelemental.exceptions import MoleculeFormatError, NotAnElementError, ValidationError
    from qcelemental.molparse import from_string

    if refused := [line for line in lines if _ELSEWHERE.match(line)]:
        raise InputError(f"{name}: the line {refused[0][:60]!r} names atoms that are elsewhere; write them down here")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found: dict[str, object] = from_string("\n".join(lines), dtype="psi4", enable_efp=False, verbose=0)["qm"]
    except MoleculeFormatError as error:
        line = str(error).partition("\n")[2].partition("\n")[0]
        raise InputError(
            f"{name}: the line {one_line(line, most=60)!r} is not understood; give an element and three numbers for"
            " each atom (no Z-matrix or variables), and units bohr or angstrom"
        ) from error
    except NotAnElementError as error:
        label = one_line(error, most=60)
        where = [line for line in lines if label.lower() in line.split()[0].lower()]
        raise InputError(
            f"{name}: {f'the line {one_line(where[0], most=60)!r} has an ' if where else ''}unknown element {label!r};"
            " correct its symbol"
        ) from error
    except (ValidationError, ValueError) as error:
        if "too close" in str(error):
            raise InputError(f"{name}: two atoms are in one place; remove a duplicate, or correct the units") from error
        raise InputError(f"{name}: {one_line(error)}; correct the lines of the atoms") from error
    if not found or len(found["elem"]) != count:  # type: ignore[arg-type]
        raise InputError(f"{name} has no atoms; give an element and three numbers for each")
    return found


def _geometry(found: dict[str, object], stated: Stated, notes: tuple[str, ...], *, name: str) -> Geometry:
    from qcelemental import constants, periodictable

    symbols, real, mass_numbers, flat = (
        found[field].tolist()  # type: ignore[attr-defined]
        for field in ("elem", "real", "elea", "geom")
    )
    if ghosts := [number for number, is_real in enumerate(real, start=1) if not is_real]:
        raise InputError(
            f"{name}: atom {ghosts[0]} is a ghost; leave ghosts out: --bsse cp or vmfc sets those that a counterpoise"
            " correction needs"
        )
    if unknown := [number for number, mass in enumerate(mass_numbers, start=1) if mass < 1]:
        raise InputError(f"{name}: atom {unknown[0]} has a mass that no isotope has; leave it out, or write 2H or 13C")
    unit = float(constants.bohr2angstroms) if found["units"] == "Bohr" else 1.0
    values = [value * unit for value in flat]
    positions = tuple(zip(values[0::3], values[1::3], values[2::3], strict=True))
    check_apart(symbols, positions, name=name)
    usual = {symbol: periodictable.to_A(symbol) for symbol in set(symbols)}
    isotopes = tuple(
        -1 if number == usual[symbol] else number for symbol, number in zip(symbols, mass_numbers, strict=True)
    )
    return Geometry(
        symbols=tuple(symbols),
        coordinates_angstrom=positions,
        stated=stated,
        units="bohr" if found["units"] == "Bohr" else "angstrom",
        mass_numbers=isotopes if max(isotopes) > 0 else (),
        notes=notes,
    )
