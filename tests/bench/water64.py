"""(H2O)64 up to 3-body with GFN2-xTB: 43,744 tasks, run to the end, interrupted and resumed, and summed independently.

The command is run twice. Once to its end: when its first task starts, how much memory its own process takes, how far
the wall time is from the bound. Once with Ctrl-C in the middle, then with `--resume`: nothing may be computed twice and
the result must be the same to the last bit. Then every component is computed by tblite's own Python interface, without
QCEngine, QCManyBody or autotune, and summed by the formula of the expansion.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from itertools import chain, combinations
from pathlib import Path

import psutil
from harness import Benchmark, Folder, geometry, run_command

from autotune.machine import detection

A0_ANGSTROM = 0.529177210903  # CODATA 2018
EXPANSION = ("--program", "tblite", "--method", "gfn2-xtb", "--max-nbody", "3", "--tuning", "none")
# The command, and when its first task started, on standard error.
COMMAND = """
import signal, sys, time
began = time.monotonic()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has processes in its background ignore it
from autotune.cli.main import main; from autotune.runtime import executor as execute
credit = execute.Executor._credit
def first(self, reply):
    print(f"first task after {reply.started - began:.3f} s", file=sys.stderr, flush=True)
    execute.Executor._credit = credit
    credit(self, reply)
execute.Executor._credit = first
main()
"""


def measure(arguments) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name), COMMAND)
        source = folder.path / "waters.xyz"
        source.write_text(geometry("water64", 3 * arguments.waters))
        runs = [run_to_the_end(folder, source) for _ in range(arguments.repeats)]
        print(json.dumps(runs, indent=1), flush=True)
        resumed = interrupt_and_resume(folder, source, runs[0]["wall_s"] / 2)
        total = sum_independently(source)
    (energy,) = {run["total_energy"] for run in runs}
    return {
        "tasks": runs[0]["tasks"],
        "first_task_s": statistics.median(run["first_task_s"] for run in runs),
        "parent_peak_mib": max(run["parent_peak_mib"] for run in runs),
        "wall_over_bound": statistics.median(run["wall_over_bound"] for run in runs),
        "runs": runs,
        "resumed": resumed,
        "resumed_bit_equal": resumed["total_energy"] == energy,
        "independent_total_energy": total,
        "differs_hartree": abs(total - energy),
    }


def run_to_the_end(folder: Folder, source: Path) -> dict[str, float]:
    """Run the command, watching its own process, not its workers."""
    journal = folder.path / f"journal-{time.monotonic()}"
    started = time.perf_counter()
    run = folder.start(source, *EXPANSION, "--journal", journal)
    peak = 0
    watched = psutil.Process(run.pid)
    while run.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, watched.memory_info().rss)
        time.sleep(0.05)
    _, said = run.communicate()
    wall_s = time.perf_counter() - started
    if run.returncode:
        sys.exit(said)
    record = folder.read("record")
    journal.unlink()
    return {
        "wall_s": round(wall_s, 3),
        "first_task_s": float(said.split("first task after ")[1].split()[0]),
        "parent_peak_mib": round(peak / 2**20, 1),
        "tasks": record["tasks"],
        "bound_s": round(record["lower_bound_s"], 3),
        "efficiency": round(record["efficiency"], 4),
        "wall_over_bound": round(wall_s / record["lower_bound_s"], 4),
        "gap_s": record["gap"],
        "cpu_utilisation": record["cpu_utilisation"],
        "workers_peak_gib": record["peak_memory_gib"],
        "total_energy": total_of(folder),
    }


def interrupt_and_resume(folder: Folder, source: Path, after_s: float) -> dict[str, float]:
    """Interrupt the command, then go on."""
    words = (*EXPANSION, "--journal", folder.path / "journal")
    run = folder.start(source, *words)
    time.sleep(after_s)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate()
    if run.returncode != 130:
        sys.exit(f"Ctrl-C gave {run.returncode}: {said}")
    wall_s, _ = run_command(folder.command(source, *words, "--resume"), environment=folder.environment)
    record = folder.read("record")
    return {
        "interrupted_after_s": round(after_s, 1),
        "said": said.strip().splitlines()[-1],
        "recalled": record["recalled"],
        "computed": record["attempts"],
        "wall_s": round(wall_s, 3),
        "total_energy": total_of(folder),
    }


def total_of(folder: Folder) -> float:
    """Return the total energy up to 3-body of the result."""
    return float(folder.read("result")["properties"]["nocp_corrected_total_energy_through_3_body"])


# --- the same sum, without anything of ours ---------------------------------------------------------------------------


def sum_independently(source: Path) -> float:
    """Return the total energy up to 3-body from tblite's own interface and the formula of the expansion."""
    rows = [line.split() for line in source.read_text().splitlines()[2:]]
    atoms = [(row[0], [float(x) / A0_ANGSTROM for x in row[1:4]]) for row in rows]
    os.environ["OMP_NUM_THREADS"] = "1"  # the pool's processes inherit it
    waters = [atoms[start : start + 3] for start in range(0, len(atoms), 3)]
    with multiprocessing.get_context("spawn").Pool(detection.detect().cores) as pool:
        sums = [
            math.fsum(pool.imap_unordered(energy, (list(chain(*some)) for some in combinations(waters, size)), 64))
            for size in (1, 2, 3)
        ]
    count = len(waters)
    # How often each size counts so that every cluster's own contribution counts once (inclusion and exclusion).
    weights = [(-1) ** (3 - size) * math.comb(count - size - 1, 3 - size) for size in (1, 2, 3)]
    return math.fsum(weight * each for weight, each in zip(weights, sums, strict=True))


def energy(atoms: list[tuple[str, list[float]]]) -> float:
    import numpy as np
    from tblite.interface import Calculator

    numbers = np.array([{"H": 1, "O": 8}[symbol] for symbol, _ in atoms])
    calculator = Calculator("GFN2-xTB", numbers, np.array([position for _, position in atoms]))
    calculator.set("verbosity", 0)
    return float(calculator.singlepoint().get("energy"))


BENCHMARK = Benchmark(
    what="(H2O)64 up to 3-body with GFN2-xTB: whole command, Ctrl-C and --resume, and an independent sum",
    measure=measure,
    repeats=3,
    options={"--waters": {"type": int, "default": 64}},
)
