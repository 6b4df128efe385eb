"""The QCEngine procedure `autotune`: `qcengine.compute(many_body_input, "autotune")`, and what optimisers ask for.

Rules: a ManyBodyInput gives the ManyBodyResult of QCEngine's `qcmanybody`; what goes wrong is one of QCEngine's
exceptions with our one line. One warm session for each process, until it ends or the options change. Optimisers speak
of one program and one molecule, so an AtomicInput is answered too: its keywords say which expansion is meant, its
gradient is the expansion's. Importing this room loads QCEngine.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from qcelemental.models import v1 as schema_1
from qcelemental.models import v2 as schema_2
from qcengine.config import get_global
from qcengine.exceptions import ConvergenceError, InputError, ResourceError, UnknownError
from qcengine.procedures import list_all_procedures, register_procedure
from qcengine.procedures.model import ProcedureHarness
from qcmanybody.models import v1 as many_body_1
from qcmanybody.models import v2 as many_body_2

from autotune.base import errors
from autotune.base.options import Options
from autotune.base.records import RunRecord
from autotune.base.text import one_line
from autotune.base.versions import library_versions
from autotune.expansion.workload import refuse_invalid, schema_version_of, state_molecule
from autotune.machine import process
from autotune.session.session import Session

if TYPE_CHECKING:
    from qcengine.config import TaskConfig

NAME = "autotune"
KEYWORDS = ("program", "keywords", "many_body", "specification")
DRIVERS = ("energy", "gradient", "hessian")
# What QCEngine takes for a task when nobody says anything: all cores, and this share of the memory that is free.
_SHARE_OF_MEMORY = 0.9
_MEMORY_ROUNDING_GIB = 1e-3
_MODELS = (schema_1.AtomicInput, schema_2.AtomicInput, many_body_1.ManyBodyInput, many_body_2.ManyBodyInput)
# By the kind of all failed tasks. A crash is not QCEngine's random_error: it has been tried again already.
_BY_KIND = {"input": InputError, "convergence": ConvergenceError}
_BY_KIND |= dict.fromkeys(("memory", "disk", "missing"), ResourceError)


def register(*, options: Options | None = None) -> None:
    """Give QCEngine the procedure `autotune` in this process; safe to call again, and in several threads.

    Args:
        options: What to decide instead of autotune in all computations from now on; left out, what was said before
            stays. QCEngine's `task_config` goes before them: `ncores`, `memory` and `scratch_directory` become the
            options `cores`, `memory_gib` and `scratch`.
    """
    process.name_user(os.environ)  # QCEngine asks for one
    with _registering:
        if options is not None:
            _warm.chosen = options
        if NAME not in list_all_procedures():
            register_procedure(AutotuneProcedure())


def close() -> None:
    """End the worker processes now instead of at the end of this process; the next computation starts new ones."""
    _warm.close()


def last_run() -> RunRecord | None:
    """Return what the last computation of this process did; None before the first."""
    return _warm.record


_registering = threading.Lock()


class AutotuneProcedure(ProcedureHarness):  # type: ignore[misc]  # QCEngine is untyped
    """Many-body expansions in parallel with warm workers, for `qcengine.compute(..., "autotune")`."""

    _defaults: ClassVar[dict[str, Any]] = {"name": NAME, "procedure": "manybody"}

    def found(self, raise_error: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 - QCEngine's signature
        """Return True: what it needs is installed with it."""
        return True

    def get_version(self) -> str:
        """Return the version of autotune."""
        return library_versions()["qc-autotune"]

    def build_input_model(self, data: object, *, return_input_schema_version: bool = False) -> Any:
        """Return a ManyBodyInput or AtomicInput in schema 2, with the schema version it came in where asked.

        Args:
            data: One of the two in schema 1 or 2, or its fields as a mapping.
            return_input_schema_version: Return both as a tuple.

        Raises:
            qcengine.exceptions.InputError: It is neither; the message names the field.
        """
        with _in_qcengines_words():
            model, version = _read(data)
        return (model, version) if return_input_schema_version else model

    def compute(self, input_model: Any, config: TaskConfig) -> Any:
        """Return the ManyBodyResult of a ManyBodyInput, or the AtomicResult of an AtomicInput, in schema 2.

        Raises:
            qcengine.exceptions.InputError: The input, an option or a keyword cannot be used.
            qcengine.exceptions.ResourceError: The machine cannot do what was asked.
            qcengine.exceptions.ConvergenceError: All fragments that failed did not converge.
            qcengine.exceptions.UnknownError: Fragments failed otherwise; `extras["failed"]` has each by its label.
        """
        with _in_qcengines_words():
            options = options_of(config, _warm.chosen)
            if not isinstance(input_model, schema_2.AtomicInput):
                return _warm.run(input_model, options)
            # An optimiser asks for the same fragments again and again, each time a little farther.
            if options.reuse_densities is None:
                options = replace(options, reuse_densities=True)
            return atomic_result(input_model, _warm.run(many_body_input(input_model), options))


def options_of(config: TaskConfig, chosen: Options) -> Options:
    """Return the options of a computation: what QCEngine was told, over what `register` was.

    QCEngine fills in what it was not told, without saying so, and optimisers hand that on to each of their steps as if
    it had been given. So a value that is QCEngine's own for this machine counts as not given.
    """
    given: dict[str, Any] = {}
    if config.ncores != get_global("ncores"):
        given["cores"] = config.ncores
    automatic_gib = _SHARE_OF_MEMORY * get_global("memory")
    if not math.isclose(config.memory, automatic_gib, rel_tol=0.0, abs_tol=_MEMORY_ROUNDING_GIB):
        given["memory_gib"] = config.memory
    if config.scratch_directory:
        given["scratch"] = config.scratch_directory
    return replace(chosen, **given)


def many_body_input(asked: Any) -> Any:
    """Return the ManyBodyInput (v2) that an AtomicInput (v2) for this procedure means.

    Its keywords: `program` and `keywords` of the fragments' calculations, `many_body` with the keywords of the
    expansion, or `specification` with several model chemistries, as in a ManyBodyInput. Total data is returned unless
    `many_body` says otherwise, for that is what an optimiser follows.

    Raises:
        InputError: A keyword is unknown or missing, or is not what a ManyBodyInput takes.
    """
    driver, keywords = asked.specification.driver.value, dict(asked.specification.keywords)
    if driver not in DRIVERS:
        raise errors.InputError(f"driver {driver!r} has no many-body expansion; take {', '.join(DRIVERS)}")
    unknown = sorted(keywords.keys() - set(KEYWORDS))
    if unknown:
        raise errors.InputError(
            f"procedure {NAME} has no keyword {one_line(', '.join(unknown))}; it has {', '.join(KEYWORDS)};"
            " a program's own keywords go into 'keywords'"
        )
    chemistries = keywords.get("specification")
    if chemistries is None:
        if not keywords.get("program"):
            raise errors.InputError("keyword 'program' is missing: say which one computes the fragments, such as pyscf")
        chemistries = {
            "program": keywords["program"],
            "driver": driver,
            "model": asked.specification.model.model_dump(),
            "keywords": keywords.get("keywords") or {},
        }
    with refuse_invalid("the keywords make no many-body input"):
        fields = {
            "molecule": asked.molecule,
            "specification": {
                "driver": driver,
                "keywords": {"return_total_data": True, **(keywords.get("many_body") or {})},
                "specification": chemistries,
            },
        }
        return many_body_2.ManyBodyInput(**fields)


def atomic_result(asked: Any, result: Any) -> Any:
    """Return the answer to an AtomicInput (v2): the expansion's energy (Eh) and derivatives as if of one molecule.

    The expansion's own properties, level by level, are in `extras["many_body_properties"]`, its tables in `stdout`.
    """
    found = result.properties
    properties = {
        "calcinfo_natom": found.calcinfo_natom,
        "nuclear_repulsion_energy": found.nuclear_repulsion_energy,
        **{f"return_{name}": getattr(found, f"return_{name}", None) for name in DRIVERS},
    }
    return schema_2.AtomicResult(
        input_data=asked,
        molecule=asked.molecule,
        properties={name: value for name, value in properties.items() if value is not None},
        return_result=result.return_result,
        stdout=result.stdout,
        provenance={"creator": NAME, "version": library_versions()["qc-autotune"], "routine": __name__},
        extras={"many_body_properties": json.loads(found.model_dump_json())},
    )


def _read(data: object) -> tuple[Any, int]:
    with refuse_invalid("the input is not valid"):
        model = data if isinstance(data, _MODELS) else _from_fields(data)
        return model.convert_v(2), int(model.schema_version)


def _from_fields(data: object) -> Any:
    if not isinstance(data, Mapping):
        raise errors.InputError(f"an input is a ManyBodyInput, an AtomicInput or a mapping, not {type(data).__name__}")
    fields = dict(data)
    version, inner = fields.get("schema_version"), fields.get("specification", fields)
    atomic = "model" in inner if isinstance(inner, Mapping) else hasattr(inner, "model")
    # For an AtomicInput QCEngine's own rule for what users write without a version.
    of_atomic = "specification" not in fields and version != 2  # noqa: PLR2004
    older = of_atomic if atomic else schema_version_of(fields) == 1
    if isinstance(fields.get("molecule"), Mapping):
        # Charges and multiplicities of many fragments are what QCElemental cannot guess.
        fields["molecule"] = state_molecule(fields["molecule"], schema_version=1 if older else 2)
    if atomic:
        return (schema_1 if older else schema_2).AtomicInput(**fields)
    return (many_body_1 if older else many_body_2).ManyBodyInput(**fields)


@contextlib.contextmanager
def _in_qcengines_words() -> Iterator[None]:
    """Raise QCEngine's exceptions instead of ours, with the same line."""
    try:
        yield
    except errors.TaskError as error:
        kinds = {kind for kind, _ in error.failed.values()}
        raised = _BY_KIND.get(kinds.pop(), UnknownError) if len(kinds) == 1 else UnknownError
        failed = {label: {"kind": kind, "message": said} for label, (kind, said) in error.failed.items()}
        raise raised(str(error), extras={"failed": failed}) from error
    except errors.InputError as error:
        raise InputError(str(error)) from error
    except errors.ResourceError as error:
        raise ResourceError(str(error)) from error
    except errors.AutotuneError as error:
        raise UnknownError(str(error)) from error


class _Warm:
    """The session of this process: made when first needed, made again when the options change."""

    def __init__(self) -> None:
        self.chosen = Options()
        self.record: RunRecord | None = None
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._options = self.chosen
        self._parents: list[Session] = []

    def run(self, many_body: object, options: Options) -> Any:
        with self._lock:
            if self._session is None or self._options != options:
                self.close()
                self._session, self._options = Session(options), options
            try:
                return self._session.run(many_body)
            finally:
                self.record = self._session.record

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def forget(self) -> None:
        """Leave to the parent of a forked process what is its own: session, workers, and a lock that may be held."""
        self._lock = threading.RLock()
        self._parents += [self._session] if self._session is not None else []
        self._session = None


_warm = _Warm()
atexit.register(_warm.close)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks either
    os.register_at_fork(after_in_child=_warm.forget)
