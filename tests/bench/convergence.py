"""How far energies at a program's default convergence are from converged ones, and the sums made of them.

Each program computes all components of some clusters, as a run does, with its defaults and with tight thresholds, on
one core each. `sums` has, for each cluster, what the differences add up to in the many-body sum, and what
`expansion/exactness.py` makes of their root mean square.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from harness import Benchmark, geometry

import autotune
from autotune.expansion.exactness import coefficients
from autotune.expansion.readers import many_body_fields


class Case(NamedTuple):
    program: str
    method: str
    basis: str
    tight: dict[str, Any]
    keywords: dict[str, Any] = {}  # noqa: RUF012 - a field of a tuple


PYSCF = {"conv_tol": 1e-13}
PSI4 = {"e_convergence": 1e-12, "d_convergence": 1e-11, "r_convergence": 1e-10}
NWCHEM = {"scf__thresh": 1e-9, "scf__tol2e": 1e-13}
CASES = {
    "pyscf hf": Case("pyscf", "hf", "6-31g*", PYSCF),
    "pyscf hf df": Case("pyscf", "hf", "cc-pvdz", PYSCF, {"density_fit": True}),
    "pyscf dft": Case("pyscf", "b3lyp", "6-31g*", PYSCF),
    "pyscf dft df": Case("pyscf", "b3lyp", "cc-pvdz", PYSCF, {"density_fit": True}),
    "pyscf mp2 df": Case("pyscf", "mp2", "cc-pvdz", PYSCF, {"density_fit": True}),
    "pyscf ccsd": Case("pyscf", "ccsd", "6-31g", {**PYSCF, "cc_conv_tol": 1e-12}),
    "pyscf mp2": Case("pyscf", "mp2", "6-31g*", PYSCF),
    "pyscf ccsd(t)": Case("pyscf", "ccsd(t)", "6-31g", {**PYSCF, "cc_conv_tol": 1e-12}),
    "psi4 hf df": Case("psi4", "hf", "6-31g*", PSI4),
    "psi4 dft df": Case("psi4", "b3lyp", "6-31g*", PSI4),
    "psi4 mp2 df": Case("psi4", "mp2", "6-31g*", PSI4),
    "nwchem hf": Case("nwchem", "hf", "6-31g*", NWCHEM),
    "tblite semiempirical, gfn2-xtb": Case("tblite", "gfn2-xtb", "", {"accuracy": 1e-4}),
    "tblite semiempirical, gfn1-xtb": Case("tblite", "gfn1-xtb", "", {"accuracy": 1e-4}),
}
CLUSTERS = {"water6": 3, "methanol_water6": 2, "ammonia5": 3}
DEAR = ("ccsd", "ccsd(t)")  # of the first cluster pairs only


# Cases are called by program and family of methods, as the facts of programs have them.


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        case = CASES[name]
        clusters = {"water6": 2} if case.method in DEAR else CLUSTERS
        apart: dict[str, dict[tuple[int, ...], float]] = {}
        for cluster, highest in clusters.items():
            usual, tight = (energies(case, cluster, highest, more) for more in ({}, case.tight))
            apart[cluster] = {of: usual[of] - tight[of] for of in usual}
        values = np.array([difference for of in apart.values() for difference in of.values()])
        rms = float(np.sqrt((values**2).mean()))
        yield {
            "case": name,
            "method": f"{case.method}/{case.basis}".rstrip("/"),
            "tight": case.tight,
            "components": len(values),
            "largest_hartree": float(abs(values).max()),
            "rms_hartree": rms,
            "sums": [sum_of(cluster, clusters[cluster], of, rms) for cluster, of in apart.items()],
        }


def sum_of(cluster: str, highest: int, apart: dict[tuple[int, ...], float], rms: float) -> dict[str, Any]:
    """Return what the differences of all components add up to, and what is expected of them."""
    fragments = max(fragment for real in apart for fragment in real)
    factors = coefficients(fragments, range(1, highest + 1))
    return {
        "cluster": cluster,
        "max_nbody": highest,
        "off_hartree": abs(math.fsum(factors[len(real)] * difference for real, difference in apart.items())),
        "expected_hartree": rms * math.sqrt(sum(factors[len(real)] ** 2 for real in apart)),
    }


def energies(case: Case, cluster: str, highest: int, more: dict[str, Any]) -> dict[tuple[int, ...], float]:
    """Return the energies (Eh) of a cluster's components by their fragments."""
    expansion = autotune.Expansion(
        program=case.program,
        method=case.method,
        basis=case.basis,
        max_nbody=highest,
        keywords={**case.keywords, **more},
    )
    fields = many_body_fields(geometry(cluster), name=cluster, expansion=expansion)
    with autotune.Session(autotune.Options(journal="none", tuning="none", threads=1)) as session:
        found = session.components(fields)
    return {tuple(json.loads(label)[1]): float(of.return_result) for label, of in found.items()}


BENCHMARK = Benchmark(
    what="energies of components at the programs' default convergence against tight thresholds, Eh",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
)
