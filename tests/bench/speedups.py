"""How many times as fast autotune is as each side of a row of `comparison.py`, for its summary and the docs' table."""

from __future__ import annotations

from typing import Any


def older_best(row: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison with the older executor's schedule at its best number of workers."""
    found: dict[str, Any] = row["against"].get("older, best", row["against"]["older, 4 workers"])
    return found


def speedups(row: dict[str, Any]) -> tuple[float, ...]:
    """Return the speed-ups over upstream, the older schedule, and the best engine cold and warm."""
    found = (
        row["against"]["upstream"],
        older_best(row),
        row["against"][row["best_engine"]],
        row["against_warm"][row["best_engine_warm"]],
    )
    return tuple(each["speedup"] for each in found)
