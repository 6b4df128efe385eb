"""PySCF as a QCEngine program: the plugin's door, and nothing heavy behind it until a worker needs it.

PySCF speaks no QCSchema and QCEngine has no harness for it; `pyscf_harness` is ours. Neighbours: `pyscf_input` says
what may be asked, `pyscf_basis` finds basis sets, `pyscf_scf` and `pyscf_calculation` compute, `pyscf_settings` is what
the tunables below become in a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotune.base.types import Method, Task
from autotune.costs.terms import family
from autotune.plugin.facts import (
    IN_WORKER,
    ContainedEnergies,
    Convergence,
    ProgramFacts,
    Tunable,
    choices,
    register_harness,
)
from autotune.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from autotune_plugins.pyscf_harness import PySCFHarness

_LIBRARIES_GIB = 0.14  # what a grant counts for program and libraries; see `pyscf_harness`
_SLACK_GIB = 0.1  # growth of a resident worker between two looks of PySCF at its memory
_FILL = 0.9  # share of what it is told that PySCF fills with arrays
# Keywords of `pyscf_input` by what they act on; a test compares.
_COUPLED_CLUSTER_ONLY = frozenset({"cc_conv_tol", "cc_max_cycle"})
_CORRELATION_ONLY = _COUPLED_CLUSTER_ONLY | {"frozen_core", "auxbasis_correlation"}

_TIGHTER = {"conv_tol": 1e-12}
_SCF = {"conv_tol": (1e-10, 1.0)}
_PERTURBED = {"conv_tol": (1e-10, 0.5)}  # its energies are not variational in the orbitals
_CLUSTERS = {"cc_conv_tol": (1e-9, 1.0)}  # whose amplitudes decide
# Of results/convergence.json.
_CONVERGENCE = {
    "hf": Convergence(error_hartree=2.2e-12, thresholds=_SCF, tighter=_TIGHTER),
    "hf df": Convergence(error_hartree=2.2e-12, thresholds=_SCF, tighter=_TIGHTER),
    "dft": Convergence(error_hartree=7.7e-13, thresholds=_SCF, tighter=_TIGHTER),
    "dft df": Convergence(error_hartree=8.0e-13, thresholds=_SCF, tighter=_TIGHTER),
    "mp2": Convergence(error_hartree=1.9e-9, thresholds=_PERTURBED, tighter=_TIGHTER),
    "mp2 df": Convergence(error_hartree=2.0e-9, thresholds=_PERTURBED, tighter=_TIGHTER),
    "ccsd": Convergence(error_hartree=6.0e-10, thresholds=_CLUSTERS, tighter=_TIGHTER | {"cc_conv_tol": 1e-11}),
    "ccsd(t)": Convergence(error_hartree=6.2e-10, thresholds=_CLUSTERS, tighter=_TIGHTER | {"cc_conv_tol": 1e-11}),
}


def _is_density_functional(method: Method) -> bool:
    return family(method).startswith("dft")


def _is_well_determined(method: Method) -> bool:
    """Return what `pyscf_input.is_well_determined` does but for thresholds: elsewhere results would move."""
    return method.driver == "energy" and family(method).startswith(("hf", "dft"))


def _is_well_determined_on_a_grid(method: Method) -> bool:
    return _is_well_determined(method) and _is_density_functional(method)


def _has_no_ghosts(task: Task, fragments: int) -> bool:
    return len(task.real) == len(task.basis) == fragments


_TUNABLES = (
    Tunable(
        name="guess",
        about="The SCF of several fragments starts from those of each alone.",
        distribution=choices("program", "monomers"),
        default="monomers",
        untouched="program",
        matters=_is_well_determined,
        ahead=lambda value, task: 2 * (value == "monomers" and _has_no_ghosts(task, 1)),
    ),
    Tunable(
        name="conv_check",
        about="PySCF builds one more Fock matrix after its SCF has converged.",
        distribution=choices(True, False),
        default=False,
        untouched=True,
        matters=_is_well_determined,
    ),
    Tunable(
        name="kept_grid_values",
        about="Values of basis functions on a DFT grid are kept from cycle to cycle, where memory allows.",
        distribution=choices(True, False),
        default=True,
        untouched=False,
        exact=True,
        matters=_is_density_functional,
    ),
    Tunable(
        name="first_grid",
        about="Level of the grid that most cycles of DFT are on, corrected by what the final one adds; -1 for that.",
        distribution=choices(-1, 0, 1),
        default=0,
        untouched=-1,
        matters=_is_well_determined_on_a_grid,
    ),
    Tunable(
        name="shared_integrals",
        about="Tasks share integrals: those of counterpoise all, trimers those of their pairs.",
        distribution=choices(True, False),
        default=True,
        untouched=False,
        ahead=lambda value, task: int(bool(value) and _has_no_ghosts(task, 2)),
    ),
)


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to PySCF: when it takes its fastest algorithm, and what CCSD(T) has on its way."""
    return [
        ProgramFacts(
            name="pyscf",
            stays=IN_WORKER,
            directionless=True,
            convergence=_CONVERGENCE,
            contained=ContainedEnergies(
                coupled_cluster_keywords=_COUPLED_CLUSTER_ONLY, correlation_keywords=_CORRELATION_ONLY
            ),
            grant_gib=_grant_gib,
            error_words={"memory": r"needs more than the [\d.]+ GiB granted"},
            installed_as=("pyscf", "pyscf-dispersion"),
            usual=True,
            remembers=True,
            tunables=_TUNABLES,
        )
    ]


@hookimpl
def autotune_register_programs() -> None:
    """Register the program `pyscf` with QCEngine, unless something already has."""
    register_harness("pyscf", _harness, replace=False)


def _harness() -> type[PySCFHarness]:
    from autotune_plugins.pyscf_harness import PySCFHarness

    return PySCFHarness


def _grant_gib(arrays_gib: float) -> float:
    """Return what PySCF must be told so that this much fits; its conditions are named in `costs/memory.py`."""
    return _LIBRARIES_GIB + _SLACK_GIB + arrays_gib / _FILL
