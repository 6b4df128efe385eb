"""The table of many inputs: a row for each input and BSSE treatment, as text and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.base import json_files
from autotune.base.records import NBodyEnergies
from autotune.base.text import count, one_line
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE, nbody_energies
from autotune.reports.tables import Column, csv_of, lines_of

if TYPE_CHECKING:
    from autotune.session.lot import Outcome

_SHOWN_ERROR = 100  # letters


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """What became of one input, with one treatment of the BSSE.

    Attributes:
        name: The input's.
        energies: Through its highest n-body level; None where there is no result.
        error: Why there is none, in one line.
    """

    name: str
    energies: NBodyEnergies | None = None
    error: str = ""


def _interaction(row: OutcomeRow) -> float | None:
    return None if row.energies is None else row.energies.interaction_hartree


def _interaction_kcal(row: OutcomeRow) -> float | None:
    energy = _interaction(row)
    return None if energy is None else energy * KCAL_PER_HARTREE


COLUMNS = (
    Column(name="input", heading="input", value=lambda row: row.name, words=True),
    Column(name="bsse", heading="BSSE", value=lambda row: row.energies and row.energies.bsse, words=True),
    Column(name="nbody", heading="n-body", value=lambda row: row.energies and row.energies.nbody),
    Column(
        name="total_hartree",
        heading="total",
        unit="Eh",
        value=lambda row: row.energies and row.energies.total_hartree,
        digits=8,
    ),
    Column(name="interaction_hartree", heading="interaction", unit="Eh", value=_interaction, digits=8),
    Column(name="interaction_kcal_mol", heading="interaction", unit="kcal/mol", value=_interaction_kcal, digits=3),
    Column(name="error", heading="error", value=lambda row: row.error or None, words=True),
)


@dataclass(frozen=True, slots=True)
class OutcomesTable:
    """The energies of many inputs; as text (`str`, `print`) a table for people.

    Attributes:
        rows: By input, then by BSSE treatment.
    """

    rows: tuple[OutcomeRow, ...]

    def __str__(self) -> str:
        """Return the table as text with aligned columns."""
        return self.text()

    def text(self, most: int | None = None) -> str:
        """Return the table as text, of so many rows at most; rows with errors come first where some are left out."""
        rows: Sequence[OutcomeRow] = self.rows
        left = len(rows) - most if most is not None else 0
        if left > 0:
            rows = sorted(rows, key=lambda row: not row.error)[:most]
        failed = any(row.error for row in rows)
        columns = [column for column in COLUMNS if failed or column.name != "error"]
        cut = [OutcomeRow(name=row.name, energies=row.energies, error=row.error[:_SHOWN_ERROR]) for row in rows]
        lines = lines_of(columns, cut)
        return "\n".join([*lines, *([f"and {count(left, 'more row')}"] if left > 0 else [])])

    def csv(self) -> str:
        """Return all rows as comma-separated values, numbers with all their digits, units in the names."""
        return csv_of(COLUMNS, self.rows)


def rows_of(outcome: Outcome) -> tuple[OutcomeRow, ...]:
    """Return the rows of an outcome: one for each BSSE treatment, of its highest n-body level."""
    if outcome.result is None:
        return (OutcomeRow(name=outcome.name, error=one_line(outcome.error) or "not computed"),)
    highest = {row.bsse: row for row in nbody_energies(outcome.result)}
    return tuple(OutcomeRow(name=outcome.name, energies=row) for row in highest.values()) or (
        OutcomeRow(name=outcome.name),
    )


def tabulate_many(outcomes: Iterable[Outcome], *, output: str | Path | None = None) -> OutcomesTable:
    """Return the energies of many inputs as a table: its rows for programs, its text for people.

    Args:
        outcomes: As `run_many` returns them.
        output: Write the table here as CSV.

    Raises:
        ResourceError: The file cannot be written.
    """
    table = OutcomesTable(tuple(row for outcome in outcomes for row in rows_of(outcome)))
    if output is not None:
        json_files.write_text(Path(output), table.csv())
    return table
