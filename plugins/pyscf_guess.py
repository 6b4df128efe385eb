"""Initial densities made of the occupied orbitals of a molecule's fragments, each computed alone in its own basis.

Rules
- A guess depends on the task's input alone: which fragments, computed how. A fragment's orbitals are the same bits
  whether they are found in this process, in the folder of all workers, or computed here, which is always on one thread.
- They are found by their content: method, basis set, all keywords, settings that change bits, nuclei, positions,
  charge, multiplicity, and whether the integrals fit in memory.
- Ghosts get no density. Spins add up to the molecule's, alpha upon alpha; else the program's own guess is taken, as it
  is where the SCF of a fragment does not converge.
- Orbitals are kept, not densities: they are smaller, and with a density's orbitals PySCF makes its fitted exchange in a
  fraction of the time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from pyscf import gto, lib
from qcengine.exceptions import ConvergenceError

from . import pyscf_input, pyscf_threads
from .pyscf_input import Keywords, Part, Plan
from .pyscf_settings import Settings
from .pyscf_store import Store

Solve: TypeAlias = Callable[[Plan, float], Any]  # plan and max_memory, MB, to PySCF's converged mean field

_MOST_BYTES = 2**25  # in this process
_MOST_SHARED_BYTES = 2**28  # of all workers of a machine
_NONE = np.zeros(0)  # what is kept of a fragment whose SCF does not converge

_kept: OrderedDict[str, np.ndarray] = OrderedDict()


def has_fragments(plan: Plan, settings: Settings) -> bool:
    """Return whether an SCF is to start from fragments: unless the molecule is one, or another start was asked for."""
    whole = len(plan.parts) == 1 and len(plan.parts[0].atoms) == len(plan.atoms)
    return bool(plan.parts) and not whole and _is_wanted(plan, settings)


def from_fragments(plan: Plan, molecule: gto.Mole, settings: Settings, solve: Solve) -> np.ndarray | None:
    """Return the sum of the fragments' densities, block by block; None where the SCF of one does not converge.

    Args:
        plan: One for which `has_fragments` holds.
        molecule: PySCF's, of the plan; its `max_memory` counts for the fragments too.
        settings: How fragments are computed.
        solve: Computes a fragment that was not computed before.

    Returns:
        Shape (function, function) for an rhf reference, else (spin, function, function); its orbitals attached.
    """
    ends = molecule.aoslice_by_atom()[:, 2:]
    blocks = []
    for part in plan.parts:
        functions = np.concatenate([np.arange(*ends[atom]) for atom in part.atoms])
        orbitals = _orbitals(pyscf_input.alone(plan, part), len(functions), molecule.max_memory, settings, solve)
        if not orbitals.size and molecule.nelectron:
            return None
        blocks.append((functions, _of_spins(orbitals, part)))
    spins = []
    for spin in range(1 if plan.reference == "rhf" else 2):
        occupied = np.zeros((molecule.nao, molecule.nelec[0]))  # not fewer than beta
        filled = 0
        for functions, of_spins in blocks:
            columns = slice(filled, filled + of_spins[spin].shape[1])
            occupied[functions, columns] = of_spins[spin]
            filled = columns.stop
        spins.append((occupied, np.arange(occupied.shape[1]) < filled))
    coefficients: np.ndarray = np.array([orbitals for orbitals, _ in spins])
    occupations = np.array([occupied for _, occupied in spins], dtype=float)
    densities: np.ndarray = coefficients @ coefficients.swapaxes(1, 2)
    if plan.reference == "rhf":
        return _attach(2 * densities[0], coefficients[0], 2 * occupations[0])
    return densities if plan.reference == "rohf" else _attach(densities, coefficients, occupations)


def _attach(densities: np.ndarray, coefficients: np.ndarray, occupations: np.ndarray) -> np.ndarray:
    attached: np.ndarray = lib.tag_array(densities, mo_coeff=coefficients, mo_occ=occupations)
    return attached


def keep(plan: Plan, mean_field: Any, settings: Settings) -> None:
    """Keep the orbitals of a molecule that may be a fragment of others, and was computed on one thread."""
    if len(plan.parts) == 1 and len(plan.parts[0].atoms) == len(plan.atoms) and _is_wanted(plan, settings):
        key = _key(plan, settings, in_memory=_held_in_memory(plan, mean_field))
        _remember(key, _occupied(mean_field), settings)


def forget() -> None:
    """Forget the orbitals that this process holds."""
    _kept.clear()


def _is_wanted(plan: Plan, settings: Settings) -> bool:
    usual = plan.keywords.init_guess == Keywords().init_guess
    return settings.guess == "monomers" and usual and pyscf_input.is_well_determined(plan)


def _orbitals(alone: Plan, functions: int, max_memory_mb: float, settings: Settings, solve: Solve) -> np.ndarray:
    """Return the occupied orbitals of a fragment alone, as `_occupied` does; empty where its SCF does not converge."""
    # As PySCF decides it. With and without, the last bits differ.
    fits = bool(alone.fitting) or functions**4 / 1e6 + lib.current_memory()[0] < 0.95 * max_memory_mb
    key = _key(alone, settings, in_memory=fits)
    found = _recall(key, settings)
    if found is None:
        try:
            with pyscf_threads.one_thread():
                return _occupied(solve(alone, max_memory_mb))
        except ConvergenceError:
            found = _NONE
            _remember(key, found, settings)
    return found


def _occupied(mean_field: Any) -> np.ndarray:
    """Return occupied orbitals, shape (function, orbital): pairs in rhf; else those of alpha, then those of beta."""
    coefficients, occupations = np.asarray(mean_field.mo_coeff), np.asarray(mean_field.mo_occ)
    if coefficients.ndim > 2:  # noqa: PLR2004 - (spin, function, orbital)
        return np.hstack([coefficients[spin][:, occupations[spin] > 0] for spin in range(2)])
    pairs = coefficients[:, occupations > 1]
    return np.hstack([coefficients[:, occupations > 0], pairs]) if mean_field.istype("ROHF") else pairs


def _of_spins(orbitals: np.ndarray, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha and beta orbitals from what `_occupied` returns."""
    if part.reference == "rhf":
        return orbitals, orbitals
    alpha = (orbitals.shape[1] + part.unpaired) // 2
    return orbitals[:, :alpha], orbitals[:, alpha:]


def _held_in_memory(plan: Plan, mean_field: Any) -> bool:
    return bool(plan.fitting) or mean_field._eri is not None  # noqa: SLF001 - PySCF tells it nowhere else


def _key(plan: Plan, settings: Settings, *, in_memory: bool) -> str:
    how = (settings.conv_check, settings.first_grid, in_memory, plan.reference, plan.cartesian)
    content = repr((plan.chemistry, how, plan.atoms, plan.charge, plan.unpaired))
    return hashlib.sha256(content.encode()).hexdigest()[:40]


def _recall(key: str, settings: Settings) -> np.ndarray | None:
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    found = _store(settings.shared).find(key) if settings.shared else None
    if found is not None:
        found = np.array(found)
        _hold(key, found)
    return found


def _remember(key: str, orbitals: np.ndarray, settings: Settings) -> None:
    _hold(key, orbitals)
    if settings.shared:
        _store(settings.shared).keep(key, orbitals)


def _hold(key: str, orbitals: np.ndarray) -> None:
    _kept[key] = orbitals
    while sum(each.nbytes for each in _kept.values()) > _MOST_BYTES:
        _kept.popitem(last=False)


def _store(shared: Path) -> Store:
    return Store(shared / "pyscf-orbitals", most_bytes=_MOST_SHARED_BYTES)
