"""Psi4 as a resident program: the plugin's door, and nothing heavy behind it until a worker needs it.

QCEngine's own harness starts a process for each task, a second for a water molecule that takes a tenth of it, and
cannot drive a Psi4 before 1.4 at all; ours takes its place where a Psi4 is found. Neighbours: `psi4_installation` finds
Psi4 and its Python, `psi4_server` runs there, `psi4_client` starts and asks it, `psi4_harness` speaks QCSchema.
"""

from __future__ import annotations

from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `psi4` instead of QCEngine's, where there is a Psi4 that its own Python can run."""
    from .psi4_installation import executable

    if executable() is None:
        return
    import qcengine

    from .psi4_harness import ResidentPsi4Harness

    if "psi4" in qcengine.list_all_programs():
        if isinstance(qcengine.get_program("psi4", check=False), ResidentPsi4Harness):
            return
        qcengine.unregister_program("psi4")
    qcengine.register_program(ResidentPsi4Harness())
