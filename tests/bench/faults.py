"""Let every kind of fault strike runs at random, and count what is lost, wrong, or left behind.

Each run is a process of its own: a many-body expansion of which, by the run's seed, some components meet the fault.
Checked are: every component that can be computed is there, with its exact value; no process lives on; the scratch
folder is empty. Recovery is what the run took longer than runs without a fault. Faults of real PySCF are: its worker
killed at a random moment, too little memory granted, an SCF that does not converge in the cycles allowed.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import qcengine
from harness import Benchmark, call_in_process, cluster, offer_faulty_program

from autotune.base.errors import TaskError
from autotune.base.options import Options
from autotune.base.types import Task
from autotune.expansion import component, workload
from autotune.journal import journal_file
from autotune.journal.journal import Journal
from autotune.plugin.manager import Manager
from autotune.runtime.execution import Care
from autotune.session.session import Session

ELECTRONS = 10  # of one water
LIMIT_S = 300.0
COUNTS = ("tasks_lost", "wrong_results", "processes_left", "scratch_left")


class Fault(NamedTuple):
    """A way to fail: in what, how often a struck component meets it, under which options, and whether it passes."""

    method: str
    passes: bool
    keywords: dict[str, object] = {}  # noqa: RUF012 - never changed
    options: dict[str, object] = {}  # noqa: RUF012
    program: str = "faulty"
    basis: str = ""


FAULTS = {
    "none": Fault("nothing", passes=True),
    "crash (SIGSEGV)": Fault("crash", passes=True),
    "exit without a word": Fault("exit", passes=True),
    "crash, leaving a process that ignores SIGTERM": Fault("stubborn", passes=True),
    "random error of the program": Fault("random", passes=True),
    "noise on the output channels": Fault("shout", passes=True),
    "too little memory granted": Fault("allocate", passes=True, keywords={"gib": 1.5}, options={"memory_gib": 2.5}),
    "takes more memory than predicted": Fault(
        "allocate-anyway", passes=True, keywords={"gib": 0.7, "seconds": 0.2}, options={"memory_gib": 1.3}
    ),
    "leaks memory": Fault("leak", passes=True, keywords={"gib": 0.3}, options={"memory_gib": 2.5}),
    "slow": Fault("sleep", passes=True, keywords={"seconds": 0.5}),
    "crash at every attempt": Fault("crash", passes=False),
    "hangs": Fault("hang", passes=False, options={"task_limit_s": 1.0}),
    "hangs in a grandchild that left the session": Fault(
        "hang-in-grandchild", passes=False, options={"task_limit_s": 1.0}
    ),
    "does not converge": Fault("diverge", passes=False),
    "raises an exception": Fault("raise", passes=False),
    "returns a number that is not finite": Fault("garbage", passes=False),
    "fills the scratch space": Fault("fill", passes=False, keywords={"gib": 30.0}, options={"scratch_gib": 0.1}),
    "PySCF: none": Fault("hf", passes=True, program="pyscf", basis="6-31g*"),
    "PySCF: worker killed at a random moment": Fault("hf", passes=True, program="pyscf", basis="6-31g*"),
    "PySCF: does not converge in 3 cycles, rescued": Fault(
        "hf",
        passes=True,
        program="pyscf",
        basis="6-31g*",
        keywords={"max_cycle": 3},
        options={"rescue": {"max_cycle": 100}},
    ),
}


def measure(arguments) -> Iterator[dict]:
    names = [name for name in FAULTS if name in arguments.cases or "none" in name]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(arguments.repeats):
        # Interleaved, so that what else the machine does reaches all of them.
        for name in random.Random(seed).sample(names, len(names)):
            runs[name].append(look(name, seed))
        print(f"{seed + 1} of {arguments.repeats} runs of each fault", flush=True)
        yield from (sums(name, runs) for name in names)


def sums(name: str, runs: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Return the sums over a fault's runs; recovery is against the run without a fault of the same round."""
    own = runs[name]
    without = runs["PySCF: none" if FAULTS[name].program == "pyscf" else "none"]
    longer_s = [run["wall_s"] - whole["wall_s"] for run, whole in zip(own, without, strict=True)]
    return {
        "fault": name,
        "runs": len(own),
        "tasks": sum(run["tasks"] for run in own),
        "tasks_struck": sum(run["struck"] for run in own),
        "attempts_beyond_the_first": sum(run["attempts"] - run["tasks"] for run in own),
        **{count: sum(run[count] for run in own) for count in COUNTS},
        "recovery_median_s": round(statistics.median(longer_s), 2),
        "recovery_worst_s": round(max(longer_s), 2),
    }


def look(name: str, seed: int) -> dict[str, float]:
    """Run once in a process of its own, and look at what it left."""
    with tempfile.TemporaryDirectory(prefix="fault-") as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        environment = {**os.environ, "AUTOTUNE_HOME": f"{folder}/home", "TMPDIR": str(scratch), "FAULT_RUN": folder}
        found = call_in_process(strike, name, seed, folder, environment=environment, limit_s=LIMIT_S)
        found["processes_left"] = len(left_behind(folder))
        found["scratch_left"] = len(list(scratch.iterdir()))
        return found


def left_behind(folder: str) -> list[int]:
    """Return the processes that still carry a run's mark in their environment, after a moment to end."""
    deadline = time.monotonic() + 3.0
    while True:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FAULT_RUN") == folder and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.Error:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def strike(name: str, seed: int, folder: str) -> dict[str, float]:
    """Run an expansion whose components meet the fault; return what came out of it."""
    offer_faulty_program()
    fault = FAULTS[name]
    fields = fields_of(fault, seed, Path(folder))
    work = workload.load(fields)
    must_fail = set() if fault.passes else {task.key for task in work.tasks if meets(work, task)}
    killer = Killer(seed) if "killed" in name else None
    failed: dict[str, object] = {}
    with Session(Options(workers=2, **fault.options), on_progress=killer) as session:
        if killer:
            killer.session = session
        started = time.perf_counter()
        try:
            session.run(fields)
        except TaskError as error:
            failed = error.failed
        wall_s = time.perf_counter() - started
        record = session.record
    with Journal(journal_file.default_path()) as journal:
        found = journal.recall([t.key for t in work.tasks], results=False, rescue=Care(**rescue_of(fault)).rescue_text)
    values = {entry.key: entry.values["energy"] for entry in found.values()}
    right = expected_energies(work, fault)
    return {
        "wall_s": wall_s,
        "tasks": record.tasks,
        "struck": killer.killed if killer else sum(t.attempts > 1 or t.status == "failed" for t in record.task_records),
        "attempts": record.attempts,
        "tasks_lost": sum(task.key not in values and task.key not in must_fail for task in work.tasks)
        + sum(label not in failed for task in work.tasks if task.key in must_fail for label in task.labels),
        "wrong_results": sum(values[key] != right[key] for key in values) + sum(key in values for key in must_fail),
    }


def fields_of(fault: Fault, seed: int, folder: Path) -> dict[str, object]:
    keywords = dict(fault.keywords)
    if fault.program == "faulty":
        keywords |= {"share": 0.3, "seed": seed}
        if fault.passes and fault.method not in ("sleep", "leak"):
            first = folder / "first"
            first.mkdir()
            keywords["first"] = str(first)
    like = {"program": fault.program, "method": fault.method, "basis": fault.basis}
    return cluster("water4", **like, max_nbody=2, keywords=keywords)


def meets(work: workload.Workload, task: Task) -> bool:
    """Return whether a component is one that the fault strikes, by its name and the seed."""
    import faulty_program

    given = component.atomic_input(work.recipe, task.level, task.real, task.basis)
    keywords = {k: v for k, v in given.specification.keywords.items() if k in ("share", "seed")}
    return bool(faulty_program._strikes(keywords, given.molecule.name))


def rescue_of(fault: Fault) -> dict[str, object]:
    return {name: value for name, value in fault.options.items() if name == "rescue"}


def expected_energies(work: workload.Workload, fault: Fault) -> dict[str, float]:
    """Return the right energy of each component: known exactly, or computed here by PySCF on one core."""
    if fault.program == "faulty":
        return {task.key: -float(ELECTRONS * task.nbody) for task in work.tasks}
    Manager().register_programs()
    found = {}
    for task in work.tasks:
        given = component.atomic_input(work.recipe, task.level, task.real, task.basis).model_dump()
        given["specification"]["keywords"] = {}
        config = {"ncores": 1, "memory": 4.0}
        result = qcengine.compute(given, fault.program, task_config=config, raise_error=True, return_version=2)
        found[task.key] = result.properties.return_energy
    return found


class Killer:
    """Kills one worker that is at work, at a random moment."""

    def __init__(self, seed: int) -> None:
        self.random, self.killed = random.Random(seed), 0
        self.at_s = time.perf_counter() + 0.8 + 1.2 * self.random.random()
        self.session: Session | None = None

    def __call__(self, _: object) -> None:
        assert self.session is not None
        workers = [w for w in self.session._place._pool._workers.values() if w.orders and w.pid]
        if workers and not self.killed and time.perf_counter() > self.at_s:
            os.kill(self.random.choice(workers).pid, signal.SIGKILL)
            self.killed = 1


BENCHMARK = Benchmark(
    what="faults that strike components at random: what is lost, wrong or left behind, and the time to recover",
    measure=measure,
    rows="faults",
    key=("fault",),
    cases=FAULTS,
    repeats=18,
    fails=lambda record: any(row[count] for row in record["faults"] for count in COUNTS),
)
