"""The terms of a many-body expansion: what each pair, triple and so on adds, made of the energies in a result.

Rules: reads a ManyBodyResult of either schema version, as a model or as the fields of its JSON. Upstream has summed the
expansion; here its sum is divided into terms, by inclusion and exclusion over the fragments below: in their own basis
functions without correction of the BSSE (nocp), in those of the whole cluster (cp), or in those of the term (vmfc).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, combinations, groupby
from typing import TYPE_CHECKING, Any

from autotune.base.errors import InputError
from autotune.base.records import Term
from autotune.base.text import one_line
from autotune.expansion.nbody_energies import fields_of, text_of

if TYPE_CHECKING:
    import numpy as np
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

Fragments = tuple[int, ...]  # from 1


def terms(result: ManyBodyResult | ManyBodyResultV1 | Mapping[str, Any]) -> tuple[Term, ...]:
    """Return the terms of a result: by BSSE treatment in the order of the input, by n-body level, the nearest first.

    Args:
        result: A ManyBodyResult of schema version 1 or 2, or its fields as a mapping.

    Raises:
        InputError: The mapping is no ManyBodyResult, or it does not hold the energies of its components.
    """
    try:
        fields = fields_of(result)
        inputs = fields_of(fields["input_data"])
        keywords = fields_of(fields_of(inputs["specification"])["keywords"])
        energies = dict(_energies(fields))
        near = _nearest(fields_of(inputs["molecule"]))
        treatments = list(dict.fromkeys(text_of(bsse) for bsse in keywords["bsse_type"]))
        if keywords.get("supersystem_ie_only"):
            raise InputError("the result has no terms: with supersystem_ie_only nothing between is computed")
        found: list[Term] = []
        for bsse in treatments:
            for nbody, chemistry in _levels(energies, keywords):
                found += _of_level(bsse, nbody, chemistry, energies, near)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"this is no ManyBodyResult with components: {type(error).__name__}: {one_line(error)}"
        ) from error
    return tuple(found)


def largest(of_all: Sequence[Term], most: int) -> tuple[Term, ...]:
    """Return so many terms of each BSSE treatment that contribute most, the largest first; their sums stay."""
    chosen: list[Term] = []
    for _, of_one in groupby(of_all, key=lambda term: term.bsse):
        chosen += sorted(of_one, key=lambda term: -abs(term.contribution_hartree))[:most]
    return tuple(chosen)


def _energies(fields: Mapping[str, Any]) -> Iterator[tuple[tuple[str, Fragments, Fragments], float]]:
    """Yield model chemistry, real fragments and fragments with basis functions of each component, and its energy."""
    components = fields.get("cluster_properties") or fields.get("component_properties")
    if not components:
        raise InputError("the result does not hold the energies of its components, so its terms cannot be told apart")
    for label, properties in components.items():
        chemistry, real, basis = json.loads(label)
        energy = fields_of(properties).get("return_energy")
        if energy is not None:
            yield (str(chemistry), tuple(real), tuple(basis)), float(energy)


def _levels(
    energies: Mapping[tuple[str, Fragments, Fragments], float], keywords: Mapping[str, Any]
) -> Iterator[tuple[int, str]]:
    """Yield each n-body level above the first that has terms, and the model chemistry that they are computed with."""
    stated = {int(body): str(name) for body, name in (keywords.get("levels") or {}).items() if str(body).isdecimal()}
    whole = max(len(basis) for _, _, basis in energies)
    highest = max(stated) if stated else keywords.get("max_nbody") or max(len(real) for _, real, _ in energies)
    for nbody in range(2, min(int(highest), whole) + 1):
        if stated:
            yield nbody, stated[min(body for body in stated if body >= nbody)]
        else:
            yield nbody, next(iter(energies))[0]


def _of_level(
    bsse: str,
    nbody: int,
    chemistry: str,
    energies: Mapping[tuple[str, Fragments, Fragments], float],
    near: np.ndarray,
) -> list[Term]:
    everything = tuple(range(1, len(near) + 1))
    made = []
    for fragments in combinations(everything, nbody):
        parts = []
        for size in range(1, nbody + 1):
            for real in combinations(fragments, size):
                basis = {"nocp": real, "cp": everything, "vmfc": fragments}[bsse]
                parts.append((-1) ** (nbody - size) * energies[chemistry, real, basis])
        distance = max(float(near[one - 1, other - 1]) for one, other in combinations(fragments, 2))
        made.append((distance, fragments, math.fsum(parts)))
    made.sort()
    sums = accumulate(energy for _, _, energy in made)
    return [
        Term(
            bsse=bsse,
            nbody=nbody,
            fragments=fragments,
            distance_angstrom=distance,
            contribution_hartree=energy,
            running_hartree=running,
        )
        for (distance, fragments, energy), running in zip(made, sums, strict=True)
    ]


def _nearest(molecule: Mapping[str, Any]) -> np.ndarray:
    """Return the distance of the nearest atoms of each two fragments, Å, shape (fragment, fragment)."""
    import numpy as np
    from qcelemental import constants

    places = np.asarray(molecule["geometry"], dtype=float).reshape(-1, 3) * constants.bohr2angstroms
    fragments: Sequence[Any] = molecule.get("fragments") or [range(len(places))]
    atoms = [places[list(fragment)] for fragment in fragments]
    found = np.zeros((len(atoms), len(atoms)))
    for one, other in combinations(range(len(atoms)), 2):
        between = atoms[one][:, None] - atoms[other]
        found[one, other] = found[other, one] = np.sqrt((between**2).sum(axis=2).min())
    return found
