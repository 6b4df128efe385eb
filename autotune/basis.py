"""Exact counts of basis functions, from basis set names.

Rules: knows basis sets only, not programs; an unknown basis counts as 0 functions, because here a count only ranks
costs - whether a basis exists is the program's own check before the first task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_POLARISED = {"(d)": "*", "(d,p)": "**"}  # 6-31G(d) is 6-31G* under its other name


def functions(basis: str, symbol: str) -> int:
    """Return the number of basis functions on one atom of `symbol`, in the basis set's own convention.

    Cartesian shells of angular momentum l have (l+1)(l+2)/2 functions, spherical ones 2l+1. Returns 0 where Basis Set
    Exchange does not know the basis set or the element.
    """
    return _count(basis.strip().lower(), symbol.title())


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
def _count(basis: str, symbol: str) -> int:
    if not basis:
        return 0
    from basis_set_exchange import get_basis

    for name in _spellings(basis):
        try:
            data = get_basis(name, elements=[symbol])
        except KeyError:
            continue
        shells = data["elements"][str(atomic_number(symbol))].get("electron_shells", [])
        return sum(_shell_functions(shell) for shell in shells)
    return 0


def _spellings(basis: str) -> Iterable[str]:
    yield basis
    ending = re.search(r"\(d(,p)?\)$", basis)
    if ending:
        yield basis[: ending.start()] + _POLARISED[ending.group()]


def _shell_functions(shell: dict[str, object]) -> int:
    momenta = shell["angular_momentum"]
    coefficients = shell["coefficients"]
    assert isinstance(momenta, list)
    assert isinstance(coefficients, list)
    spherical = shell["function_type"] == "gto_spherical"
    # Several momenta (an sp shell) pair with one coefficient row each; one momentum may have many contractions.
    contractions = momenta if len(momenta) > 1 else momenta * len(coefficients)
    return sum(2 * m + 1 if spherical else (m + 1) * (m + 2) // 2 for m in contractions)
