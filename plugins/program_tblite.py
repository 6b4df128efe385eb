"""tblite (GFN1-xTB, GFN2-xTB, IPEA1-xTB) as a QCEngine program, in the worker's own process.

QCEngine has no harness for it; tblite's own `tblite.qcschema` speaks QCSchema, so this one only passes on: names of
methods in any case, an empty basis set as none. A molecule of water takes 5 ms, where the program `xtb` is a process.
Energies and gradients; what it cannot do (ghost atoms, basis sets, Hessians) is refused before the first task.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from autotune.plugin.facts import IN_WORKER, Convergence, ProgramFacts, register_harness
from autotune.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, AtomicResult, FailedOperation
    from qcengine.config import TaskConfig

METHODS = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")
DRIVERS = ("energy", "gradient", "properties")


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to tblite."""
    return [
        ProgramFacts(
            name="tblite",
            ghosts=False,
            stays=IN_WORKER,
            convergence={
                "semiempirical": Convergence(
                    error_hartree=3.1e-10, thresholds={"accuracy": (1.0, 2.0)}, tighter={"accuracy": 0.1}
                )
            },
            installed_as=("tblite",),
            usual=True,
        )
    ]


@hookimpl
def autotune_register_programs() -> None:
    """Register the program `tblite` with QCEngine, unless something already has."""
    register_harness("tblite", _harness, replace=False)


@cache
def _harness() -> type[Any]:
    """Return the harness class; a function, so that the plugin loads without QCEngine."""
    from qcengine.exceptions import InputError
    from qcengine.programs.model import ProgramHarness

    class TbliteHarness(ProgramHarness):  # type: ignore[misc]  # QCEngine is untyped
        """GFN1-xTB, GFN2-xTB and IPEA1-xTB with tblite in this process."""

        _defaults: ClassVar[dict[str, Any]] = {
            "name": "tblite",
            "scratch": False,
            "thread_safe": False,
            "thread_parallel": True,
            "node_parallel": False,
            "managed_memory": False,
        }

        @staticmethod
        def found(raise_error: bool = False) -> bool:  # noqa: FBT001, FBT002 - QCEngine's signature
            """Return whether tblite can be imported; ModuleNotFoundError instead of False where asked."""
            from qcelemental.util import which_import

            message = "Please install it with `pip install tblite`."
            return bool(which_import("tblite", return_bool=True, raise_error=raise_error, raise_msg=message))

        def get_version(self) -> str:
            """Return the version of tblite."""
            from tblite.library import get_version

            return ".".join(str(number) for number in get_version())

        def warm_up(self) -> None:
            """Import all that tasks need; runs no threads, so processes may be forked afterwards."""
            import tblite.qcschema  # noqa: F401

        def preflight(self, input_data: AtomicInput) -> dict[str, Any]:
            """Return what differs in the input that tblite gets; InputError, in one line, for what it cannot do."""
            specification = input_data.specification
            method = {name.lower(): name for name in METHODS}.get(specification.model.method.lower())
            if method is None:
                known = ", ".join(METHODS)
                raise InputError(f"tblite has no method {specification.model.method!r}; it has {known}")
            if specification.model.basis:
                raise InputError(f"{method} has no basis set; leave {specification.model.basis!r} out")
            if specification.driver.value not in DRIVERS:
                raise InputError(f"tblite has no {specification.driver.value}; it has {', '.join(DRIVERS)}")
            if not input_data.molecule.real.all():
                raise InputError("tblite has no ghost atoms, which bsse cp and vmfc need; use nocp")
            return {"method": method, "basis": None}

        def compute(self, input_data: AtomicInput, config: TaskConfig) -> AtomicResult | FailedOperation:
            """Return the result of a task; threads are the process's, which its worker sets."""
            del config
            from tblite.qcschema import run_schema

            specification = input_data.specification
            model = specification.model.model_copy(update=self.preflight(input_data))
            asked = input_data.model_copy(update={"specification": specification.model_copy(update={"model": model})})
            result = run_schema(asked)
            # The result is of the input as it was given.
            return _asked_for(result.model_copy(update={"input_data": input_data}))

    return TbliteHarness


def _asked_for(result: AtomicResult | FailedOperation) -> AtomicResult | FailedOperation:
    """Return a result without the gradient of an energy: tblite always has one; thousands fill memory and files."""
    if not result.success or result.input_data.specification.driver.value != "energy":
        return result
    return result.model_copy(update={"properties": result.properties.model_copy(update={"return_gradient": None})})
