"""What is wrong with a recipe, found before anything is computed: programs, methods, basis sets.

Rules: runs in a worker, where the programs are loaded; asks harnesses, computes nothing.
"""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING

from autotune import abilities, mpi
from autotune.messages import Checked

if TYPE_CHECKING:
    from autotune.component import Recipe


def check(recipe: Recipe) -> Checked:
    """Return what is wrong with the recipe's programs, methods and basis sets, without computing anything."""
    import qcengine
    from qcengine.exceptions import QCEngineException

    from autotune.component import atomic_input

    problems: list[str] = []
    versions: dict[str, str] = {}
    widths: dict[str, str] = {}
    kinds = {
        (tuple(recipe.molecule.symbols[list(atoms)]), charge, multiplicity): number
        for number, (atoms, charge, multiplicity) in enumerate(
            zip(
                recipe.molecule.fragments,
                recipe.molecule.fragment_charges,
                recipe.molecule.fragment_multiplicities,
                strict=True,
            ),
            start=1,
        )
    }
    for level, program in recipe.programs.items():
        known = qcengine.list_all_programs()
        if program not in known:
            near = difflib.get_close_matches(program, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
            problems.append(f"program {program!r} is not known to QCEngine; {hint}")
            continue
        try:
            harness = qcengine.get_program(program)
        except QCEngineException:
            problems.append(f"program {program!r} is not installed on this machine; install it or name another program")
            continue
        widths[program] = abilities.flagged(harness)
        if widths[program] == abilities.RANKS and not mpi.launcher():
            widths[program] = abilities.ONE_CORE
        with contextlib.suppress(Exception):
            versions[program] = str(harness.get_version())
        preflight = getattr(harness, "preflight", None)
        if preflight is None:
            continue
        for number in kinds.values():
            try:
                preflight(atomic_input(recipe, level, (number,), (number,)))
                if recipe.rescue:
                    preflight(atomic_input(recipe, level, (number,), (number,), rescue=True))
            except QCEngineException as error:
                problems.append(f"model chemistry {level!r}, fragment {number}: {error.raw_message}")
                break
    return Checked(tuple(dict.fromkeys(problems)), versions, widths)
