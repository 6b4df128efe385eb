"""Crystals in Crystallographic Information Files: all atoms of the cell, by the symmetry that the file states.

Rules: ASE parses the file. Its symmetry is the list of operations, where there is one, whatever the space group is
called; otherwise a name that stands for one setting only, as spglib has them. What states no symmetry, is disordered or
lacks atoms of its own formula is refused. Raises InputError with the fault and the cure.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base.errors import InputError
from autotune.base.text import join_words, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAME_ANGSTROM = 0.05  # two images closer than this are one atom at a special position
_MOST_STEPS, _ROUNDING = 20, 1e-12  # towards a special position, in fractions of the cell
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_CELL = (
    *(f"_cell_length_{edge}" for edge in "abc"),
    *(f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")),
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_ref")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_RIGHT_ANGLE = 90
_SETTINGS = 530  # in spglib's list, from 1
_CURE = "give a file that lists its operations (_symmetry_equiv_pos_as_xyz)"


def read_cif(path: Path) -> Any:
    """Return all atoms of the cell of a CIF, as ASE's Atoms."""
    from ase.io.cif import parse_cif

    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    blocks = [block for block in parse_cif(io.BytesIO(content)) if block.has_structure()]
    if not blocks:
        raise InputError(f"{path} has no structure with a cell and atoms in it; give one that has")
    (block, *_) = blocks
    if len(blocks) > 1:
        raise InputError(f"{path} has {len(blocks)} structures; give a file with one")
    occupancies = [value for value in block.get("_atom_site_occupancy") or () if isinstance(value, int | float)]
    if any(value < 1.0 for value in occupancies):
        raise InputError(f"{path}: the structure is disordered (occupancies below 1); keep one of the alternatives")
    if lacking := [tag for tag in _CELL if not isinstance(block.get(tag), int | float)]:
        raise InputError(f"{path} does not repeat in three directions: it has no number for {lacking[0]}")
    sites = block.get_unsymmetrized_structure()
    atoms = _expand(sites, *_symmetry(block, str(path)))
    _check_formula(
        block.get("_chemical_formula_sum"), block.get("_cell_formula_units_z"), atoms.get_chemical_symbols(), str(path)
    )
    return atoms


def _symmetry(block: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rotations, shape (n, 3, 3), and translations, shape (n, 3), that a file states."""
    import numpy as np
    import spglib
    from ase.spacegroup.spacegroup import parse_sitesym

    listed = _first(block, _OPERATIONS)
    if listed:
        rotations, translations = parse_sitesym([listed] if isinstance(listed, str) else list(listed))
        if not any(
            np.allclose(turn, np.eye(3)) and not (move % 1).any()
            for turn, move in zip(rotations, translations, strict=True)
        ):
            raise InputError(
                f"{name} lists symmetry operations without x,y,z, which leaves atoms where they are; add it"
            )
        return rotations, translations
    hall, called = _words(_first(block, _HALL)), _words(_first(block, _NAMES))
    number = _words(_first(block, _NUMBERS))
    if not hall and not called:
        raise InputError(f"{name} states no symmetry; {_CURE}, of which one without symmetry has x,y,z alone")
    settings: list[tuple[int, Any]] = [
        (setting, spglib.get_spacegroup_type(setting)) for setting in range(1, _SETTINGS + 1)
    ]
    if hall:
        found = [setting for setting, kind in settings if _plain(kind.hall_symbol) == _plain(hall)]
    else:
        is_right = block.get("_cell_angle_alpha") == block.get("_cell_angle_gamma") == _RIGHT_ANGLE
        found = [setting for setting, kind in settings if _plain(called) in _names_of(kind, short=is_right)]
    if number.isdecimal():
        found = [setting for setting, kind in settings if setting in found and kind.number == int(number)]
    if len(found) != 1:
        what = "stand for several settings" if found else "are not known together"
        stated = join_words([repr(text) for text in (hall or called, number) if text])
        raise InputError(f"{name} lists no symmetry operations, and {stated} {what}; {_CURE}")
    operations: Any = spglib.get_symmetry_from_database(found[0])
    return operations["rotations"], operations["translations"]


def _names_of(kind: Any, *, short: bool) -> set[str]:
    """Return the names of one setting of a space group: as P12_1/n1, and where `short` ones are meant, P2_1/n."""
    full = kind.international_full
    # The short name of a monoclinic group leaves out the axes without symmetry, and means that b is the one with it.
    named = "".join(word for word in full.split() if word != "1") if short and kind.choice.startswith("b") else ""
    others = [each for each in kind.international.split("=") if kind.choice in ("", "1", "2", "H", "R")]
    return {_plain(text) for text in (full, named, *others) if text}


def _plain(text: str) -> str:
    """Return a symbol without what is written in several ways: spaces, underscores, brackets, capitals."""
    return re.sub(r"[\s_()]", "", text).lower()


def _first(block: Any, tags: Iterable[str]) -> Any:
    return next((value for tag in tags if (value := block.get(tag)) not in (None, "", "?", ".")), None)


def _words(value: object) -> str:
    return "" if value is None else str(value).strip()


def _expand(sites: Any, rotations: NDArray[np.float64], translations: NDArray[np.float64]) -> Any:
    """Return the atoms of the whole cell; images of atoms that fall on others of their element are one atom.

    An atom at a special position is put where its own images have their mean, which the operations leave where it is:
    a third that is written as 0.3333 would break the symmetry that `crystal` looks for.
    """
    import numpy as np
    from ase import Atoms

    vectors = sites.cell.array

    def special(place: NDArray[np.float64]) -> NDArray[np.float64]:
        for _ in range(_MOST_STEPS):  # each is nearer, and lets more operations in
            images = rotations @ place + translations
            images -= np.round(images - place)
            off = np.linalg.norm((images - place) @ vectors, axis=1)
            before, place = place, images[off < SAME_ANGSTROM].mean(axis=0)
            if np.allclose(before, place, rtol=0.0, atol=_ROUNDING):
                break
        return place

    places: list[NDArray[np.float64]] = []
    symbols: list[str] = []
    by_symbol: dict[str, list[NDArray[np.float64]]] = {}
    for symbol, place in zip(sites.get_chemical_symbols(), sites.get_scaled_positions(wrap=False), strict=True):
        known = by_symbol.setdefault(symbol, [])
        for image in rotations @ special(place) + translations:
            if known:
                off = np.array(known) - image
                if np.linalg.norm((off - np.round(off)) @ vectors, axis=1).min() < SAME_ANGSTROM:
                    continue
            known.append(image)
            places.append(image)
            symbols.append(symbol)
    return Atoms(symbols=symbols, scaled_positions=np.array(places), cell=vectors, pbc=True)


def _check_formula(stated: object, units: object, symbols: Sequence[str], name: str) -> None:
    """Refuse a structure whose atoms are not those of its own formula, as where hydrogens are missing."""
    from ase.formula import Formula

    wanted: Counter[str] = Counter()
    try:
        for symbol, times in Formula(str(stated).replace(" ", "")).count().items():
            wanted["H" if symbol == "D" else symbol] += times
    except (ValueError, KeyError, AssertionError):
        return  # none is stated, or one with fractions
    found = Counter(symbols)
    total, whole = sum(found.values()), sum(wanted.values())
    if not whole:
        return
    lacking = [symbol for symbol in sorted({*wanted, *found}) if found[symbol] * whole < wanted[symbol] * total]
    cell = f"its cell has {_written(found)}"
    if lacking:
        raise InputError(
            f"{name} says {one_line(stated)}, but {cell}: {join_words(lacking)} are missing; give a structure with all"
            " atoms"
        )
    if isinstance(units, int) and total != units * whole:
        raise InputError(
            f"{name} says {units} times {one_line(stated)}, but {cell}; its symmetry is incomplete: {_CURE}"
        )


def _written(counts: Counter[str]) -> str:
    return " ".join(f"{symbol}{times}" for symbol, times in sorted(counts.items()))
