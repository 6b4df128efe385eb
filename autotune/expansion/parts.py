"""Part of a workload: the tasks that answer some labels, and the whole results of components by label.

Rules: a part is planned and run like any other workload, but it has no many-body sum; `workload.py` makes that of all.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.errors import InputError, one_line
from autotune.expansion.workload import Workload

if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult as AtomicResultV1
    from qcelemental.models.v2 import AtomicResult


def part(work: Workload, labels: Collection[str] | None = None) -> Workload:
    """Return the workload of the tasks that answer these labels, with whole component results kept.

    Args:
        work: The workload of an expansion.
        labels: QCManyBody labels; None for all.

    Raises:
        InputError: A label is none of this expansion's.
    """
    found = copy.copy(work)
    found.recipe = replace(work.recipe, keep_results=True)
    if labels is not None:
        wanted = set(labels)
        found.tasks = tuple(task for task in work.tasks if not wanted.isdisjoint(task.labels))
        unknown = sorted(wanted.difference(*(task.labels for task in found.tasks)))
        if unknown:
            raise InputError(
                f"label {one_line(unknown[0])} is none of this expansion's; its labels name the model chemistry, the"
                " fragments and those whose basis functions are there"
            )
    return found


def components(
    work: Workload, results: Mapping[str, str], *, labels: Collection[str] | None = None
) -> dict[str, AtomicResult | AtomicResultV1]:
    """Return the AtomicResult of each label, in the schema version of the workload's input.

    Args:
        work: A workload, or a part of one.
        results: By task key, the AtomicResult (v2, JSON).
        labels: Only these; None for all that the tasks answer.
    """
    from qcelemental.models.v2 import AtomicResult

    wanted = None if labels is None else set(labels)
    found: dict[str, AtomicResult | AtomicResultV1] = {}
    for task in work.tasks:
        asked = [label for label in task.labels if wanted is None or label in wanted]
        if asked:
            model = AtomicResult(**json.loads(results[task.key]))
            found |= dict.fromkeys(asked, model.convert_v(1) if work.schema_version == 1 else model)
    return found
