"""Dispersion corrections in a resident Psi4: of the elements that are there, by programs that are there.

Psi4's own corrections (D2, and CHG of wB97X-D) look an atom up by its charge, which a core potential has lessened:
beside iodine in def2 sets, 53 - 28, they give the dispersion of manganese. They get the full charges back. The others
are another program's (`dftd3`, `gcp`), which is looked for before the first task and not found missing after an SCF.

Rules: runs in Psi4's environment, see `psi4_server`. Ghosts, of charge 0, have no dispersion and keep that charge.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

OWN = ("d1", "d2", "chg", "das2009", "das2010", "nl")  # levels that Psi4 computes itself
WITH_GCP = ("hf3c", "hf-3c", "pbeh3c", "pbeh-3c")  # and with the counterpoise correction of the program gcp


def restore_elements() -> None:
    """Make the loaded Psi4's dispersion corrections see the charges of whole nuclei."""
    try:
        from psi4.driver.procrouting.empirical_dispersion import EmpiricalDispersion as Correction

        energy, gradient = Correction.compute_energy, Correction.compute_gradient
    except (ImportError, AttributeError):
        return
    Correction.compute_energy = lambda self, molecule, *more: energy(self, _whole(molecule), *more)
    Correction.compute_gradient = lambda self, molecule, *more: gradient(self, _whole(molecule), *more)


def problem(psi4: Any, method: str) -> str:
    """Return what is missing for the dispersion correction of a method, lower case; empty if nothing."""
    if hasattr(psi4, "schema_wrapper"):
        return ""  # which has other programs, of its own environment
    from psi4.driver.procrouting.dft import functionals

    level = functionals.get(method, {}).get("dispersion", {}).get("type", "nl")
    needed = [*([] if level in OWN else ["dftd3"]), *(["gcp"] if method in WITH_GCP else [])]
    folders = os.pathsep.join([os.environ.get("PSIPATH", ""), os.environ.get("PATH", "")])
    missing = [program for program in needed if not shutil.which(program, path=folders)]
    if not missing:
        return ""
    return (
        f"Psi4 {psi4.__version__} leaves the dispersion of {method} to {' and '.join(missing)}, not in PATH; "
        "install what is missing, or name a method without it"
    )


def _whole(molecule: Any) -> Any:
    """Return a molecule whose real atoms have the charges of their elements; itself where they have them."""
    cored = [
        atom
        for atom in range(molecule.natom())
        if molecule.Z(atom) > 0 and molecule.Z(atom) != molecule.true_atomic_number(atom)
    ]
    if not cored:
        return molecule
    whole = molecule.clone()
    for atom in cored:
        whole.set_nuclear_charge(atom, molecule.true_atomic_number(atom))
    return whole
