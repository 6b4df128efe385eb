"""What a task holds in memory, and the grant at which its program takes its fastest algorithm.

Rules: pure arithmetic. Programs switch algorithms silently where their arrays do not fit what they are told, and then
take several times as long. So a grant lies just above the last threshold, which the program's plugin states, not at an
even share of the machine. The arrays counted are those of the fastest algorithms; the conditions were read in PySCF
2.14: `scf.hf._is_mem_enough`, `df.df`, `mp.mp2`, `mp.ump2`, and its harness's own rule for CCSD. Resident sets were
measured to be what `MARGIN` covers (results/prediction.json).
"""

from __future__ import annotations

from typing import NamedTuple

from autotune.base.types import Method, TaskSize
from autotune.costs.terms import density_fitted, family, orbitals, spin_cases, spins
from autotune.programs.facts import facts_of

BASE_GIB = 0.18  # a resident worker with its program loaded that has run larger tasks before
_BASES_GIB = {"ccsd": 0.22, "ccsd(t)": 0.22}  # more of a program is loaded
MARGIN = 1.1  # resident set over arrays, exceeded in one task of twenty
_MARGINS = {"ccsd": 0.45, "ccsd(t)": 0.45}  # the rule for CCSD is on the safe side
_AUXILIARY = 5.0  # fitting functions for each basis function, largest of the usual sets
_GRID_DOUBLES = 5.0e4  # per real atom and basis function: values and slopes on all points of a usual grid
_GRADIENT_FACTOR = 2.0  # derivatives of correlated methods hold densities of the size of the amplitudes


class Need(NamedTuple):
    """Memory of a task in GiB: what to tell its program (0: nothing is known), and the peak of its process tree."""

    grant_gib: float
    peak_gib: float


def need(method: Method, size: TaskSize) -> Need:
    """Return what a task needs for the fastest algorithm of its program."""
    kind = family(method)
    arrays_gib = _doubles(method, size) * 8 / 2**30
    grant_gib = facts_of(method.program).grant_gib
    return Need(
        grant_gib=grant_gib(arrays_gib) if grant_gib else 0.0,
        peak_gib=_BASES_GIB.get(kind, BASE_GIB) + _MARGINS.get(kind, MARGIN) * arrays_gib,
    )


def _doubles(method: Method, size: TaskSize) -> float:
    n, o, v = orbitals(size)
    kind = family(method)
    if kind == "semiempirical":
        return 20.0 * n**2
    held = n**2 * _AUXILIARY * n / 2 if density_fitted(method) else n**4 / 8
    if kind.startswith("dft"):
        held += _GRID_DOUBLES * size.atoms * n
    correlated = 0.0
    if kind == "mp2" and size.unpaired:
        correlated = 2 * (n * (n + 1) / 2) ** 2
    elif kind == "mp2":
        correlated = (o * v) ** 2 + o * v * n**2 / 2 + 2 * o * v**2
    elif kind == "mp2 df":
        correlated = (o * v) ** 2 + 3 * o * v * _AUXILIARY * n * spins(size)
    elif kind.startswith("ccsd"):
        correlated = n**4 + 3 * (n * (n + 1) / 2) ** 2 + v**2 * o * n + 12 * (o * v) ** 2
        correlated *= spin_cases(size)
    return held + correlated * (_GRADIENT_FACTOR if method.driver == "gradient" else 1.0)
