"""The tables of a lattice energy: by the size of n-mers, by shells of distance, and n-mer by n-mer as CSV."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.base import json_files
from autotune.base.records import Lattice, NmerTerm
from autotune.expansion.lattice import Nmer
from autotune.reports.tables import Column, csv_of, lines_of

SCHEMA = "autotune.lattice/1"
KJ_PER_HARTREE = 2625.499638  # of CODATA 2014, as QCElemental has it
SHELL_ANGSTROM = 2.0
LEAST_KJ = 1.0e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The n-mers of one size whose largest distances lie in one interval.

    Attributes:
        bsse: Treatment of the basis-set superposition error.
        nbody: The number of molecules.
        to_angstrom: The end of the interval, whose length is `SHELL_ANGSTROM`.
        distinct: How many n-mers differ.
        per_cell: How many there are for each unit cell.
        contribution_hartree: What they add, for each formula unit.
        running_hartree: The same of all shells up to this one.
    """

    bsse: str
    nbody: int
    to_angstrom: float
    distinct: int
    per_cell: int
    contribution_hartree: float
    running_hartree: float


def shells(terms: Iterable[NmerTerm]) -> tuple[Shell, ...]:
    """Return the shells of a lattice's terms: by BSSE treatment, by size, by distance."""
    groups: dict[tuple[str, int, float], list[NmerTerm]] = {}
    for term in terms:
        end = SHELL_ANGSTROM * math.ceil(term.distance_angstrom / SHELL_ANGSTROM - 1e-9)
        groups.setdefault((term.bsse, term.nbody, end), []).append(term)
    found: list[Shell] = []
    for (bsse, nbody, end), own in groups.items():
        added = math.fsum(term.contribution_hartree for term in own)
        before = found[-1].running_hartree if found and (found[-1].bsse, found[-1].nbody) == (bsse, nbody) else 0.0
        found.append(
            Shell(
                bsse=bsse,
                nbody=nbody,
                to_angstrom=end,
                distinct=len(own),
                per_cell=sum(term.per_cell for term in own),
                contribution_hartree=added,
                running_hartree=before + added,
            )
        )
    return tuple(found)


def _exact(off_hartree: float) -> str:
    kj = off_hartree * KJ_PER_HARTREE
    shown = f"about {kj:.1g}" if kj >= LEAST_KJ else f"less than {LEAST_KJ:g}"
    return f"; by the thresholds of its energies exact to {shown} kJ/mol"


def nmers_table(nmers: Iterable[Nmer]) -> str:
    """Return the distinct n-mers of a crystal as a table."""
    columns = (
        Column(name="name", heading="n-mer", value=lambda nmer: nmer.name, words=True),
        Column(name="per_cell", heading="in a cell", value=lambda nmer: nmer.per_cell),
        Column(
            name="distances_angstrom",
            heading="distances",
            unit="Å",
            value=lambda nmer: "  ".join(f"{apart:.3f}" for apart in nmer.distances_angstrom),
            words=True,
        ),
    )
    return "\n".join(lines_of(columns, nmers))


def _bsse_and_size() -> tuple[Column, ...]:
    return (
        Column(name="bsse", heading="BSSE", value=lambda row: row.bsse, words=True),
        Column(name="nbody", heading="n-mers of", value=lambda row: row.nbody),
    )


def _kj(name: str, heading: str, value: Any) -> Column:
    return Column(
        name=f"{name}_kj_mol", heading=heading, unit="kJ/mol", value=lambda row: value(row) * KJ_PER_HARTREE, digits=3
    )


def _counts() -> tuple[Column, ...]:
    return (
        Column(name="distinct", heading="distinct", value=lambda row: row.distinct),
        Column(name="per_cell", heading="in a cell", value=lambda row: row.per_cell),
    )


LEVELS = (
    *_bsse_and_size(),
    Column(name="cutoff_angstrom", heading="within", unit="Å", value=lambda row: row.cutoff_angstrom, digits=2),
    *_counts(),
    _kj("contribution", "contribution", lambda row: row.contribution_hartree),
    _kj("through", "lattice energy", lambda row: row.through_hartree),
)
SHELLS = (
    *_bsse_and_size(),
    Column(name="to_angstrom", heading="up to", unit="Å", value=lambda row: row.to_angstrom, digits=1),
    *_counts(),
    _kj("contribution", "contribution", lambda row: row.contribution_hartree),
    _kj("running", "sum to here", lambda row: row.running_hartree),
)
NMERS = (
    Column(name="name", heading="n-mer", value=lambda row: row.name, words=True),
    *_bsse_and_size(),
    Column(name="distance_angstrom", heading="distance", unit="Å", value=lambda row: row.distance_angstrom, digits=3),
    Column(name="per_cell", heading="in a cell", value=lambda row: row.per_cell),
    Column(name="term_hartree", heading="term", unit="Eh", value=lambda row: row.term_hartree, digits=8),
    Column(
        name="contribution_hartree",
        heading="contribution",
        unit="Eh",
        value=lambda row: row.contribution_hartree,
        digits=8,
    ),
    _kj("contribution", "contribution", lambda row: row.contribution_hartree),
    _kj("running", "sum to here", lambda row: row.running_hartree),
)


@dataclass(frozen=True, slots=True)
class LatticeTable:
    """A lattice energy; as text (`str`, `print`) tables for people.

    Attributes:
        lattice: What was computed.
    """

    lattice: Lattice

    def __str__(self) -> str:
        """Return what was computed, the energy by the size of n-mers, and by shells of distance."""
        found = self.lattice
        bsse, energy = found.levels[0].bsse, found.energy_hartree
        highest = max(level.nbody for level in found.levels)
        last = (
            f"lattice energy through {highest}-body ({bsse}): {energy * KJ_PER_HARTREE:.3f} kJ/mol of {found.unit}"
            f" ({energy:.8f} Eh), of rigid molecules within the cutoffs"
            + ("" if found.off_hartree is None else _exact(found.off_hartree))
        )
        return "\n".join(
            [found.crystal, "", *lines_of(LEVELS, found.levels), "", *lines_of(SHELLS, shells(found.nmers)), "", last]
        )

    def csv(self) -> str:
        """Return the terms of all distinct n-mers as comma-separated values, units in the names."""
        return csv_of(NMERS, self.lattice.nmers)

    def fields(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        return {"schema": SCHEMA, "energy_hartree": self.lattice.energy_hartree, **dataclasses.asdict(self.lattice)}


def tabulate_lattice(lattice: Lattice, *, output: str | Path | None = None) -> LatticeTable:
    """Return a lattice energy as tables.

    Args:
        lattice: As `run_crystal` returns it.
        output: Write the terms of its n-mers here as CSV.

    Raises:
        ResourceError: The file cannot be written.
    """
    table = LatticeTable(lattice)
    if output is not None:
        json_files.write_text(Path(output), table.csv())
    return table
