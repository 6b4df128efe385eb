"""DFT-D4 through QCEngine's harness, with what it cannot do refused before the first task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from autotune.plugin.facts import IN_WORKER, ProgramFacts, register_harness
from autotune.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput

DRIVERS = ("energy", "gradient")


@hookimpl
def autotune_program_facts() -> Sequence[ProgramFacts]:
    """Return what is particular to DFT-D4; it leaves ghosts out, which is right: the correction has no basis set."""
    return [ProgramFacts(name="dftd4", stays=IN_WORKER, installed_as=("dftd4",), usual=True)]


@hookimpl
def autotune_register_programs() -> None:
    """Register our harness as `dftd4` instead of QCEngine's."""
    register_harness("dftd4", _harness)


@cache
def _harness() -> type[Any]:
    """Return the harness class; a function, so that the plugin loads without QCEngine."""
    from qcengine.exceptions import InputError
    from qcengine.programs.dftd_ng import DFTD4Harness

    class CheckedDFTD4Harness(DFTD4Harness):  # type: ignore[misc]  # QCEngine is untyped
        """DFT-D4, which has energies and gradients."""

        def preflight(self, input_data: AtomicInput) -> None:
            """Raise InputError, in one line, for what DFT-D4 cannot do."""
            driver = input_data.specification.driver.value
            if driver not in DRIVERS:
                raise InputError(f"dftd4 has no {driver}; it has {' and '.join(DRIVERS)}")

    return CheckedDFTD4Harness
