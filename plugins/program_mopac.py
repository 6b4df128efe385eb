"""MOPAC through QCEngine's harness, with its version, lone atoms and spins of any kind: the plugin's door."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.plugin.facts import ProgramFacts, register_harness, shared_starts
from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to MOPAC, which reads ghosts as real atoms."""
    words = {"convergence": "unable to achieve self-consistence"}
    return [
        ProgramFacts(
            name="mopac",
            ghosts=False,
            start_s=0.012,
            error_words=words,
            installed_as=("mopac",),
            usual=True,
            tunables=(shared_starts("MOPAC"),),
        )
    ]


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `mopac` instead of QCEngine's."""
    from autotune_plugins.mopac_harness import CheckedMopacHarness

    register_harness("mopac", lambda: CheckedMopacHarness)
