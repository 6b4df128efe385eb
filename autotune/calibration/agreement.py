"""Whether two runs of the same tasks agree, as closely as a program's tunables may change its results.

Rules: pure. A faster wrong number is worthless, so every run of a calibration is held against one that left the
program alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from autotune.base.errors import TaskError

if TYPE_CHECKING:
    from autotune.journal.values import TaskValues

# Largest change of a value that counts as the same result: Eh, Eh/a0, Eh/a0². Energies are stationary at a solution and
# derivatives are not, so these move by the square root of it between two converged solutions.
LIMITS = {"energy": 1e-9, "gradient": 1e-6, "hessian": 1e-5}


class DisagreementError(TaskError):
    """A configuration changes results."""


class Deviation(NamedTuple):
    """The largest change of each kind of value over the tasks of a run, and of which it is the most for its limit."""

    by_property: Mapping[str, float]

    @property
    def energy_hartree(self) -> float:
        """Largest change of an energy."""
        return self.by_property.get("energy", 0.0)

    def check(self) -> None:
        """Raise DisagreementError where a change is larger than its limit."""
        for name, largest in self.by_property.items():
            if not largest <= LIMITS[name]:  # which is how a NaN fails
                raise DisagreementError(f"it changes results: {name} by {largest:.1e} (at most {LIMITS[name]:.0e})")


def deviation(values: Mapping[str, TaskValues], reference: Mapping[str, TaskValues]) -> Deviation:
    """Return by how much the values of tasks differ from those of a reference, of the tasks that both have."""
    import numpy as np

    distances: dict[str, list[Any]] = {}
    for key in values.keys() & reference.keys():
        for name in values[key].keys() & reference[key].keys():
            change = np.abs(np.asarray(values[key][name]) - np.asarray(reference[key][name]))
            distances.setdefault(name, []).append(np.max(change, initial=0.0))
    return Deviation({name: float(np.max(of_tasks)) for name, of_tasks in distances.items()})
