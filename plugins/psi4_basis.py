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
        _remember_shells(psi4.core, qcdb)
        qcdb.molecule.compare_molrecs = lambda *_, **__: True  # with a library that takes longer to load than a water
    except (ImportError, AttributeError):
        return


def _remember_shells(core: Any, qcdb: Any) -> None:
    """Let `core.BasisSet.build` look up what Psi4 built for the same atoms, whatever their places."""
    build_anew = core.BasisSet.build
    known: dict[Any, Any] = {}

    def anew(mol: Any, key: str, name: str, fitrole: str, other: Any, *, return_atomlist: bool) -> Any:
        return qcdb.BasisSet.pyconstruct(
            mol.to_dict(), key, name, fitrole, other, return_dict=True, return_atomlist=return_atomlist
        )[1]

    targets = qcdb.libmintsbasisset.basishorde

    def build(
        mol: Any,
        key: str | None = None,
        target: Any = None,
        fitrole: str = "ORBITAL",
        other: Any = None,
        puream: Any = -1,
        return_atomlist: bool = False,  # noqa: FBT001, FBT002 - Psi4's signature
        quiet: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        if key is None or key == "ORBITAL":
            key = "BASIS"
        name = target or core.get_global_option(key)
        # Basis sets of an input file are functions of the molecule. A molecule that Psi4 moves or that is not in bohr
        # would have atoms of its own at other places.
        simple = isinstance(name, str) and name not in targets and (other is None or isinstance(other, str))
        if not (simple and mol.units() == "Bohr" and mol.com_fixed() and mol.orientation_fixed()):
            return build_anew(mol, key, target, fitrole, other, puream, return_atomlist, quiet)
        mol.update_geometry()
        atoms = _atoms(mol)
        wanted = (key, name, fitrole, other)
        if return_atomlist:
            if any((wanted, atom) not in known for atom in atoms):
                found = anew(mol, *wanted, return_atomlist=True)
                known.update(((wanted, atom), found[i]) for i, atom in enumerate(atoms))
            alone = [
                dict(known[wanted, atom], molecule=_moved(known[wanted, atom], mol, i)) for i, atom in enumerate(atoms)
            ]
            return [
                core.BasisSet.construct_from_pydict(core.Molecule.from_dict(one["molecule"]), one, puream)
                for one in alone
            ]
        if (wanted, atoms) not in known:
            known[wanted, atoms] = anew(mol, *wanted, return_atomlist=False)
        described = known[wanted, atoms]
        described = dict(described, name=described["name"].split("/")[-1].replace(".gbs", ""))
        if not quiet:
            core.print_out(described["message"])
            if "ECP" in described["message"]:
                core.print_out(
                    "    !!!  WARNING: ECP capability is in beta. Please check occupations closely.  !!!\n\n"
                )
        return core.BasisSet.construct_from_pydict(mol, described, puream)

    core.BasisSet.build = staticmethod(build)


def _atoms(mol: Any) -> Composition:
    """Return the kind of each atom; a ghost's charge is 0."""
    return tuple((mol.symbol(i), mol.label(i), mol.Z(i), mol.mass(i)) for i in range(mol.natom()))


def _moved(one: dict[str, Any], mol: Any, atom: int) -> dict[str, Any]:
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
