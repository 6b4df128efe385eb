"""PySCF as a QCEngine program: the plugin's door, and nothing heavy behind it until a worker needs it.

PySCF speaks no QCSchema and QCEngine has no harness for it; `pyscf_harness` is ours. Neighbours: `pyscf_input` says
what may be asked, `pyscf_basis` finds basis sets, `pyscf_calculation` computes.
"""

from __future__ import annotations

from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_register_programs() -> None:
    """Register the program `pyscf` with QCEngine, unless something already has."""
    import qcengine

    if "pyscf" in qcengine.list_all_programs():
        return
    from .pyscf_harness import PySCFHarness

    qcengine.register_program(PySCFHarness())
