"""Operation counts of a task, by family of methods: what a fitted cost is a sum of.

Rules: pure arithmetic on sizes; knows methods by name, and what is a program's own from the facts of its plugin. n
basis functions, o occupied orbitals, v = n - o. Counts are the standard formal scalings (Helgaker, Jorgensen, Olsen:
Molecular Electronic-Structure Theory, chapters 10, 13, 14). Integrals are counted as overlapping pairs of primitives ×
n² (`overlap.py`), which fits what was measured better than n⁴ or the square of the pairs. The prior seconds of an
operation were fitted to PySCF 2.14 on one core of an AMD EPYC, to the clusters that results/prediction.json fits, not
to those it predicts. They set the proportions; a fit on other hardware scales all of them together first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache

from autotune.base.types import Method, TaskSize
from autotune.programs.facts import facts_of

_FUNCTIONS_PER_ATOM = 8  # where the basis is unknown
_PAIRS = 3.5  # overlapping pairs of primitives for each pair of functions, where the basis is unknown
_COMPOSITE = re.compile(r"-?3c$")  # brings its basis set along

# Seconds per operation of each term; see the module's docstring.
_MEAN_FIELD = {"start": 0.01, "matrices": 2.7e-7, "integrals": 4.0e-9}
_FITTED_FIELD = {"start": 0.013, "matrices": 3.2e-7, "exchange": 6.5e-9}
_COUPLED = {"start": 0.013, "matrices": 2.1e-6, "integrals": 5.0e-9, "ladders": 9.0e-10, "rings": 4.3e-9}
_GRID = {"grid": 1.9e-5, "centres": 2.0e-3}  # two thirds of what was fitted before most cycles had a coarse grid
PRIORS: Mapping[str, Mapping[str, float]] = {
    "hf": _MEAN_FIELD,
    "hf df": _FITTED_FIELD,
    "dft": {"start": 0.1, "matrices": 2.7e-7, "integrals": 2.0e-9, **_GRID},
    "dft df": {**_FITTED_FIELD, "start": 0.1, **_GRID},
    "mp2": {**_MEAN_FIELD, "transformation": 1.3e-10},
    "mp2 df": {**_FITTED_FIELD, "pairs": 1.8e-10},
    "ccsd": _COUPLED,
    "ccsd(t)": {**_COUPLED, "triples": 2.1e-10},
    "semiempirical": {"start": 0.003, "matrices": 2.0e-8},
}
# Terms of each spin, and of each pair of spins. Integrals are made once, but met with the density of each spin.
_OF_EACH_SPIN = ("matrices", "integrals", "exchange", "grid")
_OF_SPIN_PAIRS = ("transformation", "pairs", "ladders", "rings", "triples")
# A gradient or Hessian against an energy, before either was measured; a Hessian for each centre.
DRIVER_FACTORS = {"energy": 1.0, "properties": 1.0, "gradient": 2.5, "hessian": 3.0}


@cache
def family(method: Method) -> str:
    """Return the family of a method: a key of `PRIORS`."""
    name = method.method.lower()
    if "ccsd(t)" in name or "ccsd_t" in name:
        return "ccsd(t)"
    if "ccsd" in name:
        return "ccsd"
    if not method.basis and not _COMPOSITE.search(name):
        return "semiempirical"
    kind = "mp2" if "mp2" in name else "hf" if re.fullmatch(r"(r|u|ro)?(hf|scf)", name) else "dft"
    return f"{kind} df" if density_fitted(method) else kind


@cache
def density_fitted(method: Method) -> bool:
    """Return whether two-electron integrals are fitted: asked for by keyword, or the program's default."""
    keywords = {name.lower(): value for name, value in json.loads(method.keywords).items()}
    stated = keywords.get("density_fit", keywords.get("scf_type"))
    if stated is None:
        return facts_of(method.program).fits_densities
    return stated is True or str(stated).lower() in ("df", "true", "mem_df", "disk_df", "cd")


def terms(method: Method, size: TaskSize) -> dict[str, float]:
    """Return the operation counts of a task, by term; the same terms for all tasks of a method."""
    n, o, v = orbitals(size)
    counts = {
        "start": 1.0,
        "matrices": n**3,
        "integrals": (size.pairs or _PAIRS * n**2) * n**2,
        "exchange": o * n**3,
        "grid": size.atoms * n**2,
        "centres": size.atoms * n,
        "transformation": o * n**4,
        "pairs": o**2 * v**2 * n,
        "ladders": o**2 * v**4,
        "rings": o**3 * v**3,
        "triples": o**3 * v**4,
    }
    # Second derivatives are one response calculation for each centre.
    repeats = size.atoms + size.ghost_atoms if method.driver == "hessian" else 1
    of_spin = dict.fromkeys(_OF_EACH_SPIN, spins(size)) | dict.fromkeys(_OF_SPIN_PAIRS, spin_cases(size))
    return {term: float(counts[term] * repeats * of_spin.get(term, 1)) for term in PRIORS[family(method)]}


def spins(size: TaskSize) -> int:
    """Return for how many spins there are orbitals of their own: two where electrons are unpaired."""
    return 2 if size.unpaired else 1


def spin_cases(size: TaskSize) -> int:
    """Return how many kinds of pairs of electrons are correlated: three where the spins differ (αα, ββ, αβ)."""
    return 3 if size.unpaired else 1


@cache
def prior(method: Method) -> Mapping[str, float]:
    """Return the seconds of one operation of each term, alone on one core, before anything is measured."""
    factor = DRIVER_FACTORS.get(method.driver, 1.0)
    seconds = {term: factor * seconds for term, seconds in PRIORS[family(method)].items()}
    return {**seconds, "start": seconds["start"] + facts_of(method.program).start_of_task_s}


def orbitals(size: TaskSize) -> tuple[int, int, int]:
    """Return basis functions, occupied orbitals and virtual orbitals of a task; at least one of each."""
    functions = size.functions or _FUNCTIONS_PER_ATOM * (size.atoms + size.ghost_atoms)
    occupied = max(size.electrons // 2, 1)
    return functions, occupied, max(functions - occupied, 1)
