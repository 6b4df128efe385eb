"""The converged mean field of a `Plan`: molecule, settings, initial density, cycles, and the way down from saddles.

Rules
- Small fragments by the thousand are the case to be fast at: nothing is read, parsed or written that need not be.
- Without settings, an SCF is the same to the last bit as a plain one in PySCF.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from pyscf import dft, gto, lib, scf
from qcengine.exceptions import ConvergenceError

from autotune_plugins import pyscf_grid, pyscf_guess, pyscf_input, pyscf_integrals, pyscf_stability
from autotune_plugins.pyscf_input import CORRELATED, Plan
from autotune_plugins.pyscf_settings import Settings

if TYPE_CHECKING:
    import numpy as np

MeanField: TypeAlias = Any  # PySCF is untyped

_GRID_FOR_STABILITY = 1
_FIRST_GRID_OF_CONTINUED = 0
_UNCHECKED = 0.3  # of the orbital gradient, where no check follows: energies were 1e-9 Eh too high without


def converge(plan: Plan, settings: Settings, max_memory_mb: float) -> MeanField:
    """Return the converged mean field; its attribute `fallback` says why it does without its settings, if it does.

    Args:
        plan: What to compute.
        settings: How to compute it.
        max_memory_mb: Resident memory at which PySCF turns to algorithms that need less, in 1e6 bytes.

    Raises:
        qcengine.exceptions.ConvergenceError: The SCF did not converge, or is not at a minimum where one is wanted.
    """
    molecule = _molecule(plan, max_memory_mb)
    before = pyscf_guess.from_before(plan, molecule, settings)
    if before is not None:
        with contextlib.suppress(ConvergenceError):
            return _solve(plan, settings, molecule, before, continued=True)
    fallback = ""
    if pyscf_guess.has_fragments(plan, settings):
        before_mb = lib.current_memory()[0]
        guess = pyscf_guess.from_fragments(
            plan, molecule, settings, lambda part, memory_mb: converge(part, settings, memory_mb)
        )
        # What the fragments leave in this process is not to change the algorithm of the whole.
        molecule.max_memory += max(0.0, lib.current_memory()[0] - before_mb)
        fallback = "the SCF of a fragment does not converge"
        if guess is not None:
            with contextlib.suppress(ConvergenceError):
                return _solve(plan, settings, molecule, guess)
            fallback = "the SCF from the densities of the fragments does not converge"
    try:
        mean_field = _solve(plan, settings, molecule, None)
    except ConvergenceError:
        if settings.first_grid < 0 or plan.method != "dft" or not pyscf_input.is_well_determined(plan):
            raise
        fallback = fallback or "the SCF that begins on a coarse grid does not converge"
        mean_field = _solve(plan, replace(settings, first_grid=-1), molecule, None)
    mean_field.fallback = fallback
    if lib.num_threads() == 1:
        pyscf_guess.keep(plan, mean_field, settings)
    return mean_field


def _molecule(plan: Plan, max_memory_mb: float) -> gto.Mole:
    molecule = gto.Mole()
    molecule.verbose = 0
    molecule.max_memory = max_memory_mb
    molecule.unit = "Bohr"
    molecule.atom = plan.atoms
    molecule.charge, molecule.spin = plan.charge, plan.unpaired
    molecule.cart = plan.cartesian
    molecule.basis = {symbol: element.shells for symbol, element in plan.basis.items()}
    # Keyed by the element itself, so ghosts get none.
    molecule.ecp = {symbol: e.core_potential for symbol, e in plan.basis.items() if e.core_potential}
    return molecule.build(dump_input=False, parse_arg=False)


def _solve(
    plan: Plan, settings: Settings, molecule: gto.Mole, guess: np.ndarray | None, *, continued: bool = False
) -> MeanField:
    """Return the converged mean field from an initial density, PySCF's own where there is none."""
    mean_field = _unsolved(plan, molecule)
    _tune(plan, settings, mean_field, continued=continued)
    try:
        solved = _at_minimum(plan, mean_field, guess)
    finally:
        pyscf_grid.forget(mean_field)
    pyscf_guess.remember(plan, solved, settings)
    return solved


def _at_minimum(plan: Plan, mean_field: MeanField, guess: np.ndarray | None) -> MeanField:
    keywords = plan.keywords
    if guess is None:
        with _basis_files_read_once():
            guess = mean_field.get_init_guess(mean_field.mol, keywords.init_guess)
    if keywords.newton:
        mean_field = pyscf_stability.second_order(mean_field, guess)
    else:
        mean_field.kernel(dm0=guess)
        if plan.stable and not mean_field.converged and keywords.max_cycle > pyscf_stability.FIRST_CYCLES:
            mean_field = pyscf_stability.continue_second_order(mean_field, mean_field.mo_coeff)
    if not mean_field.converged:
        limits = f"{keywords.max_cycle} cycles to {keywords.conv_tol:g} Eh"
        raise ConvergenceError(f"the SCF did not converge in {limits}")
    if plan.stable:
        return pyscf_stability.minimum(mean_field, _probe(plan, mean_field), curvatures=max(1, plan.radicals) + 1)
    return mean_field


def _tune(plan: Plan, settings: Settings, mean_field: MeanField, *, continued: bool) -> None:
    """Apply the settings to a mean field that is not solved yet.

    What continues the run before does not take the program's own way to the end in any case, so its derivatives may
    come from a coarse grid too.
    """
    keywords = plan.keywords
    pyscf_integrals.share(plan, mean_field, settings)
    if plan.method == "dft" and settings.kept_grid_values:
        pyscf_integrals.hold(mean_field)  # they save more than values, which get what is left
        pyscf_grid.keep_values(mean_field)
    determined = pyscf_input.is_well_determined(plan)
    first_grid = settings.first_grid if determined else _FIRST_GRID_OF_CONTINUED if continued else -1
    if plan.method == "dft" and first_grid >= 0 and not keywords.newton:
        pyscf_grid.start_coarse(plan, mean_field, first_grid)
    if not determined:
        return
    # The check takes away error; without it there must be less to begin with.
    if not settings.conv_check and keywords.level_shift is None and not plan.stable:
        mean_field.conv_check = False
        mean_field.conv_tol_grad = _UNCHECKED * (keywords.conv_tol_grad or math.sqrt(keywords.conv_tol))


def _unsolved(plan: Plan, molecule: gto.Mole) -> MeanField:
    """Return the mean field with all its settings."""
    keywords = plan.keywords
    if plan.method == "dft":
        mean_field = (dft.rks.RKS if plan.reference == "rhf" else dft.uks.UKS)(molecule, xc=plan.functional.name)
        if not plan.functional.nonlocal_part:
            mean_field.nlc = False
        pyscf_grid.place(plan, mean_field)
    else:
        kinds = {"rhf": scf.hf.RHF, "uhf": scf.uhf.UHF, "rohf": scf.rohf.ROHF}
        mean_field = kinds[plan.reference](molecule)
    if plan.fitting:
        mean_field = mean_field.density_fit(auxbasis=dict(plan.fitting))
    mean_field.chkfile = None  # would be written every cycle
    # PySCF asks for these; where it does not find them, it imports all of itself first (50 ms, 8 MB a worker).
    for absent in ("with_df", "with_x2c"):
        vars(mean_field).setdefault(absent, None)
    for name in ("conv_tol", "conv_tol_grad", "max_cycle", "level_shift", "damp", "diis_space", "direct_scf_tol"):
        value = getattr(keywords, name)
        if value is not None:
            setattr(mean_field, name, value)
    if plan.method in CORRELATED and keywords.conv_tol_grad is None:
        # Correlation energies depend on the orbitals' error itself, not its square: 6e-8 Eh in OH- without this.
        mean_field.conv_tol_grad = 0.1 * math.sqrt(keywords.conv_tol)
    return mean_field


def _probe(plan: Plan, mean_field: MeanField) -> MeanField:
    """Return what second derivatives are taken from: a mean field with a coarse grid where it has one."""
    if plan.method != "dft" or mean_field.grids.level <= _GRID_FOR_STABILITY:
        return mean_field
    probe = mean_field.copy()
    probe.grids = pyscf_grid.grid(plan, mean_field.mol, _GRID_FOR_STABILITY)
    return probe


@contextlib.contextmanager
def _basis_files_read_once() -> Iterator[None]:
    """Keep PySCF's initial guesses from parsing the ANO basis file again for every element of every task.

    That takes 15 ms an element, half the time of a water molecule in HF/6-31G*.
    """
    load = gto.basis.load
    gto.basis.load = _guess_basis
    try:
        yield
    finally:
        gto.basis.load = load


_load_basis = gto.basis.load


@cache
def _guess_basis(name: str, symbol: str) -> object:
    return _load_basis(name, symbol)
