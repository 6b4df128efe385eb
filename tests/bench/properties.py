"""Every property of every program against independent references: does any number come out wrong without a word?

Each case is a whole run of `autotune.Session` - components and many-body sum - held against the same components
computed without autotune and without any harness (`references.py`): another program, the same program by an input of
its own, or finite differences. A case agrees (within its tolerance), is refused before any task ran, or differs and the
user was told to doubt it. Anything else is wrong, or failed, and makes the exit status 1.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import references
from harness import Benchmark
from references import Species

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.base.options import Options
from autotune.base.text import one_line
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields

PROGRAMS = ("pyscf", "psi4", "nwchem", "mopac", "tblite", "dftd4")
WITH_BASIS = ("pyscf", "psi4", "nwchem")
METHODS = {"mopac": "pm6", "tblite": "gfn2-xtb", "dftd4": "b3lyp-d4"}  # in every row, where there is no basis set
TIGHT = {
    "pyscf": {},
    "psi4": {"scf_type": "pk", "e_convergence": 1e-10, "d_convergence": 1e-8},
    "nwchem": {"scf__thresh": 1e-8, "scf__tol2e": 1e-12},
}
FINE_GRIDS = {
    "pyscf": {"grid_level": 4},
    "psi4": TIGHT["psi4"],
    "nwchem": {"dft__grid": "fine", "dft__convergence__energy": 1e-8},
}
TOLERANCES = {  # Eh, Eh/a0, Eh/a0^2
    "energy": 1e-6,
    "gradient": 1e-6,
    "hessian": 1e-4,
    "functional": 5e-5,  # each program has a grid of its own, and treats that of ghosts its own way
    "mopac": 2e-5,  # it ends an SCF at its usual threshold: radicals are off by up to 0.008 kcal/mol
}
APART = 0.01  # Eh; neutral radicals 3.8 Å apart and without a bond do not interact by more
ROTATIONS = 5

GEOMETRIES = {  # Å, with fragments and charges or multiplicities where they are not the usual ones
    "H2O·H2O": ("O 0 0 0|H .757 .586 0|H -.757 .586 0|O .1 -2.9 .3|H .857 -3.486 .3|H -.657 -3.486 .4", "3,3", "", ""),
    "He·Xe": ("He 0 0 0|Xe 0 0 3.8", "1,1", "", ""),
    "HI·H2O": ("I 0 0 0|H 0 0 1.61|O 0 .3 3.6|H .757 .3 4.186|H -.757 .3 4.186", "2,3", "", ""),
    "Na+·H2O": ("Na 0 0 0|O 0 0 2.3|H .757 0 2.886|H -.757 0 2.886", "1,3", "1:1", ""),
    "Cl-·H2O": ("Cl 0 0 0|H 0 0 2.2|O 0 .1 3.15|H 0 .95 3.55", "1,3", "1:-1", ""),
    "OH·H2O": ("O 0 0 0|H 0 0 -.97|O 0 0 2.9|H .757 0 3.486|H -.757 0 3.486", "2,3", "", "1:2"),
    "OH·H2O, bent": ("O 0 0 0|H .2 .1 .94|O 0 .1 2.9|H .757 .2 3.486|H -.757 .1 3.486", "2,3", "", "1:2"),
    "CH3·H2O": ("C 0 0 0|H 1.08 0 0|H -.54 .935 0|H -.54 -.935 0|O 0 .2 3.2|H .8 .4 3.8|H -.7 0 3.7", "4,3", "", "1:2"),
    "Cl·Cl": ("Cl 0 0 0|Cl 3.8 .3 .2", "1,1", "0,0", "2,2"),
    "OH·OH": ("O 0 0 0|H .3 .8 .46|O 3.8 .2 .1|H 4.2 -.5 .65", "2,2", "0,0", "2,2"),
    "NO·NO": ("N 0 0 0|O .4 1. .37|N 3.8 .1 .2|O 4.1 .9 -.56", "2,2", "0,0", "2,2"),
    "CH4·He": ("C 0 0 0|H .63 .63 .63|H -.63 -.63 .63|H -.63 .63 -.63|H .63 -.63 -.63|He 3.2 0 0", "5,1", "", ""),
    "HF·He": ("F 0 0 0|H 0 .1 .92|He .3 .2 2.9", "2,1", "", ""),
    "H2O·HF, C1": ("O 0 0 0|H .757 .586 0|H -.7 .62 .1|F .2 -2.6 .3|H .1 -1.7 .2", "3,2", "", ""),
    "H2O·H2O, Cs": ("O 0 0 0|H .757 .586 0|H -.757 .586 0|O 0 .4 3|H .757 .986 3|H -.757 .986 3", "3,3", "", ""),
    "H2O·HF, C2v": ("O 0 0 0|H .757 .586 0|H -.757 .586 0|F 0 -2.66 0|H 0 -1.73 0", "3,2", "", ""),
}  # fmt: skip
DISPERSION = {  # by canonical name: how it may be spelled
    "wb97x-d": ("wb97x-d", "wb97xd", "wb97x_d"),
    "b97-d": ("b97-d", "b97d", "b97_d", "becke97-d"),
}
MOPAC_DISPERSION = {"pm6-d3": "pm6-d3", "pm6-dh+": "pm6-dh+", "pm6-d3h4": "pm6-d3h4", "pm6-3dh4x": "pm6-d3h4x"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One run, and what it is held against.

    Attributes:
        what: System and method, as the record names it.
        fields: Of the ManyBodyInput.
        reference: From the components in the order of the run to their values.
        source: How these values are made.
        tolerance: In atomic units.
        most: Largest interaction energy that can be right, Eh.
    """

    what: str
    fields: dict
    reference: Callable[[list[Species]], list]
    source: str
    tolerance: float
    most: float = np.inf


# --- the table -------------------------------------------------------------------------------------------------------


def ghosts(program: str) -> Iterator[Case]:
    yield energies(program, "H2O·H2O", "6-31g", bsse="cp")


def ghosts_with_core_potentials(program: str) -> Iterator[Case]:
    for system in ("He·Xe", "HI·H2O"):
        yield energies(program, system, "def2-svp", bsse="cp")


def heavy(program: str) -> Iterator[Case]:
    for system in ("He·Xe", "HI·H2O"):
        yield energies(program, system, "def2-svp")


def ions(program: str) -> Iterator[Case]:
    for system in ("Na+·H2O", "Cl-·H2O"):
        yield energies(program, system, "6-31g")


def radicals(program: str) -> Iterator[Case]:
    # Neither Psi4 by its own input with B3LYP nor tblite converges for both of the orientations of OH.
    for system in ("OH·H2O" if program in WITH_BASIS else "OH·H2O, bent", "CH3·H2O"):
        yield energies(program, system, "6-31g")
    if program in WITH_BASIS:
        yield functionals(program, "OH·H2O, bent", "b3lyp")


def radical_pairs(program: str) -> Iterator[Case]:
    for system in ("Cl·Cl", "OH·OH", "NO·NO"):
        yield energies(program, system, "6-31g", most=APART)


def functional_with_ghosts(program: str) -> Iterator[Case]:
    if program in WITH_BASIS:
        yield functionals(program, "H2O·H2O", "b3lyp", bsse="cp")
        yield functionals(program, "HF·He", "b3lyp", bsse="cp")


def dispersion(program: str) -> Iterator[Case]:
    system = "CH4·He"
    if program in WITH_BASIS:
        for canonical, spellings in DISPERSION.items():
            compute = partial(references.bare_and_dispersion, functional=canonical, basis="6-31g")
            for method in spellings:
                fields = many_body(program, system, method, "6-31g", keywords=FINE_GRIDS[program])
                source = "PySCF's functional, and the pair term of its paper"
                yield case(fields, f"{system} {method}", each(compute), source, "functional")
    elif program == "mopac":
        for method, keyword in MOPAC_DISPERSION.items():
            compute = partial(references.mopac, method=keyword)
            yield case(many_body(program, system, method), f"{system} {method}", each(compute), "MOPAC's own input")
    elif program == "dftd4":
        for functional in ("b3lyp", "pbe0", "b3lyp-d4"):
            compute = partial(references.dftd4, functional=functional.removesuffix("-d4"))
            fields = many_body(program, system, functional)
            yield case(fields, f"{system} {functional}", each(compute), "dftd4's Python interface")


def gradients(program: str) -> Iterator[Case]:
    for system in ("H2O·HF, C1", "H2O·H2O, Cs", "H2O·HF, C2v"):
        standard = many_body(program, system, METHODS.get(program, "hf"), basis_of(program), driver="gradient")
        wanted = components(standard)
        compute, source = derivatives(program)
        unturned = cache(partial(lambda compute, wanted: compute(wanted), compute, wanted))
        for seed in range(ROTATIONS):
            turn = rotation(seed)
            fields = many_body(
                program, system, METHODS.get(program, "hf"), basis_of(program), driver="gradient", turn=turn
            )
            turned = partial(lambda answers, turn, _: [answer @ turn.T for answer in answers()], unturned, turn)
            yield case(fields, f"{system}, orientation {seed + 1}", turned, f"{source}, rotated", "gradient")


def hessians(program: str) -> Iterator[Case]:
    fields = many_body(program, "HF·He", METHODS.get(program, "hf"), basis_of(program), driver="hessian")
    compute, source = derivatives(program)

    def second(wanted: list[Species]) -> list:
        if program == "pyscf":  # one process of Psi4 for all
            return differences_of_psi4(wanted)
        found = [references.differences(s, lambda there: compute([there])[0].ravel(), step=5e-3) for s in wanted]
        return [(each + each.T) / 2 for each in found]

    yield case(fields, f"HF·He {METHODS.get(program, 'hf')}", second, f"finite differences of {source}", "hessian")


ROWS = {
    "ghost atoms": ghosts,
    "ghost atoms with core potentials": ghosts_with_core_potentials,
    "heavy elements": heavy,
    "ions": ions,
    "radicals": radicals,
    "pairs of radicals": radical_pairs,
    "functional with ghost atoms": functional_with_ghosts,
    "functionals with dispersion": dispersion,
    "gradients in any orientation": gradients,
    "Hessians": hessians,
}
CASES = {f"{row}, {program}": (row, program) for row, program in itertools.product(ROWS, PROGRAMS)}
FAULTS = ("wrong", "failed")


# --- inputs ----------------------------------------------------------------------------------------------------------


def basis_of(program: str) -> str:
    return "6-31g" if program in WITH_BASIS else ""


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def many_body(
    program: str,
    system: str,
    method: str,
    basis: str = "",
    *,
    bsse: str = "nocp",
    driver: str = "energy",
    keywords: dict | None = None,
    turn: np.ndarray | None = None,
) -> dict:
    """Return the fields of an interaction energy or its derivative, with the component results kept."""
    text, fragments, charges, multiplicities = GEOMETRIES[system]
    atoms = [line.split() for line in text.split("|")]
    places = np.array([[float(word) for word in words[1:]] for words in atoms])
    places = places if turn is None else places @ turn.T
    lines = [f"{words[0]} {x:.14f} {y:.14f} {z:.14f}" for words, (x, y, z) in zip(atoms, places, strict=True)]
    expansion = Expansion(
        program=program,
        method=method,
        basis=basis,
        bsse=(bsse,),
        driver=driver,
        keywords=TIGHT.get(program, {}) if keywords is None else keywords,
        fragments=fragments,
        charges=charges,
        multiplicities=multiplicities,
    )
    fields = many_body_fields("\n".join([str(len(lines)), "", *lines, ""]), name=system, expansion=expansion)
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    fields["specification"]["keywords"]["return_total_data"] = False
    return fields


def components(fields: dict) -> list[Species]:
    """Return the pair and then its members: all in the basis of the pair with `cp`, each in its own else."""
    molecule = fields["molecule"]
    places = np.reshape(molecule["geometry"], (-1, 3)).tolist()
    fragments, charges = molecule["fragments"], molecule["fragment_charges"]
    spins = molecule["fragment_multiplicities"]
    cp = fields["specification"]["keywords"]["bsse_type"] == ["cp"]
    parts = tuple(zip(map(tuple, fragments), map(int, charges), map(int, spins), strict=True))
    atoms = [(symbol, tuple(xyz)) for symbol, xyz in zip(molecule["symbols"], places, strict=True)]
    whole = Species(
        tuple((symbol, True, xyz) for symbol, xyz in atoms), int(sum(charges)), int(sum(spins)) - len(spins) + 1, parts
    )
    found = [whole]
    for members, charge, spin in parts:
        kept = range(len(atoms)) if cp else members
        found.append(Species(tuple((atoms[a][0], a in members, atoms[a][1]) for a in kept), charge, spin))
    return found


def labels(fields: dict) -> list[str]:
    cp = fields["specification"]["keywords"]["bsse_type"] == ["cp"]
    return [f'["(auto)", {real}, {[1, 2] if cp else real}]' for real in ([1, 2], [1], [2])]


def interaction(fields: dict, values: list) -> np.ndarray:
    """Return what the pair has beyond its members, in the order of all atoms."""
    total = np.array(values[0], dtype=float)
    for members, value in zip(fields["molecule"]["fragments"], values[1:], strict=True):
        if np.ndim(total) == 0 or np.shape(value) == np.shape(total):
            total -= value
        elif np.shape(total)[1] == 3:
            total[members] -= value
        else:
            rows = [3 * atom + axis for atom in members for axis in range(3)]
            total[np.ix_(rows, rows)] -= value
    return total


# --- references ------------------------------------------------------------------------------------------------------


def each(compute: Callable) -> Callable[[list[Species]], list]:
    return lambda wanted: [compute(species) for species in wanted]


def case(
    fields: dict, what: str, reference: Callable, source: str, kind: str = "energy", *, most: float = np.inf
) -> Case:
    only = fields["specification"]["specification"]["(auto)"]
    tolerance = max(TOLERANCES[kind], TOLERANCES.get(only["program"], 0.0))
    return Case(what=what, fields=fields, reference=reference, source=source, tolerance=tolerance, most=most)


def energies(program: str, system: str, basis: str, *, bsse: str = "nocp", most: float = np.inf) -> Case:
    """Return the case of HF, or of what a program has in its stead."""
    if program not in WITH_BASIS:
        compute, source = {
            "mopac": (partial(references.mopac, method="pm6"), "MOPAC's own input, UHF for radicals"),
            "tblite": (references.tblite, "tblite's Python interface"),
            "dftd4": (partial(references.dftd4, functional="b3lyp"), "dftd4's Python interface"),
        }[program]
        method = METHODS[program]
        fields = many_body(program, system, method, bsse=bsse)
        return case(fields, f"{system} {method} {bsse}", each(compute), source, most=most)
    fields = many_body(program, system, "hf", basis, bsse=bsse)
    open_shell = any(spin > 1 for spin in fields["molecule"]["fragment_multiplicities"])
    if program != "pyscf" or open_shell:
        compute, source = partial(references.pyscf, method="hf", basis=basis), "a plain script of PySCF"
        if open_shell:
            source = "a plain script of PySCF, the lowest of several stable UHF solutions"
        reference = each(compute)
    elif basis == "def2-svp":
        reference, source = each(partial(references.nwchem, basis=basis)), "NWChem's own input"
    else:
        reference, source = partial(references.psi4, method="hf", basis=basis), "Psi4's own input"
    return case(fields, f"{system} HF/{basis} {bsse}", reference, source, most=most)


def functionals(program: str, system: str, method: str, *, bsse: str = "nocp") -> Case:
    fields = many_body(program, system, method, "6-31g", bsse=bsse, keywords=FINE_GRIDS[program])
    if program == "pyscf" and system == "OH·H2O, bent":  # Psi4 does not converge here
        compute, source = partial(references.nwchem, method=method, basis="6-31g"), "NWChem's own input, grid fine"
        reference = each(compute)
    elif program == "pyscf":
        reference, source = partial(references.psi4, method=method, basis="6-31g"), "Psi4's own input, 75 × 302 points"
    else:
        reference = each(partial(references.pyscf, method=method, basis="6-31g"))
        source = "a plain script of PySCF, grid level 4"
    return case(fields, f"{system} {method}/6-31g {bsse}", reference, source, "functional")


def derivatives(program: str) -> tuple[Callable[[list[Species]], list], str]:
    """Return a function from species to gradients, and what computes them."""
    if program == "pyscf":
        return partial(references.psi4, method="hf", basis="6-31g", driver="gradient"), "Psi4's own gradients"
    compute, source = {
        "mopac": (partial(references.mopac, method="pm6", driver="gradient"), "gradients of MOPAC's own input"),
        "tblite": (numerical(references.tblite), "differences of energies of tblite's Python interface"),
        "dftd4": (numerical(partial(references.dftd4, functional="b3lyp")), "differences of dftd4's energies"),
    }.get(program, (partial(references.pyscf, method="hf", basis="6-31g", driver="gradient"), "PySCF's own gradients"))
    return each(compute), source


def numerical(energy: Callable) -> Callable:
    return lambda species: references.differences(species, energy, step=5e-3).reshape(-1, 3)


def differences_of_psi4(wanted: list[Species]) -> list:
    step, queue = 5e-3, []
    for species in wanted:
        references.differences(species, lambda there: queue.append(there) or 0.0, step=step)
    answers = iter(references.psi4(queue, "hf", "6-31g", "gradient"))
    found = [references.differences(species, lambda _: next(answers).ravel(), step=step) for species in wanted]
    return [(square + square.T) / 2 for square in found]


# --- runs ------------------------------------------------------------------------------------------------------------


def judge(session: autotune.Session, one: Case) -> dict:
    """Return the record of a case."""
    session.record = None
    row: dict = {"what": one.what, "reference_from": one.source, "tolerance": one.tolerance}
    try:
        result = session.run(one.fields)
    except InputError as refusal:
        assert session.record is None  # nothing ran
        return {**row, "status": "refused", "message": str(refusal)}
    except TaskError as failure:
        loud = all(kind == "convergence" for kind, _ in failure.failed.values())
        return {**row, "status": "did not converge" if loud else "failed", "message": one_line(failure)}
    names = labels(one.fields)
    ours = [np.asarray(result.cluster_results[name].return_result, dtype=float) for name in names]
    shape = np.shape(np.atleast_2d(result.return_result))
    try:
        theirs = one.reference(components(one.fields))
    except references.NoReferenceError as failure:
        return {**row, "status": "failed", "message": f"no reference: {one_line(failure)}"}
    ours = [value.reshape(np.shape(reference)) for value, reference in zip(ours, theirs, strict=True)]
    expected = interaction(one.fields, theirs)
    value = np.asarray(result.return_result, dtype=float).reshape(np.shape(expected))
    pairs = [(value, expected), *zip(ours, theirs, strict=True)]
    deviations = [float(np.max(np.abs(np.subtract(mine, reference)))) for mine, reference in pairs]
    if np.ndim(value) == 0:
        row |= {"value": float(value), "reference": float(expected)}
    else:
        row |= {"shape": shape, "largest_value": float(np.max(np.abs(value)))}
    row |= {"deviation": deviations[0], "deviation_of_components": max(deviations[1:])}
    doubts = session.record.doubts
    off = max(deviations) > one.tolerance or float(np.max(np.abs(value))) > one.most
    status = "agrees" if not off else "cautioned" if doubts else "wrong"
    return {**row, "status": status, **({"told": list(doubts)} if doubts else {})}


def measure(arguments) -> Iterator[dict]:
    os.environ["OMP_NUM_THREADS"] = "1"  # of the references, which are small
    with autotune.Session(Options(tuning="none", journal="none", threads=1)) as session:
        for name in arguments.cases:
            row, program = CASES[name]
            began = time.perf_counter()
            cases = [judge(session, one) for one in ROWS[row](program)]
            cell = {"property": row, "program": program, "wall_s": round(time.perf_counter() - began, 1)}
            for one in cases:
                if one["status"] in FAULTS:
                    print(f"  {json.dumps(one)}", flush=True)
            yield {**cell, "cases": cases}


BENCHMARK = Benchmark(
    what="whole runs of autotune against the same components computed without it and without any harness",
    measure=measure,
    rows="cells",
    key=("property", "program"),
    cases=CASES,
    summary=lambda _: {"versions": references.program_versions(), "tolerances": TOLERANCES},
    fails=lambda record: any(one["status"] in FAULTS for cell in record["cells"] for one in cell["cases"]),
)
