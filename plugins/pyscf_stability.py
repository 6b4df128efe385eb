"""Leads SCF solutions of PySCF down from saddle points, until no small rotation of orbitals lowers the energy.

Rules
- A converged SCF may sit on a saddle point: two chlorine atoms at 3.8 Å end 0.126 Eh too high without this.
- A solution that is stable is left as it is, to the last bit; only one that is not is computed again, in second order.
- Stable means a minimum, not the lowest of all minima, which nobody can prove.
- The second derivatives of density functionals come from a coarse grid: the check then costs a sixth of the SCF, and
  what it finds counts only if the energy on the own grid falls.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from pyscf import dft, lib
from qcengine.exceptions import ConvergenceError

MeanField: TypeAlias = Any  # PySCF is untyped

FIRST_CYCLES = 8  # ordinary ones, before the first of second order
_DESCENTS = 20
_GAIN = 1e-8  # Eh by which a descent must lower the energy, else the solution before it was a minimum
_CURVATURE = -1e-5  # Eh/rad^2 below which a rotation counts as going down, as in PySCF's own analysis
_CURVATURE_ON_A_GRID = -1e-4  # the same where a grid makes free rotations of an atom's density cost something
_TOLERANCE = 1e-5  # Eh, of the lowest curvatures
_STARTS = 3  # rotations of one orbital each, those of the smallest orbital energy gaps
_STEPS = (0.5, -0.5, 1.2, -1.2)  # rad along the direction found, both ways: its sign means nothing


def second_order(mean_field: MeanField, guess: np.ndarray) -> MeanField:
    """Return the mean field after a second-order SCF from an initial density; see its `converged`.

    Second order keeps the occupation it starts from. That of a guess may be wrong by whole shells (PySCF's densities
    for atoms with core potentials lack electrons: iodine next to helium ended 2.5 Eh too high), so a few ordinary
    cycles come first.
    """
    most = mean_field.max_cycle
    mean_field.max_cycle = min(FIRST_CYCLES, most)
    mean_field.kernel(dm0=guess)
    mean_field.max_cycle = most
    return mean_field if mean_field.converged else continue_second_order(mean_field, mean_field.mo_coeff)


def minimum(mean_field: MeanField, probe: MeanField, *, curvatures: int) -> MeanField:
    """Return the mean field itself if it is stable, else the minimum that is reached downhill from it.

    Args:
        mean_field: Converged.
        probe: The same, or a copy with a coarser grid, from which second derivatives are taken.
        curvatures: How many of the lowest ones to look for. One is enough where one fragment has unpaired electrons;
            a direction of no cost on one fragment could otherwise hide one going down on another.

    Raises:
        qcengine.exceptions.ConvergenceError: No minimum was reached.
    """
    for _ in range(_DESCENTS):
        orbitals = _downhill(mean_field, probe, curvatures)
        if orbitals is None:
            return mean_field
        lower = continue_second_order(mean_field, orbitals)
        if not lower.converged:
            raise ConvergenceError(
                f"the SCF stood on a saddle point and did not converge in {lower.max_cycle} cycles on the way down; "
                "try another init_guess, or take the saddle point with the keyword stability: false"
            )
        if lower.e_tot > mean_field.e_tot - _GAIN:
            return mean_field
        mean_field = lower
    raise ConvergenceError(
        f"the SCF is still at a saddle point after {_DESCENTS} ways down; try another init_guess, or take the saddle "
        "point with the keyword stability: false"
    )


def continue_second_order(mean_field: MeanField, orbitals: Any) -> MeanField:
    """Return a second-order SCF from orbitals, occupied as in the mean field, as an ordinary mean field."""
    solver = mean_field.newton()
    solver.kernel(orbitals, mean_field.mo_occ)
    return solver.remove_soscf()


def _downhill(mean_field: MeanField, probe: MeanField, curvatures: int) -> Any:
    """Return orbitals of a lower energy, or None where the solution is stable."""
    solver = probe.newton()
    orbitals, occupations = mean_field.mo_coeff, mean_field.mo_occ
    gradient, product, diagonal = solver.gen_g_hop(orbitals, occupations)
    if not gradient.size:
        return None
    diagonal = 2 * diagonal
    found, directions = lib.davidson(
        lambda rotation: 2 * product(rotation),
        _starts(diagonal),
        lambda residual, value, _: residual / _away_from_zero(diagonal - value),
        tol=_TOLERANCE,
        nroots=min(curvatures, gradient.size),
        verbose=0,
    )
    lowest, direction = np.atleast_1d(found)[0], np.atleast_2d(directions)[0]
    if lowest > (_CURVATURE_ON_A_GRID if isinstance(probe, dft.rks.KohnShamDFT) else _CURVATURE):
        return None
    rotated = [
        solver.rotate_mo(orbitals, solver.update_rotate_matrix(step * direction, occupations, mo_coeff=orbitals))
        for step in _STEPS
    ]
    return min(rotated, key=lambda each: probe.energy_tot(probe.make_rdm1(each, occupations)))


def _starts(diagonal: np.ndarray) -> list[np.ndarray]:
    """Return first directions: one with a share of all, which no symmetry of the molecule can hide, and a few alone."""
    random = np.random.default_rng(1)
    signs = random.choice([-1.0, 1.0], diagonal.size)
    mixed = signs * random.uniform(0.5, 1.5, diagonal.size) / np.maximum(np.abs(diagonal), 0.1)
    alone = np.zeros((min(_STARTS, diagonal.size), diagonal.size))
    for row, position in enumerate(np.argsort(diagonal, kind="stable")[:_STARTS]):
        alone[row, position] = 1.0
    return [mixed / np.linalg.norm(mixed), *alone]


def _away_from_zero(values: np.ndarray, least: float = 1e-8) -> np.ndarray:
    return np.where(np.abs(values) < least, least, values)
