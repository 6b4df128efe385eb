"""The tables of a record of `comparison.py` as markdown, as they are in the docs.

python tests/bench/comparison_tables.py results/comparison.json
"""

from __future__ import annotations

import json
import math
import statistics
import sys
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
        older = row["against"].get("older, best", row["against"]["older, 4 workers"])
        cold, warm = row["best_engine"], row["best_engine_warm"]
        lines.append(
            f"| {row['case']} | {row['tasks']:,} | {row['mean_s']['autotune']:.1f} s | {row['bound_s']:.1f} s"
            f" | {by(row['against']['upstream'])} | {by(older)} | {by(row['against'][cold])}, {cold}"
            f" | {by(row['against_warm'][warm])}, {warm} |"
        )
    found = record["geometric_means"]
    names = ("against_upstream", "against_older_best", "against_best_engine_cold", "against_best_engine_warm")
    overall = [f"**{found[name]:.2f}**" for name in names]
    overall[0] += f" (PySCF {found['against_upstream_pyscf']:.2f})"
    lines.append(f"| **geometric mean** | | | | {' | '.join(overall)} |")
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


def mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


if __name__ == "__main__":
    main()
