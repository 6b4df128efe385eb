"""What may be asked of PySCF: reads a QCSchema `AtomicInput` into a `Plan`, or says in one line why it cannot.

Rules
- Nothing is computed here; after the first call in a process a reading costs well under a millisecond.
- One way to ask for each thing: density fitting and frozen cores are keywords, never part of a method's name.
- A keyword without effect on the method is an error, and so is a value of another type.
- `b3lyp` is the form with VWN's RPA fit, as in Gaussian and Psi4 (PySCF since 2.3).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from pyscf.dft import libxc
from qcengine.exceptions import InputError

from autotune_plugins import pyscf_basis, pyscf_functionals
from autotune_plugins.pyscf_functionals import Functional

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, Molecule

HF_NAMES: Mapping[str, str | None] = {"hf": None, "scf": None, "rhf": "rhf", "uhf": "uhf", "rohf": "rohf"}
CORRELATED = ("mp2", "ccsd", "ccsd(t)")
COUPLED_CLUSTER = ("ccsd", "ccsd(t)")
REFERENCES = ("rhf", "uhf", "rohf")
GUESSES = ("minao", "atom", "huckel", "mod_huckel", "hcore")
METHODS = ("hf", "dft", *CORRELATED)

_TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
_NO_FUNCTIONAL = Functional(name="")
_LOOSEST_GRADIENT = 1.0001e-4  # with which energies are those of any other way to the end; of a conv_tol of 1e-8
_ORDER = {"energy": 0, "gradient": 1, "hessian": 2}
_TINY, _MANY = 1e-16, 100_000


def _keyword(
    kind: type,
    meaning: str,
    default: object = None,
    *,
    acts_on: tuple[str, ...] = METHODS,
    bounds: tuple[float, float] = (_TINY, float("inf")),
    choices: tuple[str, ...] = (),
) -> Any:
    about = {"kind": kind, "meaning": meaning, "acts_on": acts_on, "bounds": bounds, "choices": choices}
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """The keywords: name, type, meaning, default (None: see the meaning, else PySCF's own) and where they act."""

    reference: str | None = _keyword(str, "orbitals; default rhf for singlets, else uhf", choices=REFERENCES)
    cart: bool | None = _keyword(bool, "Cartesian functions; default as the basis set means them")
    density_fit: bool = _keyword(bool, "fit densities: DF-HF, DF-DFT, DF-MP2, DF-CCSD", default=False)
    auxbasis: str | None = _keyword(str, "fitting basis set of the SCF; default the usual one of the basis set")
    auxbasis_correlation: str | None = _keyword(str, "the same for the correlated method", acts_on=CORRELATED)
    frozen_core: bool = _keyword(
        bool, "leave core electrons uncorrelated; H to Be have none", default=False, acts_on=CORRELATED
    )
    conv_tol: float = _keyword(float, "SCF energy change, Eh", default=1e-10)
    conv_tol_grad: float | None = _keyword(
        float, "SCF orbital gradient; default root of conv_tol, a tenth of it before MP2, CC"
    )
    max_cycle: int = _keyword(int, "most SCF cycles", default=100, bounds=(1, _MANY))
    level_shift: float | None = _keyword(float, "raises virtual orbitals during the SCF, Eh", bounds=(0, 1000))
    damp: float | None = _keyword(float, "share of the last Fock matrix in the next", bounds=(0, 1))
    diis_space: int | None = _keyword(int, "Fock matrices in the extrapolation", bounds=(2, 1000))
    init_guess: str = _keyword(str, "initial density of the SCF", default="minao", choices=GUESSES)
    direct_scf_tol: float | None = _keyword(float, "integrals neglected by direct SCF")
    newton: bool = _keyword(bool, "second-order SCF after a few ordinary cycles", default=False)
    stability: bool | None = _keyword(
        bool, "go down from saddle points of the SCF; default for uhf, rohf and with newton"
    )
    grid_level: int | None = _keyword(int, "DFT grid; default 3, Hessians 5", acts_on=("dft",), bounds=(0, 9))
    cc_conv_tol: float = _keyword(float, "CCSD energy change, Eh", default=1e-9, acts_on=COUPLED_CLUSTER)
    cc_max_cycle: int = _keyword(int, "most CCSD cycles", default=100, acts_on=COUPLED_CLUSTER, bounds=(1, _MANY))


KEYWORDS = {entry.name: entry.metadata for entry in fields(Keywords)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A fragment without unpaired electrons: its atoms as positions in `Plan.atoms`, and its charge."""

    atoms: tuple[int, ...]
    charge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One calculation, checked.

    Attributes:
        method: `hf`, `dft`, `mp2`, `ccsd` or `ccsd(t)`.
        functional: With an empty name unless the method is `dft`.
        driver: `energy`, `gradient` or `hessian`.
        reference: `rhf`, `uhf` or `rohf`.
        stable: Whether the SCF is led down from saddle points.
        radicals: Fragments with unpaired electrons.
        keywords: With defaults filled in.
        atoms: PySCF symbol (`GHOST-O` for a ghost) and position in bohr.
        charge: Total charge.
        unpaired: Electrons without a partner, multiplicity - 1.
        cartesian: Cartesian functions, else spherical.
        basis: By element symbol.
        fitting: Fitting shells of the SCF by element symbol; empty without density fitting.
        fitting_correlation: Fitting shells of the correlated method; empty without.
        parts: The real fragments, if all have closed shells and their charges add up to the molecule's; else none.
        name: What the molecule is called: equal for the same fragments of a cluster, wherever their atoms are.
        chemistry: Method, basis set, keywords and driver as they were asked for, all that is not the molecule.
    """

    method: str
    functional: Functional
    driver: str
    reference: str
    stable: bool
    radicals: int
    keywords: Keywords
    atoms: tuple[tuple[str, tuple[float, ...]], ...]
    charge: int
    unpaired: int
    cartesian: bool
    basis: Mapping[str, pyscf_basis.ElementBasis]
    fitting: Mapping[str, pyscf_basis.Shells]
    fitting_correlation: Mapping[str, pyscf_basis.Shells]
    parts: tuple[Part, ...]
    name: str
    chemistry: str


def is_well_determined(plan: Plan) -> bool:
    """Return whether the result is the same to 1e-9 Eh in whatever way the SCF converges.

    That is so for energies of HF and DFT, into which the error of the orbitals enters as its square: 1e-11 Eh. In
    correlation energies and derivatives it is the error itself: at PySCF's usual thresholds those of two waters are
    3e-9 Eh (MP2/cc-pVDZ) and 4e-7 Eh/a0 (B3LYP/6-31G*) from where tight ones lead. The minima of open shells may be so
    flat that two ways end 1e-9 (HF/def2-SVP, Fe2+) or 1e-8 Eh apart (B3LYP/6-31G*, NO next to NO). With a threshold of
    1e-6 Eh, whose square is the gradient's, two waters were 2e-9 Eh apart (B3LYP/6-31G).
    """
    given = plan.keywords.conv_tol_grad
    is_tight = (math.sqrt(plan.keywords.conv_tol) if given is None else given) <= _LOOSEST_GRADIENT
    return is_tight and plan.method not in CORRELATED and plan.driver == "energy" and plan.reference == "rhf"


def alone(plan: Plan, part: Part) -> Plan:
    """Return the plan for a fragment alone in its own basis, by the same method."""
    atoms = tuple(plan.atoms[atom] for atom in part.atoms)
    parts = (replace(part, atoms=tuple(range(len(atoms)))),)
    return replace(plan, atoms=atoms, charge=part.charge, parts=parts, name="")


def read(input_data: AtomicInput) -> Plan:
    """Return the plan for an input.

    Raises:
        qcengine.exceptions.InputError: The input is unclear, contradicts itself, or asks for what PySCF cannot do.
    """
    specification, molecule = input_data.specification, input_data.molecule
    driver: str = specification.driver.value
    if specification.protocols.wavefunction.value != "none":
        raise InputError("the PySCF harness returns no wavefunctions; leave the protocol wavefunction at none")
    method, functional, named_reference = _method(specification.model.method)
    keywords = _keywords(specification.keywords, method)
    charge, unpaired = _electrons(molecule)
    reference = _reference(named_reference, keywords.reference, unpaired)
    _check_derivative(method, functional, driver, reference, fitted=keywords.density_fit)
    if driver == "hessian" and functional.is_nonlocal and not all(molecule.real):
        raise InputError(f"PySCF's Hessians of non-local functionals such as {functional.name} cannot have ghost atoms")

    name = specification.model.basis
    if not isinstance(name, str) or not name:
        raise InputError(f"method {method} needs the name of a basis set as model.basis, such as 'cc-pvdz'")
    elements = tuple(dict.fromkeys(str(symbol) for symbol in molecule.symbols))
    basis = pyscf_basis.orbital_basis(name, elements)
    fitting = fitting_correlation = {}
    if keywords.density_fit:
        fitting_name = keywords.auxbasis or pyscf_basis.usual_fitting_name(name, "jkfit")
        fitting = pyscf_basis.fitting_basis(fitting_name, elements, "auxbasis")
        if method in CORRELATED:
            fitting_name = keywords.auxbasis_correlation or pyscf_basis.usual_fitting_name(name, "rifit")
            fitting_correlation = pyscf_basis.fitting_basis(fitting_name, elements, "auxbasis_correlation")
    return Plan(
        method=method,
        functional=functional,
        driver=driver,
        reference=reference,
        stable=_stable(keywords, functional, reference),
        radicals=sum(multiplicity > 1 for multiplicity in molecule.fragment_multiplicities),
        keywords=keywords,
        atoms=tuple(
            (str(symbol) if real else f"GHOST-{symbol}", tuple(position))
            for symbol, real, position in zip(
                molecule.symbols, molecule.real, molecule.geometry.reshape(-1, 3).tolist(), strict=True
            )
        ),
        charge=charge,
        unpaired=unpaired,
        cartesian=pyscf_basis.is_cartesian(name, basis) if keywords.cart is None else keywords.cart,
        basis=basis,
        fitting=fitting,
        fitting_correlation=fitting_correlation,
        parts=_parts(molecule, charge),
        name=str(molecule.name or ""),
        chemistry=f"{method} {functional} {name.lower()} {driver} {keywords}",
    )


def _method(name: str) -> tuple[str, Functional, str | None]:
    """Return the method, its functional and the reference that its name asks for."""
    lower = name.strip().lower()
    if lower in HF_NAMES:
        return "hf", _NO_FUNCTIONAL, HF_NAMES[lower]
    if lower in CORRELATED:
        return lower, _NO_FUNCTIONAL, None
    bare = lower.removeprefix("df-").removeprefix("ri-")
    if bare in (*CORRELATED, *HF_NAMES):
        raise InputError(f"method {name!r}: write {bare!r} and the keyword density_fit: true")
    try:
        return "dft", pyscf_functionals.read(lower), None
    except pyscf_functionals.UnknownFunctionalError as error:
        near = difflib.get_close_matches(lower, [*HF_NAMES, *CORRELATED, *pyscf_functionals.names()], n=3)
        hint = f"{error}; " if str(error) else f"did you mean {' or '.join(near)}? " if near else ""
        known = f"known are {', '.join(HF_NAMES)}, {', '.join(CORRELATED)} and the functionals of libxc"
        raise InputError(f"method {name!r}: {hint}{known}") from None
    except pyscf_functionals.FunctionalError as error:
        raise InputError(f"method {name!r}: {error}") from None


def _keywords(given: Mapping[str, object], method: str) -> Keywords:
    values: dict[str, Any] = {}
    for name, value in given.items():
        about = KEYWORDS.get(name)
        if about is None:
            near = difflib.get_close_matches(str(name).lower(), KEYWORDS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"keyword {name!r} is not known; {hint}known are {', '.join(KEYWORDS)}")
        wanted = _unmet(value, about)
        if wanted:
            raise InputError(f"keyword {name} {wanted}, not {value!r} ({about['meaning']})")
        if method not in about["acts_on"] and value is not False:
            raise InputError(f"keyword {name} has no effect on {method}, only on {', '.join(about['acts_on'])}")
        values[name] = value
    for name in ("auxbasis", "auxbasis_correlation"):
        if name in values and not values.get("density_fit"):
            raise InputError(f"keyword {name} has no effect without density_fit: true")
    return Keywords(**values)


def _unmet(value: Any, about: Mapping[str, Any]) -> str:
    """Return what a keyword wants and the value is not, or an empty text."""
    kind, (low, high) = about["kind"], about["bounds"]
    if type(value) is not kind and not (kind is float and type(value) is int):
        return f"takes {_TYPE_NAMES[kind]}"
    if about["choices"] and value not in about["choices"]:
        return f"takes {', '.join(about['choices'])}"
    if kind in (int, float) and not value >= low:  # which is how a NaN fails
        return f"is at least {low:g}"
    return f"is at most {high:g}" if kind in (int, float) and value > high else ""


def _electrons(molecule: Molecule) -> tuple[int, int]:
    """Return the charge and the number of unpaired electrons, checked against the nuclei."""
    charge, multiplicity = round(molecule.molecular_charge), round(molecule.molecular_multiplicity)
    if charge != molecule.molecular_charge or multiplicity != molecule.molecular_multiplicity:
        raise InputError(
            f"charge {molecule.molecular_charge:g} and multiplicity {molecule.molecular_multiplicity:g} "
            "must be whole numbers for PySCF"
        )
    nuclei = int(sum(z for z, real in zip(molecule.atomic_numbers, molecule.real, strict=True) if real))
    electrons, unpaired = nuclei - charge, multiplicity - 1
    if electrons < 0 or unpaired > electrons or (electrons - unpaired) % 2:
        raise InputError(f"charge {charge} and multiplicity {multiplicity} do not fit nuclei of total charge {nuclei}")
    return charge, unpaired


def _parts(molecule: Molecule, charge: int) -> tuple[Part, ...]:
    """Return the real fragments, if they have closed shells and add up to the molecule."""
    parts = []
    states = zip(molecule.fragments, molecule.fragment_charges, molecule.fragment_multiplicities, strict=True)
    for atoms, of_fragment, multiplicity in states:
        real = [bool(molecule.real[atom]) for atom in atoms]
        if not any(real):
            continue
        electrons = int(sum(molecule.atomic_numbers[atom] for atom in atoms)) - of_fragment
        if not all(real) or multiplicity != 1 or electrons < 0 or electrons % 2:  # which a fraction is, too
            return ()
        parts.append(Part(atoms=tuple(int(atom) for atom in atoms), charge=round(of_fragment)))
    return tuple(parts) if sum(part.charge for part in parts) == charge else ()


def _reference(from_method: str | None, from_keyword: str | None, unpaired: int) -> str:
    if from_method and from_keyword and from_method != from_keyword:
        raise InputError(f"method {from_method!r} contradicts the keyword reference: {from_keyword}; drop one")
    reference = from_method or from_keyword or ("uhf" if unpaired else "rhf")
    if reference == "rhf" and unpaired:
        raise InputError(f"reference rhf needs a singlet, not multiplicity {unpaired + 1}; use uhf")
    return reference


def _stable(keywords: Keywords, functional: Functional, reference: str) -> bool:
    """Return whether to lead the SCF down from saddle points."""
    wanted = reference != "rhf" or keywords.newton if keywords.stability is None else keywords.stability
    if wanted and functional.name and not libxc.test_deriv_order(functional.name, _ORDER["hessian"]):
        if keywords.stability or keywords.newton:
            raise InputError(f"libxc has no second derivatives of {functional.name}, which stability and newton need")
        return False
    return wanted


def _check_derivative(method: str, functional: Functional, driver: str, reference: str, *, fitted: bool) -> None:
    fault = ""
    if driver not in _ORDER:
        fault = f"the PySCF harness has no driver {driver!r}, only {', '.join(_ORDER)}"
    elif reference == "rohf" and (method, driver) != ("hf", "energy"):
        fault = "reference rohf gives HF energies only; use uhf"
    elif driver == "hessian" and method in CORRELATED:
        fault = f"PySCF has no {method} Hessians"
    elif driver == "gradient" and method in CORRELATED and fitted:
        fault = f"PySCF has no density-fitted {method} gradients; drop the keyword density_fit"
    elif driver == "gradient" and method == "ccsd(t)" and reference == "uhf":
        fault = "PySCF's UHF-CCSD(T) gradients are wrong by some 1e-4 Eh/a0 (tested in 2.14), so they are refused"
    elif driver == "hessian" and functional.dispersion:
        fault = "dispersion corrections have no Hessians here, only energies and gradients"
    elif method == "dft" and not libxc.test_deriv_order(functional.name, max(1, _ORDER[driver])):
        fault = f"libxc has no derivatives of {functional.name} for driver {driver}"
    if fault:
        raise InputError(fault)
