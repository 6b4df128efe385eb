"""Whether calibrations keep to their budget: each packaged study with a real program, timed from outside.

The wall time of the whole command counts, start-up included. A calibration may end early; it may not end more than a
tenth of its budget late. Needs no quiet machine: other load makes it harder.

    python tests/bench/budgets.py --output results/budgets.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from autotune.calibration import studies
from autotune.machine import detection

METHODS = {"quick": ("hf", "6-31g*"), "standard": ("mp2", "cc-pvdz"), "thorough": ("b3lyp", "def2-svp")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", action="append", choices=METHODS, help="only this one; may be repeated")
    parser.add_argument("--output", type=Path, help="write the record here, beside the studies that are there already")
    arguments = parser.parse_args()
    rows = json.loads(arguments.output.read_text())["studies"] if arguments.output and arguments.output.exists() else []
    for name in arguments.study or METHODS:
        row = measured(name)
        print(json.dumps(row), flush=True)
        rows = [each for each in rows if each["study"] != name] + [row]
        if arguments.output:
            write(arguments.output, sorted(rows, key=lambda each: list(METHODS).index(each["study"])))


def measured(name: str) -> dict[str, object]:
    method, basis = METHODS[name]
    command = [sys.executable, "-m", "autotune", "calibrate", "--study", name, "--method", method, "--basis", basis]
    with tempfile.TemporaryDirectory() as home:
        started, load = time.perf_counter(), os.getloadavg()
        subprocess.run([*command, "--force"], check=True, env={**os.environ, "AUTOTUNE_HOME": home})
        wall_s = time.perf_counter() - started
    budget_s = studies.load(name).budget_s
    return {
        "study": name,
        "method": f"pyscf {method}/{basis}",
        "budget_s": budget_s,
        "wall_s": round(wall_s, 1),
        "over": round(wall_s / budget_s - 1.0, 3),
        "within_a_tenth": wall_s <= 1.1 * budget_s,
        "load_before_and_after": [load[0], os.getloadavg()[0]],
    }


def write(path: Path, rows: list[dict[str, object]]) -> None:
    record = {
        "schema": "autotune.benchmark/1",
        "what": "wall time of calibrations against their budget",
        "command": "python tests/bench/budgets.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "studies": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
