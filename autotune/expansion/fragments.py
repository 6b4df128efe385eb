"""Fragments as a user states them, with charges and multiplicities: in texts of options and in fields of a molecule.

Rules: in texts, atoms and fragments count from 1 and fragments keep the order in which they are written. Works on the
fields of a molecule as they come from JSON, before a QCElemental molecule is made of them, because guessing
charges and multiplicities is what QCElemental cannot do for many fragments. What is stated is obeyed or refused, as are
ghosts and totals that fragments do not add up to, which would be left out without a word. Errors are one line with the
cure.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from autotune.base.errors import InputError
from autotune.base.text import one_line, quote
from autotune.costs import basis
from autotune.expansion.bonds import close_pairs

if TYPE_CHECKING:
    from autotune.expansion.geometry import Fragments

MIN_DISTANCE_BOHR = 0.75  # 0.4 Å: closer than any bond (H2 has 0.74 Å), so two atoms were given one place
MAX_COORDINATE_BOHR = 1.0e7
BOHR_IN_ANGSTROM = 0.529177


def explicit_fragments(molecule: Mapping[str, Any]) -> dict[str, Any]:
    """Return molecule fields with fragment charges and multiplicities made explicit.

    Charges that are not given are 0, multiplicities that are not given are 1 or 2 by the parity of the electrons.

    Raises:
        InputError: No fragments, fragments that are no partition of the atoms, ghost atoms, a charge or multiplicity of
            the molecule that its fragments do not add up to, or lists of the wrong length.
    """
    fields = dict(molecule)
    fragments = fields.get("fragments")
    symbols = fields.get("symbols")
    if fragments is None or symbols is None or len(fragments) < 2:  # noqa: PLR2004 - a many-body expansion needs two
        raise InputError(
            f"the molecule {'is one fragment' if fragments and symbols else 'has no fragments'}, so there is nothing to"
            " expand; give at least two in field 'fragments' (or --fragments for a geometry)"
        )
    _check_partition(fragments, len(symbols))
    _refuse_ghosts(fields)
    count = len(fragments)
    charges = fields.get("fragment_charges")
    total = fields.get("molecular_charge")
    if charges is None:
        if total:
            raise InputError(
                f"the molecule has charge {total:+g} but no fragment_charges; say which of the {count} have it"
            )
        charges = [0.0] * count
    if wrong := [charge for charge in charges if not _is_finite(charge)]:
        raise InputError(f"fragment_charges holds {quote(wrong[0])}, which is no number; give one for each fragment")
    if len(charges) != count:
        raise InputError(f"fragment_charges has {len(charges)} entries for {count} fragments; give one for each")
    if total is not None and not math.isclose(total, sum(charges), abs_tol=1e-6):
        raise InputError(f"fragment_charges add up to {sum(charges):+g} but molecular_charge is {total:+g}; mend one")
    multiplicities = fields.get("fragment_multiplicities")
    if multiplicities is None:
        multiplicities = _lowest_multiplicities(fields, charges)
    if len(multiplicities) != count:
        raise InputError(f"fragment_multiplicities has {len(multiplicities)} entries for {count} fragments")
    _check_spins(fields, multiplicities)
    explicit = {**fields, "fragment_charges": list(charges), "fragment_multiplicities": list(multiplicities)}
    if fields.get("validated"):
        # QCElemental does not add up for a molecule that says of itself that this has been done.
        explicit["molecular_charge"] = float(sum(charges))
        explicit["molecular_multiplicity"] = _parallel(multiplicities)
    return explicit


def _check_partition(fragments: Sequence[Sequence[int]], natom: int) -> None:
    """Raise `InputError` unless each atom is in exactly one fragment."""
    owner: dict[int, int] = {}
    for number, fragment in enumerate(fragments, start=1):
        if isinstance(fragment, (str, Mapping)) or not hasattr(fragment, "__len__"):
            raise InputError(f"field 'fragments' holds {quote(fragment)}, which is no list of atoms")
        if not len(fragment):
            raise InputError(f"field 'fragments': fragment {number} has no atoms; leave it out")
        for atom in fragment:
            if isinstance(atom, bool) or not hasattr(atom, "__index__"):
                raise InputError(f"field 'fragments' holds {quote(atom)}; give atoms as whole numbers, from 0")
            if not 0 <= atom < natom:
                raise InputError(
                    f"field 'fragments' names atom {int(atom)}, but the molecule has atoms 0 to {natom - 1}"
                )
            if atom in owner:
                raise InputError(
                    f"field 'fragments' names atom {int(atom)} twice, in fragments {owner[atom]} and {number};"
                    " each atom belongs to one"
                )
            owner[atom] = number
    if missing := sorted(set(range(natom)) - owner.keys()):
        raise InputError(f"field 'fragments': atom {missing[0]} is in no fragment; each atom belongs to one")


def _refuse_ghosts(fields: Mapping[str, Any]) -> None:
    real = fields.get("real")
    ghosts = [] if real is None else [number for number, is_real in enumerate(real, start=1) if not is_real]
    if ghosts:
        raise InputError(
            f"field 'real' makes atom {ghosts[0]} a ghost, which would be computed as a real atom; leave ghosts out:"
            " bsse_type cp or vmfc sets those that a counterpoise correction needs"
        )


def _parallel(multiplicities: Sequence[float]) -> float:
    """Return the multiplicity of fragments together, all their unpaired electrons parallel: what is computed."""
    return 1 + sum(multiplicity - 1 for multiplicity in multiplicities)


def _check_spins(fields: Mapping[str, Any], multiplicities: Sequence[float]) -> None:
    """Raise `InputError` where the molecule states another multiplicity than its fragments make together."""
    stated, together = fields.get("molecular_multiplicity"), _parallel(multiplicities)
    if stated is None or stated == together:
        return
    if fields.get("fragment_multiplicities") is None:
        # Which fragments have the unpaired electrons would be a guess, and a wrong one is another energy.
        raise InputError(
            f"the molecule has multiplicity {quote(stated)}, its fragments at their lowest {together} together; say"
            " fragment_multiplicities, one for each"
        )
    raise InputError(
        f"molecular_multiplicity is {stated:g}, but fragments of these multiplicities are computed with their spins"
        f" parallel, {together:g} together; mend one (other couplings of the spins cannot be computed)"
    )


def _lowest_multiplicities(fields: Mapping[str, Any], charges: Sequence[float]) -> list[int]:
    """Return 1 or 2 for each fragment by the parity of its electrons."""
    symbols, fragments = fields["symbols"], fields["fragments"]
    try:
        return [
            1 + basis.electrons([symbols[atom] for atom in fragment], charge) % 2
            for fragment, charge in zip(fragments, charges, strict=True)
        ]
    except Exception as error:
        raise InputError(f"field 'symbols' holds something that is no element: {one_line(error)}") from error


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def check_distances(molecule: Mapping[str, Any]) -> None:
    """Raise `InputError` where two atoms are in one place; the molecule's geometry is in bohr, flat or `(natom, 3)`."""
    import numpy as np

    symbols = molecule["symbols"]
    try:
        geometry = np.asarray(molecule.get("geometry"), dtype=float).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("field molecule.geometry is not a list of numbers, three for each atom, in bohr") from error
    if len(geometry) != len(symbols):
        raise InputError(f"the molecule has {len(symbols)} symbols but {len(geometry)} positions; mend one")
    if not (np.abs(geometry) <= MAX_COORDINATE_BOHR).all():
        raise InputError(
            f"field molecule.geometry holds a number that is not finite or above {MAX_COORDINATE_BOHR:g} bohr; mend it"
        )
    for i, j, distance in close_pairs([(x, y, z) for x, y, z in geometry.tolist()], MIN_DISTANCE_BOHR):
        raise InputError(
            f"atoms {i + 1} ({one_line(symbols[i])}) and {j + 1} ({one_line(symbols[j])}) overlap:"
            f" {distance * BOHR_IN_ANGSTROM:.3f} Å apart; mend the geometry (here it is in bohr)"
        )


# --- texts of options -------------------------------------------------------------------------------------------------


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
        return atom_groups(groups, natom, shown=shown)
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


def atom_groups(groups: Sequence[str], natom: int, *, shown: str) -> Fragments:
    """Return the fragments whose atoms, counted from 1, texts such as `1-3,7` name.

    Raises `InputError`, which begins with what is `shown`, unless each of the `natom` atoms is in one of them.
    """
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


def blocks(sizes: Sequence[int]) -> Fragments:
    """Return consecutive fragments of these sizes."""
    return tuple(tuple(range(end - size, end)) for size, end in zip(sizes, itertools.accumulate(sizes), strict=True))
