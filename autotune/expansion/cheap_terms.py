"""The terms of an expansion by a cheap method, which say where an expensive one is worth it.

Rules: both methods have the same fragments and levels. A term is significant where the cheap method finds it at least
as large as a threshold, or where one is that has it below it: what is computed stays an expansion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autotune.base.types import PAIR, Task
from autotune.expansion.component import Recipe
from autotune.expansion.expansion import Chemistry
from autotune.expansion.readers import conventional
from autotune.expansion.screening import Fragments, Parts, with_all_below
from autotune.expansion.workload import Workload
from autotune.programs.facts import facts_of

if TYPE_CHECKING:
    from qcmanybody.models.v2 import ManyBodyInput


def cheaper(work: Workload, chemistry: Chemistry) -> Workload:
    """Return the expansion of a workload by another model chemistry.

    Its treatment of the BSSE is the same where the program knows ghost atoms; other programs have none to correct.

    Args:
        work: The workload, with one model chemistry.
        chemistry: The cheap one; its keywords are the program's own.
    """
    given: ManyBodyInput = work.many_body_input
    specification = given.specification
    level = next(iter(specification.specification))
    keywords = conventional(chemistry, {}, given.molecule.symbols)
    bsse = list(specification.keywords.bsse_type) if facts_of(chemistry.program).ghosts else ["nocp"]
    fields = given.model_dump(exclude_unset=True)
    fields["molecule"] = given.molecule
    fields["specification"]["keywords"] = {**fields["specification"]["keywords"], "bsse_type": bsse, "levels": None}
    fields["specification"]["specification"] = {
        level: {
            "program": chemistry.program,
            "driver": "energy",
            "model": {"method": chemistry.method, **({"basis": chemistry.basis} if chemistry.basis else {})},
            "keywords": keywords,
        }
    }
    from qcmanybody.models.v2 import ManyBodyInput

    return Workload(ManyBodyInput(**fields), schema_version=2)


class CheapTerms:
    """The terms (Eh) of an expansion.

    Args:
        tasks: Of the expansion.
        recipe: What they are made of.
        counterpoise: It is one with a counterpoise correction.
        values: By task key, `energy` (Eh).

    Attributes:
        of: By fragments, and whether in their own basis functions.
    """

    def __init__(
        self, tasks: Sequence[Task], recipe: Recipe, *, counterpoise: bool, values: Mapping[str, Mapping[str, Any]]
    ) -> None:
        parts = Parts(recipe, counterpoise=counterpoise)

        def energy(key: str) -> float:
            found: float = values[key]["energy"]
            return found

        self.of: dict[tuple[Fragments, bool], float] = {
            (task.real, parts.is_own(task)): energy(task.key) - parts.below(task, energy)
            for task in tasks
            if task.nbody >= PAIR
        }

    def term(self, real: Fragments, *, own: bool) -> float:
        """Return a term; that without a correction where the cheap method needs none."""
        found = self.of.get((real, own))
        return self.of[real, True] if found is None else found

    def significant(self, threshold_hartree: float) -> frozenset[Fragments]:
        """Return the fragments of all terms that are as large as a threshold, and of those below them."""
        return with_all_below(real for (real, _), energy in self.of.items() if abs(energy) >= threshold_hartree)
