"""Measure what the energies that `--reuse-contained` and `--reuse-equal-fragments` take differ from computed ones.

Contained: each method by itself, and the same energy out of each higher method's calculation with the same keywords,
for closed and open shells, ions, ghosts, density fitting and frozen cores. Turned: molecules in random orientations
and mirror images, against the first. Displaced: one atom moved by the tolerance along the energy's gradient. One core,
PySCF and tblite; a minute.
"""

from __future__ import annotations

import itertools
import os

import numpy as np
import qcengine
from harness import Benchmark
from qcelemental.models.v2 import AtomicInput, AtomicResult, Molecule

from autotune.expansion.congruence import TOLERANCE_BOHR
from autotune.expansion.lower_methods import ENERGY_OF
from autotune.plugin.manager import Manager
from autotune.programs.facts import facts_of

WATER = "O 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692"
BEHIND = "O 0.3 0.1 2.9173\nH 0.2 0.7572 3.4692\nH 0.1 -0.7572 3.4692"
PEROXIDE = "O 0.0 0.7 0.0\nO 0.0 -0.7 0.1\nH 0.8 0.9 0.5\nH -0.8 -0.9 0.4"
SYSTEMS = {
    "water": f"0 1\n{WATER}",
    "water dimer": f"0 1\n{WATER}\n--\n0 1\n{BEHIND}",
    "water with a ghost": f"0 1\n{WATER}\n--\n0 1\n" + "\n".join(f"@{line}" for line in BEHIND.splitlines()),
    "water cation with a ghost": f"1 2\n{WATER}\n--\n0 1\n" + "\n".join(f"@{line}" for line in BEHIND.splitlines()),
    "hydroxide": "-1 1\nO 0.0 0.0 0.0\nH 0.0 0.0 0.964",
    "hydroxyl radical": "0 2\nO 0.0 0.0 0.0\nH 0.0 0.0 0.97",
}
KEYWORDS = {
    "": {},
    "frozen core": {"frozen_core": True},
    "fitted": {"density_fit": True, "frozen_core": True},
}
ROW = ("hf", "mp2", "ccsd", "ccsd(t)")
BASIS = "6-31g*"
TURNS = 5
TURNED = ("hf", "mp2", "ccsd(t)", "b3lyp", "gfn1-xtb", "gfn2-xtb")
TURNING = ("water", "peroxide", "water dimer")


def measure(_: object) -> dict:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    Manager().register_programs()
    contained = [row for row in itertools.starmap(within, itertools.product(SYSTEMS, KEYWORDS)) for row in row]
    return {
        "basis": BASIS,
        "largest_contained": {name: largest(contained, name) for name in ROW[:-1]},
        "contained": contained,
        "turned": [turns(name, method) for name, method in itertools.product(TURNING, TURNED)],
        "displaced": [displacement(name) for name in ("water", "peroxide")],
    }


def largest(rows: list[dict[str, object]], method: str) -> float:
    return max(float(str(row["difference"])) for row in rows if row["method"] == method)


def molecule(name: str) -> Molecule:
    text = PEROXIDE if name == "peroxide" else SYSTEMS[name]
    return Molecule.from_data(f"{text}\nunits angstrom\nno_com\nno_reorient", dtype="psi4")


def compute(of: Molecule, method: str, keywords: dict[str, object], driver: str = "energy") -> AtomicResult:
    program, model = "pyscf", {"method": method, "basis": BASIS}
    if method.endswith("-xtb"):
        program, model = "tblite", {"method": method}
    specification = {"driver": driver, "model": model, "keywords": keywords}
    task = AtomicInput(molecule=of, specification=specification)
    return qcengine.compute(
        task, program, raise_error=True, return_version=2, task_config={"ncores": 1, "memory": 2.0, "retries": 0}
    )


def within(system: str, kind: str) -> list[dict[str, object]]:
    """Return the differences of one system and one set of keywords, for each method and each that contains it."""
    results, of, stated = {}, molecule(system), facts_of("pyscf").contained
    idle = {"hf": stated.correlation_keywords, "mp2": stated.coupled_cluster_keywords}
    for method in ROW:
        keywords = {name: value for name, value in KEYWORDS[kind].items() if name not in idle.get(method, ())}
        results[method] = compute(of, method, keywords)
    return [
        {
            "system": system,
            "keywords": kind,
            "method": method,
            "within": host,
            "difference": abs(results[method].return_result - getattr(results[host].properties, ENERGY_OF[method])),
        }
        for method, host in itertools.combinations(ROW, 2)
    ]


def turns(name: str, method: str) -> dict[str, object]:
    """Return how far the energies of a molecule in some orientations lie apart, mirror images among them."""
    first, energies = molecule(name), []
    draw = np.random.default_rng(1)
    for turn in range(TURNS):
        axes, _ = np.linalg.qr(draw.normal(size=(3, 3)))
        axes *= np.sign(np.linalg.det(axes)) * (-1) ** turn
        energies.append(compute(move(first, first.geometry @ axes), method, {}).return_result)
    return {"system": name, "method": method, "apart": max(energies) - min(energies)}


def displacement(name: str) -> dict[str, object]:
    """Return what an energy changes where the atom with the largest force is moved by the tolerance along it."""
    first = molecule(name)
    gradient = compute(first, "hf", {}, "gradient").return_result.reshape(-1, 3)
    atom = int(np.linalg.norm(gradient, axis=1).argmax())
    geometry = first.geometry.copy()
    geometry[atom] += TOLERANCE_BOHR * gradient[atom] / np.linalg.norm(gradient[atom])
    change = compute(move(first, geometry), "hf", {}).return_result - compute(first, "hf", {}).return_result
    return {"system": name, "force": float(np.linalg.norm(gradient[atom])), "difference": abs(change)}


def move(one: Molecule, geometry: np.ndarray) -> Molecule:
    return Molecule(
        symbols=one.symbols, geometry=geometry, fix_com=True, fix_orientation=True, geometry_noise=13, validate=True
    )


BENCHMARK = Benchmark(
    what="energies that are reused instead of computed, against the computed ones; differences in Eh", measure=measure
)
