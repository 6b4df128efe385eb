"""Runs a `Plan` with PySCF and returns QCSchema properties.

Rules
- What did not converge raises; a number always comes from converged equations.
- The mean field is made by `pyscf_scf`; derivatives, correlation and the names of QCSchema are made here.
- What only some methods need is imported by them: energies of HF and DFT start a tenth of a second earlier.
"""

from __future__ import annotations

import errno
import math
from typing import Any, TypeAlias

import numpy as np
from pyscf import df, lib
from pyscf.data.elements import chemcore
from qcengine.exceptions import ConvergenceError, InputError, ResourceError

from autotune_plugins import pyscf_dispersion, pyscf_integrals, pyscf_scf
from autotune_plugins.pyscf_input import Plan
from autotune_plugins.pyscf_settings import UNTOUCHED, Settings

Properties: TypeAlias = dict[str, Any]  # of qcelemental's AtomicProperties
MeanField: TypeAlias = Any  # PySCF is untyped

_AMPLITUDES = 100  # times the energy threshold: CCSD amplitudes and Lambda; at 1000 energies were off by 1e-8 Eh
_DIIS_VECTORS = 12  # amplitudes that CCSD's extrapolation holds: six, and six errors


def run(plan: Plan, *, max_memory_mb: float, cores: int, settings: Settings = UNTOUCHED) -> Properties:
    """Return the properties of a plan; `return_<driver>` among them, and `return_energy` always.

    `fallback`, which is none of QCSchema's, says why the guess that the settings ask for was not used, if it was not.

    Args:
        plan: What to compute.
        max_memory_mb: Resident memory at which PySCF turns to algorithms that need less, in 1e6 bytes.
        cores: Threads that PySCF may use.
        settings: How to compute it.

    Raises:
        qcengine.exceptions.ConvergenceError: SCF, CCSD or Lambda equations did not converge.
        qcengine.exceptions.ResourceError: The disk is full.
        MemoryError: The memory does not suffice for any algorithm of PySCF's.
    """
    try:
        mean_field = pyscf_scf.converge(plan, settings, max_memory_mb)
        properties = _scf_properties(plan, mean_field)
        correlate = {"mp2": _mp2, "ccsd": _ccsd, "ccsd(t)": _ccsd}.get(plan.method)
        gradient = correlate(plan, mean_field, properties, cores, settings) if correlate else None
        if plan.driver != "energy" and gradient is None:
            gradient = properties["scf_total_gradient"] = mean_field.nuc_grad_method().kernel()
        if plan.functional.dispersion:
            gradient = _add_dispersion(plan, properties, gradient)
        if gradient is not None:
            properties["return_gradient"] = gradient
        if plan.driver == "hessian":
            properties["return_hessian"] = properties["scf_total_hessian"] = _hessian(mean_field)
    except ValueError as error:
        if "of size 0 into shape (0" in str(error):  # PySCF's derivatives cut memory into blocks of no rows
            raise MemoryError("not one block of integrals fits") from error
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ResourceError(f"the scratch folder is full: {error}") from error
        raise
    if not math.isfinite(properties["return_energy"]):
        raise ConvergenceError(f"{plan.method} ended at an energy of {properties['return_energy']}")
    return properties


# --- mean field -------------------------------------------------------------------------------------------------------


def _scf_properties(plan: Plan, mean_field: MeanField) -> Properties:
    molecule, parts = mean_field.mol, mean_field.scf_summary
    alpha, beta = molecule.nelec
    properties = {
        "calcinfo_nbasis": int(molecule.nao),
        "calcinfo_nmo": int(np.shape(mean_field.mo_coeff)[-1]),
        "calcinfo_nalpha": int(alpha),
        "calcinfo_nbeta": int(beta),
        "calcinfo_natom": int(molecule.natm),
        "nuclear_repulsion_energy": float(parts["nuc"]),
        "scf_one_electron_energy": float(parts["e1"]),
        "scf_two_electron_energy": float(parts["coul"] if plan.method == "dft" else parts["e2"]),
        "scf_total_energy": float(mean_field.e_tot),
        "return_energy": float(mean_field.e_tot),
        "fallback": vars(mean_field).get("fallback", ""),  # `getattr` would make PySCF import all of itself
    }
    if not plan.keywords.newton:  # which counts micro-iterations, and those elsewhere
        properties["scf_iterations"] = int(mean_field.cycles)
    if plan.method == "dft":
        properties["scf_xc_energy"] = float(parts["exc"])
    return properties


def _add_dispersion(plan: Plan, properties: Properties, gradient: np.ndarray | None) -> np.ndarray | None:
    """Add the dispersion correction to the energies; return the gradient with it, if there is one."""
    wanted = gradient is not None
    energy, slopes = pyscf_dispersion.correction(plan.functional, plan.atoms, plan.charge, gradient=wanted)
    properties["scf_dispersion_correction_energy"] = energy
    properties["scf_total_energy"] += energy
    properties["return_energy"] = properties["scf_total_energy"]
    if gradient is None or slopes is None:
        return None
    whole: np.ndarray = gradient + slopes
    properties["scf_total_gradient"] = whole
    return whole


def _hessian(mean_field: MeanField) -> np.ndarray:
    """Return second derivatives in QCSchema's order, shape (3 natom, 3 natom), Eh/a0^2."""
    from pyscf.hessian import rhf, rks, uhf, uks  # noqa: F401 - these add Hessian() to the mean fields

    blocks = mean_field.Hessian().kernel()  # (atom, atom, 3, 3)
    size = 3 * len(blocks)
    square = np.asarray(blocks).transpose(0, 2, 1, 3).reshape(size, size)
    return np.asarray((square + square.T) / 2)


# --- correlated methods ----------------------------------------------------------------------------------------------


def _mp2(
    plan: Plan, mean_field: MeanField, properties: Properties, _cores: int, settings: Settings
) -> np.ndarray | None:
    """Add the MP2 energies; return the gradient if it is asked for and not the mean field's."""
    from pyscf import mp

    frozen = _frozen_orbitals(plan, mean_field)
    if not _has_double_excitations(mean_field, frozen):
        _add_mp2(properties, 0.0, 0.0, 0.0)
        return None
    method = mp.MP2(mean_field, frozen=frozen or None)
    if plan.fitting_correlation:
        method.with_df = df.DF(mean_field.mol, auxbasis=dict(plan.fitting_correlation))
        pyscf_integrals.share_fitted(plan, method.with_df, settings, purpose="correlation")
    method.kernel(with_t2=plan.driver == "gradient")
    _add_mp2(properties, method.e_corr, method.e_corr_ss, method.e_corr_os)
    return np.asarray(method.nuc_grad_method().kernel()) if plan.driver == "gradient" else None


def _add_mp2(properties: Properties, total: float, same_spin: float, opposite_spin: float) -> None:
    properties["mp2_same_spin_correlation_energy"] = float(same_spin)
    properties["mp2_opposite_spin_correlation_energy"] = float(opposite_spin)
    properties["mp2_singles_energy"] = 0.0
    properties["mp2_doubles_energy"] = float(total)
    _add_correlation(properties, "mp2", total)


def _add_correlation(properties: Properties, method: str, correlation: float) -> None:
    properties[f"{method}_correlation_energy"] = float(correlation)
    properties[f"{method}_total_energy"] = properties["scf_total_energy"] + float(correlation)
    properties["return_energy"] = properties[f"{method}_total_energy"]


def _ccsd(
    plan: Plan, mean_field: MeanField, properties: Properties, cores: int, settings: Settings
) -> np.ndarray | None:
    """Add the CCSD and, where asked for, CCSD(T) energies; return the gradient as `_mp2` does."""
    from pyscf import cc

    frozen, with_triples, keywords = _frozen_orbitals(plan, mean_field), plan.method == "ccsd(t)", plan.keywords
    if not _has_double_excitations(mean_field, frozen):
        for name in ("mp2", "ccsd", "ccsd_prt_pr")[: 3 if with_triples else 2]:
            _add_correlation(properties, name, 0.0)
        return None
    if with_triples and np.shape(mean_field.mo_coeff)[-1] == max(mean_field.mol.nelec):
        raise InputError("PySCF has no (T) where one spin has no virtual orbitals; use a larger basis set")
    method = cc.CCSD(mean_field, frozen=frozen or None)
    if plan.fitting_correlation:
        method.with_df = df.DF(mean_field.mol, auxbasis=dict(plan.fitting_correlation))
        pyscf_integrals.share_fitted(plan, method.with_df, settings, purpose="correlation")
    method.conv_tol, method.conv_tol_normt = keywords.cc_conv_tol, _AMPLITUDES * keywords.cc_conv_tol
    method.max_cycle = keywords.cc_max_cycle
    method.incore_complete = _fits_in_memory(mean_field)
    # A thread for reading ahead pays only where there is something to read and a core to spare; it costs a water
    # molecule half its speed with one core, three quarters with two.
    method.async_io = cores > 1 and not method.incore_complete
    integrals = method.ao2mo()
    method.kernel(eris=integrals)
    if not method.converged:
        limits = f"{keywords.cc_max_cycle} cycles to {keywords.cc_conv_tol:g} Eh"
        raise ConvergenceError(f"CCSD did not converge in {limits}")
    _add_correlation(properties, "mp2", method.emp2)
    properties["ccsd_iterations"] = int(method.cycles)
    _add_correlation(properties, "ccsd", method.e_corr)
    if with_triples:
        _add_correlation(properties, "ccsd_prt_pr", method.e_corr + method.ccsd_t(eris=integrals))
    return _ccsd_gradient(method, integrals, with_triples=with_triples) if plan.driver == "gradient" else None


def _ccsd_gradient(method: Any, integrals: object, *, with_triples: bool) -> np.ndarray:
    """Return the gradient, shape (natom, 3), Eh/a0."""
    if with_triples:
        from pyscf.cc import ccsd_t_lambda
        from pyscf.grad import ccsd_t as ccsd_t_gradient

        tolerances = {"max_cycle": method.max_cycle, "tol": method.conv_tol_normt, "verbose": 0}
        converged, l1, l2 = ccsd_t_lambda.kernel(method, integrals, method.t1, method.t2, **tolerances)
        gradient = ccsd_t_gradient.Gradients(method)
    else:
        l1, l2 = method.solve_lambda(eris=integrals)
        converged, gradient = method.converged_lambda, method.nuc_grad_method()
    if not converged:
        raise ConvergenceError(f"the Lambda equations did not converge in {method.max_cycle} cycles")
    return np.asarray(gradient.kernel(method.t1, method.t2, l1, l2, eris=integrals))


def _frozen_orbitals(plan: Plan, mean_field: MeanField) -> int:
    return int(chemcore(mean_field.mol)) if plan.keywords.frozen_core else 0


def _has_double_excitations(mean_field: MeanField, frozen: int) -> bool:
    """Return whether anything can be correlated; PySCF crashes on some systems where nothing can."""
    orbitals, electrons = np.shape(mean_field.mo_coeff)[-1], mean_field.mol.nelec
    alpha, beta = (max(0, number - frozen) for number in electrons)
    free_alpha, free_beta = (orbitals - number for number in electrons)
    if min(electrons) < frozen and max(alpha, beta) > 1:
        raise InputError(f"frozen_core freezes {frozen} orbitals, but there are {min(electrons)} beta electrons")
    pair = 2
    same_spin = min(alpha, free_alpha) >= pair or min(beta, free_beta) >= pair
    return bool(same_spin or min(alpha, beta, free_alpha, free_beta) >= 1)


def _fits_in_memory(mean_field: MeanField) -> bool:
    """Return whether CCSD may keep all in memory, which is up to twice as fast for a water molecule.

    Counts the arrays of PySCF's in-core transformation, the integrals it sorts for triples, and the amplitudes its
    extrapolation holds; three spin cases for UHF.
    """
    orbitals, occupied = np.shape(mean_field.mo_coeff)[-1], max(mean_field.mol.nelec)
    virtual = orbitals - occupied
    pairs = orbitals * (orbitals + 1) // 2
    numbers = orbitals**4 + 3 * pairs**2 + virtual**2 * occupied * orbitals + _DIIS_VECTORS * (occupied * virtual) ** 2
    spin_cases = 3 if np.ndim(mean_field.mo_coeff) > 2 else 1  # noqa: PLR2004 - (spin, function, orbital)
    return bool(numbers * 8e-6 * spin_cases < mean_field.mol.max_memory - lib.current_memory()[0])
