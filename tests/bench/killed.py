"""Kill whole runs of real PySCF at random moments, then resume: equal to the last bit, and nothing computed twice.

Each run is `autotune run --resume` on its own journal, ended by SIGKILL at a random moment from its first recorded task
on, one in ten before that, then started again. Compared are every number of the ManyBodyResult's properties with those
of a run that was not interrupted, and the component results that the second run computed with those that the journal
held before.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from harness import Benchmark, Folder, geometry, run_command

CLUSTER = "water6"
EXPANSION = ("--program", "pyscf", "--method", "hf", "--basis", "6-31g*", "--max-nbody", "3", "--threads", "1")
FAULTS = ("results_not_bit_equal", "tasks_run_twice_though_recorded", "processes_left", "scratch_left")


def measure(arguments) -> Iterator[dict]:
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        undisturbed = Folder(Path(name) / "whole")
        whole, record = resume(undisturbed), undisturbed.read("record")
        startup_s = record["gap"]["startup"]
        for number in range(arguments.repeats):
            early = number % 10 == 0
            after_s = chance.uniform(0.0, startup_s if early else record["wall_s"] - startup_s)
            yield kill(Folder(Path(name) / str(number)), whole, early=early, after_s=after_s)


def sums(rows: Sequence[dict]) -> dict:
    return {
        "kills": len(rows),
        "kills_in_the_middle_of_computing": sum(0 < row["in_journal"] < row["tasks"] for row in rows),
        "results_not_bit_equal": sum(not row["bit_equal"] for row in rows),
        "tasks_run_twice_though_recorded": sum(row["run_twice"] for row in rows),
        "processes_left": sum(row["processes_left"] for row in rows),
        "scratch_left": sum(row["scratch_left"] for row in rows),
    }


def command(folder: Folder) -> tuple[list[str], dict[str, str]]:
    scratch, source = folder.path / "scratch", folder.path / "input.xyz"
    scratch.mkdir(parents=True, exist_ok=True)
    source.write_text(geometry(CLUSTER))
    environment = {**folder.environment, "TMPDIR": str(scratch)}
    return folder.command(source, *EXPANSION, "--resume", "--quiet"), environment


def resume(folder: Folder) -> dict[str, object]:
    line, environment = command(folder)
    run_command(line, environment=environment)
    return folder.read("result")["properties"]


def kill(folder: Folder, whole: dict[str, object], *, early: bool, after_s: float) -> dict[str, object]:
    line, environment = command(folder)
    run = subprocess.Popen(line, env=environment)
    while not early and not rows_in_journal(folder.path) and run.poll() is None:
        time.sleep(0.01)
    time.sleep(after_s)
    below = []
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait()
    _, alive = psutil.wait_procs(below, timeout=10)
    scratch = folder.path / "scratch"
    deadline = time.monotonic() + 5.0
    while list(scratch.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    scratch_left = len(list(scratch.iterdir()))
    before = rows_in_journal(folder.path)
    bit_equal = resume(folder) == whole
    after, record = rows_in_journal(folder.path), folder.read("record")
    return {
        "killed_before_the_first_task": early,
        "killed_after_s": round(after_s, 2),
        "tasks": record["tasks"],
        "in_journal": len(before),
        "recalled": record["recalled"],
        # A row that was written again has another place in the table.
        "run_twice": sum(after[key] != place for key, place in before.items()) + len(before) - record["recalled"],
        "bit_equal": bit_equal,
        "processes_left": len(alive),
        "scratch_left": scratch_left,
    }


def rows_in_journal(folder: Path) -> dict[str, int]:
    """Return the key of each task in the journal with its row number."""
    path = folder / "home" / "journal.sqlite3"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.OperationalError):
        return dict(connection.execute("SELECT key, rowid FROM tasks").fetchall())
    return {}


BENCHMARK = Benchmark(
    what=f"runs of {CLUSTER} {' '.join(EXPANSION)} killed by SIGKILL at random moments, then resumed",
    measure=measure,
    rows="runs",
    repeats=50,
    options={"--seed": {"type": int, "default": 0}},
    summary=sums,
    fails=lambda record: any(record[fault] for fault in FAULTS),
)
