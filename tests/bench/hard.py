"""Whether starting from fragments makes convergence worse: SCFs that are hard, with and without the tunables.

Solutes that make an SCF hard sit next to three waters: stretched bonds, small gaps, ions, transition metals, diffuse
functions, open shells, ghosts. Every task of the expansion is computed twice by the harness, as by default and left
alone. Counted are failures, and ends that are higher than the other way's by more than 1e-6 Eh: those with the guess
are its faults, those without are the program's own.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import Benchmark, geometry

HIGHER_HARTREE = 1e-6
CLOSEST_ANGSTROM = 2.4  # from an atom of the solute to an oxygen
TUNED = {"guess": "monomers", "conv_check": False, "kept_grid_values": True, "first_grid": 0, "shared_integrals": True}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A solute and three waters.

    Attributes:
        atoms: Lines of the solute, in Å.
        charge: Of the solute.
        multiplicity: Of the solute.
        methods: Method and basis set.
        bsse: Of the expansion, up to trimers.
        waters: How many.
    """

    atoms: Sequence[str]
    charge: int = 0
    multiplicity: int = 1
    methods: Sequence[tuple[str, str]] = (("hf", "6-31g*"), ("b3lyp", "6-31g*"))
    bsse: str = "nocp"
    waters: int = 3


def diatomic(first: str, second: str, length: float, **more: Any) -> Case:
    return Case(atoms=(f"{first} 0 0 0", f"{second} 0 0 {length}"), **more)


HF_ONLY = (("hf", "6-31g*"),)
METALS: dict[str, Any] = {"methods": (("hf", "def2-svp"), ("b3lyp", "def2-svp")), "waters": 2}  # 6-31G* has none
DIFFUSE = (("hf", "aug-cc-pvdz"),)
CASES = {
    **{f"N2 at {r} Å": diatomic("N", "N", r) for r in (1.6, 2.2)},
    **{f"N2 at {r} Å, ghosts": diatomic("N", "N", r, bsse="cp", methods=HF_ONLY) for r in (1.4, 1.6, 1.8, 2.0, 2.2)},
    **{f"F2 at {r} Å": diatomic("F", "F", r) for r in (1.6, 2.2)},
    **{f"LiF at {r} Å": diatomic("Li", "F", r) for r in (1.6, 4.5)},
    "C2": diatomic("C", "C", 1.25),
    "Be2": diatomic("Be", "Be", 2.5),
    "Be": Case(atoms=("Be 0 0 0",), bsse="cp"),
    "O3": Case(atoms=("O 0 0 0", "O 1.08 0 0.67", "O -1.08 0 0.67")),
    **{
        f"{name}, ion": Case(atoms=(f"{name} 0 0 0",), charge=charge, methods=HF_ONLY)
        for name, charge in (("Na", 1), ("Mg", 2), ("F", -1), ("Cl", -1))
    },
    **{f"{name}, ion": Case(atoms=(f"{name} 0 0 0",), charge=n, **METALS) for name, n in (("Cu", 1), ("Zn", 2))},
    **{
        f"{name}, diffuse": Case(atoms=atoms, charge=charge, methods=DIFFUSE, waters=2)
        for name, atoms, charge in (
            ("F-", ("F 0 0 0",), -1),
            ("OH-", ("O 0 0 0", "H 0 0 0.97"), -1),
            ("Na+", ("Na 0 0 0",), 1),
        )
    },
    "waters, diffuse, ghosts": Case(atoms=("O 0 0 0", "H 0 0.76 0.59", "H 0 -0.76 0.59"), methods=DIFFUSE, bsse="cp"),
    "NiCO": Case(atoms=("Ni 0 0 0", "C 0 0 1.68", "O 0 0 2.83"), **METALS),
    "CuF": diatomic("Cu", "F", 1.75, **METALS),
    "ZnO": diatomic("Zn", "O", 1.71, **METALS),
    "TiO2": Case(atoms=("Ti 0 0 0", "O 1.35 0 0.92", "O -1.35 0 0.92"), **METALS),
    "MnO4-": Case(
        atoms=("Mn 0 0 0", *(f"O {0.93 * a} {0.93 * b} {0.93 * a * b}" for a in (1, -1) for b in (1, -1))),
        charge=-1,
        **METALS,
    ),
    "O2, triplet": diatomic("O", "O", 1.21, multiplicity=3, waters=2),
    "NO, doublet": diatomic("N", "O", 1.15, multiplicity=2, waters=2),
    "OH, doublet": diatomic("O", "H", 0.97, multiplicity=2, waters=2),
}


def measure(arguments) -> Iterator[dict]:
    context = multiprocessing.get_context("spawn")  # as many processes as the machine has cores, each on one thread
    with context.Pool(initializer=prepare, maxtasksperchild=1) as pool:
        yield from pool.imap(compare, arguments.cases)


def prepare() -> None:
    from pyscf import lib

    from autotune.plugin.manager import Manager

    lib.num_threads(1)
    Manager().register_programs()


def fields_of(case: Case, method: str, basis: str) -> dict[str, Any]:
    """Return a ManyBodyInput up to trimers; the waters are moved away along z until none is too near."""
    waters = [line.split() for line in geometry("water4").splitlines()[2 : 2 + 3 * case.waters]]
    waters = [(name, *map(float, place)) for name, *place in waters]
    solute = [(name, *map(float, place)) for name, *place in (line.split() for line in case.atoms)]
    lowest = min(z for _, _, _, z in waters)
    middle = [sum(atom[axis] for atom in waters) / len(waters) for axis in (1, 2)]
    top = max(z for _, _, _, z in solute)
    moved = [(n, x - middle[0], y - middle[1], z - lowest + top + CLOSEST_ANGSTROM) for n, x, y, z in waters]
    whole = [*solute, *moved]
    bohr = [place / 0.529177210903 for _, *places in whole for place in places]
    first = len(solute)
    fragments = [[*range(first)], *([first + 3 * n, first + 3 * n + 1, first + 3 * n + 2] for n in range(case.waters))]
    molecule = {
        "symbols": [name for name, *_ in whole],
        "geometry": bohr,
        "fragments": fragments,
        "fragment_charges": [case.charge] + [0] * case.waters,
        "fragment_multiplicities": [case.multiplicity] + [1] * case.waters,
        "molecular_charge": case.charge,
        "molecular_multiplicity": case.multiplicity,
    }
    chemistry = {"program": "pyscf", "driver": "energy", "model": {"method": method, "basis": basis}}
    chemistry["protocols"] = {}
    return {
        "schema_name": "qcschema_manybodyinput",
        "molecule": molecule,
        "specification": {
            "schema_name": "qcschema_manybodyspecification",
            "driver": "energy",
            "keywords": {"bsse_type": [case.bsse], "max_nbody": 3 if case.bsse == "nocp" else 2},
            "specification": {"(auto)": chemistry},
        },
    }


def compare(name: str) -> dict[str, Any]:
    """Return what became of a case's tasks of several fragments, with and without the tunables."""
    case = CASES[name]
    tasks: list[dict[str, Any]] = []
    for method, basis in case.methods:
        tasks += compare_tasks(fields_of(case, method, basis))
    both = [task for task in tasks if None not in (task["tuned"], task["alone"])]
    changes = [task["tuned"] - task["alone"] for task in both]
    return {
        "case": name,
        "tasks": len(tasks),
        "failed": {side: sum(task[side] is None for task in tasks) for side in ("tuned", "alone")},
        "higher": {
            "tuned": sum(change > HIGHER_HARTREE for change in changes),
            "alone": sum(change < -HIGHER_HARTREE for change in changes),
        },
        "largest_change_hartree": max(
            (abs(change) for change in changes if abs(change) <= HIGHER_HARTREE), default=0.0
        ),
    }


def compare_tasks(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    import qcengine

    from autotune.expansion import workload
    from autotune.expansion.component import atomic_input

    work = workload.load(fields)
    harness = qcengine.get_program("pyscf")
    with tempfile.TemporaryDirectory() as folder:
        for task in work.tasks:
            if task.nbody == 1:
                continue
            made = atomic_input(work.recipe, task.level, task.real, task.basis)
            energies: dict[str, Any] = {"task": task.labels[0]}
            for side, settings in (("tuned", TUNED | {"most_fragments": 3}), ("alone", {})):
                harness.tune(settings, Path(folder))
                configuration = {"ncores": 1, "memory": 4.0, "scratch_directory": folder, "retries": 0}
                result = qcengine.compute(made, "pyscf", task_config=configuration, return_version=2)
                assert result.success or result.error.error_type == "convergence_error", result.error.error_message
                energies[side] = result.return_result if result.success else None
            yield energies


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    totals = {
        f"{what}_{side}": sum(row[what][side] for row in rows)
        for what in ("failed", "higher")
        for side in ("tuned", "alone")
    }
    return {
        "tasks": sum(row["tasks"] for row in rows),
        **totals,
        "largest_change_hartree": max(row["largest_change_hartree"] for row in rows),
    }


BENCHMARK = Benchmark(
    what="SCFs that are hard, with the tunables of PySCF and without: failures, and ends above the other way's",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    summary=summary,
    fails=lambda record: record["higher_tuned"] > 0,
)
