"""The QCEngine harness of NWChem, and what it leaves to chance decided.

Rules
- QCEngine's harness writes the input, starts NWChem and reads the output; this one adds to the input and checks the
  output. The result carries the input as it was given.
- No symmetry. NWChem looks for it by itself, moves atoms by up to 0.01 Å to make it exact, computes in a frame of its
  own, which may be a mirror image, and keeps the occupation of each irreducible representation as it was guessed:
  gradients in the wrong frame, radicals in an excited state.
- Core potentials go with the basis set, see `nwchem_potentials`.
- Elements stand in one order in the basis block. QCEngine writes them as a set gives them, which is another order in
  another Python process, and NWChem's last bits follow it.
- Open shells are unrestricted unless a reference is named, as everywhere in autotune: NWChem's own default is ROHF for
  Hartree-Fock, which its MP2 refuses, and unrestricted for density functionals.
- The input is read by NWChem before anything is computed; see `nwchem_faults` for its words.
- Several tasks go into one input, one behind the other. NWChem would take the orbitals of the last task as the guess of
  the next: all of its database is deleted between two tasks. Deleting prints the entries, and one that is put in for
  this divides the output.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from qcelemental.util import safe_version, which, which_import
from qcengine.config import get_config
from qcengine.exceptions import ConvergenceError, InputError, QCEngineException, UnknownError
from qcengine.programs.nwchem.errors import ConvergenceFailedError
from qcengine.programs.nwchem.runner import NWChemHarness
from qcengine.util import execute

from autotune_plugins import nwchem_faults, nwchem_potentials, one_start

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, AtomicResult, Molecule
    from qcengine.config import TaskConfig

_DRIVERS = ("energy", "gradient")
_EXTRAS = ("allow_restarts", "is_driver")
_WITHOUT_FILES = ("scf", "dft", "mp2", "python")  # modules
_TASK = re.compile(r"^task (\S+)", re.MULTILINE)
_LIBRARIES = re.compile(r"(?:^ +\S+ library .*\n)+", re.MULTILINE)
_MENDED = "geom_binvr"  # QCEngine tries again without internal coordinates
_REFERENCES = ("scf__rhf", "scf__rohf", "scf__uhf")
_CLOSED_SHELL_METHODS = ("ccsd", "ccsd(t)", "ccsd+t(ccsd)")  # of the module that is not TCE
_SMALLEST_SHIFT_BOHR = 1e-5  # NWChem prints eight digits; it moves atoms by more where it makes a symmetry exact
_VERSION = re.compile(r"\(NWChem\) +(\S+)")
_REVISION = re.compile(r"nwchem revision += +(\S+)")
_TITLE = re.compile(r"^ +NWChem Input Module\n +-+\n", re.MULTILINE)
_ECHO = re.compile(r"(?<== echo of input deck ={30}\n).*?(?=^={80}$)", re.DOTALL | re.MULTILINE)
_DELETED = r"(?: *unset: [^\n]*\n)*"
_NEXT = re.compile(rf"^{_DELETED} *unset: autotune:(\d+)\n{_DELETED}", re.MULTILINE)
_COMPLETE = re.compile(r"^ Total times  cpu:", re.MULTILINE)
_POSITIONS = re.compile(r"Output coordinates in a\.u\..*?\n ---- [- ]+\n(.*?)\n\s*\n", re.DOTALL)


class NotConvergedError(ConvergenceFailedError):  # type: ignore[misc]  # QCEngine is untyped
    """NWChem did not converge; QCEngine starts it again with more iterations, where it knows how to ask for them."""

    error_type = "convergence_error"
    header = ConvergenceError.header

    def __init__(self, fault: ConvergenceError) -> None:
        super().__init__()
        self.raw_message = fault.raw_message
        self.args = (fault.raw_message,)

    def create_keyword_update(self, input_data: AtomicInput) -> dict[str, Any]:
        """Return the keywords of the second attempt.

        Raises:
            qcengine.exceptions.ConvergenceError: QCEngine knows none for this method.
        """
        try:
            return dict(super().create_keyword_update(input_data))
        except ValueError as unknown:
            raise ConvergenceError(self.raw_message) from unknown


class CheckedNWChemHarness(NWChemHarness):  # type: ignore[misc]  # QCEngine is untyped
    """NWChem without symmetry, with core potentials, unrestricted, and with its own words when it fails."""

    # Of the numbers: r2 has no symmetry, core potentials, and unrestricted open shells.
    revision: ClassVar[str] = "r2"
    _versions: ClassVar[dict[str, str]] = {}
    _sound: ClassVar[set[str]] = set()

    @staticmethod
    def found(raise_error: bool = False) -> bool:  # noqa: FBT001, FBT002 - QCEngine's signature
        """Return whether NWChem and networkx are here; ModuleNotFoundError instead of False where asked."""
        if which("nwchem", return_bool=True) and not which_import("networkx", return_bool=True):
            if raise_error:
                raise ModuleNotFoundError("nwchem is installed, but its harness needs networkx: pip install networkx")
            return False
        return bool(NWChemHarness.found(raise_error=raise_error))

    def get_version(self) -> str:
        """Return the version that NWChem prints, with the revision where it was built from one."""
        self.found(raise_error=True)
        path = which("nwchem")
        if path not in self._versions:
            _, outputs = execute(
                [path, "version.nw"], {"version.nw": ""}, scratch_directory=get_config().scratch_directory
            )
            self._remember_version(outputs["stdout"])
        if path not in self._versions:
            raise UnknownError("NWChem does not print its version")
        return self._versions[path]

    def _remember_version(self, output: str) -> None:
        version, revision = _VERSION.search(output), _REVISION.search(output)
        if version is not None:
            of_source = f"+{revision[1]}" if revision and revision[1] != "N/A" else ""
            self._versions[which("nwchem")] = str(safe_version(version[1] + of_source))

    def preflight(self, input_data: AtomicInput) -> None:
        """Refuse what cannot be computed: NWChem reads the input, and computes nothing.

        Raises:
            qcengine.exceptions.InputError: The task cannot run, in one line.
        """
        config = get_config(task_config={"ncores": 1, "nnodes": 1, "memory": 1.0})
        job = self.build_input(input_data, config)
        question = _question(job["infiles"]["nwchem.nw"], input_data.molecule)
        if question in self._sound:
            return
        job["infiles"]["nwchem.nw"] = re.sub(r"^task .*$", "", job["infiles"]["nwchem.nw"], flags=re.MULTILINE)
        _, outputs = super().execute(job)
        self._remember_version(outputs["stdout"])
        fault = nwchem_faults.failure(outputs["stdout"], outputs["stderr"])
        if isinstance(fault, InputError) and _MENDED not in fault.raw_message:
            raise fault
        self._sound.add(question)

    def compute_together(
        self, inputs: Sequence[AtomicInput], config: TaskConfig, *, limit_s: float = math.inf
    ) -> list[AtomicResult | None]:
        """Return the results of the first inputs, as far as one start of NWChem came; None at the end for its failure.

        It ends with the first task that fails. What leaves files that NWChem reads again, as amplitudes, Hessians and
        restarts are, has a start of its own.
        """
        self.found(raise_error=True)
        specification = inputs[0].specification
        if specification.driver not in _DRIVERS or any(specification.extras.get(name) for name in _EXTRAS):
            return [None] * len(inputs)
        jobs = one_start.jobs(self.build_input, inputs, config)
        if not jobs:
            return [None]
        decks = [job["infiles"]["nwchem.nw"] for job in jobs]
        if any(module[1] not in _WITHOUT_FILES for module in _TASK.finditer("\n".join(decks))):
            return [None] * len(inputs)
        own = [deck.replace("'nwchem.grad'", f"'{place}.grad'") for place, deck in enumerate(decks)]
        files = {"nwchem.nw": "\n".join([own[0], *(_clear(place) + deck for place, deck in enumerate(own) if place)])}
        gradients = [f"{place}.grad" for place in range(len(jobs))]
        written = one_start.run({**jobs[0], "infiles": files}, gradients, limit_s=limit_s)
        self._remember_version(written.stdout)
        results: list[AtomicResult | None] = []
        for place, output in enumerate(_outputs(written.stdout, decks)):
            if output is None:
                results.append(None)
                continue
            outfiles = {
                "nwchem.hess": None,
                "nwchem.grad": written.files[gradients[place]],
                "stdout": output,
                "stderr": written.stderr,
                "input": decks[place],
            }
            try:
                results.append(self.parse_output(outfiles, inputs[place]))
            except QCEngineException:
                results.append(None)
        return results

    def build_input(self, input_model: AtomicInput, config: TaskConfig, template: str | None = None) -> dict[str, Any]:
        """Return QCEngine's job for an input without symmetry, with core potentials, and with a reference.

        Raises:
            qcengine.exceptions.InputError: The task cannot run.
        """
        job = dict(super().build_input(_completed(input_model), config, template))
        job["infiles"]["nwchem.nw"] = _LIBRARIES.sub(_by_element, job["infiles"]["nwchem.nw"])
        return job

    def execute(self, inputs: dict[str, Any], **others: Any) -> tuple[bool, dict[str, Any]]:
        """Return what NWChem wrote.

        Raises:
            qcengine.exceptions.QCEngineException: It failed, and said why.
        """
        success, outputs = super().execute(inputs, **others)
        self._remember_version(outputs["stdout"])
        if success:
            return success, outputs
        fault = nwchem_faults.failure(outputs["stdout"], outputs["stderr"])
        if isinstance(fault, ConvergenceError):
            raise NotConvergedError(fault)
        if fault is not None and _MENDED not in fault.raw_message:
            raise fault
        return success, outputs

    def parse_output(self, outfiles: dict[str, str | None], input_model: AtomicInput) -> AtomicResult:
        """Return the result, with derivatives in the frame of the input.

        Raises:
            qcengine.exceptions.UnknownError: The output cannot be read, or NWChem has turned the molecule.
        """
        molecule = input_model.molecule
        if not (molecule.fix_com and molecule.fix_orientation) or input_model.specification.extras.get("is_driver"):
            return super().parse_output(outfiles, input_model)
        _check_frame(outfiles["stdout"] or "", molecule)
        # QCEngine turns derivatives back by the rotation that brings the molecules together, which is not unique for
        # atoms and linear molecules. Here nothing was turned, and this says so.
        free = molecule.model_copy(update={"fix_com": False, "fix_orientation": False})
        result = super().parse_output(outfiles, input_model.model_copy(update={"molecule": free}))
        return result.model_copy(update={"molecule": molecule, "input_data": input_model})


def _by_element(block: re.Match[str]) -> str:
    """Return a block of basis sets with its elements in one order."""
    lines = block[0].splitlines(keepends=True)
    return "".join(sorted(lines, key=lambda line: line.split()[0].removeprefix("bq")))


def _clear(place: int) -> str:
    """Return what makes NWChem forget the tasks before this one."""
    return f"set autotune:{place} 1\nunset *\nset file_prefix nwchem\n"


def _outputs(output: str, decks: Sequence[str]) -> list[str | None]:
    """Return what a start would have printed for each task alone, up to the one at which it ended; None for that."""
    title = _TITLE.search(output)
    if title is None:
        return []
    head, body = output[: title.end()], output[title.end() :]
    pieces = _NEXT.split(body)
    printed, places = pieces[::2], pieces[1::2]
    if places != [str(place) for place in range(1, len(printed))]:
        return []
    complete = len(printed) == len(decks) and _COMPLETE.search(printed[-1]) is not None
    before, after = _ECHO.split(head, maxsplit=1) if _ECHO.search(head) else (head, "")
    outputs: list[str | None] = [f"{before}{deck}\n{after}{text}" for text, deck in zip(printed, decks, strict=False)]
    return outputs if complete else [*outputs[:-1], None]


def _question(job: str, molecule: Molecule) -> str:
    """Return what NWChem's answer about a job depends on: all but how many atoms there are, and where.

    An expansion may have a hundred kinds of fragments of the same elements, and each start takes 0.2 s.
    """
    without_atoms = re.sub(r"^geometry .*?^end$", "", job, flags=re.MULTILINE | re.DOTALL)
    atoms = sorted(set(zip(molecule.symbols.tolist(), molecule.real.tolist(), strict=True)))
    return f"{atoms} {without_atoms}"


def _completed(input_data: AtomicInput) -> AtomicInput:
    """Return the input that NWChem gets.

    Raises:
        qcengine.exceptions.InputError: The task cannot run.
    """
    molecule, specification = input_data.molecule, input_data.specification
    given = {name.lower(): value for name, value in specification.keywords.items()}
    keywords = dict(specification.keywords)
    if molecule.molecular_multiplicity > 1 and not any(given.get(name) for name in _REFERENCES):
        keywords["scf__uhf"] = True
    if isinstance(specification.model.basis, str):
        real = molecule.symbols[np.asarray(molecule.real)]
        keywords.update(nwchem_potentials.keywords(specification.model.basis, real, given))
    method = specification.model.method.lower().removeprefix("nwc-")
    if molecule.molecular_multiplicity > 1 and method in _CLOSED_SHELL_METHODS and not given.get("qc_module"):
        raise InputError(
            f"NWChem's module for {method} has no open shells; the keyword qc_module=tce takes one that has"
        )
    if method == "dft" and not given.get("dft__xc"):
        raise InputError("NWChem's method dft is a local functional unless told otherwise; name one, such as b3lyp")
    update: dict[str, Any] = {"specification": specification.model_copy(update={"keywords": keywords})}
    if not given.get("geometry__autosym"):
        update["molecule"] = molecule.model_copy(update={"fix_symmetry": "c1"})
    return input_data.model_copy(update=update)


def _check_frame(output: str, molecule: Molecule) -> None:
    """Raise UnknownError where the atoms of an output are not those of a molecule, up to a shift of them all."""
    block = _POSITIONS.search(output)
    rows = [line.split() for line in block[1].splitlines()] if block else []
    positions = np.array([[float(number) for number in row[-3:]] for row in rows]).reshape(-1, 3)
    wanted = np.asarray(molecule.geometry)
    if positions.shape != wanted.shape:
        raise UnknownError("NWChem's output does not show the atoms' positions")
    moved = (positions - positions[0]) - (wanted - wanted[0])
    if np.abs(moved).max() > _SMALLEST_SHIFT_BOHR:
        raise UnknownError(
            f"NWChem moved the atoms by up to {np.abs(moved).max():.1e} a0, so its results are not those of the input;"
            " leave out keywords that turn symmetry on (geometry__autosym)"
        )
