"""A QCSchema Molecule as the molecule of a many-body input: its own fragments, or those that its bonds make.

Rules: what the Molecule states is obeyed, what the user's options state goes before it, and what neither states is
found as for an XYZ file. A total that the fragments do not add up to is an `InputError`, never ignored. Opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autotune.base.errors import InputError
from autotune.base.text import quote
from autotune.expansion.bonds import closeness_words, parts
from autotune.expansion.fragments import check_distances, parse_charges, parse_fragments
from autotune.expansion.geometry import Bonds, Fragments, Geometry, Stated, covalent_bonds
from autotune.expansion.ions import charges_and_multiplicities, lowest_spin_notes
from autotune.expansion.summary import BOHR_WORDS

# What is made again when the molecule is validated with its fragments.
_OF_ITS_MAKER = ("validated", "provenance", "schema_name", "schema_version")


def molecule_fields(
    fields: Mapping[str, Any], *, name: str, fragments: str = "", charges: str = "", multiplicities: str = ""
) -> dict[str, Any]:
    """Return the fields of the molecule (schema 3) of a many-body input.

    Args:
        fields: Of a QCSchema Molecule of any version, positions in bohr.
        name: What messages call it.
        fragments: As `--fragments`; empty for the Molecule's own, or else those that bonds make.
        charges: As `--charges`, in place of what the Molecule states of these fragments and of the total.
        multiplicities: As `--multiplicities`, in the same way.

    Raises:
        InputError: A field or an option cannot be obeyed; the message names it.
    """
    overruled = {"molecular_charge": charges, "molecular_multiplicity": multiplicities}
    fields = {field: value for field, value in fields.items() if not overruled.get(field)}
    found = _geometry(fields)
    try:
        return _settle(fields, found, name=name, fragments=fragments, charges=charges, multiplicities=multiplicities)
    except InputError as error:
        # What is asked about a molecule half its size is asked about the wrong molecule.
        if words := closeness_words(found.symbols, found.coordinates_angstrom):
            error.add_note(f"{words}; {BOHR_WORDS}")
        raise


def _settle(
    fields: Mapping[str, Any], found: Geometry, *, name: str, fragments: str, charges: str, multiplicities: str
) -> dict[str, Any]:
    """Return the fields of the molecule with fragments, charges and multiplicities; see `molecule_fields`."""
    atoms_of, bonds, own = _fragments(fields, found, fragments, name=name)
    stated = _whole(fields, "fragment_charges", len(atoms_of)) if own else {}
    spins = _whole(fields, "fragment_multiplicities", len(atoms_of)) if own else {}
    if charges:
        stated |= parse_charges(charges, len(atoms_of))
    if multiplicities:
        spins |= parse_charges(multiplicities, len(atoms_of), label="multiplicity")
    settled, settled_spins = charges_and_multiplicities(
        found,
        atoms_of,
        charges=stated,
        multiplicities=spins,
        bonds=bonds,
        name=name,
    )
    notes = lowest_spin_notes(found, atoms_of, settled, settled_spins, stated=spins)
    return {
        **{field: value for field, value in fields.items() if field not in _OF_ITS_MAKER},
        "schema_name": "qcschema_molecule",
        "schema_version": 3,
        "fragments": [list(atoms) for atoms in atoms_of],
        "fragment_charges": settled,
        "fragment_multiplicities": settled_spins,
        **(
            {"extras": {**(fields.get("extras") or {}), "autotune": {"units": "bohr", "notes": list(notes)}}}
            if notes
            else {}
        ),
    }


def _geometry(fields: Mapping[str, Any]) -> Geometry:
    """Return the atoms, with the totals that are stated of them."""
    import numpy as np
    from qcelemental import constants, periodictable

    try:
        symbols = tuple(str(symbol).title() for symbol in fields["symbols"])
        check_distances({"symbols": symbols, "geometry": fields["geometry"]})
    except TypeError as error:
        raise InputError("field symbols is not a list of element symbols") from error
    elements = set(periodictable.E)
    if unknown := [symbol for symbol in symbols if symbol not in elements or symbol == "X"]:
        raise InputError(f"field symbols holds {quote(unknown[0])}, which is no element")
    positions = np.asarray(fields["geometry"], dtype=float).reshape(-1, 3) * constants.bohr2angstroms
    stated = Stated(
        charge=_number(fields, "molecular_charge"),
        multiplicity=_number(fields, "molecular_multiplicity"),
        where="the Molecule",
    )
    return Geometry(
        symbols=symbols,
        coordinates_angstrom=tuple((x, y, z) for x, y, z in positions.tolist()),
        stated=stated,
    )


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    """Return the whole number of a field; None where it is left out."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise InputError(f"field {name} is {quote(value)}; give a whole number")
    return int(value)


def _fragments(
    fields: Mapping[str, Any], found: Geometry, text: str, *, name: str
) -> tuple[Fragments, Bonds | None, bool]:
    """Return the fragments, the bonds if they were found by these, and whether they are the Molecule's own."""
    stated = fields.get("fragments")
    own = stated is not None and len(stated) > 1  # one fragment is what every molecule is that says nothing of them
    if text and own:
        raise InputError(f"{name} states its own fragments; leave out --fragments, or that field")
    if text:
        return parse_fragments(text, len(found.symbols)), None, False
    if own:
        try:
            atoms_of = tuple(tuple(atom + 0 for atom in atoms) for atoms in stated or ())
            whole = sorted(atom for atoms in atoms_of for atom in atoms) == list(range(len(found.symbols)))
        except TypeError:
            whole = False
        if not whole or any(type(atom) is not int for atoms in atoms_of for atom in atoms):
            raise InputError(f"{name}: field fragments must hold each atom once, as whole numbers from 0")
        return atoms_of, None, True
    bonds = covalent_bonds(found)
    by_distance = parts(len(found.symbols), bonds)
    connectivity = fields.get("connectivity")
    if connectivity and by_distance != _fragments_of_bonds(connectivity, len(found.symbols)):
        raise InputError(
            f"{name}: its field connectivity makes other fragments than the distances of its atoms; say --fragments"
        )
    return by_distance, bonds, False


def _fragments_of_bonds(bonds: Sequence[Sequence[Any]], natom: int) -> Fragments:
    atom = {number: number for number in range(natom)}
    try:
        return parts(natom, [(atom[one], atom[other]) for one, other, *_ in bonds])
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"field connectivity holds {quote(bonds)}; give pairs of atoms with bond orders") from error


def _whole(fields: Mapping[str, Any], name: str, count: int) -> dict[int, int]:
    """Return what a field states of each fragment; nothing where it is left out."""
    values = fields.get(name)
    if values is None:
        return {}
    try:
        numbers = [int(value) for value in values]
        fits = len(numbers) == count and all(a == b for a, b in zip(numbers, values, strict=True))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise InputError(f"field {name} must hold a whole number for each of the {count} fragments")
    return dict(enumerate(numbers))
