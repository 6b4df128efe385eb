"""Geometries of public benchmark sets through the XYZ reader: does what comes out have the stated charge and spin?

Each is written three times: with the comment `charge multiplicity`, with charge, multiplicity and atoms of each
fragment as the NCI Atlas has them, and without a comment. What is accepted with another total than the set states is a
wrong number in the making. The sets are those that Psi4 ships (Debian: /usr/share/psi4/databases) and those in ASE.
"""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from harness import Benchmark

from autotune.base.errors import InputError
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.expansion.summary import formula

PSI4_SETS = Path("/usr/share/psi4/databases")
BOHR = "units bohr"
MODEL = Expansion(program="pyscf", method="hf", basis="6-31g")
REASONS = {
    "lone atom": "is a lone",
    "ion or atom": "is an ion, or an atom",
    "odd number of electrons": "has an odd number",
    "ion by its bonds": "has no neutral structure",
    "molecule or ion": "may be a molecule or an ion",
    "transition metal": "has a transition metal",
    "unusual bonds": "has unusual bonds",
    "triplet": "in its ground state",
    "charge contradicts": "line 2 states charge",
    "multiplicity contradicts": "line 2 states multiplicity",
    "a proton alone": "has no electrons left",
}


class Fragment(NamedTuple):
    """A fragment as the set states it: charge, multiplicity, and atoms as symbol and position in the set's units."""

    charge: int
    multiplicity: int
    atoms: tuple[tuple[str, str], ...]


class System(NamedTuple):
    """A geometry of a set."""

    name: str
    bohr: bool
    fragments: tuple[Fragment, ...]

    @property
    def charge(self) -> int:
        return sum(fragment.charge for fragment in self.fragments)

    @property
    def multiplicity(self) -> int:
        return 1 + sum(fragment.multiplicity - 1 for fragment in self.fragments)

    @property
    def ordinary(self) -> bool:
        return all((fragment.charge, fragment.multiplicity) == (0, 1) for fragment in self.fragments)

    def xyz(self, comment: str) -> str:
        rows = [f"{symbol} {position}" for fragment in self.fragments for symbol, position in fragment.atoms]
        unit = " units=bohr" if self.bohr else ""
        return "\n".join([str(len(rows)), comment + unit, *rows, ""])

    def by_fragment(self) -> str:
        """Return a comment in the manner of the NCI Atlas."""
        words, start = [f"charge={self.charge}", f"multiplicity={self.multiplicity}"], 1
        for letter, fragment in zip("abcdefghijklmnopqrstuvwxyz", self.fragments, strict=False):
            last = start + len(fragment.atoms) - 1
            words += [f"charge_{letter}={fragment.charge}", f"multiplicity_{letter}={fragment.multiplicity}"]
            words.append(f"selection_{letter}={start}-{last}")
            start = last + 1
        return " ".join(words)


def measure(_: object) -> dict:
    systems = {**psi4_sets(), **ase_sets()}
    every = [system for found in systems.values() for system in found]
    return {
        "versions": {"ase": version("ase"), "psi4": psi4_version()},
        "sets": {name: len(found) for name, found in systems.items()},
        "geometries": len(every),
        "charged": sum(any(fragment.charge for fragment in system.fragments) for system in every),
        "open_shell": sum(system.multiplicity > 1 for system in every),
        "neutral_singlets": sum(system.ordinary for system in every),
        "comments": {
            "charge and multiplicity": read_all(every, lambda s: f"{s.charge} {s.multiplicity}"),
            "by fragment": read_all(every, lambda s: s.by_fragment() if len(s.fragments) > 1 else None),
            "none": read_all(every, lambda _: ""),
        },
    }


def psi4_version() -> str:
    """Return what Debian's Psi4 says that it is."""
    return subprocess.run(["psi4", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def psi4_sets() -> dict[str, list[System]]:
    """Return the geometries of Psi4's databases that are Cartesian, with numbers or one distance R."""

    class Molecule:
        """Stands for Psi4's molecule: keeps the text."""

        texts: list[str] = []  # noqa: RUF012 - emptied before each set

        def __init__(self, text: str = "") -> None:
            Molecule.texts.append(text)

        def __getattr__(self, name: str) -> object:
            return lambda *_, **__: Molecule.__new__(Molecule)

    module = types.ModuleType("qcdb")
    module.Molecule = Molecule
    sys.modules["qcdb"] = module
    found = {}
    for path in sorted(PSI4_SETS.glob("*.py")):
        Molecule.texts.clear()
        exec(compile(path.read_text(), str(path), "exec"), {"__name__": path.stem})
        systems = [psi4_system(f"{path.stem} {number}", text) for number, text in enumerate(Molecule.texts, start=1)]
        if kept := [system for system in systems if system]:
            found[path.stem] = kept
    return found


def psi4_system(name: str, text: str) -> System | None:
    """Return the system of a Psi4 molecule, None where charges are not stated or atoms not Cartesian."""
    distance = re.search(r"^\s*R\s*=\s*(\S+)\s*$", text, re.MULTILINE)
    if distance:
        text = re.sub(r"\bR\b(?!\s*=)", distance[1], text)
    fragments = []
    for part in re.split(r"^\s*--\s*$", text, flags=re.MULTILINE):
        rows = [line.split() for line in part.splitlines() if line.strip()]
        atoms = [row for row in rows if len(row) == 4 and all(is_number(word) for word in row[1:])]
        stated = [row for row in rows if len(row) == 2 and all(re.fullmatch(r"-?\d+", word) for word in row)]
        known = ("units", "no_reorient", "no_com", "symmetry", "R")
        if len(stated) != 1 or not atoms or len(rows) - len(atoms) - 1 != sum(row[0] in known for row in rows):
            return None
        of = tuple((symbol, " ".join(position)) for symbol, *position in atoms)
        fragments.append(Fragment(charge=int(stated[0][0]), multiplicity=int(stated[0][1]), atoms=of))
    return System(name=name, bohr=re.search(r"units\s+(bohr|au|a\.u\.)", text) is not None, fragments=tuple(fragments))


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def ase_sets() -> dict[str, list[System]]:
    """Return the geometries of G2 and S22 in ASE: neutral, with the magnetic moments that they state."""
    from ase.collections import g2, s22

    found = {}
    for label, collection in (("ASE G2", g2), ("ASE S22", s22)):
        found[label] = [
            System(
                name=f"{label} {name}",
                bohr=False,
                fragments=(
                    Fragment(
                        charge=0,
                        multiplicity=1 + round(abs(sum(collection[name].get_initial_magnetic_moments()))),
                        atoms=tuple(
                            (atom.symbol, " ".join(f"{x:.8f}" for x in atom.position)) for atom in collection[name]
                        ),
                    ),
                ),
            )
            for name in collection.names
        ]
    return found


def read_all(systems: list[System], comment_of) -> dict:
    """Return how many geometries were accepted as stated, refused, and accepted as something else."""
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for system in systems:
        comment = comment_of(system)
        if comment is None:
            continue
        counts["read"] += 1
        try:
            molecule = many_body_fields(system.xyz(comment), name="file", expansion=MODEL)["molecule"]
        except InputError as error:
            reason = next((reason for reason, words in REASONS.items() if words in str(error)), str(error))
            refused[reason] += 1
            counts["neutral"] += system.ordinary
            continue
        counts["accepted"] += 1
        fault = "; ".join(faults(system, molecule))
        if fault:
            kind = fault.split(" ", 1)[0]
            counts[f"accepted_with_another_{kind}"] += 1
            wrong[fault] += 1
            examples.setdefault(fault, system.name)
    return {
        "read": counts["read"],
        "accepted": counts["accepted"],
        "refused": sum(refused.values()),
        "refused_though_neutral_singlets": counts["neutral"],
        **{f"accepted_with_another_{kind}": counts[f"accepted_with_another_{kind}"] for kind in ("total", "spread")},
        "refused_because": dict(refused.most_common()),
        "wrong": [{"what": what, "times": times, "such_as": examples[what]} for what, times in wrong.most_common()],
    }


def faults(system: System, molecule: dict) -> Iterator[str]:
    """Yield what an accepted molecule has that the set does not state: first its totals, then those of fragments."""
    charge, spin = sum(molecule["fragment_charges"]), 1 + sum(m - 1 for m in molecule["fragment_multiplicities"])
    kinds = "+".join(
        sorted(f"{formula(s for s, _ in f.atoms)}({f.charge:+d},{f.multiplicity})" for f in system.fragments)
    )
    if (charge, spin) != (system.charge, system.multiplicity):
        yield f"total {charge:+d} {spin} for {kinds}"
        return
    if molecule["symbols"] != [symbol.capitalize() for fragment in system.fragments for symbol, _ in fragment.atoms]:
        yield f"total of other atoms for {kinds}"
        return
    start, stated = 0, {}
    for fragment in system.fragments:
        stated[tuple(range(start, start + len(fragment.atoms)))] = fragment.charge
        start += len(fragment.atoms)
    found = dict(zip(map(tuple, molecule["fragments"]), molecule["fragment_charges"], strict=True))
    shared = stated.keys() & found.keys()
    if any(stated[atoms] != found[atoms] for atoms in shared):
        yield f"spread of charges for {kinds}"


BENCHMARK = Benchmark(
    what="geometries of public benchmark sets through the XYZ reader, against the charges and spins they state",
    measure=measure,
)
