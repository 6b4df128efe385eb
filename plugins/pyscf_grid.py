"""Grids of density functionals: where they lie, values of basis functions kept on them, coarse ones to start on.

Rules
- Ghosts get no grid. PySCF gives them one, whose share of the partition costs accuracy: HF with a ghost helium at
  2.7 a0 (B3LYP, grid 3) is off by 4e-5 Eh, 8e-4 Eh/a0 and 1e-2 Eh/a0^2 with it, by 2e-6, 5e-6 and 2e-4 without.
- Derivatives leave out the movement of the grid, which is what these last numbers are made of. Hessians suffer most
  (M06-2X water, grid 3: 3e-2 Eh/a0^2; grid 5: 3e-4), so their default grid is finer.
- Kept values are those that PySCF would compute again in each cycle, so results have the same bits unless memory is so
  short that it cuts the grid into smaller blocks; then PySCF's own bits depend on how short. They count within the
  memory that PySCF is told, behind the integrals, and are not kept where it does not suffice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from pyscf import dft, gto, lib

from autotune_plugins.pyscf_input import Plan

MeanField: TypeAlias = Any  # PySCF is untyped
Grids: TypeAlias = Any

_LEVEL, _LEVEL_FOR_HESSIANS = 3, 5
_SWITCH, _SWITCH_BY_ITSELF = 3e-2, 1e-2  # norm of the orbital gradient at which a coarse grid has done its work
_LEVEL_BY_ITSELF = 1  # of a coarse grid that is not corrected, at least
_LEVEL_OF_META_GGA = 1  # at least: M06-2X takes 8 cycles on grid 3 with grid 0, and 3 with grid 1
_CORRECTED = 0.02  # share of the gradient that is left when a correction has done its work
_MOST_CYCLES_BY_ITSELF, _MOST_COARSE_CYCLES = 15, 25
_MARGIN = dft.gen_grid.GROUP_BOUNDARY_PENALTY
_POINTS = dft.numint.BLKSIZE  # of which blocks are multiples


def group_points(molecule: gto.Mole, points: np.ndarray, box_size: float = dft.gen_grid.GROUP_BOX_SIZE) -> np.ndarray:
    """Return the order in which PySCF has grid points, which is by boxes in space.

    It is that of its own `arg_group_grids`, which sorts the boxes as rows of a table and takes a tenth of a tuned DFT
    task; here each has a number.
    """
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


def keep_values(mean_field: MeanField) -> None:
    """Let a mean field that is not solved yet keep the values of basis functions on its grids from cycle to cycle."""
    mean_field._numint = _Integration(mean_field, keeps_values=True)  # noqa: SLF001 - PySCF has no other name for it


def forget(mean_field: MeanField) -> None:
    """Free what a mean field keeps that is solved, or is not going to be; from here on values are computed again."""
    integration = vars(mean_field).get("_numint")
    if isinstance(integration, _Integration):
        integration.forget()
        mean_field.check_convergence = None  # would keep the mean field from being freed


def start_coarse(plan: Plan, mean_field: MeanField, level: int) -> None:
    """Let the first cycles of an SCF run on a coarse grid; see `_CoarseStart`. It ends as if on its own from the start.

    Args:
        plan: Of closed shells.
        mean_field: Not solved yet.
        level: Of the coarse grid; nothing happens where that of the mean field is no finer.
    """
    corrects = _has_cheap_cycles(mean_field)
    if not corrects:
        level = max(level, _LEVEL_BY_ITSELF)
    if mean_field._numint._xc_type(mean_field.xc) == "MGGA":  # noqa: SLF001 - PySCF has no other name for it
        level = max(level, _LEVEL_OF_META_GGA)
    if level >= mean_field.grids.level or plan.keywords.max_cycle <= _MOST_COARSE_CYCLES:
        return
    if not isinstance(mean_field._numint, _Integration):  # noqa: SLF001 - as above
        mean_field._numint = _Integration(mean_field, keeps_values=False)  # noqa: SLF001 - as above
    start = _CoarseStart(mean_field, grid(plan, mean_field.mol, level), corrects=corrects)
    mean_field._numint.start = start  # noqa: SLF001 - as above
    mean_field.grids, mean_field.check_convergence = start.coarse, start.converged


class _CoarseStart:
    """The cycles of an SCF on a coarse grid: alone at first, then corrected by what the final grid adds.

    What the final grid adds to energy and potential changes little with the density. It is taken once the coarse grid
    has done its work, and again where the SCF has come near to its end with that and is not there yet on the final
    grid: three looks at that instead of five or six cycles. Only a cycle on the final grid ends an SCF.

    Args:
        mean_field: Whose `grids` are the final ones.
        coarse: The others.
        corrects: Whether the coarse grid is corrected, or left where it has done its work by itself.

    Attributes:
        coarse: The others.
        grids: Both.
    """

    def __init__(self, mean_field: MeanField, coarse: Grids, *, corrects: bool) -> None:
        self.coarse, self._final = coarse, mean_field.grids
        self.grids = (coarse, self._final)
        self._mean_field, self._corrects = mean_field, corrects
        self._added: tuple[np.ndarray, float, np.ndarray] | None = None  # at a density; to energy and potential
        self._last: tuple[Any, float, np.ndarray] | None = None
        self._sought = _SWITCH if corrects else _SWITCH_BY_ITSELF

    def see(self, grids: Grids, density: np.ndarray, energy: float, potential: np.ndarray) -> tuple[float, np.ndarray]:
        """Take note of what a cycle found on a grid; return it with what the final grid adds."""
        if grids is not self.coarse and grids is not self._final:
            return energy, potential
        self._last = (density, energy, potential.copy())  # PySCF goes on with the same array
        if grids is self._final or self._added is None:
            return energy, potential
        at, more_energy, more_potential = self._added
        slope = float(((density - at) * more_potential).sum())
        return energy + more_energy + slope, potential + more_potential

    def converged(self, cycle: dict[str, Any]) -> bool:
        """Return whether the SCF has converged, and choose the grid of the next cycle: PySCF's `check_convergence`."""
        mean_field, gradient, number = self._mean_field, cycle["norm_gorb"], cycle["cycle"] + 1
        if mean_field.grids is self._final:
            if abs(cycle["e_tot"] - cycle["last_hf_e"]) < cycle["conv_tol"] and gradient < cycle["conv_tol_grad"]:
                self._leave()
                return True
            if number < _MOST_COARSE_CYCLES:
                self._correct(gradient)
            else:
                self._leave()
        elif number >= (_MOST_COARSE_CYCLES if self._added else _MOST_CYCLES_BY_ITSELF):
            self._leave()
        elif gradient < max(self._sought, cycle["conv_tol_grad"]):
            if self._added:
                mean_field.grids = self._final
            elif self._corrects:
                self._correct(gradient)
            else:
                self._leave()
        return False

    def _correct(self, gradient: float) -> None:
        """Take what the final grid adds at the density of the last cycle; go on with the coarse one."""
        self._sought = _CORRECTED * gradient
        assert self._last is not None
        mean_field, density, last = self._mean_field, self._last[0], self._last[1:]
        other = self.coarse if mean_field.grids is self._final else self._final
        if other.coords is None:
            other.build(with_non0tab=True)
        free_mb = mean_field.max_memory - lib.current_memory()[0]
        found: list[Any]
        _, *found = dft.numint.NumInt.nr_rks(
            mean_field._numint,  # noqa: SLF001 - as above
            mean_field.mol,
            other,
            mean_field.xc,
            density,
            max_memory=free_mb,
        )
        fine, coarse = (last, found) if other is self.coarse else (found, last)
        self._added = (np.asarray(density), fine[0] - coarse[0], fine[1] - coarse[1])
        mean_field.grids = self.coarse

    def _leave(self) -> None:
        mean_field = self._mean_field
        mean_field.grids, mean_field.check_convergence = self._final, None
        mean_field._numint.start = None  # noqa: SLF001 - as above


def _has_cheap_cycles(mean_field: MeanField) -> bool:
    """Return whether a cycle takes little beside what it does on its grid, so that more of them do no harm."""
    if mean_field.do_nlc():
        return False
    if vars(mean_field).get("with_df") is not None:
        return True
    integration = mean_field._numint  # noqa: SLF001 - as above
    if integration.libxc.is_hybrid_xc(mean_field.xc) and integration.rsh_coeff(mean_field.xc)[0]:
        return False  # exchange of long range is computed again
    return mean_field._eri is not None or bool(mean_field._is_mem_enough())  # noqa: SLF001 - as above


class _Integration(dft.numint.NumInt):  # type: ignore[misc]  # PySCF is untyped
    """PySCF's numerical integration for one mean field, which may start on a coarse grid and keep values.

    Args:
        mean_field: Whose `grids` they are; all others are left as they are.
        keeps_values: The values of basis functions on its grids are kept from cycle to cycle.

    Attributes:
        start: The cycles on a coarse grid, if they are not over.
    """

    def __init__(self, mean_field: MeanField, *, keeps_values: bool) -> None:
        self._mean_field: MeanField | None = mean_field if keeps_values else None
        self.start: _CoarseStart | None = None
        # The points are held, so that no other grid comes to lie where they are known to be.
        self._block_sizes: dict[tuple[int, int], tuple[int, np.ndarray]] = {}
        self._values: dict[tuple[int, int, int], np.ndarray | None] = {}

    def forget(self) -> None:
        """Free the memory; from here on values are computed again."""
        self._mean_field = self.start = None
        self._block_sizes.clear()
        self._values.clear()

    def nr_rks(
        self, mol: gto.Mole, grids: Grids, xc_code: str, dms: np.ndarray, *args: Any, **keywords: Any
    ) -> tuple[Any, Any, Any]:
        """Return electrons, energy and potential of closed shells as PySCF does, with what a coarse start adds."""
        electrons, energy, potential = super().nr_rks(mol, grids, xc_code, dms, *args, **keywords)
        if self.start is not None:
            energy, potential = self.start.see(grids, dms, energy, potential)
        return electrons, energy, potential

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
        if self._is_kept(grids) and not (blksize or buf):
            points = grids.coords
            key = (deriv, points.ctypes.data)
            if key not in self._block_sizes:
                self._block_sizes[key] = self._divide(mol, points, deriv, max_memory), points
            blksize, _ = self._block_sizes[key]
        yield from super().block_loop(mol, grids, nao, deriv, max_memory, non0tab, blksize, buf)

    def _is_kept(self, grids: Grids) -> bool:
        if self._mean_field is None:
            return False
        return grids is self._mean_field.grids or (self.start is not None and grids in self.start.grids)

    def _divide(self, molecule: gto.Mole, points: np.ndarray, derivatives: int, max_memory_mb: float) -> int:
        """Return the size of the blocks that PySCF would take, and keep room for their values if it suffices."""
        components, bytes_of_point = math.comb(derivatives + 3, 3), 8 * molecule.nao
        fitting = int(max_memory_mb * 1e6 / ((components + 1) * bytes_of_point * _POINTS))
        size = max(4, min(fitting, len(points) // _POINTS + 1, 1200)) * _POINTS
        # All values, and those of a block times the potential.
        if (components * len(points) + min(size, len(points))) * bytes_of_point < max_memory_mb * 1e6:
            for start in range(0, len(points), size):
                self._values[_place(points[start : start + size], derivatives)] = None
        return int(size)

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
