"""Expansions of uneven fragments, and made-up energies, gradients and Hessians of their tasks."""

from __future__ import annotations

import copy

import numpy as np

from autotune.journal.entries import Entry
from autotune.journal.values import Values

DERIVATIVES = {"gradient": ("energy", "gradient"), "hessian": ("energy", "gradient", "hessian")}
EXPANSIONS = {
    "nocp": {"bsse_type": ["nocp"], "max_nbody": 3},
    "cp": {"bsse_type": ["cp"], "max_nbody": 2},
    "vmfc": {"bsse_type": ["vmfc"], "max_nbody": 3},
    "all at once": {"bsse_type": ["nocp", "cp", "vmfc"], "max_nbody": 2},
    "all bodies": {"bsse_type": ["vmfc", "cp"]},
    "interaction only": {"bsse_type": ["cp"], "supersystem_ie_only": True},
    "two levels": {"bsse_type": ["nocp", "cp"], "levels": {1: "high", 3: "low"}},
    "two levels cp": {"bsse_type": ["cp"], "levels": {2: "high", 3: "low"}},
    "supersystem": {"bsse_type": ["nocp"], "levels": {1: "high", 2: "low", "supersystem": "third"}},
    "supersystem vmfc": {"bsse_type": ["vmfc", "nocp"], "levels": {2: "high", "supersystem": "low"}},
}
# Fragments of one to six atoms.
UNEVEN = {
    "symbols": ["He", *"OHH", *"COHHHH", *"HH"],
    "geometry": [float(20 * atom + axis**2) for atom in range(12) for axis in range(3)],
    "fragments": [[0], [1, 2, 3], [4, 5, 6, 7, 8, 9], [10, 11]],
}


def expanded(keywords, driver, molecule=UNEVEN):
    levels = set(keywords.get("levels", {0: "(auto)"}).values())
    chemistry = {"program": "faulty", "driver": driver, "model": {"method": "nothing"}}
    return {
        "molecule": copy.deepcopy(molecule),
        "specification": {
            "driver": driver,
            "keywords": copy.deepcopy(keywords),
            "specification": {level: {**chemistry, "keywords": {"level": level}} for level in levels},
        },
    }


def made_up(work, *, names, seed=0):
    """Return an entry of random numbers of many sizes for each task, some of them 0.0 and -0.0."""
    random = np.random.default_rng(seed)
    symbols_in = [len(atoms) for atoms in work.recipe.molecule.fragments]

    def numbers(*shape):
        found = random.normal(size=shape) * 10.0 ** random.integers(-12, 3, size=shape)
        return np.where(random.random(shape) < 0.1, random.choice([0.0, -0.0], size=shape), found)

    for task in work.tasks:
        natom = sum(symbols_in[fragment - 1] for fragment in task.basis)
        of_task = {"energy": -float(random.random()), "gradient": numbers(natom, 3)}
        if "hessian" in names:
            of_task["hessian"] = numbers(3 * natom, 3 * natom)
        yield Entry(task.key, "faulty 1.0", "", {name: of_task[name] for name in names}, None)


def kept(entries, journal=None):
    found = Values(journal)
    for entry in entries:
        if journal is not None:
            journal.record(entry)
        found.keep(entry)
    return found
