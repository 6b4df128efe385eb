"""Grids of density functionals: where they lie, values of basis functions kept on them, coarse ones to start on.

Rules
- Ghosts get no grid. PySCF gives them one, whose share of the partition costs accuracy: HF with a ghost helium at
  2.7 a0 (B3LYP, grid 3) is off by 4e-5 Eh, 8e-4 Eh/a0 and 1e-2 Eh/a0^2 with it, by 2e-6, 5e-6 and 2e-4 without.
- Derivatives leave out the movement of the grid, which is what these last numbers are made of. Hessians suffer most
  (M06-2X water, grid 3: 3e-2 Eh/a0^2; grid 5: 3e-4), so their default grid is finer.
- Kept values are those that PySCF would compute again in each cycle, so results have the same bits. They count within
  the memory that PySCF is told, and are not kept where it is too short.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from pyscf import dft, gto

from autotune_plugins.pyscf_input import Plan

if TYPE_CHECKING:
    import numpy as np

MeanField: TypeAlias = Any  # PySCF is untyped
Grids: TypeAlias = Any

_LEVEL, _LEVEL_FOR_HESSIANS = 3, 5
_SWITCH = 1e-2  # norm of the orbital gradient at which a coarse grid has done its work
_MOST_COARSE_CYCLES = 15
_MARGIN = dft.gen_grid.GROUP_BOUNDARY_PENALTY
_POINTS = dft.numint.BLKSIZE  # of which blocks are multiples


def group_points(molecule: gto.Mole, points: np.ndarray, box_size: float = dft.gen_grid.GROUP_BOX_SIZE) -> np.ndarray:
    """Return the order in which PySCF has grid points, which is by boxes in space.

    It is that of its own `arg_group_grids`, which sorts the boxes as rows of a table and takes a tenth of a tuned DFT
    task; here each has a number.
    """
    import numpy as np

    atoms = molecule.atom_coords()
    low, high = (end + side for end, side in ((atoms.min(axis=0), -_MARGIN), (atoms.max(axis=0), _MARGIN)))
    counts = ((high - low) * (1.0 / box_size)).round().astype(int)
    boxes = np.floor((points - low) * (1.0 / ((high - low) / counts))).astype(int)
    numbers: np.ndarray = np.ravel_multi_index((np.clip(boxes, -1, counts) + 1).T, counts + 2)
    return numbers.argsort(kind="stable")


dft.gen_grid.arg_group_grids = group_points  # the only way to have it sort so


def place(plan: Plan, mean_field: MeanField) -> None:
    """Give a mean field the grids of its plan."""
    level = _LEVEL_FOR_HESSIANS if plan.driver == "hessian" else _LEVEL
    if plan.keywords.grid_level is not None:
        level = plan.keywords.grid_level
    mean_field.grids.level = level
    _lay(plan, mean_field.mol, mean_field.grids)
    if mean_field.do_nlc():
        _lay(plan, mean_field.mol, mean_field.nlcgrids)


def grid(plan: Plan, molecule: gto.Mole, level: int) -> Grids:
    """Return a grid of some other level."""
    made = dft.gen_grid.Grids(molecule)
    made.level = level
    _lay(plan, molecule, made)
    return made


def _lay(plan: Plan, molecule: gto.Mole, grids: Grids) -> None:
    """Build a grid here where PySCF would give ghosts a share of it; it builds all others itself."""
    nuclei = [atom for atom in plan.atoms if not atom[0].startswith("GHOST")]
    if 0 < len(nuclei) < len(plan.atoms):
        real = molecule.copy(deep=False)
        real.build(dump_input=False, parse_arg=False, atom=nuclei)
        grids.build(real)
        grids.non0tab = grids.screen_index = grids.make_mask(molecule, grids.coords)


def start_coarse(plan: Plan, mean_field: MeanField, level: int) -> None:
    """Let the first cycles of an SCF run on a coarse grid, until its orbital gradient falls below `_SWITCH`.

    An SCF cannot converge before its own grid is in place, nor by comparing energies of two grids.
    """
    final = mean_field.grids
    if level >= final.level or plan.keywords.max_cycle <= _MOST_COARSE_CYCLES:
        return

    def converged(cycle: dict[str, Any]) -> bool:
        if cycle["norm_gorb"] < _SWITCH or cycle["cycle"] + 1 >= _MOST_COARSE_CYCLES:
            mean_field.grids, mean_field.check_convergence = final, None
        return False

    mean_field.grids, mean_field.check_convergence = grid(plan, mean_field.mol, level), converged


class KeptValues(dft.numint.NumInt):  # type: ignore[misc]  # PySCF is untyped
    """PySCF's numerical integration, which keeps the values of basis functions on the grid of a mean field.

    Args:
        mean_field: Whose `grids` they are; all others are left as they are.
    """

    def __init__(self, mean_field: MeanField) -> None:
        self._mean_field: MeanField | None = mean_field
        self._grids: Grids | None = None
        self._block_sizes: dict[int, int] = {}
        self._values: dict[tuple[int, int, int], np.ndarray | None] = {}

    def forget(self) -> None:
        """Free the memory; from here on values are computed again."""
        self._mean_field = self._grids = None
        self._block_sizes.clear()
        self._values.clear()

    def block_loop(
        self,
        mol: gto.Mole,
        grids: Grids,
        nao: int | None = None,
        deriv: int = 0,
        max_memory: float = 2000,
        non0tab: np.ndarray | None = None,
        blksize: int | None = None,
        buf: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield what PySCF does for each block of points; blocks are of one size in all cycles."""
        if self._mean_field is not None and grids is self._mean_field.grids and not (blksize or buf):
            if grids is not self._grids:
                self._grids = grids
                self._block_sizes.clear()
                self._values.clear()
            if deriv not in self._block_sizes:
                self._divide(mol, grids.coords, deriv, max_memory)
            blksize = self._block_sizes[deriv]
        yield from super().block_loop(mol, grids, nao, deriv, max_memory, non0tab, blksize, buf)

    def _divide(self, molecule: gto.Mole, points: np.ndarray, derivatives: int, max_memory_mb: float) -> None:
        """Divide the grid into the blocks that PySCF would take, and keep room for their values if it suffices."""
        components, bytes_of_point = math.comb(derivatives + 3, 3), 8 * molecule.nao
        fitting = int(max_memory_mb * 1e6 / ((components + 1) * bytes_of_point * _POINTS))
        size = max(4, min(fitting, len(points) // _POINTS + 1, 1200)) * _POINTS
        self._block_sizes[derivatives] = size
        # All values, and those of a block times the potential.
        if (components * len(points) + min(size, len(points))) * bytes_of_point < max_memory_mb * 1e6:
            for start in range(0, len(points), size):
                self._values[_place(points[start : start + size], derivatives)] = None

    def eval_ao(
        self,
        mol: gto.Mole,
        coords: np.ndarray,
        deriv: int = 0,
        shls_slice: tuple[int, int] | None = None,
        non0tab: np.ndarray | None = None,
        cutoff: float | None = None,
        out: np.ndarray | None = None,
        verbose: object = None,
    ) -> np.ndarray:
        """Return the values of basis functions at points, from before where they were kept."""
        place = _place(coords, deriv)
        values = self._values.get(place)
        if values is None:
            if place in self._values:
                out = dft.numint._empty_aligned(math.comb(deriv + 3, 3) * len(coords) * mol.nao)  # noqa: SLF001
            values = super().eval_ao(mol, coords, deriv, shls_slice, non0tab, cutoff, out, verbose)
            if place in self._values:
                self._values[place] = values
        return values


def _place(points: np.ndarray, derivatives: int) -> tuple[int, int, int]:
    """Return what tells one block of a grid that exists from all others."""
    return derivatives, points.ctypes.data, len(points)
