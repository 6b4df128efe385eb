"""One component of a many-body expansion: its QCSchema input, built from fragment indices alone.

Rules: the same input, field by field, that upstream's own loop builds (a test compares them), but without upstream's
full validation, which costs 1.5 ms a molecule and has nothing left to find: every atom was validated with the whole
cluster. Knows QCElemental, not QCManyBody. Runs in the workers, so it imports as little as it can.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, Molecule

PROPERTIES = ("energy", "gradient", "hessian")
ENERGIES = ("scf_total_energy", "mp2_total_energy", "ccsd_total_energy")  # of QCElemental's AtomicProperties


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is common to all components of a many-body input.

    Attributes:
        molecule: The whole cluster, validated, with explicit fragments.
        programs: QCEngine program of each model chemistry.
        specifications: AtomicSpecification fields of each model chemistry, as upstream passes them.
        keep_results: The user wants whole AtomicResults back, not only energies and derivatives.
        rescue: Keywords laid over a component's own in a second attempt, where the first did not converge.
        embedding: Point charges (e) on the atoms of each fragment, by its 1-based number, that a component sees in
            place of the fragments it does not have; empty for none.
    """

    molecule: Molecule
    programs: Mapping[str, str]
    specifications: Mapping[str, Mapping[str, Any]]
    keep_results: bool
    rescue: Mapping[str, Any] = field(default_factory=dict)
    embedding: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the recipe as text, for the workers."""
        # Standard masses are left out of a molecule's JSON and would be looked up again for every component.
        masses = self.molecule.masses.tolist()
        return json.dumps(
            {
                "molecule": {**json.loads(self.molecule.model_dump_json()), "masses": masses},
                "programs": dict(self.programs),
                "specifications": {level: dict(fields) for level, fields in self.specifications.items()},
                "keep_results": self.keep_results,
                "rescue": dict(self.rescue),
                "embedding": {str(fragment): list(charges) for fragment, charges in self.embedding.items()},
            },
            default=str,
        )

    @staticmethod
    def from_json(text: str) -> Recipe:
        """Return the recipe that `to_json` wrote."""
        from qcelemental.models.v2 import Molecule

        fields = json.loads(text)
        # The text is a validated molecule of this process's parent; a second validation would only round again.
        fields["molecule"] = Molecule(**{**fields["molecule"], "validated": True})
        fields["embedding"] = {int(fragment): charges for fragment, charges in fields["embedding"].items()}
        return Recipe(**fields)


def fragment_molecule(whole: Molecule, real: Sequence[int], basis: Sequence[int]) -> Molecule:
    """Return the molecule of 1-based fragments `real` in the basis of fragments `basis`.

    Equal to `whole.get_fragment(real, ghosts, orient=False, group_fragments=False)` with the frame fixed, which is what
    QCManyBody's `iterate_molecules` yields. Atoms keep their order in the cluster.
    """
    from qcelemental.models.v2 import Molecule

    real_0 = [fragment - 1 for fragment in real]
    ghost_0 = [fragment - 1 for fragment in set(basis) - set(real)]
    present = set(real_0)
    included = sorted(present | set(ghost_0))
    atoms = [atom for fragment in included for atom in whole.fragments[fragment]]
    sizes = [len(whole.fragments[fragment]) for fragment in included]
    starts = [sum(sizes[:position]) for position in range(len(sizes))]
    charges = [float(whole.fragment_charges[f]) if f in present else 0.0 for f in included]
    multiplicities = [whole.fragment_multiplicities[f] if f in present else 1 for f in included]
    masses = whole.masses[atoms]
    fields: dict[str, Any] = {
        "schema_name": "qcschema_molecule",
        "schema_version": 3,
        "validated": True,
        "name": f"{whole.name or ''} ({real_0},{ghost_0})",
        "symbols": whole.symbols[atoms],
        "geometry": whole.geometry[atoms],
        "masses": masses,
        "real": [f in present for f, size in zip(included, sizes, strict=True) for _ in range(size)],
        "fragments": [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)],
        "fragment_charges": charges,
        "fragment_multiplicities": multiplicities,
        "molecular_charge": sum(charges),
        "molecular_multiplicity": sum(m - 1 for m in multiplicities) + 1,
        "fix_com": True,
        "fix_orientation": True,
        "provenance": whole.provenance,
    }
    if (mass_numbers := _mass_numbers(whole.symbols[atoms].tolist(), masses.tolist())) is not None:
        fields["mass_numbers"] = mass_numbers
    if whole.fix_symmetry == "c1":
        fields["fix_symmetry"] = "c1"
    return Molecule(validate=False, **fields)


def _mass_numbers(symbols: Sequence[str], masses: Sequence[float]) -> list[int] | None:
    """Return the mass number of each atom, -1 for a mass that no isotope has; None where all are the usual isotopes.

    QCElemental finds them for a component by the masses alone, and leaves them out by this measure.
    """
    usual = [_usual_mass(symbol) for symbol in symbols]
    # As numpy.allclose, which takes ten times as long for so few.
    if all(abs(mass - of_usual) <= 1e-8 + 1e-5 * mass for mass, of_usual in zip(masses, usual, strict=True)):
        return None
    from qcelemental.molparse.nucleus import reconcile_nucleus

    return [
        reconcile_nucleus(E=symbol, mass=mass, speclabel=False, verbose=-1)[0]
        for symbol, mass in zip(symbols, masses, strict=True)
    ]


@cache
def _usual_mass(symbol: str) -> float:
    from qcelemental import periodictable

    mass: float = periodictable.to_mass(symbol)
    return mass


def atomic_input(
    recipe: Recipe, level: str, real: Sequence[int], basis: Sequence[int], *, rescue: bool = False
) -> AtomicInput:
    """Return the QCSchema v2 input of one component; with the recipe's `rescue` keywords over its own where asked."""
    from qcelemental.models.v2 import AtomicInput

    molecule = fragment_molecule(recipe.molecule, real, basis)
    specification = copy.deepcopy(dict(recipe.specifications[level]))
    charges = _surroundings(recipe, basis)
    if recipe.embedding:
        molecule.extras["embedding_charges"] = charges
    if charges:
        # Only Psi4 can, which `workload` has made sure of; the keyword is the one that upstream sets.
        keywords = specification["keywords"] = dict(specification.get("keywords") or {})
        keywords["function_kwargs"] = {**keywords.get("function_kwargs", {}), "external_potentials": charges}
    if rescue:
        specification["keywords"] = {**(specification.get("keywords") or {}), **recipe.rescue}
    return AtomicInput(molecule=molecule, specification=specification)


def _surroundings(recipe: Recipe, basis: Sequence[int]) -> list[list[Any]]:
    """Return charge and position (a0) of each atom outside of a component, in upstream's order."""
    if not recipe.embedding:
        return []
    whole = recipe.molecule
    outside = list(set(range(1, len(whole.fragments) + 1)) - set(basis))
    return [
        [charge, position]
        for fragment in outside
        for position, charge in zip(
            whole.geometry[whole.fragments[fragment - 1]].tolist(), recipe.embedding[fragment], strict=False
        )
    ]


class Keys:
    """Content keys of components: equal keys, equal results.

    A key covers the program, the whole specification and, in the cluster's order, each fragment's nuclei, masses,
    positions, charge and multiplicity, and whether it is real or a ghost.
    """

    def __init__(self, recipe: Recipe) -> None:
        whole = recipe.molecule
        masses = whole.masses  # looked up again, atom by atom, each time it is asked for
        self._levels = {
            level: _digest(recipe.programs[level], json.dumps(fields, sort_keys=True, default=str), whole.fix_symmetry)
            for level, fields in recipe.specifications.items()
        }
        self._real: list[bytes] = []
        self._ghost: list[bytes] = []
        for index, fragment in enumerate(whole.fragments):
            atoms = list(fragment)
            symbols = ",".join(whole.symbols[atoms])
            ghost = _digest(symbols, masses[atoms].tobytes(), whole.geometry[atoms].tobytes())
            state = f"{whole.fragment_charges[index]!r} {whole.fragment_multiplicities[index]!r}"
            self._ghost.append(ghost)
            self._real.append(_digest(ghost, state))
        self._embedding = {
            number: _digest("embedding", whole.geometry[list(whole.fragments[number - 1])].tobytes(), list(charges))
            for number, charges in recipe.embedding.items()
        }

    def key(self, level: str, real: Sequence[int], basis: Sequence[int]) -> str:
        """Return the key of one component: 40 hexadecimal digits."""
        if real == basis:
            parts = [self._real[f - 1] for f in sorted(basis)]
        else:
            present = set(real)
            parts = [self._real[f - 1] if f in present else self._ghost[f - 1] for f in sorted(basis)]
        if self._embedding:
            parts += [self._embedding[f] for f in sorted(self._embedding.keys() - set(basis))]
        return sha256(b"".join([self._levels[level], *parts])).hexdigest()[:40]


def _digest(*parts: object) -> bytes:
    digest = sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()
