"""Two-electron integrals that tasks with the same basis atoms share, in a folder of all workers of a machine.

Rules
- All tasks of a counterpoise-corrected expansion have the basis of the whole cluster, and those of `vmfc` that of an
  n-mer: the first computes the integrals, or the fitted three-index tensor, and the others map them from a file. They
  are the same bits.
- Ghosts are what tells such tasks: these store. Others with several fragments look, since theirs may be there.
- Pairs store where larger fragments are to come, which are put together from them (see `pyscf_pairs`).
- PySCF's own conditions stay: what it would not hold in the memory it is told is not shared.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pyscf import lib
from pyscf.df import addons

from autotune.base.types import PAIR
from autotune_plugins import pyscf_pairs
from autotune_plugins.pyscf_input import Plan
from autotune_plugins.pyscf_settings import Settings
from autotune_plugins.pyscf_store import Store

if TYPE_CHECKING:
    import numpy as np
    from pyscf import gto

MeanField: TypeAlias = Any  # PySCF is untyped

_MOST_BYTES = 8 * 2**30
_SHARE_OF_DISK = 0.5  # of what is free


def share(plan: Plan, mean_field: MeanField, settings: Settings) -> None:
    """Give a mean field that is not solved yet the integrals that others computed, or compute them for others."""
    if plan.fitting:
        share_fitted(plan, mean_field.with_df, settings, purpose="scf")
    elif _is_shared(plan, settings) and mean_field._is_mem_enough():  # noqa: SLF001 - PySCF offers no other way
        mean_field._eri = _four_index(plan, mean_field.mol, settings)  # noqa: SLF001


def hold(mean_field: MeanField) -> None:
    """Compute the integrals that an SCF will hold in memory, by PySCF's own conditions, before something else does."""
    fitting = vars(mean_field).get("with_df")
    if fitting is not None:
        if fitting._cderi is None:  # noqa: SLF001 - PySCF offers no other way
            fitting.build()
    elif mean_field._eri is None and mean_field._is_mem_enough():  # noqa: SLF001
        mean_field._eri = mean_field.mol.intor("int2e", aosym="s8")  # noqa: SLF001


def _four_index(plan: Plan, molecule: gto.Mole, settings: Settings) -> np.ndarray | None:
    def of_atoms(molecule: gto.Mole, *, wanted: bool) -> np.ndarray | None:
        atoms = molecule._atom  # noqa: SLF001 - symbols and positions, bohr
        return _find(
            plan, atoms, settings, "four-index", lambda: molecule.intor("int2e", aosym="s8"), wanted_by_others=wanted
        )

    if _has_ghosts(plan):
        return of_atoms(molecule, wanted=True)
    fragments = [part.atoms for part in plan.parts]
    if len(fragments) not in pyscf_pairs.FRAGMENTS or list(itertools.chain(*fragments)) != list(range(molecule.natm)):
        return of_atoms(molecule, wanted=len(fragments) == PAIR and settings.most_fragments in pyscf_pairs.FRAGMENTS)

    def of_pair(first: int, second: int) -> np.ndarray:
        pair = molecule.copy(deep=False)
        atoms = [plan.atoms[atom] for atom in (*fragments[first], *fragments[second])]
        pair.charge, pair.spin = 0, None
        pair.build(dump_input=False, parse_arg=False, atom=atoms)
        found = of_atoms(pair, wanted=True)
        assert found is not None
        return found

    return pyscf_pairs.together(molecule, fragments, of_pair)


def share_fitted(plan: Plan, fitting: Any, settings: Settings, *, purpose: str) -> None:
    """Do the same for the three-index tensor of PySCF's `DF`, in the fitting basis of that purpose."""
    if not _is_shared(plan, settings):
        return
    molecule = fitting.mol
    auxiliary = addons.make_auxmol(molecule, fitting.auxbasis)
    needed_mb = molecule.nao * (molecule.nao + 1) / 2 * auxiliary.nao * 8e-6
    if needed_mb < 0.9 * (fitting.max_memory - lib.current_memory()[0]):
        fitting._cderi = _find(  # noqa: SLF001
            plan,
            plan.atoms,
            settings,
            purpose,
            lambda: fitting.build()._cderi,  # noqa: SLF001
            wanted_by_others=_has_ghosts(plan),
        )
        fitting.auxmol = auxiliary


def _is_shared(plan: Plan, settings: Settings) -> bool:
    several = _has_ghosts(plan) or len(plan.parts) > 1
    return several and settings.shared_integrals and settings.shared is not None


def _has_ghosts(plan: Plan) -> bool:
    return any(symbol.startswith("GHOST") for symbol, _ in plan.atoms)


def _find(
    plan: Plan,
    atoms: Iterable[tuple[str, Sequence[float]]],
    settings: Settings,
    kind: str,
    compute: Callable[[], np.ndarray],
    *,
    wanted_by_others: bool,
) -> np.ndarray | None:
    """Return integrals from the folder; computed and stored there where they are missing and others will want them."""
    if settings.shared is None:
        return None
    places = [(symbol.removeprefix("GHOST-"), tuple(map(float, position))) for symbol, position in atoms]
    content = repr((kind, plan.chemistry, plan.cartesian, places))
    key = hashlib.sha256(content.encode()).hexdigest()[:40]
    store = Store(settings.shared / "pyscf-integrals", most_bytes=_most_bytes(settings.shared))
    found = store.find(key)
    if found is None and wanted_by_others:
        found = compute()
        store.keep(key, found)
    return found


def _most_bytes(shared: Path) -> float:
    try:
        shared.mkdir(parents=True, exist_ok=True)  # what does not exist has no disk
        return min(_MOST_BYTES, _SHARE_OF_DISK * shutil.disk_usage(shared).free)
    except OSError:
        return 0.0
