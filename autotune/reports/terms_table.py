"""The table of an expansion's terms, as text, CSV and JSON, and their picture over distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base import json_files
from autotune.base.records import Term
from autotune.base.text import count
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE, read_result
from autotune.expansion.terms import largest, terms
from autotune.reports import figures
from autotune.reports.tables import Column, csv_of, lines_of

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

COLUMNS = (
    Column(name="bsse", heading="BSSE", value=lambda term: term.bsse, words=True),
    Column(name="nbody", heading="n-body", value=lambda term: term.nbody),
    Column(name="fragments", heading="fragments", value=lambda term: "-".join(map(str, term.fragments)), words=True),
    Column(name="distance_angstrom", heading="distance", unit="Å", value=lambda term: term.distance_angstrom, digits=3),
    Column(
        name="contribution_hartree",
        heading="contribution",
        unit="Eh",
        value=lambda term: term.contribution_hartree,
        digits=8,
    ),
    Column(
        name="contribution_kcal_mol",
        heading="contribution",
        unit="kcal/mol",
        value=lambda term: term.contribution_hartree * KCAL_PER_HARTREE,
        digits=4,
    ),
    Column(
        name="running_kcal_mol",
        heading="sum to here",
        unit="kcal/mol",
        value=lambda term: term.running_hartree * KCAL_PER_HARTREE,
        digits=4,
    ),
)
_INCHES, _ROW = 8.0, 3.2
_SHAPES = "os^D"


@dataclass(frozen=True, slots=True)
class TermsTable:
    """The terms of a result; as text (`str`, `print`) a table for people.

    Attributes:
        terms: By BSSE treatment in the order of the input, by n-body level, the nearest first.
    """

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        """Return the table as text with aligned columns."""
        return "\n".join(lines_of(COLUMNS, self.terms)) if self.terms else "the expansion has no terms of two fragments"

    def largest(self, most: int) -> TermsTable:
        """Return the table of so many terms of each BSSE treatment that contribute most, the largest first.

        Their sums stay those of all nearer terms.
        """
        return TermsTable(largest(self.terms, most))

    def csv(self) -> str:
        """Return all terms as comma-separated values, numbers with all their digits, units in the names."""
        return csv_of(COLUMNS, self.terms)

    def fields(self) -> list[dict[str, Any]]:
        """Return the terms as JSON objects."""
        return [dataclasses.asdict(term) for term in self.terms]

    def draw(self, path: Path) -> None:
        """Draw what each term contributes over its distance, one picture for each BSSE treatment.

        Raises:
            InputError: Matplotlib does not know the file's ending.
            ResourceError: The file cannot be written.
        """
        figures.check(path)
        treatments = list(dict.fromkeys(term.bsse for term in self.terms))
        with figures.figure(size=(_INCHES, _ROW * max(1, len(treatments)))) as figure:
            axes = figure.subplots(max(1, len(treatments)), 1, squeeze=False, sharex=True)[:, 0]
            for axis, bsse in zip(axes, treatments, strict=False):
                self._draw_one(axis, bsse)
            axes[-1].set_xlabel("distance of the nearest atoms of the farthest two fragments, Å")
            figures.save(figure, path, 150)

    def _draw_one(self, axis: Any, bsse: str) -> None:
        # What is exactly zero has no logarithm: such terms were left out.
        of_one = [term for term in self.terms if term.bsse == bsse and term.contribution_hartree]
        for place, nbody in enumerate(sorted({term.nbody for term in of_one})):
            for attractive in (True, False):
                chosen = [t for t in of_one if t.nbody == nbody and (t.contribution_hartree < 0.0) == attractive]
                colour = figures.COLOURS[place % len(figures.COLOURS)]
                axis.plot(
                    [term.distance_angstrom for term in chosen],
                    [abs(term.contribution_hartree) * KCAL_PER_HARTREE for term in chosen],
                    linestyle="",
                    marker=_SHAPES[place % len(_SHAPES)],
                    markersize=4,
                    markeredgecolor=colour,
                    markerfacecolor=colour if attractive else figures.PAPER,
                    label=f"{nbody}-body, {count(len(chosen), 'term')} {'below' if attractive else 'above'} zero",
                )
        axis.set_yscale("log")
        if of_one:
            figures.tick_decades(axis.yaxis, *axis.get_ylim())
            axis.legend(fontsize=8)
        axis.set_ylabel(f"|contribution|, kcal/mol ({bsse})")
        axis.grid(color=figures.RULE, lw=0.8)
        axis.set_axisbelow(True)


def tabulate_terms(
    result: ManyBodyResult | ManyBodyResultV1 | Mapping[str, Any] | str | Path,
    *,
    output: str | Path | None = None,
    plot: str | Path | None = None,
) -> TermsTable:
    """Return the terms of a result as a table: each pair, triple and so on, its distance and what it contributes.

    Args:
        result: A ManyBodyResult of schema version 1 or 2, its fields as a mapping, or the path of its JSON file.
        output: Write the table here as CSV.
        plot: Draw the contributions over distance here (`.svg`, `.png`, `.pdf`).

    Raises:
        InputError: It is no ManyBodyResult, or one without the energies of its components.
        ResourceError: A file cannot be written.
    """
    fields = read_result(str(result)) if isinstance(result, str | Path) else result
    table = TermsTable(terms(fields))
    if output is not None:
        json_files.write_text(Path(output), table.csv())
    if plot is not None:
        table.draw(Path(plot))
    return table
