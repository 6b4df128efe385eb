"""Initial densities made of the densities of a molecule's fragments, each computed alone in its own basis.

Rules
- A guess depends on the task's input alone: which fragments, computed how. A fragment's density is the same bits
  whether it is found in this process, in the folder of all workers, or computed here, which is always on one thread.
- It is found by its content: method, basis set, all keywords, settings that change bits, nuclei, positions, charge,
  multiplicity, and whether its integrals fit in memory.
- Ghosts get no density. Spins add up to the molecule's, alpha upon alpha; else the program's own guess is taken, as it
  is where the SCF of a fragment does not converge.
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
from .pyscf_input import Keywords, Plan
from .pyscf_settings import Settings
from .pyscf_store import Store

Solve: TypeAlias = Callable[[Plan, float], Any]  # plan and max_memory, MB, to PySCF's converged mean field

_MOST_BYTES = 2**25  # in this process
_MOST_SHARED_BYTES = 2**28  # of all workers of a machine
_NO_DENSITY = np.zeros(0)  # what is kept of a fragment whose SCF does not converge
_SPIN_AXES = 3  # of a density (spin, function, function)

_kept: OrderedDict[str, np.ndarray] = OrderedDict()


def has_fragments(plan: Plan, settings: Settings) -> bool:
    """Return whether an SCF is to start from fragments: unless the molecule is one, or another start was asked for."""
    whole = len(plan.parts) == 1 and len(plan.parts[0].atoms) == len(plan.atoms)
    return bool(plan.parts) and not whole and _is_wanted(plan, settings)


def from_fragments(plan: Plan, molecule: gto.Mole, settings: Settings, solve: Solve) -> np.ndarray | None:
    """Return the block-diagonal sum of the fragments' densities; None where the SCF of one does not converge.

    Args:
        plan: One for which `has_fragments` holds.
        molecule: PySCF's, of the plan; its `max_memory` counts for the fragments too.
        settings: How fragments are computed.
        solve: Computes a fragment that was not computed before.

    Returns:
        Shape (function, function) for an rhf reference, else (spin, function, function).
    """
    size = molecule.nao
    guess = np.zeros((size, size) if plan.reference == "rhf" else (2, size, size))
    ends = molecule.aoslice_by_atom()[:, 2:]
    for part in plan.parts:
        functions = np.concatenate([np.arange(*ends[atom]) for atom in part.atoms])
        density = _density(pyscf_input.alone(plan, part), len(functions), molecule.max_memory, settings, solve)
        if not density.size:
            return None
        if guess.ndim == _SPIN_AXES and density.ndim < _SPIN_AXES:
            density = np.stack([density / 2, density / 2])
        rows, columns = np.ix_(functions, functions)
        guess[..., rows, columns] = density
    return guess


def keep(plan: Plan, mean_field: Any, settings: Settings) -> None:
    """Keep the density of a molecule that may be a fragment of others, and was computed on one thread."""
    if len(plan.parts) == 1 and len(plan.parts[0].atoms) == len(plan.atoms) and _is_wanted(plan, settings):
        _remember(_key(plan, settings, in_memory=_held_in_memory(plan, mean_field)), mean_field.make_rdm1(), settings)


def forget() -> None:
    """Forget the densities that this process holds."""
    _kept.clear()


def _is_wanted(plan: Plan, settings: Settings) -> bool:
    return settings.guess == "monomers" and plan.keywords.init_guess == Keywords().init_guess


def _density(alone: Plan, functions: int, max_memory_mb: float, settings: Settings, solve: Solve) -> np.ndarray:
    """Return the density of a fragment alone; empty where its SCF does not converge."""
    # As PySCF decides it. With and without, the last bits of a density differ.
    fits = bool(alone.fitting) or functions**4 / 1e6 + lib.current_memory()[0] < 0.95 * max_memory_mb
    key = _key(alone, settings, in_memory=fits)
    found = _recall(key, settings)
    if found is None:
        try:
            with pyscf_threads.one_thread():
                return np.asarray(solve(alone, max_memory_mb).make_rdm1())
        except ConvergenceError:
            found = _NO_DENSITY
            _remember(key, found, settings)
    return found


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


def _remember(key: str, density: np.ndarray, settings: Settings) -> None:
    _hold(key, density)
    if settings.shared:
        _store(settings.shared).keep(key, density)


def _hold(key: str, density: np.ndarray) -> None:
    _kept[key] = np.array(density)  # without what PySCF attaches to it
    while sum(each.nbytes for each in _kept.values()) > _MOST_BYTES:
        _kept.popitem(last=False)


def _store(shared: Path) -> Store:
    return Store(shared / "pyscf-densities", most_bytes=_MOST_SHARED_BYTES)
