"""MOPAC through QCEngine's harness, with its version, lone atoms and spins of any kind: the plugin's door."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.plugin.facts import ProgramFacts, Tunable, choices, register_harness
from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to MOPAC, which reads ghosts as real atoms."""
    words = {"convergence": "unable to achieve self-consistence"}
    several = Tunable(
        name="tasks_per_start",
        about="so many tasks at most are computed in one start of MOPAC",
        distribution=choices(1, 4, 16),
        default=16,
        untouched=1,
        exact=True,
    )
    return [ProgramFacts(name="mopac", ghosts=False, start_s=0.012, error_words=words, usual=True, tunables=(several,))]


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `mopac` instead of QCEngine's."""
    from .mopac_harness import CheckedMopacHarness

    register_harness("mopac", lambda: CheckedMopacHarness)
