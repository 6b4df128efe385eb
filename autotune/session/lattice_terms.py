"""A crystal's n-mers on their way: their inputs, what each adds, and the lattice energy that this adds up to.

Rules: pure but for reading the crystal. Of an n-mer's result only its last term is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base.errors import AutotuneError, InputError, TaskError
from autotune.base.records import Lattice
from autotune.base.text import count, join_words
from autotune.base.types import PAIR, Method
from autotune.expansion.crystal import Crystal, read_crystal
from autotune.expansion.lattice import Nmer, check_cutoffs, find_nmers, lattice_energy
from autotune.expansion.nbody_energies import nbody_energies
from autotune.expansion.nmer_inputs import check_expansion, methods_by_level, nmer_inputs

if TYPE_CHECKING:
    from autotune.expansion.expansion import Expansion
    from autotune.session.lot import Outcome


@dataclass(frozen=True, kw_only=True)
class LatticeTerms:
    """What is computed of a crystal, and what came out.

    Attributes:
        crystal: The crystal.
        nmers: Its distinct n-mers.
        inputs: The fields of their many-body inputs, by name.
        cutoffs_angstrom: By level.
        metric: What distances are of.
        methods: The model chemistry of each level.
        errors: By name, why an n-mer has no term, or None.
    """

    crystal: Crystal
    nmers: tuple[Nmer, ...]
    inputs: Mapping[str, dict[str, Any]]
    cutoffs_angstrom: Mapping[int, float]
    metric: str
    methods: Mapping[int, Method]
    errors: dict[str, AutotuneError | None] = field(default_factory=dict)
    _terms_hartree: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What is computed."""
        return f"understood as {self.crystal.describe()}: {describe_nmers(self.nmers)}"

    def take(self, outcome: Outcome) -> None:
        """Keep what an n-mer adds."""
        self.errors[outcome.name] = outcome.error
        if outcome.result is None:
            return
        last = {row.bsse: row.contribution_hartree for row in nbody_energies(outcome.result)}
        terms = {bsse: energy for bsse, energy in last.items() if energy is not None}
        if len(terms) == len(last):
            self._terms_hartree[outcome.name] = terms
        else:
            self.errors[outcome.name] = TaskError("its result does not say what its last level contributes")

    def add_up(self) -> Lattice:
        """Return the lattice energy, once all n-mers have a term."""
        return lattice_energy(
            self.crystal,
            self.nmers,
            self._terms_hartree,
            cutoffs_angstrom=self.cutoffs_angstrom,
            metric=self.metric,
            methods=self.methods,
        )


def prepare(
    crystal: str | Path | Crystal, *, expansion: Expansion, cutoffs_angstrom: Mapping[int, float], metric: str
) -> LatticeTerms:
    """Return what is to be computed of a crystal; raises as `Session.run_crystal`."""
    check_expansion(expansion)
    check_cutoffs(cutoffs_angstrom, metric)
    highest = max(cutoffs_angstrom)
    if missing := [level for level in range(PAIR, highest) if level not in cutoffs_angstrom]:
        raise InputError(
            f"a lattice energy through {highest}-body has its {missing[0]}-mers in it; give a cutoff for them, too"
        )
    read = crystal if isinstance(crystal, Crystal) else read_crystal(crystal)
    nmers = find_nmers(read, cutoffs_angstrom, metric=metric)
    methods = methods_by_level(expansion, sorted(cutoffs_angstrom))
    return LatticeTerms(
        crystal=read,
        nmers=nmers,
        inputs=nmer_inputs(read, nmers, expansion),
        cutoffs_angstrom=dict(cutoffs_angstrom),
        metric=metric,
        methods={level: each.models[0] for level, each in methods.items()},
    )


def describe_nmers(nmers: tuple[Nmer, ...]) -> str:
    """Return in words how many n-mers of each size are distinct, and how many there are."""
    said = []
    for nbody in sorted({nmer.nbody for nmer in nmers}):
        own = [nmer for nmer in nmers if nmer.nbody == nbody]
        said.append(
            f"{count(len(own), f'distinct {nbody}-mer')} of {sum(nmer.per_cell for nmer in own):,} in each cell"
        )
    return join_words(said)
