"""Basis sets for PySCF by name: shells, effective core potentials and the set's own Cartesian or spherical functions.

Rules
- A name counts as known when Basis Set Exchange has it, in any case, with or without dashes, `(d,p)` or `**`: only the
  exchange says which functions a set was made for and how many electrons its core potentials replace. Names that only
  PySCF knows are refused: some (`bfd-vdz`, `ccecp-*`, `gth-*`) need a potential that PySCF keeps under another name.
- The numbers come from PySCF's own files where these have the element, so energies equal a plain PySCF run to the
  last bit, and from the exchange elsewhere. They agree in every count, and to 1e-8 Eh in energies (6-31G*).
- Parsing costs 8 to 30 ms an element, so every (set, element) is read once per process.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import basis_set_exchange as exchange
from pyscf import gto
from pyscf.df.addons import DEFAULT_AUXBASIS
from pyscf.lib.exceptions import BasisNotFoundError
from qcengine.exceptions import InputError

from autotune.costs.basis import plain

Shells: TypeAlias = list[list[object]]  # PySCF's internal form: [l, [exponent, coefficient, ...], ...] a shell
CorePotential: TypeAlias = list[object]  # PySCF's internal form: [electrons replaced, [[l, terms], ...]]

_FITTING_ROLES = ("jkfit", "rifit", "jfit")
_P = 1  # up to p shells Cartesian and spherical functions are the same
_COMPOSED = re.compile(r"6311\+{0,2}g\(\d?d?\d?f?(,\d?p?\d?d?)?\)")  # in plain spelling
_LIGHT = frozenset(("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar"))
_POPLE = re.compile(r"(\d{2,3}1\+{0,2}g)[*(].*")  # 631+g**, 6311g(2df,2pd) and their like, in plain spelling


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementBasis:
    """One element's share of a basis set.

    Attributes:
        shells: Contracted shells, for `Mole.basis`.
        core_potential: For `Mole.ecp`; None where all electrons are explicit.
        core_electrons: Electrons which the core potential replaces.
        functions: `cartesian` or `spherical` or both, as the set means its shells above p; empty where it has none.
    """

    shells: Shells
    core_potential: CorePotential | None
    core_electrons: int
    functions: frozenset[str]


def orbital_basis(name: str, elements: Iterable[str]) -> dict[str, ElementBasis]:
    """Return an orbital basis set for element symbols such as `He`.

    Raises:
        qcengine.exceptions.InputError: Unknown name, or elements which the set does not have.
    """
    title = _known(name, "orbital")
    if title is None and (composed := _compose(name, tuple(elements))):
        return composed
    if title is None:
        near = _near(name, _titles("orbital").values())
        raise InputError(f"basis set {name!r} is not known to Basis Set Exchange; close to it: {near}")
    lacking = [symbol for symbol in elements if symbol not in _elements(title)]
    if lacking:
        complete = [other for other in _titles("orbital").values() if _elements(other).issuperset(elements)]
        raise InputError(f"basis set {title} has no {', '.join(lacking)}; sets that have: {_near(name, complete)}")
    return {symbol: _element_basis(title, symbol) for symbol in elements}


@cache
def _compose(name: str, elements: tuple[str, ...]) -> dict[str, ElementBasis]:
    """Return a set of the 6-311G family with polarisation of its own choice, as 6-311+G(3df,2p); empty for other names.

    The exchange has a few of them, all spherical. PySCF puts the others together from the same tables.
    """
    if not _COMPOSED.fullmatch(plain(name)) or not set(elements) <= _LIGHT:
        return {}
    try:
        shells = {symbol: _pyscf_shells(name, symbol) for symbol in elements}
    except OSError:  # PySCF has no table of this polarisation
        return {}
    if not all(shells.values()):
        return {}
    return {
        symbol: ElementBasis(
            shells=found,
            core_potential=None,
            core_electrons=0,
            functions=frozenset({"spherical"} if any(shell[0] > _P for shell in found) else ()),  # type: ignore[operator]
        )
        for symbol, found in shells.items()
        if found
    }


def is_cartesian(name: str, basis: Mapping[str, ElementBasis]) -> bool:
    """Return whether the basis set's own functions are Cartesian for these elements.

    Raises:
        qcengine.exceptions.InputError: The set mixes both kinds here, which PySCF cannot.
    """
    kinds: set[str] = set().union(*(element.functions for element in basis.values()))
    if len(kinds) > 1:
        raise InputError(
            f"basis set {name!r} means some shells of {', '.join(basis)} as Cartesian and some as spherical, "
            "PySCF does only one kind at a time; choose with the keyword cart"
        )
    return "cartesian" in kinds


def fitting_basis(name: str, elements: Iterable[str], keyword: str) -> dict[str, Shells]:
    """Return a density fitting basis set, which `keyword` named or would name, for element symbols.

    Raises:
        qcengine.exceptions.InputError: Unknown name, or elements which the set does not have.
    """
    if plain(name) not in gto.basis.ALIAS and not _known(name, ""):
        fits = [title for role in _FITTING_ROLES for title in _titles(role).values()]
        near = _near(name, [*fits, *(usual for pair in DEFAULT_AUXBASIS.values() for usual in pair)])
        raise InputError(f"fitting basis set {name!r} (keyword {keyword}) is not known; close to it: {near}")
    found = {symbol: _fitting_shells(name, symbol) for symbol in elements}
    lacking = [symbol for symbol, shells in found.items() if not shells]
    if lacking:
        raise InputError(f"fitting basis set {name!r} has no {', '.join(lacking)}; choose one with keyword {keyword}")
    return {symbol: shells for symbol, shells in found.items() if shells}


def usual_fitting_name(name: str, role: str) -> str:
    """Return the fitting set commonly used with an orbital set, for `jkfit` (SCF) or `rifit` (correlation).

    PySCF's table comes first, which follows Psi4's choices, then the exchange's.

    Raises:
        qcengine.exceptions.InputError: None is known.
    """
    key = plain(name)
    pople = _POPLE.fullmatch(key)
    jk_and_ri = DEFAULT_AUXBASIS.get(pople[1] if pople else key)
    if jk_and_ri:
        fitting: str = jk_and_ri[("jkfit", "rifit").index(role)]
        return fitting
    title = _known(name, "orbital")
    recorded = _metadata_by_title()[title]["auxiliaries"].get(role) if title else None
    if not recorded:
        keyword = "auxbasis" if role == "jkfit" else "auxbasis_correlation"
        raise InputError(f"no usual {role} fitting basis set for {name!r} is known; name one with keyword {keyword}")
    return recorded if isinstance(recorded, str) else str(recorded[0])


# --- the two sources -------------------------------------------------------------------------------------------------


@cache
def _metadata_by_title() -> dict[str, dict[str, Any]]:
    return {entry["display_name"]: entry for entry in exchange.get_metadata().values()}


@cache
def _titles(role: str) -> dict[str, str]:
    """Return the exchange's names of a role (all roles where empty) by their plain spelling."""
    return {plain(title): title for title, entry in _metadata_by_title().items() if role in ("", entry["role"])}


@cache
def _elements(title: str) -> frozenset[str]:
    entry = _metadata_by_title()[title]
    numbers = entry["versions"][entry["latest_version"]]["elements"]
    return frozenset(exchange.lut.element_sym_from_Z(number, normalize=True) for number in numbers)


def _known(name: str, role: str) -> str | None:
    return _titles(role).get(plain(name))


def _near(name: str, titles: Iterable[str]) -> str:
    by_spelling = {title.lower(): title for title in titles}
    found = difflib.get_close_matches(name.lower(), by_spelling, n=4, cutoff=0.4)
    return ", ".join(by_spelling[spelling] for spelling in found) or "none"


@cache
def _element_basis(title: str, symbol: str) -> ElementBasis:
    fields: dict[str, Any]
    (fields,) = exchange.get_basis(title, elements=[symbol])["elements"].values()
    electrons = int(fields.get("ecp_electrons", 0))
    shells, potential = _pyscf_shells(title, symbol), _pyscf_potential(title, symbol) if electrons else None
    if not shells or (potential is None) != (electrons == 0) or (potential and potential[0] != electrons):
        shells, potential = _exchange_data(title, symbol)
    kinds = {s["function_type"] for s in fields["electron_shells"] if max(s["angular_momentum"]) > _P}
    return ElementBasis(
        shells=shells,
        core_potential=potential,
        core_electrons=electrons,
        functions=frozenset(kind.removeprefix("gto_") for kind in kinds),
    )


@cache
def _fitting_shells(name: str, symbol: str) -> Shells | None:
    title = _known(name, "")
    shells = _pyscf_shells(name, symbol)
    if not shells and title and symbol in _elements(title):
        shells, _ = _exchange_data(title, symbol)
    return shells


def _pyscf_shells(name: str, symbol: str) -> Shells | None:
    try:
        shells: Shells = gto.basis.load(_only_a_name(name), symbol)
    except (BasisNotFoundError, KeyError):
        return None
    return shells


def _pyscf_potential(name: str, symbol: str) -> CorePotential | None:
    try:
        potential: CorePotential = gto.basis.load_ecp(_only_a_name(name), symbol)
    except (BasisNotFoundError, KeyError):
        return None
    return potential


def _only_a_name(name: str) -> str:
    # PySCF reads a *file* of the basis set's name if the working directory has one; it drops dashes, files do not.
    return f"-{plain(name)}-"


def _exchange_data(title: str, symbol: str) -> tuple[Shells, CorePotential | None]:
    text: str = exchange.get_basis(title, elements=[symbol], fmt="nwchem", header=False)
    orbitals, _, potential = text.partition("\nECP\n")
    return gto.basis.parse(orbitals, symbol), gto.basis.parse_ecp(potential, symbol) if potential else None
