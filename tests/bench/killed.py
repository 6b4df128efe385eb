"""Kill whole runs of real PySCF at random moments, then resume: equal to the last bit, and nothing computed twice.

Each run is `autotune run --resume` on its own journal, ended by SIGKILL at a random moment from its first recorded task
on, one in ten before that, then started again. Compared are every number of the ManyBodyResult's properties with those
of a run that was not interrupted, and the component results that the second run computed with those that the journal
held before.

    python tests/bench/killed.py --kills 50 --output results/killed.json
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import psutil

from autotune.base.versions import library_versions
from autotune.machine import detection

EXPANSION = ("--program", "pyscf", "--method", "hf", "--basis", "6-31g*", "--max-nbody", "3", "--threads", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--geometry", default="water6")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the record here")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        folder = Path(name)
        whole = finished(folder / "whole", arguments.geometry)
        record = json.loads((folder / "whole" / "record.json").read_text())
        computing_s = record["wall_s"] - record["gap"]["startup"]
        for kill in range(arguments.kills):
            early = kill % 10 == 0
            after_s = chance.uniform(0.0, record["gap"]["startup"] if early else computing_s)
            rows.append(killed(folder / str(kill), arguments.geometry, whole, early=early, after_s=after_s))
            print(json.dumps(rows[-1]), flush=True)
    record = {
        "schema": "autotune.benchmark/1",
        "what": f"runs of {arguments.geometry} {' '.join(EXPANSION)} killed by SIGKILL at random moments, then resumed",
        "command": "python tests/bench/killed.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "kills": len(rows),
        "kills_in_the_middle_of_computing": sum(0 < row["in_journal"] < row["tasks"] for row in rows),
        "results_not_bit_equal": sum(not row["bit_equal"] for row in rows),
        "tasks_run_twice_though_recorded": sum(row["run_twice"] for row in rows),
        "processes_left": sum(row["processes_left"] for row in rows),
        "scratch_left": sum(row["scratch_left"] for row in rows),
        "runs": rows,
    }
    faults = ("results_not_bit_equal", "tasks_run_twice_though_recorded", "processes_left", "scratch_left")
    print({name: record[name] for name in ("kills", "kills_in_the_middle_of_computing", *faults)})
    if arguments.output:
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    if any(record[name] for name in faults):
        sys.exit(1)


def command(folder: Path, geometry: str) -> tuple[list[str], dict[str, str]]:
    folder.mkdir(exist_ok=True)
    (folder / "scratch").mkdir(exist_ok=True)
    path = folder / "input.xyz"
    path.write_text((files("autotune.studies") / "workloads" / f"{geometry}.xyz").read_text())
    line = [sys.executable, "-m", "autotune", "run", str(path), *EXPANSION, "--resume", "--quiet"]
    line += ["-o", str(folder / "result.json"), "--record", str(folder / "record.json")]
    environment = {**os.environ, "AUTOTUNE_HOME": str(folder / "home"), "TMPDIR": str(folder / "scratch")}
    return line, environment


def finished(folder: Path, geometry: str) -> dict[str, object]:
    line, environment = command(folder, geometry)
    subprocess.run(line, env=environment, check=True)
    return properties(folder)


def properties(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "result.json").read_text())["properties"])


def killed(folder: Path, geometry: str, whole: dict[str, object], *, early: bool, after_s: float) -> dict[str, object]:
    line, environment = command(folder, geometry)
    run = subprocess.Popen(line, env=environment)
    while not early and not journalled(folder) and run.poll() is None:
        time.sleep(0.01)
    time.sleep(after_s)
    below = []
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait()
    _, alive = psutil.wait_procs(below, timeout=10)
    deadline = time.monotonic() + 5.0
    while list((folder / "scratch").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    scratch_left = len(list((folder / "scratch").iterdir()))
    before = journalled(folder)
    finished(folder, geometry)
    after = journalled(folder)
    record = json.loads((folder / "record.json").read_text())
    return {
        "killed_before_the_first_task": early,
        "killed_after_s": round(after_s, 2),
        "tasks": record["tasks"],
        "in_journal": len(before),
        "recalled": record["recalled"],
        # A row that was written again has another place in the table.
        "run_twice": sum(after[key] != place for key, place in before.items()) + len(before) - record["recalled"],
        "bit_equal": properties(folder) == whole,
        "processes_left": len(alive),
        "scratch_left": scratch_left,
    }


def journalled(folder: Path) -> dict[str, int]:
    """Return the key of each task in the journal with its row number."""
    path = folder / "home" / "journal.sqlite3"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.OperationalError):
        return dict(connection.execute("SELECT key, rowid FROM tasks").fetchall())
    return {}


if __name__ == "__main__":
    main()
