"""Labels of elements: symbols, atomic numbers and isotopes, as files of geometries have them.

Rules: a label that is no element is refused with the cure, ghosts and dummy atoms too; an atom's name such as `CA` is
no element's label.
"""

from __future__ import annotations

import functools
import re

MAX_LABEL = 60
_ISOTOPE = re.compile(r"([0-9]{1,3})([A-Za-z]{1,2})")
_GHOST = re.compile(r"@.+|[Gg]h(ost)?([-_(:].*)?|.+:|[Bb]q.*|.*-[Bb]q|[Xx]{1,2}[0-9]*|[Dd][Uu](mmy)?")
_HYDROGENS = {"d": ("H", 2), "t": ("H", 3)}


@functools.cache
def elements() -> dict[str, str]:
    """Return the symbols of the elements, by symbol and by atomic number as text."""
    from qcelemental import periodictable

    both = [(str(symbol), int(z)) for symbol, z in zip(periodictable.E, periodictable.Z, strict=True) if int(z)]
    return {key: symbol for symbol, z in both for key in (symbol, str(z))}


@functools.lru_cache(maxsize=4096)
def species(label: str) -> tuple[str, int, str]:
    """Return the element and the mass number (-1 if not stated) of a label, and what is wrong with it or no text."""
    if symbol := elements().get(label.capitalize()):
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
    meant = elements().get(letters)
    cure = f"{meant} (labels are not read)" if meant else "a symbol, O, or atomic number, 8"
    return "", -1, f"unknown element {shown!r}; write {cure}"


def _is_isotope(symbol: str, mass_number: int) -> bool:
    from qcelemental import periodictable
    from qcelemental.exceptions import NotAnElementError

    try:
        return bool(periodictable.to_A(f"{symbol}{mass_number}") == mass_number)
    except NotAnElementError:
        return False
