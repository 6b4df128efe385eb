"""NWChem through QCEngine's harness, with what that leaves to chance decided: the plugin's door.

Neighbours: `nwchem_harness` is the harness, `nwchem_potentials` finds core potentials, `nwchem_faults` reads what
NWChem says when it fails.
"""

from __future__ import annotations

from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `nwchem` instead of QCEngine's."""
    import qcengine

    from .nwchem_harness import CheckedNWChemHarness

    if "nwchem" in qcengine.list_all_programs():
        if isinstance(qcengine.get_program("nwchem", check=False), CheckedNWChemHarness):
            return
        qcengine.unregister_program("nwchem")
    qcengine.register_program(CheckedNWChemHarness())
