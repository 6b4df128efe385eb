"""Dispersion corrections D3 and D4 for PySCF, from the package pyscf-dispersion.

Rules: PySCF would count ghosts as atoms, so the correction is computed here, for the nuclei alone. D3 is without the
three-body term, as Grimme's program and Psi4 have it by default; D4 is with it, as dftd4 has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyscf import gto

from autotune_plugins.pyscf_functionals import Functional


def correction(
    functional: Functional, atoms: Sequence[tuple[str, Sequence[float]]], charge: int, *, gradient: bool
) -> tuple[float, np.ndarray | None]:
    """Return the energy, Eh, and where asked for the gradient, shape (natom, 3), Eh/a0, zero on ghosts.

    Args:
        functional: One with a dispersion correction.
        atoms: PySCF symbol (`GHOST-O` for a ghost) and position in bohr.
        charge: Total charge, on which D4 depends.
        gradient: Whether to return the gradient.
    """
    from pyscf.dispersion import dftd3, dftd4

    real = [index for index, (symbol, _) in enumerate(atoms) if not symbol.startswith("GHOST")]
    slopes = np.zeros((len(atoms), 3)) if gradient else None
    if not real:
        return 0.0, slopes
    nuclei = gto.Mole()
    nuclei.verbose, nuclei.unit, nuclei.charge, nuclei.spin = 0, "Bohr", charge, None
    nuclei.atom, nuclei.basis = [atoms[index] for index in real], {}
    nuclei.build(dump_input=False, parse_arg=False)
    if functional.dispersion == "d4":
        model = dftd4.DFTD4Dispersion(nuclei, xc=functional.parameters)
    else:
        model = dftd3.DFTD3Dispersion(nuclei, xc=functional.parameters, version=functional.dispersion)
    found = model.get_dispersion(grad=gradient)
    if slopes is not None:
        slopes[real] = found["gradient"]
    return float(found["energy"]), slopes
