"""NWChem through QCEngine's harness, with what that leaves to chance decided: the plugin's door.

Neighbours: `nwchem_harness` is the harness, `nwchem_potentials` finds core potentials, `nwchem_faults` reads what
NWChem says when it fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from autotune.plugin.facts import ProgramFacts, register_harness, shared_starts
from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to NWChem; 0.14 s is what it takes to start and end without a task."""
    return [
        ProgramFacts(
            name="nwchem",
            start_s=0.14,
            spherical_keyword="basis__spherical",
            cartesian_keyword="basis__cartesian",
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
