"""NWChem through QCEngine's harness, with what that leaves to chance decided: the plugin's door.

Neighbours: `nwchem_harness` is the harness, `nwchem_potentials` finds core potentials, `nwchem_faults` reads what
NWChem says when it fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from autotune.plugin.facts import Convergence, ProgramFacts, register_harness, shared_starts
from autotune.plugin.hookspecs import hookimpl

# Of results/convergence.json. What is screened of integrals decides: what lies below a hundredth of `thresh`, and below
# 1e-7 in any case.
_CONVERGENCE = {
    "hf": Convergence(
        error_hartree=1.0e-7,
        thresholds={"scf__thresh": (1e-5, 1.0), "scf__tol2e": (1e-7, 1.0)},
        tighter={"scf__thresh": 1e-7, "scf__tol2e": 1e-10},
    )
}


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to NWChem; 0.14 s is what it takes to start and end without a task."""
    return [
        ProgramFacts(
            name="nwchem",
            start_s=0.14,
            spherical_keyword="basis__spherical",
            cartesian_keyword="basis__cartesian",
            convergence=_CONVERGENCE,
            installed_as=("nwchem",),
            usual=True,
            tunables=(shared_starts("NWChem"),),
        )
    ]


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `nwchem` instead of QCEngine's."""
    from autotune_plugins.nwchem_harness import CheckedNWChemHarness

    register_harness("nwchem", lambda: CheckedNWChemHarness)
