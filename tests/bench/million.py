"""A million tasks: (H2O)182 up to 3-body with GFN2-xTB, planned, run, interrupted twice, resumed and assembled.

And (H2O)120, whole and interrupted twice: 288,100 tasks. Waters are those of the packaged cluster of 64 and of copies
of it, side by side. Of each run: when its first task starts, the largest memory of the command's own process, how far
the wall time is from the bound, and the journal's size. A run that is interrupted by Ctrl-C at a third and at two
thirds of its tasks goes on with `--resume`, whose first task says how long the journal takes to open and to read; its
wall time is that of all parts. Upstream's result object is measured apart, in a process that reads the result.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import layers
import psutil
from harness import Benchmark, Folder, call_in_process
from water64 import COMMAND, total_of

OPTIONS = ("--tuning", "none")
CASES = {
    "(H2O)120 whole": (120, 0),
    "(H2O)120 interrupted twice": (120, 2),
    "(H2O)182 interrupted twice": (182, 2),
    "(H2O)182 whole": (182, 0),
}


def measure(arguments) -> Iterator[dict]:
    for case in arguments.cases:
        waters, interruptions = CASES[case]
        waters = arguments.waters or waters
        with tempfile.TemporaryDirectory() as name:
            folder = Folder(Path(name), COMMAND)
            source = folder.path / "input.json"
            source.write_text(json.dumps(layers.fields_of(waters, "tblite", "gfn2-xtb", "")))
            parts = [run_a_part(folder, source, of=interruptions + 1, part=part) for part in range(interruptions + 1)]
            yield {"case": case, "waters": waters, **sums(folder, parts), "parts": parts}


def run_a_part(folder: Folder, source: Path, *, of: int, part: int) -> dict:
    """Run the command, all but the first time with `--resume`, until its share of all tasks is done or to its end."""
    journal = folder.path / "journal.sqlite3"
    waters = len(json.loads(source.read_text())["molecule"]["fragments"])
    tasks = sum(math.comb(waters, bodies) for bodies in (1, 2, 3))
    words = [source, *OPTIONS, "--journal", journal, *(["--resume"] if part else [])]
    began = time.perf_counter()
    process = folder.start(*words)
    peak, interrupted = 0, False
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        if part + 1 < of and not interrupted and kept(journal) >= tasks * (part + 1) / of:
            process.send_signal(signal.SIGINT)
            interrupted = True
        time.sleep(0.5)
    _, said = process.communicate()
    wall_s = time.perf_counter() - began
    if process.returncode != (130 if interrupted else 0):
        sys.exit(said)
    return {
        "wall_s": wall_s,
        "first_task_s": float(said.split("first task after ")[1].split()[0]),
        "parent_peak_gib": peak / 2**30,
        "journal_mib": sum(path.stat().st_size for path in folder.path.glob("journal.sqlite3*")) / 2**20,
        "said": said.strip().splitlines()[-1],
    }


def kept(journal: Path) -> int:
    """Return how many tasks a journal has: the number of its last row, which costs nothing to find."""
    if not journal.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        (found,) = connection.execute("SELECT max(rowid) FROM tasks").fetchone()
    return found or 0


def sums(folder: Folder, parts: list[dict]) -> dict:
    record = folder.read("record")
    computed = [task for task in record["task_records"] if task["status"] == "done"]
    whole = len(parts) == 1
    return {
        "tasks": record["tasks"],
        "computed_last": len(computed),
        "recalled_last": record["recalled"],
        "first_task_s": parts[0]["first_task_s"],
        "resumed_first_task_s": [part["first_task_s"] for part in parts[1:]],
        "parent_peak_gib": max(part["parent_peak_gib"] for part in parts),
        "upstream_result_gib": call_in_process(resident_gib_of, str(folder.path / "result.json")),
        "wall_s": sum(part["wall_s"] for part in parts),
        "bound_s": record["lower_bound_s"] if whole else None,
        "wall_over_bound": parts[0]["wall_s"] / record["lower_bound_s"] if whole else None,
        "gap_s": record["gap"],
        "cpu_utilisation": record["cpu_utilisation"],
        "workers_peak_gib": record["peak_memory_gib"],
        "journal_mib": parts[-1]["journal_mib"],
        "record_mib": (folder.path / "record.json").stat().st_size / 2**20,
        "result_mib": (folder.path / "result.json").stat().st_size / 2**20,
        "total_energy": total_of(folder),
    }


def compared(rows: Sequence[dict]) -> list[int]:
    """Return the waters of which there are several runs."""
    waters = [row["waters"] for row in rows]
    return sorted({each for each in waters if waters.count(each) > 1})


def bit_equal(rows: Sequence[dict]) -> bool | None:
    """Return whether all runs of one input have the same total energy; None where no input has several."""
    if not compared(rows):
        return None
    energies: dict[int, set[float]] = {}
    for row in rows:
        energies.setdefault(row["waters"], set()).add(row["total_energy"])
    return all(len(found) == 1 for found in energies.values())


def resident_gib_of(path: str) -> float:
    """Return what upstream's result object takes in memory, beside the fields of its JSON."""
    from qcmanybody.models.v2 import ManyBodyResult

    fields = json.loads(Path(path).read_text())
    before = psutil.Process().memory_info().rss
    result = ManyBodyResult(**fields)
    return (psutil.Process().memory_info().rss - before) / 2**30 if result.success else math.nan


BENCHMARK = Benchmark(
    what="a million tasks with GFN2-xTB: first task, memory, wall time against the bound, interrupted and resumed",
    measure=measure,
    rows="runs",
    key=("case",),
    cases=tuple(CASES),
    options={"--waters": {"type": int, "help": "of all cases, to try the benchmark"}},
    summary=lambda rows: {"compared": compared(rows), "resumed_bit_equal": bit_equal(rows)},
    fails=lambda record: record["resumed_bit_equal"] is False,
)
