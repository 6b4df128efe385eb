"""Frozen cores in a resident Psi4: as many orbitals in a fragment alone as that fragment brings into a cluster.

`freeze_core true` takes the noble gas before each atom, but a shell less where the charge leaves no valence electrons:
one orbital in Na+ alone, five for it beside a water. An interaction energy then has a shell's correlation in it, 0.095
Eh in K+ and water, MP2/def2-SVP. Nothing in a task says what its cluster is, so such an ion is refused.

Rules: runs in Psi4's environment, see `psi4_server`.
"""

from __future__ import annotations

from typing import Any

_WITHOUT_ORBITALS = ("hf", "scf")
_NOBLE_GAS = ("TRUE", "YES", "ON", "1")  # how Psi4 keeps `freeze_core true`


def problem(psi4: Any, molecule: Any, method: str, basis: str) -> str:
    """Return what is wrong with the frozen core of a molecule by the options that are set; empty if nothing."""
    from psi4.driver.procrouting.dft import functionals

    if psi4.core.get_global_option("FREEZE_CORE").upper() not in _NOBLE_GAS or not _correlates(method, functionals):
        return ""
    alone = _freeze(psi4, molecule, basis)
    real = [atom for atom in range(molecule.natom()) if molecule.Z(atom) > 0]
    brought = sum(
        _of_neutral_atom(psi4, molecule.symbol(atom), molecule.true_atomic_number(atom), basis) for atom in real
    )
    if alone == brought:
        return ""
    return (
        f"freeze_core true freezes {alone} orbitals in this ion alone and {brought} of it in a cluster, which spoils"
        " interaction energies; leave freeze_core out, or use another program"
    )


def _correlates(method: str, functionals: Any) -> bool:
    if method in _WITHOUT_ORBITALS:
        return False
    return method not in functionals or "c_mp2" in functionals[method]


def _of_neutral_atom(psi4: Any, symbol: str, electrons: int, basis: str) -> int:
    fields = {
        "schema_name": "qcschema_molecule",
        "schema_version": 2,
        "symbols": [symbol.capitalize()],
        "geometry": [0.0, 0.0, 0.0],
        "molecular_charge": 0,
        "molecular_multiplicity": 1 + electrons % 2,
        "fix_com": True,
        "fix_orientation": True,
    }
    return _freeze(psi4, psi4.core.Molecule.from_schema(fields), basis)


def _freeze(psi4: Any, molecule: Any, basis: str) -> int:
    built = psi4.core.BasisSet.build(molecule, "ORBITAL", basis, quiet=True)
    return int(built.n_frozen_core("TRUE", molecule))
