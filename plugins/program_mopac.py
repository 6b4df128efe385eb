"""MOPAC through QCEngine's harness, with its version, lone atoms and spins of any kind: the plugin's door."""

from __future__ import annotations

from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `mopac` instead of QCEngine's."""
    import qcengine

    from .mopac_harness import CheckedMopacHarness

    if "mopac" in qcengine.list_all_programs():
        if isinstance(qcengine.get_program("mopac", check=False), CheckedMopacHarness):
            return
        qcengine.unregister_program("mopac")
    qcengine.register_program(CheckedMopacHarness())
