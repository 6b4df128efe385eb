"""Crystals: n-mers against the literature's counts, terms against published ones, and what a lattice energy costs.

`counts`: the distinct dimers and trimers of benzene that CrystaLattE finds in a 9x9x9 supercell. `published`: the terms
of ammonia, HF/STO-3G with Psi4's density fitting, and the lattice energy that CrystaLattE's test adds up of them. The
others: lattice energies as whole commands, with components of one shape computed once and without, against the time
that their tasks alone take.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from harness import Benchmark, autotune_command, run_command

import autotune
from autotune.expansion.lattice import Nmer

CRYSTALS = Path(str(files("autotune.studies"))) / "crystals"
COUNTS_SOURCE = "github.com/carlosborca/CrystaLattE/pull/2"
# crystalatte/tests/test_29_amm_psi4api.py of the same repository: by name there, nuclear repulsion (Eh), replicas for
# each molecule, term (Eh); and the sum of replicas times terms over the number of molecules.
PUBLISHED = {
    "2mer-0+1": (38.18102741857883, 6, 0.00033410465863426),
    "3mer-0+1+2": (79.5638545934053, 3, 1.3679718790626794e-05),
    "3mer-0+1+5": (77.87320866497402, 3, -4.049166795994097e-05),
    "4mer-0+1+2+3": (136.3717727214002, 1, 2.4491332624165807e-06),
    "5mer-0+1+2+3+4": (194.64346937372983, 3, -3.28520798120735e-07),
}
PUBLISHED_SUM = 0.00097592
# Å of centres of mass within which the molecules of all of these lie.
AMMONIA_CUTOFFS = {2: 3.9, 3: 3.9, 4: 6.6, 5: 6.6}
WHOLE = {
    "carbon dioxide, GFN2-xTB, 2=12,3=5": (
        "carbon_dioxide",
        "2=12,3=5",
        ("--program", "tblite", "--method", "gfn2-xtb"),
    ),
    "benzene, GFN2-xTB, 2=18,3=12": ("benzene", "2=18,3=12", ("--program", "tblite", "--method", "gfn2-xtb")),
    "carbon dioxide, HF/6-31G* cp, 2=6,3=3.2": (
        "carbon_dioxide",
        "2=6,3=3.2",
        ("--program", "pyscf", "--method", "hf", "--basis", "6-31g*", "--bsse", "cp"),
    ),
}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        if name == "counts":
            yield from counts()
        elif name == "published":
            yield from published()
        else:
            yield whole(name)


def counts() -> Iterator[dict]:
    started = time.perf_counter()
    crystal = autotune.read_crystal(CRYSTALS / "benzene.cif")
    read_s = time.perf_counter() - started
    for metric, nbody, cutoff, literature in (("centres", 2, 20.0, 88), ("nearest", 3, 12.0, 689)):
        started = time.perf_counter()
        found = autotune.find_nmers(crystal, {nbody: cutoff}, metric=metric)
        yield {
            "case": "counts",
            "what": f"benzene, {nbody}-mers within {cutoff:g} Å ({metric})",
            "source": COUNTS_SOURCE,
            "distinct": len(found),
            "in_literature": literature,
            "per_cell": sum(nmer.per_cell for nmer in found),
            "read_s": round(read_s, 3),
            "found_s": round(time.perf_counter() - started, 3),
        }


def repulsion(crystal, nmer: Nmer) -> float:
    """Return the energy of the nuclei, Eh."""
    charges = {"N": 7.0, "H": 1.0}
    own = np.array([charges[symbol] for site in nmer.sites for symbol in crystal.molecules[site[0]].symbols])
    places = np.concatenate([crystal.positions_angstrom(site) for site in nmer.sites]) / 0.529177210903
    pairs = itertools.combinations(range(len(own)), 2)
    return float(sum(own[i] * own[j] / np.linalg.norm(places[i] - places[j]) for i, j in pairs))


def published() -> Iterator[dict]:
    crystal = autotune.read_crystal(CRYSTALS / "ammonia.cif")
    all_nmers = autotune.find_nmers(crystal, AMMONIA_CUTOFFS, metric="centres")
    chosen = {}
    for name, (energy, _, _) in PUBLISHED.items():
        own = [nmer for nmer in all_nmers if nmer.nbody == int(name[0])]
        chosen[name] = min(own, key=lambda nmer: abs(repulsion(crystal, nmer) - energy))
    terms = autotune_terms(crystal, chosen)
    for name, (energy, replicas, term) in PUBLISHED.items():
        yield {
            "case": "published",
            "what": f"ammonia, HF/STO-3G (Psi4, fitted), {name}",
            "source": "crystalatte/tests/test_29_amm_psi4api.py",
            "repulsion_off_hartree": abs(repulsion(crystal, chosen[name]) - energy),
            "replicas": replicas,
            "published_hartree": term,
            "term_hartree": terms[name],
        }
    total = sum(replicas * terms[name] / int(name[0]) for name, (_, replicas, _) in PUBLISHED.items())
    yield {
        "case": "published",
        "what": "ammonia, HF/STO-3G (Psi4, fitted), the sum of these",
        "source": "crystalatte/tests/test_29_amm_psi4api.py",
        "published_hartree": PUBLISHED_SUM,
        "term_hartree": total,
    }


def autotune_terms(crystal, chosen: dict[str, Nmer]) -> dict[str, float]:
    """Return what each of some n-mers adds (Eh)."""
    from autotune.expansion.nmer_inputs import nmer_inputs

    method = autotune.Expansion(program="psi4", method="hf", basis="sto-3g")
    inputs = nmer_inputs(crystal, list(chosen.values()), method)
    named = {name: inputs[nmer.name] for name, nmer in chosen.items()}
    outcomes = autotune.run_many(named, journal="none", threads=1, reuse_equal_fragments=True)
    return {outcome.name: autotune.tabulate(outcome.result).rows[-1].contribution_hartree for outcome in outcomes}


def whole(name: str) -> dict[str, Any]:
    crystal, cutoff, method = WHOLE[name]
    sides = {side: command(crystal, cutoff, method, *flags) for side, flags in (("once", ()), ("all", ("--no-reuse",)))}
    once, everything = sides["once"], sides["all"]
    return {
        "case": name,
        "what": name,
        "nmers": len(once["terms"]),
        "per_cell": sum(term["per_cell"] for term in once["terms"]),
        "tasks": once["tasks"],
        "tasks_without_reuse": everything["tasks"],
        "command_s": round(once["command_s"], 2),
        "without_reuse_s": round(everything["command_s"], 2),
        "over_tasks_alone": round(once["command_s"] / once["lower_bound_s"], 3),
        "lattice_energy_kj_mol": once["energy_hartree"] * 2625.499638,
        "reuse_changes_hartree": abs(once["energy_hartree"] - everything["energy_hartree"]),
    }


def command(crystal: str, cutoff: str, method: tuple[str, ...], *flags: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="crystal-") as folder:
        output, record = Path(folder) / "lattice.json", Path(folder) / "record.json"
        command_s, _ = run_command(
            autotune_command(
                *("crystal", CRYSTALS / f"{crystal}.cif", "--cutoff", cutoff, *method, *flags),
                *("--journal", "none", "--quiet", "-o", output, "--record", record),
            )
        )
        lattice, ran = json.loads(output.read_text()), json.loads(record.read_text())
    return {
        "command_s": command_s,
        "tasks": ran["tasks"],
        "lower_bound_s": ran["lower_bound_s"],
        "energy_hartree": lattice["energy_hartree"],
        "terms": lattice["nmers"],
    }


BENCHMARK = Benchmark(
    what="n-mers of crystals against the literature, terms against published ones, lattice energies as whole commands",
    measure=measure,
    rows="cases",
    key=("case", "what"),
    cases=("counts", "published", *WHOLE),
)
