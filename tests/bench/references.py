"""Energies, gradients and Hessians of single molecules by each program's own interface, without any harness.

PySCF by a plain script, Psi4 and NWChem by inputs written here, MOPAC by its input file, tblite and dftd4 by their
Python interfaces. What is asked of a program is asked the careful way: no symmetry, tight thresholds, no density
fitting, the lowest of several solutions where electrons are unpaired (`lowest`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

BOHR_ANGSTROM = 0.529177210671212  # CODATA 2014, which QCElemental and so our inputs use
HARTREE_KCAL = 627.5094740631
# Chai & Head-Gordon 2008 and Grimme 2006: C6 in J nm^6/mol, radii in Å (the latter paper's table 1).
D2 = {"H": (0.14, 1.001), "C": (1.75, 1.452), "N": (1.23, 1.397), "O": (0.70, 1.342), "He": (0.08, 1.012)}
C6_UNIT = 1.0 / 2625499.64 * (10.0 / BOHR_ANGSTROM) ** 6  # J nm^6/mol in Eh a0^6
FIELD_AU = 0.02  # turns the hole of a free radical into a direction; only for initial guesses
STARTS = 4


class NoReferenceError(Exception):
    """A program gave no number by its own input."""


@dataclasses.dataclass(frozen=True)
class Species:
    """A molecule: element, whether it is real, and position (a0) of each atom; charge and multiplicity.

    Attributes:
        parts: Atoms, charge and multiplicity of the fragments it is made of; guesses of radical pairs need them.
    """

    atoms: tuple[tuple[str, bool, tuple[float, float, float]], ...]
    charge: int = 0
    multiplicity: int = 1
    parts: tuple[tuple[tuple[int, ...], int, int], ...] = ()

    @property
    def positions(self) -> np.ndarray:
        return np.array([position for _, _, position in self.atoms])

    @property
    def numbers(self) -> list[int]:
        from qcelemental import periodictable

        return [periodictable.to_Z(symbol) for symbol, real, _ in self.atoms if real]

    def moved(self, positions: np.ndarray) -> Species:
        pairs = zip(self.atoms, positions.tolist(), strict=True)
        return dataclasses.replace(self, atoms=tuple((s, real, tuple(xyz)) for (s, real, _), xyz in pairs))


def differences(species: Species, function: object, *, step: float) -> np.ndarray:
    """Return the derivative of `function(species)` by each coordinate, by central differences of four points."""
    place = species.positions
    rows = []
    for atom, axis in itertools.product(range(len(place)), range(3)):
        values = []
        for shift in (-2, -1, 1, 2):
            there = place.copy()
            there[atom, axis] += shift * step
            values.append(np.asarray(function(species.moved(there))))
        rows.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step))
    return np.array(rows)


# --- PySCF -----------------------------------------------------------------------------------------------------------


def _pyscf_molecule(species: Species, basis: str):
    from pyscf import gto

    names = [("" if real else "GHOST-") + symbol for symbol, real, _ in species.atoms]
    shells = {name: gto.basis.load(basis, name.removeprefix("GHOST-")) for name in set(names)}
    heavy = {symbol for symbol, real, _ in species.atoms if real and _has_potential(basis, symbol)}
    atoms = [(name, position) for name, (_, _, position) in zip(names, species.atoms, strict=True)]
    return gto.M(
        atom=atoms,
        unit="Bohr",
        basis=shells,
        ecp=dict.fromkeys(heavy, basis),
        charge=species.charge,
        spin=species.multiplicity - 1,
        verbose=0,
    )


def _has_potential(basis: str, symbol: str) -> bool:
    return basis.startswith("def2") and symbol in ("Xe", "I")


def _pyscf_mean_field(species: Species, method: str, basis: str):
    from pyscf import dft, scf

    molecule = _pyscf_molecule(species, basis)
    if method == "hf":
        mean_field = scf.RHF(molecule) if species.multiplicity == 1 else scf.UHF(molecule)
    else:
        mean_field = dft.RKS(molecule) if species.multiplicity == 1 else dft.UKS(molecule)
        mean_field.xc = method
        mean_field.grids.level = 4
        # The grid of the nuclei alone, which is every other program's convention for ghosts.
        mean_field.grids.mol = molecule
        real = [atom for atom, (_, is_real, _) in zip(molecule._atom, species.atoms, strict=True) if is_real]
        if len(real) < molecule.natm:
            nuclei = molecule.copy()
            nuclei.build(False, False, atom=real, unit="Bohr")
            mean_field.grids.build(nuclei)
            mean_field.grids.mol = molecule
            mean_field.grids.non0tab = mean_field.grids.make_mask(molecule, mean_field.grids.coords)
    mean_field.conv_tol, mean_field.conv_tol_grad, mean_field.max_cycle = 1e-11, 1e-7, 100
    if method != "hf" or species.multiplicity > 1:  # holes of radicals turn at next to no cost
        mean_field.conv_tol, mean_field.conv_tol_grad = 1e-10, 3e-6
    return mean_field


@cache
def pyscf(species: Species, method: str, basis: str, driver: str = "energy"):
    """Return the energy (Eh) or gradient (Eh/a0) of the lowest solution found."""
    mean_field = _lowest(species, method, basis)
    return mean_field.e_tot if driver == "energy" else mean_field.nuc_grad_method().kernel()


def _lowest(species: Species, method: str, basis: str):
    """Return the lowest of the stable solutions reached from several guesses; of singlets that of the usual guess."""
    starts: list = [None]
    if species.multiplicity > 1:
        starts += [_from_parts(species, basis, seed) for seed in range(STARTS if method == "hf" else 1)]
    found = []
    for start in starts:
        mean_field = _pyscf_mean_field(species, method, basis)
        mean_field.kernel(dm0=start)
        for _ in range(5):
            if not mean_field.converged:
                mean_field = mean_field.newton()
                mean_field.kernel(mean_field.mo_coeff, mean_field.mo_occ)
            if method != "hf":  # the stability of functionals takes minutes; here another start has to do
                break
            orbitals = mean_field.stability()[0]
            if all(np.allclose(a, b) for a, b in zip(orbitals, mean_field.mo_coeff, strict=True)):
                break
            density = mean_field.make_rdm1(orbitals, mean_field.mo_occ)
            mean_field.kernel(dm0=density)
        if mean_field.converged:
            found.append(mean_field)
    if not found:
        raise NoReferenceError(f"PySCF did not converge for {species}")
    best = min(found, key=lambda each: each.e_tot)
    return best.undo_soscf() if hasattr(best, "undo_soscf") else best


def _from_parts(species: Species, basis: str, seed: int) -> np.ndarray:
    """Return the density of the fragments, each made in a weak field of random direction, which turns its hole."""
    from pyscf import scf

    whole = _pyscf_molecule(species, basis)
    functions = whole.aoslice_by_atom()
    density = np.zeros((2, whole.nao, whole.nao))
    parts = species.parts or ((tuple(range(len(species.atoms))), species.charge, species.multiplicity),)
    rng = np.random.default_rng(seed)
    for atoms, charge, multiplicity in parts:
        part = Species(tuple(species.atoms[atom] for atom in atoms), charge, multiplicity)
        molecule = _pyscf_molecule(part, basis)
        field = rng.normal(size=3)
        field *= FIELD_AU / np.linalg.norm(field)
        centre = np.mean(molecule.atom_coords(), axis=0)
        with molecule.with_common_orig(centre):
            dipole = molecule.intor("int1e_r")
        # A quadrupole field, too: a dipole alone leaves the p hole of an atom where it was.
        with molecule.with_common_orig(centre):
            second = molecule.intor("int1e_rr").reshape(3, 3, molecule.nao, molecule.nao)
        mean_field = scf.UHF(molecule)
        core = mean_field.get_hcore() + np.einsum("x,xij->ij", field, dipole)
        core = core + np.einsum("x,y,xyij->ij", field, field, second) / FIELD_AU
        mean_field.get_hcore = lambda *_, core=core: core
        mean_field.max_cycle = 100
        mean_field.kernel()
        places = np.concatenate([np.arange(*functions[atom][2:]) for atom in atoms])
        density[np.ix_((0, 1), places, places)] = mean_field.make_rdm1()
    return density


def bare_and_dispersion(species: Species, functional: str, basis: str) -> float:
    """Return the energy of wB97X-D or B97-D: PySCF's functional, and the pair term of the papers added to it."""
    libxc, s6, damping = {
        "wb97x-d": ("hyb_gga_xc_wb97x_d", 1.0, lambda x: 1.0 / (1.0 + 6.0 * x**-12)),
        "b97-d": ("gga_xc_b97_d", 1.25, lambda x: 1.0 / (1.0 + math.exp(-20.0 * (x - 1.0)))),
    }[functional]
    total = float(pyscf(species, libxc, basis))
    real = [(symbol, np.array(position)) for symbol, is_real, position in species.atoms if is_real]
    for (one, here), (other, there) in itertools.combinations(real, 2):
        distance = np.linalg.norm(here - there)
        (c6_one, r_one), (c6_other, r_other) = D2[one], D2[other]
        ratio = distance * BOHR_ANGSTROM / (r_one + r_other)
        total -= s6 * math.sqrt(c6_one * c6_other) * C6_UNIT / distance**6 * damping(ratio)
    return total


# --- Psi4 ------------------------------------------------------------------------------------------------------------

_PSI4_SCRIPT = """
import json, numpy
import psi4
answers = []
for task in json.load(open("tasks.json")):
    psi4.core.clean(); psi4.core.clean_options(); psi4.core.clean_variables()
    molecule = psi4.geometry(task["molecule"])
    psi4.set_options(task["options"])
    call = {"energy": psi4.energy, "gradient": psi4.gradient, "hessian": psi4.hessian}[task["driver"]]
    found = call(task["method"], molecule=molecule)
    answers.append(found if task["driver"] == "energy" else numpy.asarray(found).tolist())
json.dump(answers, open("answers.json", "w"))
"""


def psi4(wanted: list[Species], method: str, basis: str, driver: str = "energy") -> list:
    """Return energies or gradients of several species, by one input of Psi4's own."""
    tasks = []
    for species in wanted:
        lines = [f"{species.charge} {species.multiplicity}"]
        lines += [f"{'' if real else '@'}{s} {x:.15f} {y:.15f} {z:.15f}" for s, real, (x, y, z) in species.atoms]
        lines += ["units bohr", "no_com", "no_reorient", "symmetry c1"]
        options = {"basis": basis, "scf_type": "pk", "e_convergence": 1e-10, "d_convergence": 1e-9, "maxiter": 300}
        if species.multiplicity > 1:
            options["reference"] = "uhf" if method == "hf" else "uks"
        tasks.append({"molecule": "\n".join(lines), "method": method, "driver": driver, "options": options})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tasks.json").write_text(json.dumps(tasks))
        Path(folder, "input.dat").write_text(_PSI4_SCRIPT)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PSI_SCRATCH": folder}
        command = ["psi4", "-i", "input.dat", "-o", "output.dat"]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        answers = Path(folder, "answers.json")
        if not answers.exists():
            raise NoReferenceError(ended.stdout[-2000:] + ended.stderr[-2000:])
        return [np.asarray(each) if driver != "energy" else each for each in json.loads(answers.read_text())]


# --- NWChem ----------------------------------------------------------------------------------------------------------


def nwchem(species: Species, basis: str, method: str = "hf") -> float:
    """Return the HF or DFT energy by an input of NWChem's own, with its core potentials on real atoms only."""
    lines = ["start x", f"charge {species.charge}", "geometry units bohr noautoz nocenter noautosym", "symmetry c1"]
    for symbol, real, (x, y, z) in species.atoms:
        lines.append(f"{'' if real else 'bq'}{symbol} {x:.15f} {y:.15f} {z:.15f}")
    lines += ["end", "basis spherical"]
    for symbol, real in sorted({(symbol, real) for symbol, real, _ in species.atoms}):
        lines.append(f'{"" if real else "bq"}{symbol} library {symbol} "{basis}"')
    heavy = sorted({s for s, real, _ in species.atoms if real and _has_potential(basis, s)})
    lines += ["end", *(["ecp", *(f'{s} library {s} "def2-ecp"' for s in heavy), "end"] if heavy else [])]
    if method == "hf":
        lines += ["scf", "thresh 1e-8", "tol2e 1e-12", "end", "task scf energy", ""]
    else:
        lines += ["dft", f"xc {method}", f"mult {species.multiplicity}", "grid fine", "iterations 200"]
        lines += ["convergence energy 1e-9 density 1e-7 gradient 1e-6", "end", "task dft energy", ""]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x.nw").write_text("\n".join(lines))
        environment = {**os.environ, "OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_btl": "self"}
        ended = subprocess.run(
            ["nwchem", "x.nw"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    found = re.search(r"Total (?:SCF|DFT) energy = +(-?[\d.]+)", ended.stdout)
    if not found:
        raise NoReferenceError(ended.stdout[-2000:])
    return float(found[1])


# --- programs without basis sets -------------------------------------------------------------------------------------


@cache
def mopac(species: Species, method: str, driver: str = "energy"):
    """Return the heat of formation (Eh) or its gradient, by MOPAC's own input in Å; UHF where spins are unpaired."""
    spins = {1: "", 2: "UHF DOUBLET", 3: "UHF TRIPLET"}[species.multiplicity]
    lines = [f"{method.upper()} CHARGE={species.charge} {spins} 1SCF GRADIENTS SCFCRT=1.D-10 AUX(PRECISION=9)"]
    lines += ["by hand", ""]
    for symbol, _, position in species.atoms:
        lines.append(f"{symbol} " + " ".join(f"{x * BOHR_ANGSTROM:.14f} 1" for x in position))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x.mop").write_text("\n".join([*lines, ""]))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        subprocess.run(["mopac", "x.mop"], cwd=folder, env=environment, capture_output=True, check=False)
        text = Path(folder, "x.aux").read_text().replace("D+", "E+").replace("D-", "E-")
    energy = float(re.search(r"HEAT_OF_FORMATION:KCAL/MOL=(\S+)", text)[1]) / HARTREE_KCAL
    if driver == "energy":
        return energy
    shape = (len(species.atoms), 3)
    block = re.search(r"GRADIENTS:KCAL/MOL/ANGSTROM\[\d+\]=([-+.\dE\s]+)", text)
    if block is None:  # a lone atom
        return np.zeros(shape)
    values = [float(word) for word in block[1].split()]
    return np.array(values).reshape(shape) * BOHR_ANGSTROM / HARTREE_KCAL


def tblite(species: Species, driver: str = "energy"):
    """Return the GFN2-xTB energy or gradient by tblite's Python interface."""
    from tblite.interface import Calculator

    calculator = Calculator(
        "GFN2-xTB", np.array(species.numbers), species.positions, species.charge, species.multiplicity - 1
    )
    calculator.set("verbosity", 0)
    calculator.set("accuracy", 0.01)
    found = calculator.singlepoint()
    return found.get("energy") if driver == "energy" else found.get("gradient")


def dftd4(species: Species, functional: str, driver: str = "energy"):
    """Return the D4 correction or its gradient by dftd4's Python interface; ghosts have none."""
    from dftd4.interface import DampingParam, DispersionModel

    real = np.array([is_real for _, is_real, _ in species.atoms], dtype=bool)
    model = DispersionModel(np.array(species.numbers), species.positions[real], species.charge)
    found = model.get_dispersion(DampingParam(method=functional), grad=driver == "gradient")
    if driver == "energy":
        return found["energy"]
    gradient = np.zeros((len(species.atoms), 3))
    gradient[real] = found["gradient"]
    return gradient


@cache
def program_versions() -> dict[str, str]:
    """Return what each program says of its version."""
    from importlib.metadata import version

    found = {name: version(name) for name in ("pyscf", "tblite", "dftd4")}
    said = subprocess.run(["psi4", "--version"], capture_output=True, text=True, check=False).stdout
    found["psi4"] = said.strip()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x.mop").write_text("PM6 1SCF\nversion\n\nHe 0 0 0\n")
        subprocess.run(["mopac", "x.mop"], cwd=folder, capture_output=True, check=False)
        out = Path(folder, "x.out").read_text()
        Path(folder, "x.nw").write_text("")
        said = subprocess.run(["nwchem", "x.nw"], cwd=folder, capture_output=True, text=True, check=False).stdout
    for name, text, pattern in (
        ("mopac", out, r"(?:MOPAC|Version)[ v]*(\d+\.\d+\.\d+)"),
        ("nwchem", said, r"nwchem branch\s*=\s*(\S+)"),
    ):
        match = re.search(pattern, text)
        found[name] = match[1] if match else "unknown"
    return found
