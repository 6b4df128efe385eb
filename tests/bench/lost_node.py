"""Kill one of two Parsl blocks at a random moment, again and again: is the result the same, what is computed twice?

Each run is the command on two real blocks of this machine, one core each, with a journal. Half of the runs are PySCF's,
whose result must be that of an undisturbed run on one machine to the last bit. The others are of a program that only
sleeps and writes a line for each task, which shows what ran twice; that may only be what was in flight.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from harness import Benchmark, Folder, cluster, offer_faulty_program, run_command
from test_parsl import TWO_BLOCKS, blocks

from autotune.machine import process

# Bundles of a tenth of a second, so that a short run has many.
SMALL = "from autotune.schedule import bundles; bundles.LEAST_S = bundles.FIRST_S = bundles.MOST_S = 0.1"
ALONE = ("--cores", "1", "--tuning", "none")
COMMAND = f"{SMALL}; from autotune.cli.main import main; main()"


def measure(arguments) -> Iterator[dict]:
    offer_faulty_program()
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        expected = undisturbed(Path(name))
    for number in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as name:
            yield disturb(Path(name), pyscf=number % 2 == 0, after_s=order.uniform(0.2, 3.0), expected=expected)


def sums(rows: Sequence[dict]) -> dict:
    return {
        "runs": len(rows),
        "killed_at_work": sum(row["lost_bundles"] > 0 for row in rows),
        "wrong": sum(not row["right"] for row in rows),
        "tasks": sum(row["tasks"] for row in rows),
        "computed_twice": sum(row.get("computed_twice", 0) for row in rows),
        "twice_beyond_in_flight": sum(max(0, row.get("computed_twice", 0) - row["in_flight"]) for row in rows),
        "processes_left": sum(row["processes_left"] for row in rows),
        "median_s": statistics.median(row["wall_s"] for row in rows),
    }


def source_of(folder: Path, *, pyscf: bool) -> Path:
    asleep = {"seconds": 0.1, "at": [3, 6, 9], "log": str(folder / "log")}
    real, pretended = {"method": "hf", "basis": "6-31g"}, {"program": "faulty", "method": "sleep", "keywords": asleep}
    fields = cluster("water6", max_nbody=3, **(real if pyscf else pretended))
    path = folder / "input.json"
    path.write_text(json.dumps(fields))
    return path


def undisturbed(path: Path) -> str:
    folder, source = Folder(path, COMMAND), source_of(path, pyscf=True)
    run_command(folder.command(source, *ALONE, "--quiet", "--journal", "none"), environment=folder.environment)
    return (path / "result.json").read_text()


def disturb(path: Path, *, pyscf: bool, after_s: float, expected: str) -> dict[str, object]:
    folder, source = Folder(path, COMMAND), source_of(path, pyscf=pyscf)
    config = path / "two_blocks.py"
    config.write_text(TWO_BLOCKS.format(folder=str(path / "parsl"), workers=1))
    nodes = ("--backend", "parsl", "--parsl-config", config, "--journal", path / "journal")
    started = time.perf_counter()
    run = folder.start(source, *ALONE, *nodes)
    while run.poll() is None and sum("zygote" in line for line in lines(path)) < 2:
        time.sleep(0.05)
    time.sleep(after_s)
    killed = blocks(path)
    if killed:
        process.kill_tree(killed[0][0].pid)
    _, words = run.communicate()
    wall_s = time.perf_counter() - started
    time.sleep(2.0)
    if run.returncode:
        sys.exit(words)
    record = folder.read("record")
    lost = [
        int(count.replace(",", "")) for count in re.findall(r"a bundle of ([\d,]+) tasks? did not come back", words)
    ]
    result = (path / "result.json").read_text()
    row: dict[str, object] = {
        "program": "pyscf" if pyscf else "sleep",
        "killed_after_s": round(after_s, 2),
        "lost_bundles": len(lost),
        "in_flight": sum(lost),
        "tasks": record["tasks"],
        "wall_s": round(wall_s, 2),
        "processes_left": len(lines(path)),
        "right": result == expected if pyscf else json.loads(result)["return_result"] == 0.0,
    }
    if not pyscf:
        done = Counter((path / "log").read_text().split("\n")[:-1])
        row["computed_twice"] = sum(done.values()) - record["tasks"]
    return row


def lines(folder: Path) -> list[str]:
    """Return the command lines of everything that runs on the nodes."""
    found = []
    for block in blocks(folder):
        for each in block:
            try:
                found.append(" ".join(each.cmdline()))
            except psutil.Error:
                continue
    return found


BENCHMARK = Benchmark(
    what="one of two Parsl blocks killed at a random moment: results, what was computed twice, what is left",
    measure=measure,
    rows="rows",
    repeats=20,
    summary=sums,
)
