"""What speaks against the tuning that a run uses: another version of the program, times that it does not predict.

Rules: one sentence, or an empty text where there is nothing to say; the run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from autotune.base.records import TaskRecord
from autotune.base.types import Method, Task
from autotune.costs import drift
from autotune.costs.basis import is_spherical
from autotune.programs.facts import facts_of
from autotune.runtime.planning import Plan
from autotune.tunings import library


def of_version(plan: Plan, versions: Mapping[str, str]) -> str:
    """Return what to say before a run, with these versions of the programs."""
    tuning = plan.tuning
    return library.version_note(tuning, versions.get(tuning.method.program, "")) if tuning else ""


def of_basis(methods: Iterable[Method], symbols: Iterable[str]) -> str:
    """Return what to say where a program will take a basis set otherwise than it was made; upstream does so, too."""
    for method in methods:
        facts = facts_of(method.program)
        keyword, told = facts.spherical_keyword, {name.lower() for name in json.loads(method.keywords)}
        if keyword and not told & {keyword, facts.cartesian_keyword} and is_spherical(method.basis, symbols):
            return (
                f"{method.program} takes {method.basis} as Cartesian, although it is spherical and other programs"
                f" take it so: add the keyword {keyword}=true to agree with them"
            )
    return ""


def of_times(plan: Plan, tasks: Sequence[Task], records: Sequence[TaskRecord], *, cores: int) -> str:
    """Return what to say after a run; only a tuning that was measured for it is held against it."""
    if plan.tuning is None or plan.chosen.match != "exact":
        return ""
    return drift.note(plan.tuning, tasks, records, workers=plan.policy.workers, cores=cores)
