"""From what a user has on disk - a ManyBodyInput, or a geometry with options - to the fields of a ManyBodyInput.

Rules: reads text, returns mappings; validation is `workload.load`'s. `READERS` alone decides of which kind a text is. A
fragment's charge and multiplicity are always stated in what comes out.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base.errors import InputError
from autotune.base.json_files import read_bytes
from autotune.costs.basis import is_spherical
from autotune.expansion.bonds import are_far_apart, closeness_words, parts
from autotune.expansion.fragments import parse_charges, parse_fragments
from autotune.expansion.workload import MAX_INPUT_BYTES, parse_json
from autotune.programs.facts import facts_of

if TYPE_CHECKING:
    from autotune.expansion.expansion import Chemistry, Expansion
    from autotune.expansion.geometry import Geometry

_ATOMIC = re.compile(r'"schema_name"\s*:\s*"(?P<kind>qcschema_(atomic_)?(input|output|result))"')
NO_TEXT = "{} is not a text file; give a ManyBodyInput (JSON) or an XYZ file"


def read_text(source: str) -> tuple[str, str]:
    """Return the text of a file, or of standard input for `-`, and what to call it in messages."""
    if source == "-":
        try:
            return sys.stdin.read(MAX_INPUT_BYTES + 1), "standard input"
        except UnicodeDecodeError as error:
            raise InputError(NO_TEXT.format("standard input")) from error
    content = read_bytes(Path(source), most=MAX_INPUT_BYTES, kind="an input", cure="; check the path")
    try:
        return _universal(content.decode("utf-8")), source
    except UnicodeDecodeError as error:
        text = _universal(content.decode("latin-1"))
        first, _, rest = text.partition("\n")
        if first.isascii() and rest.partition("\n")[2].isascii():
            return text, source  # only the comment of an XYZ file has other letters, an å or a name
        raise InputError(NO_TEXT.format(source)) from error


def _universal(text: str) -> str:
    """Return a text with line ends as Python reads them from a file."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One kind of file that a calculation can begin with.

    Attributes:
        owns: Returns whether a text, in a file of this name, is of this kind.
        molecule: Returns the fields of the molecule in a text, by its name and what the options say of its fragments;
            None for the kind that says itself what to compute.
        split: Returns the texts of the geometries in a text; None for a kind whose files have one.
    """

    owns: Callable[[str, str], bool]
    molecule: Callable[[str, str, Expansion], dict[str, Any]] | None
    split: Callable[[str], list[str]] | None = None


def _is_json(text: str, _: str) -> bool:
    return text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")


def _is_molecule(text: str, name: str) -> bool:
    """Return whether a text is a QCSchema Molecule, not an input that has one."""
    fields = parse_json(text, name=name) if _is_json(text, name) else {}
    return "symbols" in fields and "geometry" in fields and not fields.keys() & {"molecule", "specification"}


def _is_pdb(text: str, name: str) -> bool:
    """Return whether a text is meant to be a PDB file: it has atom records, or its name ends as such files' do."""
    first = text.lstrip("\ufeff \t\r\n").partition("\n")[0].strip()
    if first.isdigit() or first.startswith("data_"):  # an XYZ file, or mmCIF
        return False
    return name.lower().endswith((".pdb", ".ent")) or re.search(r"(?m)^(ATOM  |HETATM)", text) is not None


def _is_psi4_block(text: str, name: str) -> bool:
    from autotune.expansion.psi4_block import is_psi4_block

    return is_psi4_block(text, name)


def _is_cif(text: str, name: str) -> bool:
    """Return whether a text is a Crystallographic Information File."""
    return name.lower().endswith((".cif", ".mmcif")) or re.search(r"(?m)^_(cell_length_a|atom_site)", text) is not None


def _refuse_cif(_: str, name: str, __: Expansion) -> dict[str, Any]:
    raise InputError(
        f"{name} is a CIF: `autotune crystal` computes the lattice energy of a crystal of molecules; for a cluster give"
        " an XYZ or a PDB file"
    )


# A kind of file is loaded when there is one.


def _molecule_of_json(text: str, name: str, stated: Expansion) -> dict[str, Any]:
    """Return the molecule of a QCSchema Molecule of any version, its atoms in their order; raises as `molecule`."""
    from autotune.expansion.molecule import molecule_fields

    return molecule_fields(
        parse_json(text, name=name),
        name=name,
        fragments=stated.fragments,
        charges=stated.charges,
        multiplicities=stated.multiplicities,
    )


def _molecule_of_pdb(text: str, name: str, stated: Expansion) -> dict[str, Any]:
    from autotune.expansion.pdb import read_pdb

    return molecule_of_geometry(read_pdb(text, name), name, stated)


def _molecule_of_psi4_block(text: str, name: str, stated: Expansion) -> dict[str, Any]:
    from autotune.expansion.psi4_block import read_psi4_block

    return molecule_of_geometry(read_psi4_block(text, name), name, stated)


def _molecule_of_xyz(text: str, name: str, stated: Expansion) -> dict[str, Any]:
    from autotune.expansion.xyz import read_xyz

    return molecule_of_geometry(read_xyz(text, name), name, stated)


def _frames_of_xyz(text: str) -> list[str]:
    from autotune.expansion.xyz import split_frames

    return split_frames(text)


def molecule_of_geometry(found: Geometry, name: str, stated: Expansion) -> dict[str, Any]:
    """Return the molecule of a geometry, its atoms in the order of the file.

    The atoms of a fragment need not be neighbours. `extras.autotune` says how the file was understood: `units`
    (`angstrom` or `bohr`), `source` (its name), and `notes`, sentences for the user, where there are any. Raises
    `InputError` as `ions.charges_and_multiplicities` does.
    """
    from qcelemental import constants

    from autotune.expansion.geometry import covalent_bonds
    from autotune.expansion.ions import charges_and_multiplicities, lowest_spin_notes

    natom, bonds = len(found.symbols), None
    if stated.fragments:
        fragments = parse_fragments(stated.fragments, natom)
    elif found.stated.fragments:
        fragments = found.stated.fragments
    else:
        bonds = covalent_bonds(found)
        fragments = parts(natom, bonds)
    given, text_of_spins = stated.charges, stated.multiplicities
    spins = parse_charges(text_of_spins, len(fragments), label="multiplicity") if text_of_spins else {}
    try:
        charges, multiplicities = charges_and_multiplicities(
            found,
            fragments,
            charges=parse_charges(given, len(fragments)) if given else {},
            multiplicities=spins,
            bonds=bonds,
            name=name,
        )
    except InputError as error:
        # What is asked about a molecule half its size is asked about the wrong molecule.
        if closeness := closeness_words(found.symbols, found.coordinates_angstrom):
            error.add_note(f"{closeness}; the coordinates were read in {found.units}: check the unit")
        elif farness := _farness(found):
            error.add_note(farness)
        raise
    bohr = 1.0 / constants.bohr2angstroms  # `conversion_factor` gives the same and loads a library of units for it
    lowest = lowest_spin_notes(found, fragments, charges, multiplicities, stated=spins)
    words = (*found.notes, *filter(None, [_farness(found)]), *lowest)
    notes = {"notes": list(words)} if words else {}
    return {
        "symbols": list(found.symbols),
        "geometry": [x * bohr for position in found.coordinates_angstrom for x in position],
        "fragments": [list(atoms) for atoms in fragments],
        "fragment_charges": charges,
        "fragment_multiplicities": multiplicities,
        **({"mass_numbers": list(found.mass_numbers)} if found.mass_numbers else {}),
        "extras": {"autotune": {"units": found.units, "source": os.fsencode(name).decode("utf-8", "replace"), **notes}},
    }


def _farness(found: Geometry) -> str:
    """Return what to say of a geometry in ångström that looks as if it were in bohr; empty where it does not."""
    if found.units == "angstrom" and are_far_apart(found.symbols, found.coordinates_angstrom):
        return (
            "no hydrogen has a neighbour within a bond as the coordinates were read, in ångström; read in bohr each"
            " has: if they are bohr, write units=bohr in line 2 of the XYZ file"
        )
    return ""


# By what messages call a file; they are asked in this order, and the last takes what nobody else does.
READERS = {
    "a QCSchema Molecule, which does not say what to compute": Reader(owns=_is_molecule, molecule=_molecule_of_json),
    "a ManyBodyInput": Reader(owns=_is_json, molecule=None),
    "a molecule as Psi4 has it": Reader(owns=_is_psi4_block, molecule=_molecule_of_psi4_block),
    "a CIF": Reader(owns=_is_cif, molecule=_refuse_cif),
    "a PDB file": Reader(owns=_is_pdb, molecule=_molecule_of_pdb),
    "an XYZ file": Reader(owns=lambda *_: True, molecule=_molecule_of_xyz, split=_frames_of_xyz),
}


def _kind(text: str, name: str) -> tuple[str, Reader]:
    """Return what a text is, and its reader; InputError for JSON that is none, or is of no use."""
    # A large text is read once more only where there is reason to.
    found = _ATOMIC.search(text) if _is_json(text, name) else None
    if found and parse_json(text, name=name).get("schema_name") == (kind := found["kind"]):
        raise InputError(
            f"{name} is a {kind}, the calculation of one molecule; give a ManyBodyInput, the molecule alone (a QCSchema"
            " Molecule), or an XYZ file"
        )
    return next((called, reader) for called, reader in READERS.items() if reader.owns(text, name))


def says_what_to_compute(text: str, *, name: str) -> bool:
    """Return whether a text is meant to be a ManyBodyInput; an XYZ file and a QCSchema Molecule need options.

    Raises:
        InputError: It is meant to be JSON and is not.
    """
    return _kind(text, name)[1].molecule is None


def split_frames(text: str, *, name: str) -> list[str]:
    """Return the texts of the geometries in a text, which is one where its kind has no more; raises as the above."""
    split = _kind(text, name)[1].split
    return [text] if split is None else split(text)


def many_body_fields(text: str, *, name: str, expansion: Expansion | None) -> dict[str, Any]:
    """Return the fields of a v2 ManyBodyInput for a text; what only a geometry leaves open is said by `expansion`.

    Args:
        text: The content of a file.
        name: Its name, or what else messages call it.
        expansion: For a geometry what is to be computed; None for a ManyBodyInput, whose fields come back as they are.

    Raises:
        InputError: The text cannot be read, or states what cannot be obeyed; the message names the cure.
    """
    if not text.strip():
        raise InputError(f"{name} is empty; give a ManyBodyInput (JSON) or an XYZ file")
    called, reader = _kind(text, name)
    if reader.molecule is None:
        fields = parse_json(text, name=name)
        if fields.keys().isdisjoint(("molecule", "specification", "schema_name")):
            raise InputError(
                f"{name} is JSON, but neither a ManyBodyInput, with fields molecule and specification,"
                " nor a QCSchema Molecule, with fields symbols and geometry"
            )
        if expansion is not None:
            raise InputError(
                f"{name} is {called} and names its own program, method and basis;"
                " leave --program, --method and --basis out, or give an XYZ file"
            )
        return fields
    if expansion is None:
        raise InputError(
            f"{name} is {called}; say at least --program and --method (and --basis) to compute with; in Python"
            " expansion=autotune.Expansion(program=..., method=...)"
        )
    return input_of(reader.molecule(text, name, expansion), expansion)


def input_of(molecule: dict[str, Any], expansion: Expansion) -> dict[str, Any]:
    """Return the fields of a v2 ManyBodyInput for a molecule's fields."""
    keywords: dict[str, Any] = {"bsse_type": list(expansion.bsse)}
    if expansion.levels:
        keywords["levels"] = dict(expansion.levels)
    if expansion.max_nbody is not None:
        keywords["max_nbody"] = expansion.max_nbody
    return {
        "schema_name": "qcschema_many_body_input",
        "schema_version": 2,
        "molecule": molecule,
        "specification": {
            "driver": expansion.driver,
            "keywords": keywords,
            "specification": {
                label: {
                    "program": chemistry.program,
                    "driver": expansion.driver,
                    "model": {
                        "method": chemistry.method,
                        **({"basis": chemistry.basis} if chemistry.basis else {}),
                    },
                    "keywords": {
                        **conventional(chemistry, expansion.keywords, molecule["symbols"]),
                        **expansion.keywords,
                    },
                }
                for label, chemistry in expansion.chemistries.items()
            },
        },
    }


def conventional(chemistry: Chemistry, keywords: Mapping[str, Any], symbols: Sequence[str]) -> dict[str, Any]:
    """Return the keyword that makes a program take the basis set as the set was made, if it needs one."""
    facts = facts_of(chemistry.program)
    told = {name.lower() for name in keywords}
    if not facts.spherical_keyword or told & {facts.spherical_keyword, facts.cartesian_keyword}:
        return {}
    return {facts.spherical_keyword: True} if is_spherical(chemistry.basis, symbols) else {}
