"""What the comment line of an XYZ file states: text in, a record out.

Rules: knows the spellings of the field - `0 1`, `charge=-2 mult=1`, NCI Atlas, extended XYZ, JSON - and no chemistry.
Atoms count from 1 in texts, from 0 in records. What is no statement is only a comment; what is meant as a statement and
cannot be read, or says two different things, is an `InputError` with the cure.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autotune.base.errors import InputError
from autotune.base.json_files import json_object
from autotune.base.text import one_line, quote
from autotune.expansion.cell import Cell
from autotune.expansion.fragments import atom_groups, blocks
from autotune.expansion.geometry import Fragments, Stated

Units: TypeAlias = Literal["", "angstrom", "bohr"]
Pairs: TypeAlias = Sequence[tuple[str, str]]

MAX_STATED = 1_000_000
MAX_CELL = 1.0e6
_JSON_KEYS = ("fragments", "charges", "multiplicities", "charge", "multiplicity", "units", "species")
_TOTALS = {
    **dict.fromkeys(("charge", "total_charge", "net_charge", "molecular_charge"), "charge"),
    **dict.fromkeys(("multiplicity", "mult", "spin_multiplicity", "molecular_multiplicity"), "multiplicity"),
    "spin": "spin",
}
_BOHR = r"bohrs?|a\.?u\.?|a0|atomic units?"
_ANGSTROM = r"[aå]ngstr[oö]ms?|ang\.?|[aå]"
_UNIT = rf"({_BOHR}|{_ANGSTROM})(?![\w/])"
_PLACES = "coordinates|geometry|positions"
_UNIT_STATED = re.compile(rf"\b(?:units?\W{{1,3}}|(?:{_PLACES})(?: are)? in \W?|(?:{_PLACES})\W?[(:]\W?){_UNIT}")
_UNIT_ALONE = re.compile(rf"\W{{0,9}}(?:in\s)?{_UNIT}\W{{0,9}}")
_GOLD = re.compile(r"(?<!\w)Au(?!\w)")
_BOHR_MENTIONED = re.compile(r"(?<![\w/])bohrs?(?![\w/])")
_VALUE = r""""[^"]*"|'[^']*'|\{[^{}]*\}|\[[^\[\]]*\]|[^\s,;"'{\[][^\s,;]*(?:,[0-9][0-9-]*)*"""
_PAIR = re.compile(rf"(?<![\w.-])([A-Za-z][\w.-]*)[ \t]*=[ \t]*({_VALUE})")
_WORDS = re.compile(
    r"(?<![\w-])(charge|multiplicity|mult|spin(?=\s?:))(?:\s?:\s?|\s)([-+]?[0-9]{1,7}(?:\.0*)?)(?![\w.])"
)
_WHOLE = re.compile(r"([-+]?[0-9]{1,7})(?:\.0*)?")
_INTEGERS = re.compile(r"\s*[-+]?[0-9]{1,4}(?:(?:\s*,\s*|\s+)[-+]?[0-9]{1,4})*\s*")
_CHARGE_AND_MULTIPLICITY = re.compile(r"\s*([-+]?[0-9]{1,3})(?:\s*,\s*|\s+)([0-9]{1,2})(?![\w.])(?!\s*,?\s*[-+.0-9])")
_OF_LETTER = re.compile(r"(charge|multiplicity|mult|selection)_([a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where the columns of an atom line are that the file names, counted from 0.

    Attributes:
        species: Element symbol or atomic number.
        position: x; y and z follow.
    """

    species: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Stated):
    """What a comment line states; None or empty where it states nothing.

    Attributes:
        units: Of positions and cell.
        columns: Of the atom lines.
        cell: The box, if one is stated, in the units of the file.
    """

    units: Units = ""
    columns: Columns | None = None
    cell: Cell | None = None


def read_comment(text: str, *, natom: int, name: str) -> Comment:
    """Return what line 2 of the file `name` with `natom` atoms states.

    Raises:
        InputError: A statement that cannot be read, does not fit the atoms, or contradicts another.
    """
    fields = _json_object(text, name)
    if fields is not None:
        return _from_json(fields, natom, name)
    plain = text.replace("\N{MINUS SIGN}", "-")
    pairs = [(match[1].lower(), match[2].strip("\"'{}[]").strip()) for match in _PAIR.finditer(plain)]
    rest = " ".join(_PAIR.sub(" ", plain).lower().split())
    values = [int(word) for word in re.split(r"[\s,]+", rest.strip())] if _INTEGERS.fullmatch(rest) else []
    totals = _totals(pairs, rest, name)
    fragments, charges, multiplicities = _by_letter(pairs, natom, name)
    if not (fragments or charges or multiplicities) and len(values) > 5 and len(values) % 2 == 0:  # noqa: PLR2004
        # Counterpoise inputs have charge and multiplicity of all atoms, then those of each of two or more fragments.
        if min(values[1::2]) < 1:
            raise InputError(
                f"{name}: line 2 states multiplicity {min(values[1::2])}; write 2S + 1, which is 1 or more"
            )
        totals = {"charge": values[0], "multiplicity": values[1]}
        charges, multiplicities = tuple(values[2::2]), tuple(values[3::2])
    return Comment(
        charge=totals.get("charge"),
        multiplicity=totals.get("multiplicity"),
        spin=totals.get("spin"),
        fragments=fragments,
        charges=charges,
        multiplicities=multiplicities,
        units=_units(pairs, rest, name, gold=_GOLD.search(plain) is not None),
        columns=_columns(pairs, name),
        cell=_cell(pairs, name),
    )


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json_object(text: str, name: str) -> dict[str, object] | None:
    """Return the fields of a comment that is a JSON object, None for other texts."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        fields = json.loads(text, object_pairs_hook=json_object)
    except (ValueError, RecursionError) as error:
        if re.match(r'\s*\{\s*"', text):
            cure = 'write it as {"fragments": [3, 1], "charges": [0, -1]}'
            raise InputError(f"{name}: line 2 is not valid JSON: {one_line(error)}; {cure}") from error
        return None
    assert isinstance(fields, dict)
    if unknown := sorted(fields.keys() - set(_JSON_KEYS)):
        known = f"known are {', '.join(_JSON_KEYS)}"
        raise InputError(f"{name}: line 2 states {', '.join(map(quote, unknown[:3]))}, which is not known; {known}")
    return fields


def _from_json(fields: Mapping[str, object], natom: int, name: str) -> Comment:
    fragments = None
    if "fragments" in fields:
        sizes = _integers(fields["fragments"])
        if sizes is None or min(sizes, default=0) < 1 or sum(sizes) != natom:
            cure = f"must list sizes, as in [3, 3], that add up to {natom} atoms"
            raise InputError(f'{name}: "fragments" in line 2 {cure}')
        fragments = blocks(sizes)
    lists = {}
    for key in ("charges", "multiplicities"):
        values = _integers(fields[key]) if fields.get(key) is not None else ()
        if values is None or (fragments and values and len(values) != len(fragments)):
            count = f"{len(fragments)} whole numbers" if fragments else "whole numbers"
            raise InputError(f'{name}: "{key}" in line 2 must list {count}, one per fragment')
        lists[key] = values
    if min(lists["multiplicities"], default=1) < 1:
        raise InputError(f'{name}: "multiplicities" in line 2 must be 2S + 1, which is 1 or more')
    totals = {key: _json_whole(fields, key, name) for key in ("charge", "multiplicity")}
    units = fields.get("units")
    if units is not None and not isinstance(units, str):
        raise InputError(f'{name}: "units" in line 2 is {quote(units)}; write "angstrom" or "bohr"')
    return Comment(
        charge=totals["charge"],
        multiplicity=totals["multiplicity"],
        fragments=fragments,
        charges=lists["charges"],
        multiplicities=lists["multiplicities"],
        units=_units([("units", units)] if units else [], "", name),
    )


def _json_whole(fields: Mapping[str, object], key: str, name: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if type(value) is not int or abs(value) > MAX_STATED or (key == "multiplicity" and value < 1):
        raise InputError(f'{name}: "{key}" in line 2 is {quote(value)}; write a whole number')
    return value


def _integers(values: object) -> tuple[int, ...] | None:
    """Return a JSON list of whole numbers up to `MAX_STATED`, or None if it is anything else."""
    if not isinstance(values, list) or not all(type(value) is int and abs(value) <= MAX_STATED for value in values):
        return None
    return tuple(values)


# --- words and pairs -------------------------------------------------------------------------------------------------


def _totals(pairs: Pairs, rest: str, name: str) -> dict[str, int]:
    """Return charge, multiplicity and spin of all atoms, as far as they are stated, in whatever spelling."""
    stated = [(_TOTALS[key], value) for key, value in pairs if key in _TOTALS]
    stated += [(_TOTALS[match[1]], match[2]) for match in _WORDS.finditer(rest)]
    if both := _CHARGE_AND_MULTIPLICITY.match(rest):
        stated += [("charge", both[1]), ("multiplicity", both[2])]
    totals: dict[str, int] = {}
    for key, text in stated:
        value = _whole(text, key, name)
        if key != "charge" and value < (1 if key == "multiplicity" else 0):
            raise InputError(f"{name}: line 2 states {key} {value}; write 2S + 1, which is 1 or more")
        if totals.setdefault(key, value) != value:
            raise InputError(f"{name}: line 2 states {key} {totals[key]} and {key} {value}; keep the right one")
    return totals


def _whole(text: str, key: str, name: str) -> int:
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise InputError(f"{name}: line 2 states {key}={one_line(text)[:40]}; write a whole number, as in {key}=1")
    return int(match[1])


def _by_letter(
    pairs: Pairs, natom: int, name: str
) -> tuple[Fragments | None, tuple[int | None, ...], tuple[int | None, ...]]:
    """Return fragments, charges and multiplicities stated as `selection_a=1-3 charge_a=0 multiplicity_a=1`."""
    stated: dict[str, dict[str, str]] = {}
    for key, text in pairs:
        if match := _OF_LETTER.fullmatch(key):
            kind = "multiplicity" if match[1] == "mult" else match[1]
            if stated.setdefault(kind, {}).setdefault(match[2], text) != text:
                raise InputError(f"{name}: line 2 states {one_line(key)} twice; keep the right one")
    letters = sorted({letter for texts in stated.values() for letter in texts})
    if not letters:
        return None, (), ()
    selections = stated.get("selection", {})
    if selections and (missing := [letter for letter in letters if letter not in selections]):
        raise InputError(f"{name}: line 2 has no selection_{missing[0]}; say which atoms it is, as in 1-3")
    charges, multiplicities = (
        tuple(
            _whole(texts[letter], f"{kind}_{letter}", name) if letter in texts else None for letter in letters if texts
        )
        for kind, texts in ((kind, stated.get(kind, {})) for kind in ("charge", "multiplicity"))
    )
    if any(value is not None and value < 1 for value in multiplicities):
        raise InputError(f"{name}: line 2 states a multiplicity below 1; write 2S + 1, which is 1 or more")
    texts = [selections[letter] for letter in letters if selections]
    fragments = atom_groups(texts, natom, shown=f"{name}: selections in line 2") if texts else None
    return fragments, charges, multiplicities


def _units(pairs: Pairs, rest: str, name: str, *, gold: bool = False) -> Units:
    """Return the stated units; a mention of bohr is asked about, and `Au` alone is the name of a `gold` cluster."""
    stated = [(value.lower(), value) for key, value in pairs if key in ("units", "unit")]
    stated += [
        (match[1], match[1]) for match in (_UNIT_STATED.search(rest), not gold and _unit_alone(pairs, rest)) if match
    ]
    found: set[Units] = set()
    for low, shown in stated:
        known = re.fullmatch(_UNIT, low)
        if not known:
            raise InputError(f"{name}: line 2 states units {one_line(shown)[:40]!r}; convert them to angstrom or bohr")
        found.add("bohr" if re.fullmatch(_BOHR, low) else "angstrom")
    if len(found) > 1 or (_BOHR_MENTIONED.search(rest) and "bohr" not in found):
        raise InputError(
            f"{name}: line 2 speaks of bohr; say units=bohr or units=angstrom, whichever the positions have"
        )
    return found.pop() if found else ""


def _unit_alone(pairs: Pairs, rest: str) -> re.Match[str] | None:
    """Return the unit that is the whole comment, beside charge and multiplicity; `E=-76.4 au` has a unit of its own."""
    if any(key not in _TOTALS for key, _ in pairs):
        return None
    both = _CHARGE_AND_MULTIPLICITY.match(rest)
    return _UNIT_ALONE.fullmatch(rest[both.end() :] if both else rest)


# --- extended XYZ ----------------------------------------------------------------------------------------------------


def _columns(pairs: Pairs, name: str) -> Columns | None:
    """Return where `Properties=species:S:1:pos:R:3:...` puts element and position."""
    layouts = {value for key, value in pairs if key == "properties"}
    if not layouts:
        return None
    words = min(layouts).split(":")
    shown = f"line 2 orders the columns {one_line(min(layouts))[:40]!r}"
    counts = words[2::3]
    if len(layouts) > 1 or len(words) % 3 or not all(re.fullmatch(r"[1-9][0-9]{0,3}", count) for count in counts):
        raise InputError(f"{name}: {shown}; write name:type:count for each, as in species:S:1:pos:R:3")
    starts = [0, *itertools.accumulate(map(int, counts))]
    places = {
        (label.lower(), kind.upper(), count): start
        for label, kind, count, start in zip(words[::3], words[1::3], counts, starts, strict=False)
    }
    species = next((places[key] for key in (("species", "S", "1"), ("z", "I", "1")) if key in places), None)
    position = places.get(("pos", "R", "3"))
    if species is None or position is None:
        raise InputError(f"{name}: {shown}; it must name species:S:1 and pos:R:3")
    return Columns(species=species, position=position)


def _cell(pairs: Pairs, name: str) -> Cell | None:
    """Return the cell of `Lattice="ax ay az bx ..."`; it repeats along all vectors unless pbc says otherwise."""
    given = dict(pairs)
    if "lattice" not in given:
        return None
    try:
        values = [float(word) for word in re.split(r"[\s,]+", given["lattice"].strip())]
    except ValueError:
        values = []
    if len(values) == 3:  # noqa: PLR2004 - the lengths of a rectangular box
        values = [values[0], 0.0, 0.0, 0.0, values[1], 0.0, 0.0, 0.0, values[2]]
    if len(values) != 9 or not all(abs(value) <= MAX_CELL for value in values):  # noqa: PLR2004
        raise InputError(f"{name}: Lattice in line 2 must be the nine numbers of three vectors; correct or remove it")
    flags = [
        word[:1].lower() in ("t", "1", ".") and not word.lower().startswith(".f")
        for word in re.split(r"[\s,]+", given.get("pbc", "T T T"))
    ]
    x, y, z = (flags * 3)[:3] if len(flags) in (1, 3) else (True, True, True)
    a, b, c = ((values[at], values[at + 1], values[at + 2]) for at in (0, 3, 6))
    return Cell(vectors=(a, b, c), periodic=(x, y, z))
