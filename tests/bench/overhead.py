"""Measure what autotune itself costs for each task: a thousand tasks that do nothing, through the whole runtime.

QCEngine's own part is measured in the same run: `qcengine.compute` of the same inputs with the same program, one after
the other in one process. autotune's workers, which remember what QCEngine looks up again for each task, are faster.
Tasks that use the processor for 20 and 100 ms are run against plain processes, one for each core, that were given equal
parts of the same inputs beforehand: what is more is infrastructure.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import qcengine
from harness import HERE, Benchmark, cluster, offer_faulty_program, run_command, search_path

from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.plugin.manager import Manager
from autotune.session.session import Session


def measure(arguments) -> dict:
    offer_faulty_program()
    pairs = cluster("water32", program="faulty", method="nothing", max_nbody=2)
    triples = cluster("water16", program="faulty", method="nothing", max_nbody=3)
    runs = []
    with Session() as session:
        session.run(pairs)
        for _ in range(arguments.repeats):
            # 528 + 696 tasks: above a thousand.
            started = time.perf_counter()
            for fields in (pairs, triples):
                session.run(fields)
            runs.append(time.perf_counter() - started)
    tasks = 528 + 696
    inputs = inputs_of(triples)
    compute_all(inputs[:1])
    shares = {f"{1e3 * seconds:.0f} ms": overhead_share(seconds, arguments.repeats) for seconds in (0.02, 0.1)}
    return {
        "measured": {
            "tasks": tasks,
            "wall_ms_per_task": 1e3 * statistics.median(runs) / tasks,
            "qcengine_ms_per_task": 1e3 * compute_all(inputs) / len(inputs),
            "runs_s": runs,
            "over_plain_processes_at_tasks_of": shares,
            "startup_s": {command: start_s(command) for command in ("import autotune", "autotune --help")},
        }
    }


def overhead_share(seconds: float, repeats: int) -> dict[str, object]:
    """Return what autotune takes more than plain processes for tasks of so many CPU seconds, and the times."""
    fields = cluster("water16", program="faulty", method="spin", keywords={"seconds": seconds}, max_nbody=2)
    ours, plain = [], []
    with Session() as session:
        session.run(fields)
        for _ in range(repeats):
            plain.append(plain_s(fields, session.machine.cores))
            session.run(fields)
            record = session.record
            assert record is not None
            ours.append(record.wall_s - record.gap.startup)
    return {"share": statistics.median(ours) / statistics.median(plain) - 1.0, "ours_s": ours, "plain_s": plain}


def plain_s(fields: dict[str, object], cores: int) -> float:
    """Return the seconds that plain processes take for all tasks, their start and the building of inputs left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(fields, file)
        file.flush()
        environment = {**os.environ, "PYTHONPATH": search_path(HERE)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", "import overhead; overhead.plain()", file.name, str(part), str(cores)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for part in range(cores)
        ]
        for process in processes:
            process.stdout.readline()
        started = time.perf_counter()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            process.stdout.readline()
        seconds = time.perf_counter() - started
        for process in processes:
            process.communicate()
    return seconds


def plain() -> None:
    """Be one of the plain processes: say so, wait for the word, compute one part of the inputs."""
    path, part, parts = sys.argv[1:]
    inputs = inputs_of(json.loads(Path(path).read_text()))[int(part) :: int(parts)]
    compute_all(inputs[:1])
    print("ready", flush=True)
    sys.stdin.readline()
    compute_all(inputs)
    print("done", flush=True)


def inputs_of(fields: dict[str, object]) -> list:
    Manager().register_programs()
    work = workload.load(fields)
    return [atomic_input(work.recipe, task.level, task.real, task.basis) for task in work.tasks]


def compute_all(inputs: list) -> float:
    """Return the seconds of plain `qcengine.compute`, one input after the other."""
    config = {"ncores": 1, "memory": 1.0, "retries": 0}
    started = time.perf_counter()
    for one in inputs:
        qcengine.compute(one, "faulty", task_config=config, return_version=2)
    return time.perf_counter() - started


def start_s(command: str, times: int = 7) -> float:
    """Return the median seconds of a fresh interpreter, its own start taken off for an import."""
    library = command.startswith("import")
    ours = [sys.executable, *(["-c", command] if library else ["-m", *command.split()])]
    pairs = [(run_command(ours)[0], run_command([sys.executable, "-c", "pass"])[0]) for _ in range(times)]
    whole, bare = map(statistics.median, zip(*pairs, strict=True))
    return whole - bare if library else whole


BENCHMARK = Benchmark(
    what="cost of the runtime per task that does nothing or spins; start of library and command",
    measure=measure,
    repeats=5,
)
