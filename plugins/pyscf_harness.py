"""The QCEngine harness of PySCF: resources of a task in, QCSchema result out.

Determinism (PySCF 2.14, tested): with one core the same input gives the same bits, in a fresh process and in one that
has computed others before. With more cores OpenMP adds in changing order and totals differ in the last digits (up to
5e-13 Eh seen). Memory enters too, where a grant is close to one of PySCF's thresholds between algorithms. Tunables
change none of this: what a task takes over from others is defined by its own input, and computed where it is missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr
from qcengine.exceptions import ResourceError
from qcengine.programs.model import ProgramHarness

from autotune.base.late_modules import import_late
from autotune.plugin.facts import FALLBACK
from autotune_plugins.pyscf_settings import UNTOUCHED, Settings

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, AtomicResult
    from qcengine.config import TaskConfig

    from autotune.base.types import Parameter
    from autotune_plugins.pyscf_input import Plan

_LIBRARIES_MB = 150


class PySCFHarness(ProgramHarness):  # type: ignore[misc]  # QCEngine is untyped
    """HF, DFT, MP2, CCSD and CCSD(T) with PySCF in this process.

    See `pyscf_input.Keywords` for the keywords. A task's `memory` is the resident set of a process that runs only this
    task: 150 MB for PySCF and its libraries, the rest for arrays. PySCF's `max_memory` counts the whole process, so
    what this one holds beyond that is added; else a task would change its algorithm with the age of its worker. PySCF
    steers by estimates of its larger arrays: peaks exceed small grants by some 50 MB, and the out-of-core
    transformations of CCSD and MP2 count on 2000 MB whatever they are told.
    """

    _defaults: ClassVar[dict[str, Any]] = {
        "name": "PySCF",
        "scratch": True,
        "thread_safe": False,
        "thread_parallel": True,
        "node_parallel": False,
        "managed_memory": True,
    }

    _settings: Settings = PrivateAttr(default=UNTOUCHED)

    # Added to the version where results are kept; a new one whenever the same input gives another number.
    # r2: open shells end at minima, second order starts after ordinary cycles.
    revision: ClassVar[str] = "r2"

    @staticmethod
    def found(raise_error: bool = False) -> bool:  # noqa: FBT001, FBT002 - QCEngine's signature
        """Return whether PySCF can be imported; ModuleNotFoundError instead of False where asked."""
        from qcelemental.util import which_import

        message = "Please install it with `pip install pyscf`."
        return bool(which_import("pyscf", return_bool=True, raise_error=raise_error, raise_msg=message))

    def get_version(self) -> str:
        """Return the version of PySCF."""
        self.found(raise_error=True)
        return _version()

    def warm_up(self) -> None:
        """Import all that tasks need; runs no threads, so processes may be forked afterwards."""
        # For SciPy's star import of NumPy, PySCF's two other kinds of DIIS, and the check of new basis sets.
        import_late("numpy.f2py", "numpy.testing", "numpy.polynomial", "scipy.optimize", "jsonschema")
        from autotune_plugins import pyscf_threads

        pyscf_threads.pools()

    def tune(self, settings: Mapping[str, Parameter], shared: Path | None) -> None:
        """Compute as these settings say from here on; see `pyscf_settings.Settings`.

        Args:
            settings: Values of tunables by name; those that are missing leave PySCF as it is.
            shared: Folder that all workers of this machine share, for densities and integrals.
        """
        self._settings = Settings(**settings, shared=shared)  # type: ignore[arg-type]  # as declared in the door

    def preflight(self, input_data: AtomicInput) -> Plan:
        """Return the checked input, without computing anything.

        Raises:
            qcengine.exceptions.InputError: The task cannot run, in one line.
        """
        from autotune_plugins import pyscf_input

        return pyscf_input.read(input_data)

    def cautions(self, input_data: AtomicInput) -> tuple[str, ...]:
        """Return sentences about an input that can be computed, but perhaps not as it is meant.

        Raises:
            qcengine.exceptions.InputError: The task cannot run.
        """
        from autotune_plugins import pyscf_functionals

        plan = self.preflight(input_data)
        told = []
        if plan.radicals > 1 and not plan.stable:
            told.append(
                "PySCF does not check here that the SCF of fragments with unpaired electrons is at a minimum: energies "
                "of pairs may be wrong by tenths of a Hartree; "
                + (
                    "leave out the keyword stability: false"
                    if plan.keywords.stability is False
                    else "take a functional with second derivatives"
                )
            )
        sentence = pyscf_functionals.caution(plan.functional.name)
        return (*told, sentence) if sentence else tuple(told)

    def compute(self, input_data: AtomicInput, config: TaskConfig) -> AtomicResult:
        """Return the result of a task.

        Raises:
            qcengine.exceptions.InputError: The task cannot run.
            qcengine.exceptions.ConvergenceError: SCF, CCSD or Lambda equations did not converge.
            qcengine.exceptions.ResourceError: Memory or disk did not suffice.
        """
        plan = self.preflight(input_data)
        from qcelemental.models.v2 import AtomicResult, Provenance

        from autotune_plugins import pyscf_calculation

        max_memory_mb = _take_resources(config)
        try:
            properties = pyscf_calculation.run(
                plan, max_memory_mb=max_memory_mb, cores=config.ncores, settings=self._settings
            )
        except MemoryError as error:
            detail = str(error) or "its arrays do not fit"
            raise ResourceError(f"PySCF needs more than the {config.memory:g} GiB granted: {detail}") from error
        fallback = properties.pop("fallback")
        return AtomicResult(
            input_data=input_data,
            extras={FALLBACK: fallback} if fallback else {},
            molecule=input_data.molecule,
            properties=properties,
            return_result=properties[f"return_{plan.driver}"],
            provenance=Provenance(creator="PySCF", version=_version(), routine=f"pyscf {plan.method}"),
        )


@cache
def _version() -> str:
    import pyscf
    from qcelemental.util import safe_version

    return str(safe_version(pyscf.__version__))


@cache
def _usual_scratch() -> str:
    from pyscf import lib

    return str(lib.param.TMPDIR)


def _take_resources(config: TaskConfig) -> float:
    """Set threads and scratch folder of this process to the task's; return its `max_memory`, in MB (1e6 bytes)."""
    from pyscf import lib

    from autotune_plugins import pyscf_threads

    lib.num_threads(config.ncores)
    # PySCF threads its own loops with OpenMP; `ncores` for its BLAS too is the plain reading of QCEngine's setting, and
    # autotune says when fewer are faster.
    blas_threads = int(os.environ.get("AUTOTUNE_BLAS_THREADS") or config.ncores)
    pyscf_threads.pools().limit(limits=min(blas_threads, config.ncores), user_api="blas")
    usual = _usual_scratch()
    lib.param.TMPDIR = config.scratch_directory or usual
    for_arrays_mb = config.memory * 1024**3 / 1e6 - _LIBRARIES_MB
    if for_arrays_mb <= 0:
        raise ResourceError(f"{config.memory:g} GiB is less than PySCF and its libraries take, {_LIBRARIES_MB} MB")
    return float(lib.current_memory()[0] + for_arrays_mb)
