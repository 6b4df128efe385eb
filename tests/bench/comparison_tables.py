"""The tables of a record of `comparison.py` as markdown, as they are in the docs.

python tests/bench/comparison_tables.py results/comparison.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import Any

LARGER = (16, 64)


def tables(record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables of a record, as markdown."""
    rows = record["cases"]

    def by(found: dict[str, Any]) -> str:
        low, high = found["interval"]
        return f"{found['speedup']:.2f} ({low:.2f} to {high:.2f})"

    yield "| workload | tasks | autotune | bound | upstream | older, best | best engine, cold | best engine, warm |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        cold, warm = row["best_engine"], row["best_engine_warm"]
        yield (
            f"| {row['case']} | {row['tasks']:,} | {row['mean_s']['autotune']:.1f} s | {row['bound_s']:.1f} s"
            f" | {by(row['against']['upstream'])} | {by(older_best(row))} | {by(row['against'][cold])}, {cold}"
            f" | {by(row['against_warm'][warm])}, {warm} |"
        )
    for which, some in (
        ("all", rows),
        ("PySCF", [row for row in rows if row["program"] == "pyscf"]),
        ("all but Psi4", [row for row in rows if row["program"] != "psi4"]),
    ):
        yield f"| **geometric mean, {which}** | | | | {bold(zip(*map(speedups, some), strict=True))} |"
    for cores in map(str, LARGER):
        yield f"\nSimulated, {cores} cores:\n"
        yield "| workload | autotune | of the bound | x upstream | x older, 4 workers | x older, best | x engine |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        over = []
        for row in rows:
            times = row["simulated_s"][cores]
            ours_s = times["autotune"]
            over.append([times[side] / ours_s for side in ("upstream", "older, 4 workers", "older, best", "engine")])
            shown = " | ".join(f"{each:.2f}" for each in over[-1])
            yield f"| {row['case']} | {ours_s:.3g} s | {100 * times['bound'] / ours_s:.0f} % | {shown} |"
        yield f"| **geometric mean** | | | {bold(zip(*over, strict=True))} |"


def bold(columns: Iterable[Iterable[float]]) -> str:
    """Return the cells of the geometric mean of each column."""
    return " | ".join(f"**{geometric_mean(each):.2f}**" for each in columns)


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


if __name__ == "__main__":
    print("\n".join(tables(json.loads(Path(sys.argv[1]).read_text()))))
