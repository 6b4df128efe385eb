"""The table of n-body energies: one list of columns, printed as text, as CSV, and in reports.

Rules: pure, but for `tabulate`, which reads a file and may write one. Energies are in Eh and in kcal/mol, each under
the name of what it is: total, interaction, or contribution of a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base import json_files
from autotune.base.records import NBodyEnergies
from autotune.base.text import one_line
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE, nbody_energies, read_result
from autotune.reports.tables import Column, csv_of, lines_of

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

_HARTREE_DIGITS, _KCAL_DIGITS, _NORM_DIGITS = 8, 3, 6


def _kcal(energy_hartree: float | None) -> float | None:
    return None if energy_hartree is None else energy_hartree * KCAL_PER_HARTREE


def _energy(field: str, heading: str, unit: str) -> Column:
    def value(row: NBodyEnergies) -> float | None:
        energy: float | None = getattr(row, field)
        return energy if unit == "Eh" else _kcal(energy)

    named, digits = ("hartree", _HARTREE_DIGITS) if unit == "Eh" else ("kcal_mol", _KCAL_DIGITS)
    return Column(name=field.replace("hartree", named), heading=heading, unit=unit, value=value, digits=digits)


def _norm(field: str, heading: str) -> Column:
    name = f"{field}_hartree_per_bohr"
    return Column(name=name, heading=heading, unit="Eh/a0", value=attrgetter(field), digits=_NORM_DIGITS)


COLUMNS = (
    Column(name="bsse", heading="BSSE", value=lambda row: row.bsse, words=True),
    Column(name="nbody", heading="n-body", value=lambda row: row.nbody),
    _energy("total_hartree", "total", "Eh"),
    _energy("interaction_hartree", "interaction", "Eh"),
    _energy("interaction_hartree", "interaction", "kcal/mol"),
    _energy("contribution_hartree", "contribution", "Eh"),
    _energy("contribution_hartree", "contribution", "kcal/mol"),
    _norm("gradient_norm", "|gradient|"),
    _norm("contribution_gradient_norm", "|contribution|"),
    Column(name="method", heading="method", value=lambda row: row.method, words=True),
)
_GRADIENTS = ("gradient_norm_hartree_per_bohr", "contribution_gradient_norm_hartree_per_bohr")


@dataclass(frozen=True, slots=True)
class NBodyTable:
    """The n-body energies of a result; as text (`str`, `print`) a table for people.

    Attributes:
        rows: By BSSE treatment in the order of the input, then by n-body level.
        notes: What was left out of the result, or was not computed for it, sentences.
    """

    rows: tuple[NBodyEnergies, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the table as text with aligned columns, below it what the result returns, and notes."""
        if not self.rows:
            return "the result has no many-body energies"
        return "\n".join([*lines_of(self.columns, self.rows), *filter(None, [self.returned_words]), *self.notes])

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that have something to say: gradients and methods only where there are any, or several."""
        of_gradients = any(
            row.gradient_norm is not None or row.contribution_gradient_norm is not None for row in self.rows
        )
        several = len({row.method for row in self.rows}) > 1
        return tuple(
            column
            for column in COLUMNS
            if (column.name not in _GRADIENTS or of_gradients) and (column.name != "method" or several)
        )

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The text of each row's cells, in the order of `columns`; a dash where a result has no such number."""
        return tuple(tuple(column.cell(row) for column in self.columns) for row in self.rows)

    @property
    def returned_words(self) -> str:
        """What the result returns as its energy, in words; empty where it returns none."""
        for row in self.rows:
            energy = {"total": row.total_hartree, "interaction": row.interaction_hartree}.get(row.returned)
            if energy is not None:
                kcal = f" = {_kcal(energy):.3f} kcal/mol" if row.returned == "interaction" else ""
                through = f"{row.nbody}-body level"
                return f"result: {row.returned} energy through the {through}, {row.bsse}: {energy:.8f} Eh{kcal}"
        return ""

    def csv(self) -> str:
        """Return all rows and columns as comma-separated values, numbers with all their digits, units in the names."""
        return csv_of(COLUMNS, self.rows)


def tabulate(
    result: ManyBodyResult | ManyBodyResultV1 | Mapping[str, Any] | str | Path, *, output: str | Path | None = None
) -> NBodyTable:
    """Return the n-body energies of a result as a table: its rows for programs, its text for people.

    Args:
        result: A ManyBodyResult of schema version 1 or 2, its fields as a mapping, or the path of its JSON file.
        output: Write the table here as CSV.

    Raises:
        InputError: It is no ManyBodyResult.
        ResourceError: The file cannot be written.
    """
    fields = read_result(str(result)) if isinstance(result, str | Path) else result
    table = NBodyTable(nbody_energies(fields), _notes(fields))
    if output is not None:
        json_files.write_text(Path(output), table.csv())
    return table


def _notes(result: Any) -> tuple[str, ...]:
    """Return what `reductions.note_what_is_left_out` has noted; nothing where somebody else wrote the extras."""
    extras = result.get("extras") if isinstance(result, Mapping) else getattr(result, "extras", None)
    ours = extras.get("autotune") if isinstance(extras, Mapping) else None
    noted = ours.get("omitted") if isinstance(ours, Mapping) else None
    return tuple(one_line(words) for words in noted) if isinstance(noted, list) else ()


def total_or_interaction(rows: Sequence[NBodyEnergies]) -> str:
    """Return what the energy is that a result with these rows returns: `interaction energy`, `total energy`, or ``."""
    return next((f"{row.returned} energy" for row in rows if row.returned), "")
