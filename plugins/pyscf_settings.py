"""How PySCF computes, where that is a choice: the values of the tunables that `program_pyscf` declares.

Rule: without settings everything is computed as it always was, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices that change how long a task takes, and its results by less than 1e-9 Eh.

    Attributes:
        guess: Where an SCF starts: `program` (the keyword `init_guess`) or `monomers` (see `pyscf_guess`).
        conv_check: One more Fock matrix after convergence; left out only where energies of HF and DFT are asked for.
        kept_grid_values: The values of basis functions on the DFT grid are kept from cycle to cycle, where they fit.
        first_grid: Level of the grid that most cycles of DFT are on (see `pyscf_grid`), -1 for the final one alone.
        shared_integrals: Tasks with the same basis atoms share their integrals (see `pyscf_integrals`).
        remember: A task starts from where the one of the same fragments of the run before ended, which is in `shared`.
        most_fragments: Of any task of the run; 0 where that is not known.
        shared: Folder that all workers of a machine share during a run; None where there is none.
    """

    guess: str = "program"
    conv_check: bool = True
    kept_grid_values: bool = False
    first_grid: int = -1
    shared_integrals: bool = False
    remember: bool = False
    most_fragments: int = 0
    shared: Path | None = None


UNTOUCHED = Settings()
