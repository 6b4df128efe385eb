"""What speaks against the tuning that a run uses: another version of the program, times that it does not predict.

Rules: one sentence, or an empty text where there is nothing to say; the run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune import drift, tunings
from autotune.planning import Plan
from autotune.records import TaskRecord
from autotune.types import Task


def of_version(plan: Plan, versions: Mapping[str, str]) -> str:
    """Return what to say before a run, with these versions of the programs."""
    tuning = plan.tuning
    return tunings.version_note(tuning, versions.get(tuning.method.program, "")) if tuning else ""


def of_times(plan: Plan, tasks: Sequence[Task], records: Sequence[TaskRecord], *, cores: int) -> str:
    """Return what to say after a run; only a tuning that was measured for it is held against it."""
    if plan.tuning is None or plan.chosen.match != "exact":
        return ""
    return drift.note(plan.tuning, tasks, records, workers=plan.policy.workers, cores=cores)
