"""Programs that run by QCEngine's own harnesses: what these harnesses do not say of them."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.plugin.facts import IN_WORKER, ProgramFacts
from autotune.plugin.hookspecs import hookimpl


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return facts of programs without a plugin of their own; those without ghosts read every atom as a real one."""
    return [
        *(ProgramFacts(name=name, usual=True) for name in ("cfour", "gamess", "molpro", "qchem")),
        ProgramFacts(name="xtb", ghosts=False, start_s=0.02, usual=True),
        ProgramFacts(name="dftd3", ghosts=False),
        *(
            ProgramFacts(name=name, ghosts=False, stays=IN_WORKER)
            for name in ("aimnet2", "mace", "openmm", "orb", "rdkit", "torchani")
        ),
        # s-dftd3 leaves ghosts out itself, which is right: the correction has no basis set.
        *(ProgramFacts(name=name, stays=IN_WORKER) for name in ("adcc", "mctc-gcp", "s-dftd3")),
    ]
