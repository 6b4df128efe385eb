"""Core potentials in a resident Psi4: none on ghost atoms, and no derivatives that leave them out.

Psi4 gives a ghost the core potential of its element, too, where the basis set has one (its issue 1968): the electrons
of the other atoms then feel a core that is not there, and xenon's ghost raises helium at 1 A by 0.04 Eh. Psi4 knows a
potential by the label of its atom, so ghosts get labels of their own, and their potentials are taken out of what
Python hands over to C++, whichever way the basis set was asked for. Only the gradients of SCF know core potentials.

Rules: runs in Psi4's environment, see `psi4_server`. Only Psi4 before 1.4 is mended; for any Psi4 `problem` says
whether ghosts still carry a potential, by asking for their basis set.
"""

from __future__ import annotations

from typing import Any, Dict  # noqa: UP035 - what is evaluated must be known to Python 3.7

Fields = Dict[str, Any]  # noqa: UP006
LABEL = "_ghost"  # after the element, as Psi4's own labels of atoms are


def label_ghosts(molecule: Fields) -> Fields:
    """Return a QCSchema molecule whose ghosts have labels of their own; the same where it has no ghosts."""
    if all(molecule["real"]):
        return molecule
    return dict(molecule, atom_labels=["" if real else LABEL for real in molecule["real"]])


def take_from_ghosts(psi4: Any) -> None:
    """Make this Psi4 build basis sets without core potentials on ghosts; later versions are left as they are."""
    if hasattr(psi4, "schema_wrapper"):
        return
    builder = psi4.driver.qcdb.BasisSet
    construct = builder.pyconstruct

    def constructed(mol: Any, *args: Any, **kwargs: Any) -> Any:
        found = construct(mol, *args, **kwargs)
        if kwargs.get("return_dict") and isinstance(mol, dict) and not all(mol["real"]):
            for described in found[1] if isinstance(found[1], list) else [found[1]]:
                _take_out(described, mol["real"])
        return found

    builder.pyconstruct = staticmethod(constructed)


def problem(psi4: Any, task: Fields) -> str:
    """Return what Psi4 would do wrong with the core potentials of a QCSchema task; empty if nothing."""
    basis, molecule = task["model"]["basis"], task["molecule"]
    ghosts = [atom for atom, real in enumerate(molecule["real"]) if not real]
    if _has_potential(psi4, molecule, ghosts, basis):
        return (
            f"Psi4 {psi4.__version__} gives ghost atoms the core potentials of {basis}; use bsse nocp, or a basis set"
            " of all electrons"
        )
    reals = [atom for atom, real in enumerate(molecule["real"]) if real]
    if _leaves_out(psi4, task) and _has_potential(psi4, molecule, reals, basis):
        return (
            f"Psi4 {psi4.__version__} leaves the core potentials of {basis} out of the {task['driver']} of"
            f" {task['model']['method']}; use a basis set of all electrons, or another program"
        )
    return ""


def _leaves_out(psi4: Any, task: Fields) -> bool:
    """Return whether the derivative that a task asks for lacks what core potentials contribute, if there are any."""
    from psi4.driver.procrouting.dft import functionals

    method, driver = task["model"]["method"].lower(), task["driver"]
    differences = (task["keywords"].get("function_kwargs") or {}).get("dertype") == 0  # of energies
    if driver not in ("gradient", "hessian") or differences:
        return False
    if driver == "gradient":
        return method not in functionals  # of which hf is one
    # Second derivatives are analytic for HF alone before 1.4, and differences of gradients for the others.
    return method not in functionals or method in ("hf", "scf") or hasattr(psi4, "schema_wrapper")


def _has_potential(psi4: Any, molecule: Fields, atoms: Any, basis: str) -> bool:
    """Return whether the basis set of some of a molecule's atoms has core potentials, with these as ghosts or not."""
    if not atoms:
        return False
    alone = {
        "schema_name": "qcschema_molecule",
        "schema_version": 2,
        "symbols": [molecule["symbols"][atom] for atom in atoms],
        "geometry": [x for atom in atoms for x in molecule["geometry"][3 * atom : 3 * atom + 3]],
        "real": [molecule["real"][atom] for atom in atoms],
        "molecular_charge": molecule["molecular_charge"],
        "molecular_multiplicity": molecule["molecular_multiplicity"],
        "fix_com": True,
        "fix_orientation": True,
    }
    if not all(alone["real"]):
        alone.update(molecular_charge=0, molecular_multiplicity=1)
    built = psi4.core.BasisSet.build(psi4.core.Molecule.from_schema(label_ghosts(alone)), "ORBITAL", basis)
    return bool(built.has_ECP())


def _take_out(described: Fields, real: Any) -> None:
    """Take the ghosts' core potentials out of a basis set's description, which has an entry for each atom."""
    entries = described.get("ecp_shell_map")
    if not entries:
        return
    # An entry: label, name of the shells, electrons in the core, shells.
    bare = [entry if kept else [*entry[:2], 0] for entry, kept in zip(entries, real)]  # noqa: B905 - Python 3.7
    if bare == entries:
        return
    ghosts = {entry[0] for entry, kept in zip(entries, real) if not kept}  # noqa: B905
    if any(kept and entry[0] in ghosts for entry, kept in zip(entries, real)):  # noqa: B905
        raise ValueError("ghosts must not have the labels of real atoms")
    described["message"] += "    Ghost atoms carry no core potential.\n\n"
    if any(entry[2] for entry in bare):
        described["ecp_shell_map"] = bare
    else:
        del described["ecp_shell_map"]
