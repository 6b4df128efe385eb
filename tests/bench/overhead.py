"""Measure what autotune itself costs for each task: a thousand tasks that do nothing, through the whole runtime.

QCEngine's own part is measured in the same run: `qcengine.compute` of the same inputs with the same program, one after
the other in one process. autotune's workers, which remember what QCEngine looks up anew for each task, are faster.
Tasks that use the processor for 20 and 100 ms are run against plain processes, one for each core, that were given equal
parts of the same inputs beforehand: what is more is infrastructure.

    python tests/bench/overhead.py --output results/overhead.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

DISTRIBUTIONS = Path(__file__).parents[1] / "distributions"
sys.path.insert(0, str(DISTRIBUTIONS))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DISTRIBUTIONS), os.environ.get("PYTHONPATH", "")]))

REPEATS = 5


def main() -> None:
    from autotune.base.versions import library_versions
    from autotune.expansion.readers import Expansion, from_xyz
    from autotune.machine import detection
    from autotune.session.session import Session

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    text = (files("autotune.studies") / "workloads" / "water32.xyz").read_text()
    tasks_2 = from_xyz(text, name="water32", expansion=Expansion(program="faulty", method="nothing", max_nbody=2))
    text = (files("autotune.studies") / "workloads" / "water16.xyz").read_text()
    tasks_3 = from_xyz(text, name="water16", expansion=Expansion(program="faulty", method="nothing", max_nbody=3))
    runs = []
    with Session() as session:
        session.run(tasks_2)
        for _ in range(REPEATS):
            # 528 + 696 tasks: above a thousand.
            started = time.perf_counter()
            for fields in (tasks_2, tasks_3):
                session.run(fields)
            runs.append(time.perf_counter() - started)
    tasks = 528 + 696
    qcengine_s = qcengine_alone_s(tasks_3)
    wall_ms = 1e3 * statistics.median(runs) / tasks
    shares = {f"{1e3 * seconds:.0f} ms": overhead_share(seconds) for seconds in (0.02, 0.1)}
    imports = {command: best_of(command) for command in ("import autotune", "autotune --help")}
    measured = {
        "tasks": tasks,
        "wall_ms_per_task": wall_ms,
        "qcengine_ms_per_task": 1e3 * qcengine_s,
        "runs_s": runs,
        "over_plain_processes_at_tasks_of": shares,
        "startup_s": imports,
    }
    print(json.dumps(measured, indent=1))
    if arguments.output:
        record = {
            "schema": "autotune.benchmark/1",
            "what": "cost of the runtime per task that does nothing or spins; start of library and command",
            "command": "python tests/bench/overhead.py",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dataclasses.asdict(detection.detect()),
            "versions": library_versions(),
            "measured": measured,
        }
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


PLAIN = """
import json, sys
import qcengine
from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.plugin.manager import Manager
Manager().register_programs()
part, parts = int(sys.argv[2]), int(sys.argv[3])
work = workload.load(json.load(open(sys.argv[1])))
inputs = [atomic_input(work.recipe, t.level, t.real, t.basis) for t in work.tasks[part::parts]]
config = {"ncores": 1, "memory": 1.0, "retries": 0}
qcengine.compute(inputs[0], "faulty", task_config=config)
print("ready", flush=True)
sys.stdin.readline()
for one in inputs:
    qcengine.compute(one, "faulty", task_config=config, return_version=2)
print("done", flush=True)
"""


def overhead_share(seconds: float) -> dict[str, object]:
    """Return what autotune takes more than plain processes for tasks of so many CPU seconds, and the times."""
    from autotune.expansion.readers import Expansion, from_xyz
    from autotune.session.session import Session

    text = (files("autotune.studies") / "workloads" / "water16.xyz").read_text()
    made = Expansion(program="faulty", method="spin", keywords={"seconds": seconds}, max_nbody=2)
    fields = from_xyz(text, name="water16", expansion=made)
    ours, plain = [], []
    with Session() as session:
        session.run(fields)
        for _ in range(REPEATS):
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
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PLAIN, file.name, str(part), str(cores)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
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


def qcengine_alone_s(fields: dict[str, object]) -> float:
    """Return seconds a task of plain `qcengine.compute`, inputs built beforehand."""
    import qcengine

    from autotune.expansion import workload
    from autotune.expansion.component import atomic_input
    from autotune.plugin.manager import Manager

    Manager().register_programs()
    work = workload.load(fields)
    inputs = [atomic_input(work.recipe, task.level, task.real, task.basis) for task in work.tasks]
    config = {"ncores": 1, "memory": 1.0, "retries": 0}
    qcengine.compute(inputs[0], "faulty", task_config=config)
    started = time.perf_counter()
    for one in inputs:
        qcengine.compute(one, "faulty", task_config=config, return_version=2)
    return (time.perf_counter() - started) / len(inputs)


def best_of(command: str, times: int = 7) -> float:
    """Return the median seconds of a fresh interpreter, its own start taken off for an import."""
    run = ["-c", command] if command.startswith("import") else ["-m", *command.split()]
    walls, bare = [], []
    for _ in range(times):
        for arguments, into in ((run, walls), (["-c", "pass"], bare)):
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            into.append(time.perf_counter() - started)
    start = statistics.median(bare) if command.startswith("import") else 0.0
    return statistics.median(walls) - start


if __name__ == "__main__":
    main()
