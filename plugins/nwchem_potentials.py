"""The effective core potentials that belong to a basis set, in NWChem's words.

NWChem's library keeps shells and potentials under different names (`def2-svp`, `def2-ecp`), and QCEngine's harness asks
for the shells alone: 54 electrons then fill the shells that were made for 26. Basis Set Exchange keeps both under one.

Rules
- What the exchange says of a set and an element is what NWChem is told; a set without potentials changes nothing.
- A name that only NWChem knows and that is one of a valence set is refused: nobody here has its potential. The names
  are those of NWChem 7.0.2's library whose shells lack the core's and which the exchange has under no name.
- Who gives potentials by keywords (`ecp__xe`) has said what is meant, and nothing is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from qcengine.exceptions import InputError

_VALENCE_ONLY = re.compile(r"ecp|^sdb|^lanl|^hay|^dzq$|^minis-?bsip1$|-pp")


def keywords(basis: str, elements: Iterable[str], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the keywords by which QCEngine's harness writes the potentials of a basis set for element symbols.

    Args:
        basis: Name of the basis set.
        elements: Of the real atoms: a ghost has functions and no core.
        given: The user's keywords.

    Raises:
        qcengine.exceptions.InputError: The set needs potentials which are not known here.
    """
    if any(name.lower().startswith("ecp__") for name in given):
        return {}
    title = _title(basis)
    if title is None:
        if _VALENCE_ONLY.search(basis.lower()):
            raise InputError(
                f"basis set {basis!r} needs core potentials, which Basis Set Exchange does not have under this name;"
                " give them with the keyword ecp__<element>, or take a set that it has (def2-svp, cc-pvdz-pp)"
            )
        return {}
    found = {symbol: _potential(title, symbol) for symbol in sorted(set(elements))}
    return {f"ecp__{symbol.lower()}": text for symbol, text in found.items() if text}


def _title(name: str) -> str | None:
    """Return the exchange's name of an orbital basis set; the ending `ecp`, which only NWChem has, counts as absent."""
    plain = _plain(name)
    return _titles().get(plain) or _titles().get(plain.removesuffix("ecp"))


def _plain(name: str) -> str:
    bare = re.sub(r"[-_\s]", "", name.lower())
    return re.sub(r"g\(d(,p)?\)$", lambda polarised: "g**" if polarised[1] else "g*", bare)


@cache
def _titles() -> dict[str, str]:
    from basis_set_exchange import get_metadata

    entries = get_metadata().values()
    return {_plain(e["display_name"]): e["display_name"] for e in entries if e["role"] == "orbital"}


@cache
def _potential(title: str, symbol: str) -> str:
    """Return what follows an element in NWChem's block of core potentials; empty where all electrons are explicit."""
    from basis_set_exchange import get_basis

    try:
        text: str = get_basis(title, elements=[symbol], fmt="nwchem", header=False)
    except KeyError:  # the set lacks the element: NWChem's library has the last word
        return ""
    _, _, block = text.partition("\nECP\n")
    # QCEngine writes the keyword's element in lower case, and NWChem takes `xe` and `Xe` for two potentials.
    lines = block.partition("\nEND")[0].lower().splitlines()
    return "\n  ".join([lines[0].split(maxsplit=1)[1], *lines[1:]]) if lines else ""
