"""Psi4 as a resident program: the plugin's door, and nothing heavy behind it until a worker needs it.

QCEngine's own harness starts a process for each task, a second for a water molecule that takes a tenth of it, and
cannot drive a Psi4 before 1.4 at all; ours takes its place where a Psi4 is found. Neighbours: `psi4_installation` finds
Psi4 and its Python, `psi4_server` runs there, `psi4_client` starts and asks it, `psi4_harness` speaks QCSchema.
"""

from __future__ import annotations

from collections.abc import Sequence

from autotune.plugin.facts import BESIDE_WORKER, Convergence, ProgramFacts, register_harness
from autotune.plugin.hookspecs import hookimpl

_TIGHTER = {"e_convergence": 1e-10, "d_convergence": 1e-9}
# Of results/convergence.json; before MP2 the density is converged to 1e-8 anyway.
_CONVERGENCE = {
    "hf df": Convergence(error_hartree=9.0e-10, thresholds={"d_convergence": (1e-6, 2.0)}, tighter=_TIGHTER),
    "dft df": Convergence(error_hartree=5.0e-10, thresholds={"d_convergence": (1e-6, 2.0)}, tighter=_TIGHTER),
    "mp2 df": Convergence(error_hartree=2.1e-9, thresholds={"d_convergence": (1e-8, 1.0)}, tighter=_TIGHTER),
}


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to Psi4.

    It fits the densities of MP2, but not of the MP2 that its CCSD starts from, so nothing is said to be contained.
    """
    return [
        ProgramFacts(
            name="psi4",
            stays=BESIDE_WORKER,
            fits_densities=True,
            embedding=True,
            convergence=_CONVERGENCE,
            installed_as=("psi4",),
            usual=True,
        )
    ]


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `psi4` instead of QCEngine's, where there is a Psi4 that its own Python can run."""
    from autotune_plugins.psi4_installation import executable

    if executable() is None:
        return
    from autotune_plugins.psi4_harness import ResidentPsi4Harness

    register_harness("psi4", lambda: ResidentPsi4Harness)
