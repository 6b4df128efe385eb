"""What was understood of an input, in one line: fragments by formula, charges, spins, totals, units.

Rules: pure. A user who reads it sees whether the calculation is of the molecules that were meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from autotune.base.text import count, join_words, one_line
from autotune.expansion.bonds import closeness_words
from autotune.expansion.fragments import BOHR_IN_ANGSTROM

if TYPE_CHECKING:
    from qcelemental.models.v2 import Molecule

MOST_KINDS = 12
MOST_NOTES = 3
BOHR_FILE_WORDS = "the file says that its coordinates are in bohr: are they in ångström?"
BOHR_WORDS = "coordinates in JSON are in bohr: were these meant in ångström?"
SPINS = ("singlet", "doublet", "triplet", "quartet", "quintet", "sextet", "septet")


def describe(molecule: Molecule) -> str:
    """Return what a cluster is, such as `6 H2O and Na (charge +1); in all 19 atoms, charge +1, singlet; ångström`.

    Args:
        molecule: The cluster; the units its input had, where a reader of files has noted them, are in its extras.
    """
    kinds = Counter(
        _kind(formula(molecule.symbols[list(atoms)].tolist()), charge, multiplicity)
        for atoms, charge, multiplicity in zip(
            molecule.fragments, molecule.fragment_charges, molecule.fragment_multiplicities, strict=True
        )
    )
    named = [f"{times} {kind}" if times > 1 else kind for kind, times in kinds.items()]
    more = [f"{count(len(named) - MOST_KINDS, 'more kind')} of fragments"] if len(named) > MOST_KINDS else []
    units = {"angstrom": "ångström"}.get(str(notes_of(molecule).get("units")), "bohr")
    further = "".join(f"; {words}" for words in (_isotopes(molecule), *_notes(molecule), _closeness(molecule)) if words)
    return (
        f"{count(len(molecule.fragments), 'fragment')}: {join_words([*named[:MOST_KINDS], *more])}; in all"
        f" {count(len(molecule.symbols), 'atom')}, charge {_sign(molecule.molecular_charge)},"
        f" {spin_words(molecule.molecular_multiplicity)}; coordinates in {units}{further}"
    )


def notes_of(molecule: Molecule) -> dict[str, object]:
    """Return what a reader of files has noted about a molecule: `units`, `source`, `notes`; empty without."""
    return dict((molecule.extras or {}).get("autotune") or {})


def _notes(molecule: Molecule) -> list[str]:
    """Return what a reader of files wants to be told to the user."""
    notes = notes_of(molecule).get("notes")
    return [one_line(note) for note in notes[:MOST_NOTES]] if isinstance(notes, list) else []


def _closeness(molecule: Molecule) -> str:
    """Return what to say of atoms that are closer than any bond; empty where there are none."""
    positions = [(x, y, z) for x, y, z in (molecule.geometry * BOHR_IN_ANGSTROM).tolist()]
    words = closeness_words(molecule.symbols.tolist(), positions)
    read = notes_of(molecule)
    if words and not read.get("source"):
        return f"{words}; {BOHR_WORDS}"
    return f"{words}; {BOHR_FILE_WORDS}" if words and read.get("units") == "bohr" else words


def formula(symbols: Iterable[str]) -> str:
    """Return a formula in Hill's order (J. Am. Chem. Soc. 22, 478 (1900)): carbon, hydrogen, then by the alphabet."""
    times = Counter(symbols)
    first = [symbol for symbol in ("C", "H") if symbol in times] if "C" in times else []
    order = [*first, *sorted(times.keys() - set(first))]
    return "".join(f"{symbol}{times[symbol] if times[symbol] > 1 else ''}" for symbol in order)


def spin_words(multiplicity: float) -> str:
    """Return the name of a multiplicity, such as `triplet`."""
    whole = round(multiplicity)
    return SPINS[whole - 1] if whole == multiplicity and 1 <= whole <= len(SPINS) else f"multiplicity {multiplicity:g}"


def _kind(what: str, charge: float, multiplicity: float) -> str:
    state = [
        *([f"charge {_sign(charge)}"] if charge else []),
        *([spin_words(multiplicity)] if multiplicity != 1 else []),
    ]
    return f"{what} ({', '.join(state)})" if state else what


def _sign(charge: float) -> str:
    return f"{charge:+g}" if charge else "0"


def _isotopes(molecule: Molecule) -> str:
    """Return which isotopes other than the most abundant ones there are; -1 says that none is named."""
    from qcelemental import periodictable

    numbers: Sequence[int] = molecule.mass_numbers.tolist()
    symbols: Sequence[str] = molecule.symbols.tolist()
    usual = {symbol: periodictable.to_A(symbol) for symbol in set(symbols)}
    found = Counter(
        f"{number}{symbol}"
        for symbol, number in zip(symbols, numbers, strict=True)
        if number not in (-1, usual[symbol])
    )
    return join_words(f"{times} {isotope}" if times > 1 else isotope for isotope, times in found.items())
