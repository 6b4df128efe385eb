"""What is wrong with a recipe, found before anything is computed: programs, methods, basis sets.

Rules: `question` is asked where tasks are known, `check` answers in a worker, where the programs are loaded; it asks
harnesses and computes nothing. A harness may refuse (`preflight`) and may warn (`cautions`).
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from autotune.base.types import PAIR
from autotune.expansion.labels import ONLY_LEVEL
from autotune.programs import abilities, mpi
from autotune.workers.messages import Check, Checked

if TYPE_CHECKING:
    from autotune.base.types import Task
    from autotune.expansion.component import Recipe

Component: TypeAlias = tuple[str, tuple[int, ...], tuple[int, ...]]


def question(tasks: Iterable[Task], recipe: Recipe) -> Check:
    """Return what to ask a worker about these tasks of a recipe."""
    return Check(tuple((task.level, task.real, task.basis) for task in representatives(tasks, recipe)))


def representatives(tasks: Iterable[Task], recipe: Recipe) -> tuple[Task, ...]:
    """Return tasks that stand for what single fragments do not show, one of each kind.

    These are a fragment of each kind beside ghosts of each kind, and a component in which open shells meet.
    """
    kinds, open_shells = _kinds(recipe), _open_shells(recipe)
    found: dict[tuple[object, ...], Task] = {}
    for task in tasks:
        if task.nbody == 1 and len(task.basis) > 1:
            ghosts = frozenset(kinds[fragment] for fragment in task.basis if fragment != task.real[0])
            found.setdefault((task.level, kinds[task.real[0]], ghosts), task)
        elif len(open_shells) >= PAIR and len(meeting := open_shells.intersection(task.real)) >= PAIR:
            key = (task.level, *sorted(kinds[fragment] for fragment in meeting))
            if key not in found or found[key].nbody > task.nbody:
                found[key] = task
    return tuple(found.values())


def check(recipe: Recipe, components: Sequence[Component] = ()) -> Checked:
    """Return what is wrong with the recipe's programs, methods and basis sets, without computing anything."""
    import qcengine
    from qcengine.exceptions import QCEngineException

    problems: list[str] = []
    cautions: list[str] = []
    versions: dict[str, str] = {}
    widths: dict[str, str] = {}
    kinds = {kind: number for number, kind in _kinds(recipe).items()}
    open_shells = _open_shells(recipe)
    for level, program in recipe.programs.items():
        known = qcengine.list_all_programs()
        if program not in known:
            near = difflib.get_close_matches(program, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
            problems.append(f"program {program!r} is not known to QCEngine; {hint}")
            continue
        try:
            harness = qcengine.get_program(program)
        except QCEngineException as error:
            obstacle = abilities.obstacle(program, error.__cause__)
            problems.append(
                f"program {program!r} cannot be used on this machine: {obstacle}"
                if obstacle
                else f"program {program!r} is not installed on this machine; install it or name another program"
            )
            continue
        widths[program] = abilities.width_of(harness)
        if widths[program] == abilities.RANKS and not mpi.launcher():
            widths[program] = abilities.ONE_CORE
        with contextlib.suppress(Exception):
            # A harness that mended its numbers says so by a new revision: a journal then keeps old and new apart.
            version, revision = str(harness.get_version() or "unknown"), getattr(harness, "revision", "")
            versions[program] = f"{version}+{revision}" if revision else version
        asked: list[Component] = [(level, (number,), (number,)) for number in kinds.values()]
        asked += [component for component in components if component[0] == level]
        problem = next(_problems(harness, recipe, asked), "")
        if problem:
            problems.append(problem)
        else:
            cautions += _cautions(harness, recipe, asked, open_shells)
    return Checked(tuple(dict.fromkeys(problems)), versions, widths, tuple(dict.fromkeys(cautions)))


def _problems(harness: Any, recipe: Recipe, asked: Iterable[Component]) -> Iterator[str]:
    """Yield a line for each component that the harness refuses."""
    from qcengine.exceptions import QCEngineException

    from autotune.expansion.component import atomic_input

    preflight = getattr(harness, "preflight", None)
    if preflight is None:
        return
    for level, real, basis in asked:
        try:
            for rescue in (False, True) if recipe.rescue else (False,):
                preflight(atomic_input(recipe, level, real, basis, rescue=rescue))
        except QCEngineException as error:
            fragments = f"fragment {real[0]}" if len(real) == 1 else f"fragments {', '.join(map(str, real))}"
            ghosts = " with ghosts" if len(basis) > len(real) else ""
            where = "" if level == ONLY_LEVEL else f"model chemistry {level!r}, "
            yield f"{where}{fragments}{ghosts}: {error.raw_message}"


def _cautions(harness: Any, recipe: Recipe, asked: Iterable[Component], open_shells: Collection[int]) -> Iterator[str]:
    """Yield what the harness says of components that it would compute; a word of ours where it cannot say."""
    from autotune.expansion.component import atomic_input

    cautions = getattr(harness, "cautions", None)
    for level, real, basis in asked:
        if cautions is not None:
            yield from cautions(atomic_input(recipe, level, real, basis))
        elif sum(fragment in open_shells for fragment in real) >= PAIR:
            yield (
                f"{recipe.programs[level]} does not check that the solution it finds for open-shell fragments that meet"
                " is the lowest: compare an interaction that looks too large with a program that does, such as pyscf"
            )


def _kinds(recipe: Recipe) -> dict[int, tuple[object, ...]]:
    """Return what each fragment, counted from 1, is made of: symbols, charge and multiplicity."""
    whole = recipe.molecule
    states = zip(whole.fragments, whole.fragment_charges, whole.fragment_multiplicities, strict=True)
    return {
        number: (tuple(whole.symbols[list(atoms)].tolist()), float(charge), float(multiplicity))
        for number, (atoms, charge, multiplicity) in enumerate(states, start=1)
    }


def _open_shells(recipe: Recipe) -> frozenset[int]:
    """Return the fragments, counted from 1, with unpaired electrons."""
    multiplicities = recipe.molecule.fragment_multiplicities
    return frozenset(number for number, multiplicity in enumerate(multiplicities, start=1) if multiplicity > 1)
