"""One order to its reply: the task's input, QCEngine, and what of the result goes back.

Rules: a program that fails is an answer, not an end. Runs in the workers.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.expansion import lower_methods
from autotune.programs import abilities, mpi
from autotune.workers.messages import Order, Reply

if TYPE_CHECKING:
    from autotune.expansion.component import Recipe


def compute(recipe: Recipe, order: Order, scratch: Path) -> Reply:
    """Return the reply to one order, not measured yet; a failing program is a reply too."""
    import qcengine

    from autotune.expansion.component import atomic_input

    started = time.monotonic()
    values: dict[str, Any] | None = None
    text: str | None = None
    within: dict[str, float] | None = None
    error_type = error = ""
    try:
        result = qcengine.compute(
            atomic_input(recipe, order.level, order.real, order.basis, rescue=order.rescue),
            recipe.programs[order.level],
            task_config=_task_config(recipe.programs[order.level], order, scratch),
            return_version=2,
        )
        if result.success:
            values, error = _values(result)
            within = lower_methods.energies(result.properties)
            error_type = "unknown_error" if error else ""
            text = result.model_dump_json() if recipe.keep_results and not error else None
        else:
            error_type, error = result.error.error_type, result.error.error_message
    except Exception as failure:  # noqa: BLE001 - the place where a crash of a program becomes a record
        values = within = text = None
        error_type, error = "unknown_error", f"{type(failure).__name__}: {failure}"
    wall_s = time.monotonic() - started
    return Reply(
        number=order.number,
        values=values,
        result=text,
        error_type=error_type,
        error=error,
        started=started,
        wall_s=wall_s,
        cpu_s=0.0,
        peak_gib=0.0,
        resident_gib=0.0,
        contained=within,
    )


def _task_config(program: str, order: Order, scratch: Path) -> dict[str, Any]:
    """Return what QCEngine is told of a task's resources; an MPI program gets a rank for each core."""
    import qcengine

    given = order.resources
    config = {"ncores": given.cores, "memory": given.memory_gib, "scratch_directory": str(scratch), "retries": 0}
    harness = qcengine.get_program(program, check=False)
    if given.cores > 1 and abilities.width_of(harness) == abilities.RANKS and mpi.launcher():
        config |= {"use_mpiexec": True, "mpiexec_command": mpi.launcher(), "cores_per_rank": 1, "nnodes": 1}
    return config


def _values(result: Any) -> tuple[dict[str, Any] | None, str]:
    """Return energy, gradient and Hessian as far as computed, or None and what is wrong with them."""
    import numpy as np

    from autotune.expansion.component import PROPERTIES

    values = {}
    wanted = result.input_data.specification.driver.value
    for name in PROPERTIES:
        value = getattr(result.properties, f"return_{name}", None)
        if value is None and name == wanted:
            # QCEngine's harnesses of MOPAC and dftd4 give a gradient as the result only, not among the properties.
            value = result.return_result
        if value is None:
            continue
        if not (math.isfinite(value) if isinstance(value, float) else np.all(np.isfinite(value))):
            return None, f"the program reported success, but its {name} holds a number that is not finite"
        values[name] = value if name == "energy" else np.asarray(value, dtype=np.float64)
    if wanted in PROPERTIES and wanted not in values:
        return None, f"the program reported success, but gave no {wanted}"
    return values, ""
