"""The QCEngine harness of a resident Psi4: QCSchema in, resources of a task beside it, QCSchema out.

Psi4 before 1.4 answers in the form of `psi4.driver.json_wrapper.run_json`, later ones in QCSchema v1; both become v2
here. The inputs are what QCEngine's own harness would hand over: the reference of open shells, 95 % of the granted
memory for a Psi4 before 1.4, thread numbers beside the input. Where programs are not to stay loaded, Psi4 from 1.4 on
runs through QCEngine's own harness; an older one, which that cannot drive, gets a new process for each task.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any, ClassVar

from qcengine.exceptions import (
    ConvergenceError,
    InputError,
    QCEngineException,
    RandomError,
    ResourceError,
    UnknownError,
)
from qcengine.programs.model import ProgramHarness
from qcengine.programs.psi4 import Psi4Harness

from autotune_plugins import psi4_installation
from autotune_plugins.psi4_client import Server, ServerEndedError

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, AtomicResult
    from qcengine.config import TaskConfig

EXTERNAL_POTENTIALS_FROM = (1, 6)
MEMORY_SHARE = 0.95  # of a grant, for arrays; as in QCEngine's harness
# Its own search for a lower solution is no way out: with 1.3.2 it never ends in small irreps (a chlorine atom), does
# not converge for pairs of OH and of NO, and calls stable a state of NO + NO that is 0.086 Eh too high.
RADICALS_MEET = (
    "where open-shell fragments meet, Psi4 may converge to a state 0.1 Eh above the lowest and does not check that;"
    " compare with --program pyscf, and see that the interaction vanishes at large distances"
)
_MOLECULE_FIELDS = (
    "name",
    "fragment_charges",
    "fragment_multiplicities",
    "molecular_charge",
    "molecular_multiplicity",
    "fix_com",
    "fix_orientation",
)
# Names of Psi4's own exceptions, and words of its messages, with what they mean to QCEngine.
_INPUT_ERRORS = frozenset({"ValidationError", "MissingMethodError", "ManagedMethodError", "BasisSetNotFound"})
_INPUT_WORDS = (
    "set_global_option",
    "RHF reference is only for singlets",
    "is not a valid option",
    "does not exist for",
)
# What Psi4 says in a page of its own calls, and that in words.
_NO_OPTION = re.compile(
    r"Error setting option.*?\{'(?P<name>[^']*)': \((?P<value>.*?), .*?not a valid (?P<what>option|choice)"
)
_NO_BASIS = re.compile(
    r"Unable to find a basis set for atom .*?Shell Entries: \['(?P<element>\w*).*?Basis Sets: \[\('(?P<name>[^']*)'"
)
_CONVERGENCE_WORDS = ("ConvergenceError", "did not converge", "Could not converge")


class EndedError(QCEngineException):  # type: ignore[misc]  # QCEngine is untyped
    """The Psi4 process ended in the middle of a task."""

    error_type = "crash"
    header = "Psi4"


class OutOfMemoryError(EndedError):
    """The system killed the Psi4 process, which is how it answers to too little memory."""

    error_type = "memory"


class ResidentPsi4Harness(ProgramHarness):  # type: ignore[misc]  # QCEngine is untyped
    """Psi4 in a process that stays loaded beside this one, which sees it through two pipes."""

    _defaults: ClassVar[dict[str, Any]] = {
        "name": "Psi4",
        "scratch": True,
        "thread_safe": False,
        "thread_parallel": True,
        "node_parallel": False,
        "managed_memory": True,
    }
    _server: ClassVar[Server | None] = None
    # Of the numbers: r2 has no core potentials on ghosts, and the dispersion of the element.
    revision: ClassVar[str] = "r2"

    @staticmethod
    def found(raise_error: bool = False) -> bool:  # noqa: FBT001, FBT002 - QCEngine's signature
        """Return whether there is a Psi4; ModuleNotFoundError instead of False where asked."""
        if psi4_installation.executable() is None:
            if raise_error:
                raise ModuleNotFoundError("Psi4 is not in PATH; install it and check with `which psi4`")
            return False
        return True

    def get_version(self) -> str:
        """Return the version of Psi4."""
        from qcelemental.util import safe_version

        return str(safe_version(_installation().version))

    def warm_up(self) -> None:
        """Find Psi4, once for all workers."""
        psi4_installation.find()

    def start(self) -> None:
        """Start loading Psi4 beside a new worker, and do not wait for it."""
        if self._uses_server():
            self._running()

    def preflight(self, input_data: AtomicInput) -> None:
        """Refuse what cannot be computed, without computing anything.

        Raises:
            qcengine.exceptions.InputError: The task cannot run, in one line.
        """
        if not isinstance(input_data.specification.model.basis or "", str):
            raise InputError("Psi4 takes the name of a basis set here, not a QCSchema BasisSet")
        method, basis = input_data.specification.model.method, input_data.specification.model.basis
        if basis and "/" in method:  # Psi4 would take the one in the method's name
            raise InputError(f"method {method!r} names a basis set beside {basis!r}; keep one of them")
        potentials = (input_data.specification.keywords.get("function_kwargs") or {}).get("external_potentials")
        if potentials and not _installation().at_least(*EXTERNAL_POTENTIALS_FROM):
            raise InputError(
                f"Psi4 {_installation().version} ignores external potentials (embedding charges); 1.6 does not"
            )
        problem = self._ask("check", task=_task(input_data))["problem"]
        if problem:
            raise InputError(_in_words(problem))

    def cautions(self, input_data: AtomicInput) -> tuple[str, ...]:
        """Return what to tell the user of an input whose number deserves doubt, a sentence each."""
        molecule = input_data.molecule
        radicals = [
            multiplicity
            for atoms, multiplicity in zip(molecule.fragments, molecule.fragment_multiplicities, strict=True)
            if multiplicity > 1 and molecule.real[list(atoms)].all()
        ]
        return (RADICALS_MEET,) if len(radicals) > 1 else ()

    def compute(self, input_data: AtomicInput, config: TaskConfig) -> AtomicResult:
        """Return the result of a task.

        Raises:
            qcengine.exceptions.InputError: The task cannot run.
            qcengine.exceptions.ConvergenceError: Iterations did not converge.
            qcengine.exceptions.ResourceError: Memory or disk did not suffice.
            EndedError: Psi4 ended in the middle of the task.
        """
        if not self._uses_server():
            self._end()  # one that checked the input
            return Psi4Harness().compute(input_data, config)
        blas_threads = int(os.environ.get("AUTOTUNE_BLAS_THREADS") or config.ncores)
        try:
            answer = self._ask(
                "compute",
                task=_task(input_data),
                threads=config.ncores,
                blas_threads=min(blas_threads, config.ncores),
                memory_bytes=int(config.memory * MEMORY_SHARE * 1024**3),
                scratch=config.scratch_directory or os.environ.get("PSI_SCRATCH") or os.getcwd(),  # noqa: PTH109
            )
        finally:
            if not _resident():
                self._end()
        if not answer.get("success"):
            raise _failure(answer)
        if _installation().speaks_schema:
            return _from_schema_v1(answer, input_data, config)
        return _from_json_wrapper(answer, input_data, config)

    # --- the process -------------------------------------------------------------------------------------------------

    @staticmethod
    def _uses_server() -> bool:
        return _resident() or not _installation().speaks_schema

    @classmethod
    def _running(cls) -> Server:
        if cls._server is None or cls._server.owner != os.getpid():
            cls._server = Server(_installation())
        return cls._server

    @classmethod
    def _ask(cls, what: str, **details: object) -> dict[str, Any]:
        try:
            return cls._running().ask(what, **details)
        except ServerEndedError as error:
            cls._server = None
            raise _ended(error.status) from error

    @classmethod
    def _end(cls) -> None:
        if cls._server is not None:
            cls._server.close()
            cls._server = None


def _resident() -> bool:
    return os.environ.get("AUTOTUNE_RESIDENT") != "0"


def _installation() -> psi4_installation.Installation:
    found = psi4_installation.find()
    if found is None:
        raise ResourceError("Psi4 does not say where its modules are; check `psi4 --psiapi-path`")
    return found


def _task(input_data: AtomicInput) -> dict[str, Any]:
    """Return the input as QCSchema v1, made by hand: a conversion through the models takes milliseconds a task."""
    molecule, specification = input_data.molecule, input_data.specification
    keywords = dict(specification.keywords)
    if molecule.molecular_multiplicity != 1 and "reference" not in {name.lower() for name in keywords}:
        keywords["reference"] = "uhf"
    fields = {name: getattr(molecule, name) for name in _MOLECULE_FIELDS}
    if molecule.fix_symmetry:
        fields["fix_symmetry"] = molecule.fix_symmetry
    return {
        "schema_name": "qcschema_input",
        "schema_version": 1,
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "symbols": molecule.symbols.tolist(),
            "geometry": molecule.geometry.ravel().tolist(),
            "masses": molecule.masses.tolist(),
            "real": molecule.real.tolist(),
            "fragments": [[int(atom) for atom in fragment] for fragment in molecule.fragments],
            **fields,
        },
        "driver": specification.driver.value,
        "model": {"method": specification.model.method, "basis": specification.model.basis or ""},
        "keywords": keywords,
        "protocols": {"stdout": bool(specification.protocols.stdout)},
        "extras": dict(specification.extras),
    }


def _from_json_wrapper(answer: dict[str, Any], input_data: AtomicInput, config: TaskConfig) -> AtomicResult:
    from qcelemental.models.v2 import AtomicProperties, AtomicResult

    driver = input_data.specification.driver.value
    known = {name: v for name, v in answer["properties"].items() if name in AtomicProperties.model_fields}
    properties = {name: value for name, value in known.items() if value is not None}
    if driver in ("energy", "gradient", "hessian"):
        properties[f"return_{driver}"] = answer["return_result"]
    return AtomicResult(
        input_data=input_data,
        molecule=input_data.molecule,
        properties=properties,
        return_result=answer["return_result"],
        extras={"qcvars": answer["extras"]["qcvars"]},
        stdout=answer.get("raw_output"),
        provenance=_provenance(answer, config),
    )


def _from_schema_v1(answer: dict[str, Any], input_data: AtomicInput, config: TaskConfig) -> AtomicResult:
    from qcelemental.models import v1

    answer["provenance"] = _provenance(answer, config)
    return v1.AtomicResult(**answer).convert_v(2, external_input_data=input_data)


def _provenance(answer: dict[str, Any], config: TaskConfig) -> dict[str, Any]:
    return {**answer["provenance"], "memory": round(config.memory, 3), "nthreads": config.ncores}


def _failure(answer: dict[str, Any]) -> QCEngineException:
    """Return what an answer without success means."""
    error = answer.get("error") or {}
    kind, message = str(error.get("error_type", "")), str(error.get("error_message", "Psi4 said nothing"))
    if kind == "MemoryError" or "bad_alloc" in message:
        return ResourceError(message)
    if kind in _INPUT_ERRORS or any(words in message for words in _INPUT_WORDS):
        return InputError(_in_words(message))
    if any(words in kind or words in message for words in _CONVERGENCE_WORDS):
        return ConvergenceError(message)
    if "PSIO Error" in message:
        return ResourceError(message) if "scratch directory" in message else RandomError(message)
    return UnknownError(message)


def _in_words(message: str) -> str:
    """Return what is wrong with an input, without Psi4's own calls where it is known what they mean."""
    if found := _NO_OPTION.search(message):
        if found["what"] == "option":
            return f"Psi4 has no option {found['name']!r}; check the names of --keywords"
        return f"Psi4's option {found['name']!r} has no choice {found['value']}; see Psi4's manual for its choices"
    if found := _NO_BASIS.search(message):
        return f"Psi4 has no basis set {found['name']!r} for {found['element']}; check the name"
    return message


def _ended(status: int | None) -> EndedError:
    if status is not None and status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        if -status == signal.SIGKILL:
            return OutOfMemoryError("the Psi4 process was ended by SIGKILL (often the answer to too little memory)")
        return EndedError(f"the Psi4 process was ended by {name}")
    return EndedError(f"the Psi4 process ended with status {status} in the middle of a task")
