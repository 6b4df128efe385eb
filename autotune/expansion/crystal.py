"""Molecular crystals: the whole molecules of a unit cell, and what the crystal's symmetry does with them.

Rules: files are read by ASE, which knows space groups, their settings and the notations of CIF, and symmetry is found
by spglib, in any setting; both are optional. Lengths are in Å; atoms, molecules and cells count from 0. A molecule of
the crystal is a `Site`: which of the cell's molecules it is, and in which cell, so that neighbours and symmetry images
are compared by integers alone.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from autotune.base.errors import InputError, ResourceError
from autotune.base.text import count, join_words, one_line
from autotune.expansion.bonds import reaches, without_radius
from autotune.expansion.cell import Cell, heights_angstrom
from autotune.expansion.geometry import BOND_SCALE, CATIONS, MAX_ATOMS, check_apart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]

FORMATS = {"cif": "CIF", "extxyz": "extended XYZ with Lattice=", "vasp": "POSCAR"}
FLAT_ANGSTROM = 0.1  # a lower cell has no volume
SYMMETRY_ANGSTROM = 1.0e-3  # by which an atom may be off its image
_INSTALL = "pip install 'qc-autotune[crystals]'"

CellIndex: TypeAlias = tuple[int, int, int]
Site: TypeAlias = tuple[int, CellIndex]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrystalMolecule:
    """One of the molecules of a unit cell, whole.

    Attributes:
        symbols: Element symbols.
        positions_angstrom: Shape (natom, 3).
    """

    symbols: tuple[str, ...]
    positions_angstrom: Numbers

    @property
    def formula(self) -> str:
        """Its elements in the order of Hill, as C6H6."""
        return formula(self.symbols)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """A symmetry operation, as what it does with sites.

    Attributes:
        rotation: Of cells, shape (3, 3), integers.
        images: Of each of the cell's molecules in the cell (0, 0, 0), where it comes to lie.
    """

    rotation: Integers
    images: tuple[Site, ...]

    def apply(self, sites: Sequence[Site]) -> list[Site]:
        """Return where sites come to lie."""
        found = []
        for molecule, cell in sites:
            image, base = self.images[molecule]
            x, y, z = (
                sum(int(turn) * step for turn, step in zip(row, cell, strict=True)) + start
                for row, start in zip(self.rotation.tolist(), base, strict=True)
            )
            found.append((image, (x, y, z)))
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crystal:
    """A molecular crystal.

    Attributes:
        name: Of the file.
        vectors_angstrom: Of the cell, shape (3, 3), one in each row.
        molecules: Of one cell.
        group: Its space group as spglib names it, such as `Pbca (61)`.
        operations: Of the space group, modulo translations of the cell.
    """

    name: str
    vectors_angstrom: Numbers
    molecules: tuple[CrystalMolecule, ...]
    group: str
    operations: tuple[Operation, ...]

    def positions_angstrom(self, site: Site) -> Numbers:
        """Return the positions of a molecule's atoms, shape (natom, 3)."""
        import numpy as np

        molecule, cell = site
        found: Numbers = self.molecules[molecule].positions_angstrom + np.array(cell) @ self.vectors_angstrom
        return found

    @property
    def kinds(self) -> tuple[tuple[int, ...], ...]:
        """The cell's molecules in groups of those that are symmetry images of each other."""
        kind_of: dict[int, int] = {}
        for molecule in range(len(self.molecules)):
            images = {operation.images[molecule][0] for operation in self.operations} | {molecule}
            first = min(kind_of.get(image, molecule) for image in images)
            kind_of |= dict.fromkeys(images, first)
        kinds: dict[int, list[int]] = {}
        for molecule, first in sorted(kind_of.items()):
            kinds.setdefault(first, []).append(molecule)
        return tuple(tuple(kind) for kind in kinds.values())

    @property
    def formula_units(self) -> int:
        """How many units of the chemical formula a cell has: the greatest number that divides all its kinds."""
        return reduce(math.gcd, Counter(molecule.formula for molecule in self.molecules).values())

    @property
    def unit(self) -> str:
        """The chemical formula of such a unit, as C6H6, or C2H2O4·2H2O."""
        kinds = Counter(molecule.formula for molecule in self.molecules)
        times = {formula: number // self.formula_units for formula, number in kinds.items()}
        return "·".join(f"{number if number > 1 else ''}{formula}" for formula, number in times.items())

    def describe(self) -> str:
        """Return what this is, in words."""
        kinds = Counter(molecule.formula for molecule in self.molecules)
        named = join_words([f"{times} {formula}" for formula, times in kinds.items()])
        return (
            f"a crystal with {named} in the unit cell, space group {self.group} with"
            f" {count(len(self.operations), 'operation')}"
        )


def formula(symbols: Sequence[str]) -> str:
    """Return a chemical formula in the order of Hill: carbon, hydrogen, then by the alphabet."""
    counts = Counter(symbols)
    first = [symbol for symbol in ("C", "H") if symbol in counts] if "C" in counts else []
    order = [*first, *sorted(counts.keys() - set(first))]
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order)


def read_crystal(path: str | Path) -> Crystal:
    """Return the crystal in a file of one of `FORMATS`.

    Raises:
        InputError: It cannot be read, is disordered, lacks atoms of its own formula, or has no molecules.
        ResourceError: ASE or spglib is missing.
    """
    path = Path(path)
    try:
        with _some_home():
            import ase.io
        import spglib  # noqa: F401 - told at once
    except ImportError as error:
        raise ResourceError(f"crystals need {error.name}, which is not installed: {_INSTALL}") from error
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a crystal ({join_words(list(FORMATS.values()))})")
    try:
        kind = ase.io.formats.filetype(str(path))
    except Exception:  # noqa: BLE001 - of a file that ASE does not know
        kind = ""
    if kind not in FORMATS:
        raise InputError(f"{path} is no crystal that can be read here; give {join_words(list(FORMATS.values()))}")
    try:
        atoms = _read(path, kind)
    except InputError:
        raise
    except Exception as error:
        why = one_line(error) or type(error).__name__
        raise InputError(f"{path} is not understood as {FORMATS[kind]}: {why}") from error
    _check(atoms, path)
    molecules, owners = _molecules(atoms, str(path))
    group, operations = _operations(atoms, owners, str(path))
    vectors = atoms.cell.array.astype(float)
    return Crystal(name=str(path), vectors_angstrom=vectors, molecules=molecules, group=group, operations=operations)


@contextlib.contextmanager
def _some_home() -> Iterator[None]:
    """Let ASE, which looks for its settings when it is imported, have a home folder where the user has none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.devnull
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


def _read(path: Path, kind: str) -> Any:
    """Return ASE's atoms of a file; raises whatever ASE does."""
    import ase.io

    from autotune.expansion.cif import read_cif

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that are not asked for, with places in libraries
        if kind == "cif":
            return read_cif(path)
        frames = ase.io.read(str(path), format=kind, index=":")
    if len(frames) != 1:
        raise InputError(f"{path} has {len(frames)} structures; give a file with one")
    return frames[0]


def _check(atoms: Any, path: Path) -> None:
    """Refuse what is no crystal."""
    import numpy as np

    if not len(atoms) or not np.isfinite(atoms.get_positions()).all() or not np.isfinite(atoms.cell.array).all():
        raise InputError(f"{path} has no atoms, or positions or a cell that are no numbers")
    a, b, c = map(tuple, atoms.cell.array.tolist())
    cell = Cell(vectors=(a, b, c), periodic=(True, True, True))
    if not all(atoms.pbc) or min(heights_angstrom(cell)) < FLAT_ANGSTROM:
        raise InputError(f"{path} does not repeat in three directions; a cluster is computed by `autotune run`")
    if len(atoms) > MAX_ATOMS:
        raise InputError(f"{path} has {len(atoms):,} atoms in the cell; the most is {MAX_ATOMS:,}")
    symbols = atoms.get_chemical_symbols()
    if "X" in symbols:
        raise InputError(f"{path}: atom {symbols.index('X') + 1} is of no element")
    if unknown := sorted(without_radius(symbols) - CATIONS.keys()):
        raise InputError(f"{path}: no covalent radius is known for {join_words(unknown)}, which molecules need")


def _molecules(atoms: Any, name: str) -> tuple[tuple[CrystalMolecule, ...], list[Site]]:
    """Return the cell's molecules, whole, and of each atom of the file its molecule and in which cell it lies there."""
    import numpy as np

    symbols, vectors = atoms.get_chemical_symbols(), atoms.cell.array
    owners, members = _connect(atoms, name)
    placed = atoms.get_positions() + np.array([cell for _, cell in owners]) @ vectors
    molecules, homes = [], []
    for own in members:
        # The cell that its centre lies in is its home.
        home = np.floor(placed[own].mean(axis=0) @ np.linalg.inv(vectors) + 1e-6)
        whole = placed[own] - home @ vectors
        own_symbols = tuple(symbols[atom] for atom in own)
        check_apart(own_symbols, [tuple(position) for position in whole.tolist()], name=name)
        molecules.append(CrystalMolecule(symbols=own_symbols, positions_angstrom=whole))
        homes.append(home.astype(int).tolist())
    sites: list[Site] = []
    for molecule, cell in owners:
        x, y, z = (there - home for there, home in zip(cell, homes[molecule], strict=True))
        sites.append((molecule, (x, y, z)))
    return tuple(molecules), sites


def _connect(atoms: Any, name: str) -> tuple[list[Site], list[list[int]]]:
    """Return of each atom its molecule and by how many cells it must move to be bonded, and each molecule's atoms."""
    symbols, neighbours = atoms.get_chemical_symbols(), _neighbours(atoms)
    owners: dict[int, Site] = {}
    members: list[list[int]] = []
    for first in range(len(symbols)):
        if first in owners:
            continue
        own = [first]
        owners[first] = (len(members), (0, 0, 0))
        for atom in own:  # which grows meanwhile
            _, cell = owners[atom]
            for other, shift in neighbours[atom]:
                there = (cell[0] + shift[0], cell[1] + shift[1], cell[2] + shift[2])
                if other not in owners:
                    owners[other] = (len(members), there)
                    own.append(other)
                elif owners[other][1] != there:
                    raise InputError(
                        f"{name}: atom {atom + 1} ({symbols[atom]}) is bonded to an image of its own molecule; this is"
                        " no crystal of molecules, and a many-body expansion needs those"
                    )
        members.append(sorted(own))
    return [owners[atom] for atom in range(len(symbols))], members


def _neighbours(atoms: Any) -> list[list[tuple[int, CellIndex]]]:
    """Return the atoms that each atom is bonded to, and the cells in which they lie as seen from it."""
    from ase.neighborlist import neighbor_list

    symbols = atoms.get_chemical_symbols()
    found: list[list[tuple[int, CellIndex]]] = [[] for _ in symbols]
    reach = reaches(set(symbols) - CATIONS.keys(), scale=BOND_SCALE)
    if reach:
        for one, other, (x, y, z) in zip(*neighbor_list("ijS", atoms, reach), strict=True):
            found[int(one)].append((int(other), (int(x), int(y), int(z))))
    return found


class _Places:
    """Some atoms of a cell by their scaled positions, to be found again in whatever cell."""

    def __init__(self, places: Numbers, atoms: Integers) -> None:
        from scipy.spatial import cKDTree

        self._atoms = atoms
        self._tree = cKDTree(self._wrap(places[atoms]), boxsize=1.0)

    @staticmethod
    def _wrap(places: Numbers) -> Numbers:
        wrapped: Numbers = places % 1.0
        wrapped[wrapped >= 1.0] = 0.0  # of what is a rounding below zero
        return wrapped

    def nearest(self, place: Numbers) -> int:
        """Return the atom that is nearest to a place, by scaled positions: one of its images is there."""
        return int(self._atoms[self._tree.query(self._wrap(place.copy()))[1]])


def _operations(atoms: Any, owners: Sequence[Site], name: str) -> tuple[str, tuple[Operation, ...]]:
    """Return the name of the space group, and its operations as what they do with molecules."""
    import numpy as np
    import spglib

    vectors, places, numbers = atoms.cell.array, atoms.get_scaled_positions(wrap=False), atoms.numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how it reports errors, which later versions raise
        try:
            found = spglib.get_symmetry_dataset((vectors, places, numbers), symprec=SYMMETRY_ANGSTROM)
        except Exception:  # noqa: BLE001 - of a class that earlier versions do not have
            found = None
    if found is None:
        raise InputError(f"{name}: its symmetry is not understood; check that no atom is there twice")
    firsts = {molecule: atom for atom, (molecule, _) in reversed(list(enumerate(owners)))}
    atoms_of = np.array([firsts[molecule] for molecule in range(len(firsts))])
    # The molecules' first atoms in their home cells.
    starts = places[atoms_of] + np.array([owners[atom][1] for atom in atoms_of])
    near = {number: _Places(places, np.flatnonzero(numbers == number)) for number in set(numbers[atoms_of].tolist())}
    operations = []
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        targets = starts @ rotation.T + translation
        images: list[Site] = []
        for atom, target in zip(atoms_of.tolist(), targets, strict=True):
            partner = near[int(numbers[atom])].nearest(target)
            image, cell = owners[partner]
            x, y, z = (int(whole - own) for whole, own in zip(np.round(target - places[partner]), cell, strict=True))
            images.append((image, (x, y, z)))
        operations.append(Operation(rotation=rotation.astype(int), images=tuple(images)))
    return f"{found.international} ({found.number})", tuple(operations)
