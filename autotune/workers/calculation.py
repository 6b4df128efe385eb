"""Orders to their replies: the task's input, QCEngine, and what of the result goes back.

Rules: a program that fails is an answer, not an end. Runs in the workers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.expansion import lower_methods
from autotune.plugin.facts import FALLBACK
from autotune.programs import abilities, mpi
from autotune.workers.messages import Order, Reply, Together

if TYPE_CHECKING:
    from autotune.expansion.component import Recipe


def compute(recipe: Recipe, order: Order, scratch: Path) -> Reply:
    """Return the reply to one order, not measured yet; a failing program is a reply too."""
    import qcengine

    from autotune.expansion.component import atomic_input

    started = time.monotonic()
    try:
        result = qcengine.compute(
            atomic_input(recipe, order.level, order.real, order.basis, rescue=order.rescue),
            recipe.programs[order.level],
            task_config=_task_config(recipe.programs[order.level], order, scratch),
            return_version=2,
        )
        reply = _reply(recipe, order, result, started=started)
    except Exception as failure:  # noqa: BLE001 - the place where a crash of a program becomes a record
        error = f"{type(failure).__name__}: {failure}"
        reply = Reply(order.number, started, 0.0, error_type="unknown_error", error=error)
    return reply._replace(wall_s=time.monotonic() - started)


def compute_together(recipe: Recipe, orders: Sequence[Order], scratch: Path) -> tuple[list[Reply], int]:
    """Return the replies that one start of a program brings, and how many of the first orders it has taken up.

    The orders are of one level, with equal resources. What was taken up and has no reply failed there: computed by
    itself it has the outcome, and the words, that it has without the others. The rest wants another start.
    """
    import qcengine
    from qcengine.util import environ_context, handle_output_metadata

    from autotune.expansion.component import atomic_input

    first, program, started = orders[0], recipe.programs[orders[0].level], time.monotonic()
    harness = qcengine.get_program(program)
    parts = {each.number: each.together or Together(1.0) for each in orders}
    replies: list[Reply] = []
    try:
        inputs = [atomic_input(recipe, each.level, each.real, each.basis, rescue=each.rescue) for each in orders]
        options = [each.specification.extras.pop("_qcengine_local_config", {}) for each in inputs]  # as `compute` does
        config = qcengine.get_config(task_config={**_task_config(program, first, scratch), **options[0]})
        with environ_context(config=config):
            limit_s = parts[first.number].limit_s
            results = harness.compute_together(inputs, config, limit_s=limit_s)
        begun = orders[: len(results)]
        second_s = (time.monotonic() - started) / (sum([parts[each.number].part_s for each in begun]) or 1.0)
        for order, result in zip(begun, results, strict=True):
            wall_s = parts[order.number].part_s * second_s
            if result is not None:
                said = {"success": True, "retries": 0, "stdout": None, "stderr": None, "wall_time": wall_s}
                whole = handle_output_metadata(result, said, return_dict=False, convert_version=2)
                reply = _reply(recipe, order, whole, started=started)
                if reply.values is not None:
                    replies.append(reply._replace(wall_s=wall_s, sharers=len(begun)))
            started += wall_s
    except Exception:  # noqa: BLE001 - whichever task is at fault says so by itself
        return replies, max(1, len(replies))
    return replies, len(begun)


def _reply(recipe: Recipe, order: Order, result: Any, *, started: float) -> Reply:
    """Return what QCEngine's answer is in a reply, without the time it took."""
    if not result.success:
        failed = result.error
        return Reply(order.number, started, 0.0, error_type=failed.error_type, error=failed.error_message)
    values, error = _values(result)
    return Reply(
        number=order.number,
        started=started,
        wall_s=0.0,
        values=values,
        result=result.model_dump_json() if recipe.keep_results and not error else None,
        error_type="unknown_error" if error else "",
        error=error,
        contained=lower_methods.energies(result.properties),
        fallback=str(result.extras.get(FALLBACK, "")),
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
