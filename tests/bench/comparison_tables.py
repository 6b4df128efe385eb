"""Numbers of a record of `comparison.py` that it does not hold as they are; the page that shows it uses them, too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

LARGER = (16, 64)


def older_best(row: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison with the older executor's schedule at its best number of workers."""
    found: dict[str, Any] = row["against"].get("older, best", row["against"]["older, 4 workers"])
    return found


def speedups(row: dict[str, Any]) -> tuple[float, ...]:
    """Return the speed-ups of a workload in the order of the table's columns."""
    found = (
        row["against"]["upstream"],
        older_best(row),
        row["against"][row["best_engine"]],
        row["against_warm"][row["best_engine_warm"]],
    )
    return tuple(each["speedup"] for each in found)


def mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))
