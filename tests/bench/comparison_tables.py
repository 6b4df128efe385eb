"""The tables of a record of `comparison.py` as markdown, as they are in the docs.

python tests/bench/comparison_tables.py results/comparison.json
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LARGER = (16, 64)


def main() -> None:
    print(tables(json.loads(Path(sys.argv[1]).read_text())))


def tables(record: dict[str, Any]) -> str:
    """Return the tables of a record as markdown."""
    rows = record["cases"]

    def by(found: dict[str, Any]) -> str:
        low, high = found["interval"]
        return f"{found['speedup']:.2f} ({low:.2f} to {high:.2f})"

    lines = [
        "| workload | tasks | autotune | bound | upstream | older, best | best engine, cold | best engine, warm |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        older = older_best(row)
        cold, warm = row["best_engine"], row["best_engine_warm"]
        lines.append(
            f"| {row['case']} | {row['tasks']:,} | {row['mean_s']['autotune']:.1f} s | {row['bound_s']:.1f} s"
            f" | {by(row['against']['upstream'])} | {by(older)} | {by(row['against'][cold])}, {cold}"
            f" | {by(row['against_warm'][warm])}, {warm} |"
        )
    for which, some in (
        ("all", rows),
        ("PySCF", [row for row in rows if row["program"] == "pyscf"]),
        ("all but Psi4", [row for row in rows if row["program"] != "psi4"]),
    ):
        overall = " | ".join(f"**{mean(each):.2f}**" for each in zip(*map(speedups, some), strict=True))
        lines.append(f"| **geometric mean, {which}** | | | | {overall} |")
    for cores in map(str, LARGER):
        lines += [
            "",
            f"Simulated, {cores} cores:",
            "",
            "| workload | autotune | of the bound | x upstream | x older, 4 workers | x older, best | x engine |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        sides = ("upstream", "older, 4 workers", "older, best", "engine")
        for row in rows:
            times = row["simulated_s"][cores]
            ours_s = times["autotune"]
            lines.append(
                f"| {row['case']} | {ours_s:.3g} s | {100 * times['bound'] / ours_s:.0f} % | "
                + " | ".join(f"{times[side] / ours_s:.2f}" for side in sides)
                + " |"
            )
        overall = [
            mean([row["simulated_s"][cores][s] / row["simulated_s"][cores]["autotune"] for row in rows]) for s in sides
        ]
        lines.append("| **geometric mean** | | | " + " | ".join(f"**{each:.2f}**" for each in overall) + " |")
    return "\n".join(lines)


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


if __name__ == "__main__":
    main()
