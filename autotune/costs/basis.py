"""Exact counts of basis functions, and what primitives they are made of, from basis set names.

Rules: knows basis sets only, not programs; an unknown basis counts as 0 functions, because here a count only ranks
costs - whether a basis exists is the program's own check before the first task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any


def plain(name: str) -> str:
    """Return the spelling under which all spellings of a basis set's name meet: `6-31G(d,p)` gives `631g**`."""
    bare = re.sub(r"[-_\s]", "", name.lower())
    return re.sub(r"g\(d(,p)?\)$", lambda polarised: "g**" if polarised[1] else "g*", bare)


def functions(basis: str, symbol: str) -> int:
    """Return the number of basis functions on one atom of `symbol`, in the basis set's own convention.

    Cartesian shells of angular momentum l have (l+1)(l+2)/2 functions, spherical ones 2l+1. Returns 0 where Basis Set
    Exchange does not know the basis set or the element.
    """
    return _count(basis.strip().lower(), symbol.title())


def is_spherical(basis: str, symbols: Iterable[str]) -> bool:
    """Return whether a basis set's own convention is spherical functions, where it matters: from d functions on."""
    shells = (shell for symbol in set(symbols) for shell in _shells(basis.strip().lower(), symbol.title()))
    return any(s["function_type"] == "gto_spherical" and max(s["angular_momentum"]) > 1 for s in shells)


def electrons(symbols: Iterable[str], charge: float) -> int:
    """Return the number of electrons of atoms with a total charge."""
    return sum(atomic_number(symbol) for symbol in symbols) - round(charge)


@cache
def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element symbol."""
    from qcelemental import periodictable

    number: int = periodictable.to_Z(symbol)
    return number


@cache
def primitives(basis: str, symbol: str) -> tuple[tuple[float, int], ...]:
    """Return exponent (1/a0²) and number of functions of each primitive on one atom; empty where `functions` is 0."""
    found = []
    for shell in _shells(basis.strip().lower(), symbol.title()):
        for momentum, row in _contractions(shell):
            width = _width(shell, momentum)
            pairs = zip(shell["exponents"], row, strict=True)
            found += [(float(exponent), width) for exponent, coefficient in pairs if float(coefficient)]
    return tuple(found)


@cache
def _count(basis: str, symbol: str) -> int:
    return sum(_width(shell, momentum) for shell in _shells(basis, symbol) for momentum, _ in _contractions(shell))


@cache
def _shells(basis: str, symbol: str) -> tuple[dict[str, Any], ...]:
    if not basis:
        return ()
    from basis_set_exchange import get_basis

    for name in (basis, _title(basis)):
        try:
            data = get_basis(name, elements=[symbol]) if name else None
        except KeyError:
            continue
        if data:
            return tuple(data["elements"][str(atomic_number(symbol))].get("electron_shells", []))
    return ()


@cache
def _title(basis: str) -> str:
    """Return the exchange's own name of a basis set in another spelling; empty where it has none."""
    from basis_set_exchange import get_metadata

    titles = {plain(entry["display_name"]): entry["display_name"] for entry in get_metadata().values()}
    return str(titles.get(plain(basis), ""))


def _contractions(shell: dict[str, Any]) -> list[tuple[int, list[str]]]:
    """Return momentum and coefficients of each contraction.

    Several momenta (an sp shell) pair with one row each; one momentum may have many rows.
    """
    momenta, rows = shell["angular_momentum"], shell["coefficients"]
    return list(zip(momenta if len(momenta) > 1 else momenta * len(rows), rows, strict=True))


def _width(shell: dict[str, Any], momentum: int) -> int:
    spherical = shell["function_type"] == "gto_spherical"
    return 2 * momentum + 1 if spherical else (momentum + 1) * (momentum + 2) // 2
