"""PySCF as a QCEngine program: the plugin's door, and nothing heavy behind it until a worker needs it.

PySCF speaks no QCSchema and QCEngine has no harness for it; `pyscf_harness` is ours. Neighbours: `pyscf_input` says
what may be asked, `pyscf_basis` finds basis sets, `pyscf_calculation` computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotune.plugin.facts import IN_WORKER, ContainedEnergies, ProgramFacts, register_harness
from autotune.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from .pyscf_harness import PySCFHarness

_LIBRARIES_GIB = 0.14  # what a grant counts for program and libraries; see `pyscf_harness`
_SLACK_GIB = 0.1  # growth of a resident worker between two looks of PySCF at its memory
_FILL = 0.9  # share of what it is told that PySCF fills with arrays
# Keywords of `pyscf_input` by what they act on; a test compares.
_COUPLED_CLUSTER_ONLY = frozenset({"cc_conv_tol", "cc_max_cycle"})
_CORRELATION_ONLY = _COUPLED_CLUSTER_ONLY | {"frozen_core", "auxbasis_correlation"}


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to PySCF: when it takes its fastest algorithm, and what CCSD(T) has on its way."""
    return [
        ProgramFacts(
            name="pyscf",
            stays=IN_WORKER,
            directionless=True,
            contained=ContainedEnergies(
                coupled_cluster_keywords=_COUPLED_CLUSTER_ONLY, correlation_keywords=_CORRELATION_ONLY
            ),
            grant_gib=_grant_gib,
            error_words={"memory": r"needs more than the [\d.]+ GiB granted"},
            usual=True,
        )
    ]


@hookimpl
def autotune_register_programs() -> None:
    """Register the program `pyscf` with QCEngine, unless something already has."""
    register_harness("pyscf", _harness, replace=False)


def _harness() -> type[PySCFHarness]:
    from .pyscf_harness import PySCFHarness

    return PySCFHarness


def _grant_gib(arrays_gib: float) -> float:
    """Return what PySCF must be told so that this much fits; its conditions are named in `costs/memory.py`."""
    return _LIBRARIES_GIB + _SLACK_GIB + arrays_gib / _FILL
