"""The order of atoms: fragments may be scattered over an input, and upstream takes them in blocks only.

Rules: within a `Workload` the atoms of each fragment stand in one block; what a user reads is in the order that he
gave. A QCElemental molecule can be held in that order, and read again from its JSON, where it says of itself that it is
validated; to be so in truth, it is validated in blocks. Knows QCElemental, and of results their fields only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qcelemental.models.v2 import Molecule
    from qcmanybody.models.v2 import ManyBodyInput, ManyBodyResult

    Array = NDArray[np.float64]

_OF_ATOMS = ("symbols", "geometry", "masses", "real", "atom_labels", "atomic_numbers", "mass_numbers")


def block_order(fragments: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Return which atom of the input each atom is once fragments stand in blocks; None where they do so already."""
    order = tuple(int(atom) for atom in itertools.chain.from_iterable(fragments))
    return None if order == tuple(range(len(order))) else order


def validate(fields: Mapping[str, Any], order: Sequence[int]) -> Molecule:
    """Return the molecule that fields with scattered fragments state, its atoms in the order of the fields.

    Args:
        fields: Of a molecule, geometry in bohr, flat or `(natom, 3)`.
        order: As `block_order` says.

    Raises:
        ValueError: QCElemental refuses it; so do the other kinds of error that its validators let through.
    """
    import numpy as np
    from qcelemental.models.v2 import Molecule

    blocks = {name: value for name, value in fields.items() if name != "validated"}
    for name in _OF_ATOMS:
        if fields.get(name) is not None:
            of_atoms = np.asarray(fields[name], dtype=object if name == "masses" else None)
            of_atoms = of_atoms.reshape(-1, 3) if name == "geometry" else of_atoms
            blocks[name] = of_atoms[list(order)].tolist()
    if fields.get("connectivity"):
        blocks["connectivity"] = _bonds(fields["connectivity"], order)
    blocks["fragments"] = _blocks(fields["fragments"])
    return rearrange(Molecule(**blocks), _inverse(order), fields["fragments"])


def rearrange(molecule: Molecule, order: Sequence[int], fragments: Sequence[Sequence[int]]) -> Molecule:
    """Return a molecule with other numbers of its atoms: atom `i` is what was atom `order[i]`."""
    import numpy as np

    atoms = list(order)
    new: dict[str, Any] = {"validated": True, "fragments_": [np.array(each, dtype=np.int32) for each in fragments]}
    for name in _OF_ATOMS:
        field = name if name in ("symbols", "geometry") else f"{name}_"
        if (of_atoms := getattr(molecule, field)) is not None:
            new[field] = of_atoms[atoms]
    if molecule.connectivity:
        new["connectivity"] = _bonds(molecule.connectivity, order)
    return molecule.model_copy(update=new)


def in_blocks(molecule: Molecule, order: Sequence[int]) -> Molecule:
    """Return a molecule with its fragments in blocks, by the order that `block_order` gave."""
    return rearrange(molecule, order, _blocks(molecule.fragments))


def restore(result: ManyBodyResult, many_body_input: ManyBodyInput, order: Sequence[int]) -> ManyBodyResult:
    """Return a result (v2) of the molecule in blocks as that of the input: its molecule, and arrays in its order.

    Component results keep their own molecules, which say which atoms they have.
    """
    rows = _inverse(order)
    return result.model_copy(
        update={
            "input_data": many_body_input,
            "molecule": many_body_input.molecule,
            "properties": _restore(result.properties, rows),
            "cluster_properties": {
                label: _restore(of_component, rows) for label, of_component in result.cluster_properties.items()
            },
            "return_result": _array(result.return_result, rows),
        }
    )


def _restore(properties: Any, rows: Sequence[int]) -> Any:
    arrays = {name: _array(value, rows) for name, value in properties if "gradient" in name or "hessian" in name}
    return properties.model_copy(update={name: array for name, array in arrays.items() if array is not None})


def _array(value: Any, rows: Sequence[int]) -> Any:
    """Return a gradient or Hessian of the whole system with the rows of atoms `rows`; what is no array as it is."""
    import numpy as np

    if not isinstance(value, np.ndarray):
        return value
    natom = len(rows)
    if value.size == 3 * natom:
        return value.reshape(natom, 3)[list(rows)].reshape(value.shape)
    places = [3 * atom + axis for atom in rows for axis in range(3)]
    return value.reshape(3 * natom, 3 * natom)[np.ix_(places, places)].reshape(value.shape)


def _inverse(order: Sequence[int]) -> list[int]:
    inverse = [0] * len(order)
    for new, old in enumerate(order):
        inverse[old] = new
    return inverse


def _blocks(fragments: Sequence[Sequence[int]]) -> list[list[int]]:
    ends = list(itertools.accumulate(len(fragment) for fragment in fragments))
    return [list(range(end - len(fragment), end)) for fragment, end in zip(fragments, ends, strict=True)]


def _bonds(bonds: Sequence[Sequence[Any]], order: Sequence[int]) -> list[tuple[int, int, float]]:
    """Return bonds in the numbers of a molecule whose atom `i` was atom `order[i]`."""
    new = _inverse(order)
    return [(new[int(one)], new[int(other)], float(bond_order)) for one, other, bond_order in bonds]
