"""The many-body inputs of a crystal's distinct n-mers: each is an expansion of its own, of which the last term counts.

Rules: an n-mer of n molecules is expanded up to n-body in its own basis functions, with the BSSE treatments that are
asked for. Molecules are neutral: the terms of ions fall off too slowly for a sum within a cutoff to mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autotune.base.errors import InputError
from autotune.base.text import count
from autotune.expansion.crystal import Crystal, formula
from autotune.expansion.expansion import Expansion, parse_chemistry
from autotune.expansion.geometry import Geometry, Stated
from autotune.expansion.lattice import Nmer
from autotune.expansion.readers import input_of, molecule_of_geometry


def check_expansion(expansion: Expansion) -> None:
    """Refuse what a crystal's n-mers cannot have; raises InputError."""
    if expansion.driver != "energy":
        raise InputError(f"a lattice energy is a sum of energies; leave out driver {expansion.driver}")
    if expansion.max_nbody is not None:
        raise InputError("the cutoffs of a crystal say which levels there are; leave out max_nbody")
    if expansion.fragments:
        raise InputError("the fragments of a crystal are its molecules; leave out the fragments")
    if "supersystem" in expansion.levels:
        raise InputError("a crystal has no supersystem; leave that level out")


def methods_by_level(expansion: Expansion, levels: Sequence[int]) -> dict[int, Expansion]:
    """Return the expansion of the n-mers of each level: of its method, or of that of the next higher level.

    Raises:
        InputError: No method is named for a level.
    """
    if not expansion.levels:
        return {level: replace(expansion, max_nbody=level) for level in levels}
    found = {}
    stated = sorted((int(level), text) for level, text in expansion.levels.items())
    for level in levels:
        text = next((text for highest, text in stated if highest >= level), None)
        if text is None:
            raise InputError(f"levels name no method for {level}-mers; name level {level}, too")
        chemistry = parse_chemistry(text, program=expansion.program)
        found[level] = replace(
            expansion,
            program=chemistry.program,
            method=chemistry.method,
            basis=chemistry.basis,
            levels={},
            max_nbody=level,
        )
    return found


def nmer_inputs(crystal: Crystal, nmers: Sequence[Nmer], expansion: Expansion) -> dict[str, dict[str, Any]]:
    """Return the fields of a v2 ManyBodyInput for each n-mer, by its name.

    Args:
        crystal: Of which the n-mers are.
        nmers: As `lattice.find_nmers` gives them.
        expansion: Model chemistry, BSSE treatments, and charges and multiplicities of the cell's molecules.

    Raises:
        InputError: The expansion is none for a crystal, or the crystal has ions.
    """
    check_expansion(expansion)
    cell = _cell_fields(crystal, expansion)
    by_level = methods_by_level(expansion, sorted({nmer.nbody for nmer in nmers}))
    return {nmer.name: input_of(_molecule(crystal, nmer, cell), by_level[nmer.nbody]) for nmer in nmers}


def _cell_fields(crystal: Crystal, expansion: Expansion) -> dict[str, Any]:
    """Return the molecule's fields of one unit cell, with the charges and multiplicities of its molecules."""
    symbols = [symbol for molecule in crystal.molecules for symbol in molecule.symbols]
    positions = [
        (float(x), float(y), float(z))
        for molecule in crystal.molecules
        for x, y, z in molecule.positions_angstrom.tolist()
    ]
    fragments, before = [], 0
    for molecule in crystal.molecules:
        fragments.append(tuple(range(before, before + len(molecule.symbols))))
        before += len(molecule.symbols)
    whole = Geometry(
        symbols=tuple(symbols), coordinates_angstrom=tuple(positions), stated=Stated(fragments=tuple(fragments))
    )
    fields = molecule_of_geometry(whole, crystal.name, expansion)
    ions = [number for number, charge in enumerate(fields["fragment_charges"]) if charge]
    if ions:
        first = formula(crystal.molecules[ions[0]].symbols)
        raise InputError(
            f"{crystal.name} has {count(len(ions), 'ion')} in the cell, {first} first: their interactions fall off too"
            " slowly for a sum within a cutoff; take a periodic method, or state --charges where they are wrong"
        )
    for kind in crystal.kinds:
        if len({(fields["fragment_charges"][each], fields["fragment_multiplicities"][each]) for each in kind}) > 1:
            numbers = ", ".join(str(each + 1) for each in kind)
            raise InputError(
                f"molecules {numbers} of the cell are equal by symmetry, but have several multiplicities; give all of"
                " them the same, as in --multiplicities "
                + ",".join(f"{each + 1}:{fields['fragment_multiplicities'][kind[0]]}" for each in kind)
            )
    return fields


def _molecule(crystal: Crystal, nmer: Nmer, cell: dict[str, Any]) -> dict[str, Any]:
    from qcelemental import constants

    bohr = 1.0 / constants.bohr2angstroms
    symbols: list[str] = []
    geometry: list[float] = []
    fragments: list[list[int]] = []
    for site in nmer.sites:
        own = crystal.molecules[site[0]].symbols
        fragments.append(list(range(len(symbols), len(symbols) + len(own))))
        symbols += own
        geometry += [x * bohr for position in crystal.positions_angstrom(site).tolist() for x in position]
    return {
        "symbols": symbols,
        "geometry": geometry,
        "fragments": fragments,
        "fragment_charges": [cell["fragment_charges"][molecule] for molecule, _ in nmer.sites],
        "fragment_multiplicities": [cell["fragment_multiplicities"][molecule] for molecule, _ in nmer.sites],
        "extras": {
            "autotune": {
                "units": "angstrom",
                "source": cell["extras"]["autotune"]["source"],
                "nmer": {"per_cell": nmer.per_cell, "sites": [[molecule, *shift] for molecule, shift in nmer.sites]},
            }
        },
    }
