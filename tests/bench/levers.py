"""What else would make a task cheaper: ways of PySCF that are no tunables, each against the tunables' defaults.

All sides compute the same tasks in one process, one core a task, in turn, with what tasks share (fragments' orbitals,
integrals of pairs) computed before; what a guess costs to make is not in the times. `pairs` starts the SCF of three
fragments from the densities of their pairs, less those of the fragments.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from harness import Benchmark, Computation, call_in_process, interval, take_turns

from autotune.compare import judgement

DENSITY_FIT = {"density_fit": True}
DEFAULT = "default"


class Case(NamedTuple):
    computation: Computation
    nbody: int
    tasks: int
    levers: tuple[str, ...]


CCSD = ("diis_space of CCSD 4", "diis_space of CCSD 8", "CCSD direct")
SCF = ("diis_space 6", "diis_space 12", "newton", "guess atom", "guess huckel")
CASES = {
    "pairs HF/6-31G*": Case(Computation("water6", "hf", "6-31g*", 2), 2, 8, SCF),
    "triples HF/6-31G*": Case(Computation("water6", "hf", "6-31g*", 3), 3, 8, (*SCF, "pairs")),
    "triples HF/cc-pVDZ": Case(Computation("water6", "hf", "cc-pvdz", 3), 3, 6, ("pairs",)),
    "pairs B3LYP/6-31G*": Case(Computation("water6", "b3lyp", "6-31g*", 2), 2, 4, SCF),
    "triples B3LYP/6-31G*": Case(Computation("water6", "b3lyp", "6-31g*", 3), 3, 4, ("pairs", "diis_space 12")),
    "pairs DF-HF/cc-pVDZ": Case(Computation("water6", "hf", "cc-pvdz", 2, keywords=DENSITY_FIT), 2, 8, SCF),
    "triples DF-HF/cc-pVDZ": Case(Computation("water6", "hf", "cc-pvdz", 3, keywords=DENSITY_FIT), 3, 6, ("pairs",)),
    "pairs CCSD(T)/6-31G": Case(Computation("water6", "ccsd(t)", "6-31g", 2), 2, 4, CCSD),
}
KEYWORDS = {
    "diis_space 6": {"diis_space": 6},
    "diis_space 12": {"diis_space": 12},
    "newton": {"newton": True},
    "guess atom": {"init_guess": "atom"},
    "guess huckel": {"init_guess": "huckel"},
}


def measure(arguments) -> Iterator[dict]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in arguments.cases:
        yield from call_in_process(compare, name, arguments.repeats, environment=environment)


def compare(name: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each lever of a case."""
    from autotune.workers import zygote

    case, energies = CASES[name], {}
    zygote._import_ahead()
    zygote._prepare(["pyscf"])
    with tempfile.TemporaryDirectory() as folder:

        def sample(lever: str) -> float:
            """Return the seconds that the tasks take, and keep their energies."""
            wall_s, energies[lever] = computed(case, lever, Path(folder) / lever.replace(" ", "-"))
            return wall_s

        sides = {lever: lambda lever=lever: sample(lever) for lever in (DEFAULT, *case.levers)}
        for side in sides.values():
            side()
        walls_s = take_turns(sides, repeats=rounds)
    rows = []
    for lever in case.levers:
        found = judgement.compare_pairs(walls_s[DEFAULT], walls_s[lever])
        rows.append(
            {
                "case": name,
                "lever": lever,
                "speedup": round(found.speedup, 3),
                "interval": interval(found),
                "largest_change_hartree": float(np.abs(np.subtract(energies[lever], energies[DEFAULT])).max()),
            }
        )
    return rows


def computed(case: Case, lever: str, shared: Path) -> tuple[float, list[float]]:
    """Return the seconds of a case's tasks with a lever, and their energies."""
    import qcengine

    from autotune.expansion import workload
    from autotune.expansion.component import atomic_input
    from autotune_plugins.program_pyscf import autotune_program_facts

    (facts,) = autotune_program_facts()
    settings = {tunable.name: tunable.default for tunable in facts.tunables}
    if lever.startswith("guess"):
        settings["guess"] = "program"
    qcengine.get_program("pyscf").tune({**settings, "most_fragments": case.computation.max_nbody}, shared)
    keywords = {**case.computation.keywords, **KEYWORDS.get(lever, {})}
    work = workload.load(case.computation._replace(keywords=keywords).fields)
    tasks = [task for task in work.tasks if task.nbody == case.nbody][: case.tasks]
    inputs = [atomic_input(work.recipe, task.level, task.real, task.basis) for task in tasks]
    energies = []
    with applied(lever):
        began = time.perf_counter()
        for each in inputs:
            config = {"ncores": 1, "memory": 4.0}
            energies.append(qcengine.compute(each, "pyscf", task_config=config, raise_error=True).return_result)
        return time.perf_counter() - began, energies


@contextlib.contextmanager
def applied(lever: str) -> Iterator[None]:
    """Let PySCF compute in the way of a lever that no keyword has."""
    with ExitStack() as stack:
        for patch in PATCHES.get(lever, lambda: ())():
            stack.enter_context(patch)
        yield


def _guess_of_pairs() -> tuple[AbstractContextManager[object], ...]:
    from autotune_plugins import pyscf_guess, pyscf_input

    of_fragments = pyscf_guess.from_fragments

    def from_pairs(plan: Any, molecule: Any, settings: Any, solve: Callable[..., Any]) -> Any:
        if len(plan.parts) < 3:
            return of_fragments(plan, molecule, settings, solve)
        ends = molecule.aoslice_by_atom()[:, 2:]
        density = np.zeros((molecule.nao, molecule.nao))

        def add(part: Any, weight: int) -> None:
            functions = np.concatenate([np.arange(*ends[atom]) for atom in part.atoms])
            alone = pyscf_input.alone(plan, part)
            occupied = pyscf_guess._orbitals(alone, len(functions), molecule.max_memory, settings, solve)
            density[np.ix_(functions, functions)] += 2 * weight * occupied @ occupied.T

        for one, other in itertools.combinations(plan.parts, 2):
            add(type(one)(atoms=(*one.atoms, *other.atoms), charge=one.charge + other.charge), 1)
        for part in plan.parts:
            add(part, 2 - len(plan.parts))
        return density

    return (mock.patch.object(pyscf_guess, "from_fragments", from_pairs),)


def _ccsd(**attributes: object) -> Callable[[], tuple[AbstractContextManager[object], ...]]:
    def patches() -> tuple[AbstractContextManager[object], ...]:
        from pyscf.cc import ccsd

        return tuple(mock.patch.object(ccsd.CCSDBase, name, value) for name, value in attributes.items())

    return patches


PATCHES: dict[str, Callable[[], tuple[AbstractContextManager[object], ...]]] = {
    "pairs": _guess_of_pairs,
    "diis_space of CCSD 4": _ccsd(diis_space=4),
    "diis_space of CCSD 8": _ccsd(diis_space=8),
    "CCSD direct": _ccsd(direct=True),
}


BENCHMARK = Benchmark(
    what="ways of PySCF that are no tunables against the tunables' defaults, task by task; in turn",
    measure=measure,
    rows="cases",
    key=("case", "lever"),
    cases=CASES,
    repeats=5,
)
