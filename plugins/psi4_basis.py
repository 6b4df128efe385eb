"""Basis sets of a resident Psi4 before 1.4, built once: three fifths of the time of a water molecule's HF/6-31G*.

Psi4 writes each molecule out, reads it into a second kind of molecule, searches, reads and parses the basis set's file
for every atom and every purpose, in Python, and hands the shells to C++. Only the shells' centres depend on the
geometry, and C++ takes those from the molecule itself. So the shells are remembered for each composition, those of the
atoms by themselves (for the guess) for each kind of atom, and the files for each element. That Psi4 compares each
molecule that it writes out with itself is left out. Results are the same to the last bit (a test compares with fresh
processes).

Rules: runs in Psi4's environment, see `psi4_server`. What is not known to be safe goes Psi4's own way.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Hashable, Tuple  # noqa: UP035 - what is evaluated must be known to Python 3.7

Composition = Tuple[Hashable, ...]  # noqa: UP006


def remember(psi4: Any) -> None:
    """Make this Psi4 remember; later versions are left as they are."""
    if hasattr(psi4, "schema_wrapper"):
        return
    try:
        from psi4.driver import qcdb

        _remember_files(qcdb.libmintsbasissetparser.Gaussian94BasisSetParser)
        psi4.core.BasisSet.build = staticmethod(_Shells(psi4.core, qcdb).build)
        qcdb.molecule.compare_molrecs = lambda *_, **__: True  # with a library that takes longer to load than a water
    except (ImportError, AttributeError):
        return


class _Shells:
    """Builds basis sets as `core.BasisSet.build` does, but looks up what Psi4 described for the same atoms before."""

    def __init__(self, core: Any, qcdb: Any) -> None:
        self._core, self._qcdb = core, qcdb
        self._build_anew = core.BasisSet.build
        self._together: dict[Composition, Any] = {}
        self._alone: dict[Composition, Any] = {}

    def build(
        self,
        mol: Any,
        key: str | None = None,
        target: Any = None,
        fitrole: str = "ORBITAL",
        other: Any = None,
        puream: Any = -1,
        return_atomlist: bool = False,  # noqa: FBT001, FBT002 - Psi4's signature
        quiet: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Return a basis set of a molecule, or one of each atom by itself."""
        if key is None or key == "ORBITAL":
            key = "BASIS"
        name = target or self._core.get_global_option(key)
        mol.update_geometry()
        if not (self._is_named(name) and (other is None or isinstance(other, str)) and _stays(mol)):
            return self._build_anew(mol, key, target, fitrole, other, puream, return_atomlist, quiet)
        wanted = (key, name, fitrole, other)
        build = self._core.BasisSet.construct_from_pydict
        if not return_atomlist:
            described = self._described(mol, wanted)
            if not quiet:
                self._print(described["message"])
            return build(mol, described, puream)
        if mol.point_group().symbol() != "c1":
            # Psi4 makes a symmetry exact again for atoms by themselves, which moves them by a last bit.
            return self._build_anew(mol, key, target, fitrole, other, puream, return_atomlist, quiet)
        return [
            build(self._core.Molecule.from_dict(_move(one, mol, i)), one, puream)
            for i, one in enumerate(self._described_alone(mol, wanted))
        ]

    def _is_named(self, target: Any) -> bool:
        """Return whether a basis set is a name, not a function of the molecule as those of input files are."""
        return isinstance(target, str) and target not in self._qcdb.libmintsbasisset.basishorde

    def _described(self, mol: Any, wanted: Composition) -> Any:
        composition = (wanted, _atoms(mol))
        if composition not in self._together:
            described = self._anew(mol, wanted, return_atomlist=False)
            described["name"] = described["name"].split("/")[-1].replace(".gbs", "")
            self._together[composition] = described
        return self._together[composition]

    def _described_alone(self, mol: Any, wanted: Composition) -> Any:
        kinds = [(wanted, atom) for atom in _atoms(mol)]
        if not all(kind in self._alone for kind in kinds):
            found = self._anew(mol, wanted, return_atomlist=True)
            if any("ecp_shell_map" in one for one in found):
                return found  # with the core potentials of the whole molecule
            self._alone.update(zip(kinds, found))  # noqa: B905 - Python 3.7
        return [self._alone[kind] for kind in kinds]

    def _anew(self, mol: Any, wanted: Composition, *, return_atomlist: bool) -> Any:
        construct = self._qcdb.BasisSet.pyconstruct
        return construct(mol.to_dict(), *wanted, return_dict=True, return_atomlist=return_atomlist)[1]

    def _print(self, message: str) -> None:
        self._core.print_out(message)
        if "ECP" in message:
            self._core.print_out(
                "    !!!  WARNING: ECP capability is in beta. Please check occupations closely.  !!!\n\n"
            )


def _stays(mol: Any) -> bool:
    """Return whether Psi4 takes a molecule's coordinates as they are: it is neither moved nor converted."""
    return bool(mol.units() == "Bohr" and mol.com_fixed() and mol.orientation_fixed())


def _atoms(mol: Any) -> Composition:
    """Return the kind of each atom; a ghost's charge is 0."""
    return tuple((mol.symbol(i), mol.label(i), mol.Z(i), mol.mass(i)) for i in range(mol.natom()))


def _move(one: dict[str, Any], mol: Any, atom: int) -> dict[str, Any]:
    """Return the molecule that an atom by itself is, at the place of an atom of another molecule."""
    place = one["molecule"]["geom"].copy()
    place[:] = (mol.x(atom), mol.y(atom), mol.z(atom))
    return dict(one["molecule"], geom=place)


def _remember_files(parser: Any) -> None:
    """Read and parse each basis set file once, not for every element."""
    load_file, parse = parser.load_file, parser.parse
    files: dict[Any, Any] = {}
    parsed: dict[Any, bytes] = {}

    def remembered_file(self: Any, filename: str, basisname: str | None = None) -> Any:
        state = Path(filename).stat() if Path(filename).exists() else None
        key = (filename, basisname, state and (state.st_mtime_ns, state.st_size))
        if key not in files:
            files[key] = load_file(self, filename, basisname)
        return files[key]

    def remembered_parse(self: Any, symbol: str, dataset: Any) -> Any:
        if not any(dataset is lines for lines in files.values()):
            return parse(self, symbol, dataset)
        key = (symbol, id(dataset), self.force_puream_or_cartesian, self.forced_is_puream)
        if key not in parsed:
            # Psi4 normalises the shells it is given in place, so each caller gets its own.
            parsed[key] = pickle.dumps(parse(self, symbol, dataset))
        return pickle.loads(parsed[key])  # noqa: S301 - made two lines above

    parser.load_file, parser.parse = remembered_file, remembered_parse
