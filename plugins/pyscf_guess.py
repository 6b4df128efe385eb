"""Initial densities made of the occupied orbitals of a molecule's fragments, each computed alone in its own basis.

Rules
- A guess depends on the task's input alone: which fragments, computed how. A fragment's orbitals are the same bits
  whether they are found in this process, in the folder of all workers, or computed here, which is always on one thread.
- They are found by their content: method, basis set, all keywords, settings that change bits, nuclei, positions,
  charge, multiplicity, and whether the integrals fit in memory.
- Ghosts get no density. Where shells are open, or the SCF of a fragment does not converge, the program's own guess is
  taken.
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

from autotune_plugins import pyscf_input, pyscf_threads
from autotune_plugins.pyscf_input import CORRELATED, Keywords, Plan
from autotune_plugins.pyscf_settings import Settings
from autotune_plugins.pyscf_store import Store

Solve: TypeAlias = Callable[[Plan, float], Any]  # plan and max_memory, MB, to PySCF's converged mean field

_MOST_BYTES = 2**25  # in this process
_MOST_SHARED_BYTES = 2**28  # of all workers of a machine

_LEAST_OVERLAP = 0.1  # of orbitals of then in functions of now; less, and the atoms have moved too far

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
        Shape (function, function); its orbitals attached, as PySCF does it.
    """
    ends = molecule.aoslice_by_atom()[:, 2:]
    occupied = np.zeros((molecule.nao, molecule.nelectron // 2))
    filled = 0
    for part in plan.parts:
        functions = np.concatenate([np.arange(*ends[atom]) for atom in part.atoms])
        orbitals = _orbitals(pyscf_input.alone(plan, part), len(functions), molecule.max_memory, settings, solve)
        if orbitals is None:
            return None
        columns = slice(filled, filled + orbitals.shape[1])
        occupied[functions, columns] = orbitals
        filled = columns.stop
    return _density(occupied)


def keep(plan: Plan, mean_field: Any, settings: Settings) -> None:
    """Keep the orbitals of a molecule that may be a fragment of others, and was computed on one thread."""
    if len(plan.parts) == 1 and len(plan.parts[0].atoms) == len(plan.atoms) and _is_wanted(plan, settings):
        key = _key(plan, settings, in_memory=_held_in_memory(plan, mean_field))
        _remember(key, _occupied(mean_field), settings)


def from_before(plan: Plan, molecule: gto.Mole, settings: Settings) -> np.ndarray | None:
    """Return the density of the same fragments in the run before, moved along with their atoms; None without one.

    The occupied orbitals of then are made orthonormal in the basis functions of now.
    """
    if not _is_remembered(plan, settings) or settings.shared is None:
        return None
    found = _store(settings.shared).find(_name(plan))
    if found is None or found.shape != (molecule.nao, molecule.nelectron // 2):
        return None
    overlaps, turned = np.linalg.eigh(found.T @ molecule.intor_symmetric("int1e_ovlp") @ found)
    if overlaps.min() < _LEAST_OVERLAP:
        return None
    return _density(found @ (turned / np.sqrt(overlaps)) @ turned.T)


def remember(plan: Plan, mean_field: Any, settings: Settings) -> None:
    """Keep where an SCF ended, for the same fragments of the next run."""
    if _is_remembered(plan, settings) and settings.shared is not None:
        _store(settings.shared).keep(_name(plan), _occupied(mean_field), again=True)


def _is_remembered(plan: Plan, settings: Settings) -> bool:
    derived = plan.driver == "hessian" or plan.method in CORRELATED  # these hang on the orbitals' error itself
    return settings.remember and plan.reference == "rhf" and not derived and bool(plan.name)


def _name(plan: Plan) -> str:
    symbols = [symbol for symbol, _ in plan.atoms]
    content = repr(("before", plan.name, plan.chemistry, plan.cartesian, symbols, plan.charge))
    return hashlib.sha256(content.encode()).hexdigest()[:40]


def _density(occupied: np.ndarray) -> np.ndarray:
    occupations = np.full(occupied.shape[1], 2.0)
    density: np.ndarray = lib.tag_array(2 * occupied @ occupied.T, mo_coeff=occupied, mo_occ=occupations)
    return density


def forget() -> None:
    """Forget the orbitals that this process holds."""
    _kept.clear()


def _is_wanted(plan: Plan, settings: Settings) -> bool:
    usual = plan.keywords.init_guess == Keywords().init_guess
    return settings.guess == "monomers" and usual and pyscf_input.is_well_determined(plan)


def _orbitals(alone: Plan, functions: int, max_memory_mb: float, settings: Settings, solve: Solve) -> np.ndarray | None:
    """Return the occupied orbitals of a fragment alone; None where its SCF does not converge."""
    # As PySCF decides it. With and without, the last bits differ.
    fits = bool(alone.fitting) or functions**4 / 1e6 + lib.current_memory()[0] < 0.95 * max_memory_mb
    key = _key(alone, settings, in_memory=fits)
    found = _recall(key, settings)
    if found is None:
        try:
            with pyscf_threads.one_thread():
                return _occupied(solve(alone, max_memory_mb))
        except ConvergenceError:
            found = np.full((functions, 1), np.nan)  # is kept, so that nobody tries again
            _remember(key, found, settings)
    return None if np.isnan(found).any() else found


def _occupied(mean_field: Any) -> np.ndarray:
    """Return the occupied orbitals, shape (function, orbital)."""
    return np.asarray(mean_field.mo_coeff[:, mean_field.mo_occ > 0])


def _held_in_memory(plan: Plan, mean_field: Any) -> bool:
    return bool(plan.fitting) or mean_field._eri is not None  # noqa: SLF001 - PySCF tells it nowhere else


def _key(plan: Plan, settings: Settings, *, in_memory: bool) -> str:
    how = (settings.conv_check, settings.first_grid, in_memory, plan.cartesian)
    content = repr((plan.chemistry, how, plan.atoms, plan.charge))
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
