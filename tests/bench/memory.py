"""Run within a memory limit with predictions that are wrong by four either way: the run ends and keeps the budget.

Two programs: the one that only allocates, and PySCF with integrals in memory. The limit is given to autotune, and where
the machine lets us make a control group, the kernel enforces it as well. A thread of this process samples the resident
memory of all workers, with everything they start, every 20 ms, apart from autotune's own samples.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

from harness import Benchmark, cluster, offer_faulty_program

from autotune.base.errors import ResourceError
from autotune.base.options import Options
from autotune.base.types import Estimate, Machine, Task
from autotune.costs import memory
from autotune.machine import process
from autotune.plugin.hookspecs import hookimpl
from autotune.session.session import Session

ALLOCATES = {
    "program": "faulty",
    "method": "allocate-anyway",
    "keywords": {"gib": 0.6, "seconds": 0.3, "at": [6]},
    "max_nbody": 2,
}
# Cluster, expansion and limit in GiB.
CASES = {
    "faulty: allocates 0.6 GiB": ("water6", ALLOCATES, 1.7),
    "PySCF: HF/cc-pVTZ dimers and trimers": ("water4", {"method": "hf", "basis": "cc-pvtz", "max_nbody": 3}, 2.2),
}


class Wrong:
    """A plugin whose estimates of memory are wrong by a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @hookimpl
    def autotune_estimate(self, task: Task, machine: Machine) -> Estimate:
        del machine
        if task.method.program == "faulty":
            peak_gib, grant_gib = 0.15 + 0.6 * (task.nbody == 2), 0.0
        else:
            needed = memory.need(task.method, task.size)
            peak_gib, grant_gib = needed.peak_gib, needed.grant_gib
        return Estimate(
            alone_s=float(task.nbody**3),
            parallel=0.0,
            memory_gib=self.factor * peak_gib,
            grant_gib=grant_gib,
            spread=0.3,
        )


class Sampler(threading.Thread):
    """Looks at the memory of a session's workers from outside."""

    def __init__(self, session: Session) -> None:
        super().__init__(daemon=True)
        self.session, self.peak_gib, self.samples = session, 0.0, 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            pool = self.session._place._pool
            if pool is None:
                continue
            pids = [pid for w in list(pool._workers.values()) if w.pid for pid in process.tree(w.pid)]
            self.peak_gib = max(self.peak_gib, process.usage(pids)[0])
            self.samples += 1


def measure(arguments) -> Iterator[dict]:
    offer_faulty_program()
    for name, factor, enforced in itertools.product(arguments.cases, (0.25, 4.0), (False, True)):
        row = {"case": name, "predicted_over_true": factor, "kernel_enforces": enforced}
        yield row | run(name, factor, enforced=enforced)


def run(name: str, factor: float, *, enforced: bool) -> dict[str, object]:
    geometry, expansion, budget_gib = CASES[name]
    options = Options(memory_gib=budget_gib, workers=4, threads=1, journal="none", enforce_memory=enforced)
    with Session(options) as session:
        session._manager._pluggy.register(Wrong(factor))
        sampler = Sampler(session)
        sampler.start()
        started = time.perf_counter()
        try:
            result = session.run(cluster(geometry, **expansion))
        except ResourceError as error:
            return {"not_run": str(error), "peak_gib": 0.0, "budget_gib": budget_gib}
        finally:
            sampler.ended.set()
        record = session.record
        assert record is not None
        return {
            "wall_s": round(time.perf_counter() - started, 2),
            "tasks": record.tasks,
            "attempts": record.attempts,
            "budget_gib": budget_gib,
            "peak_gib": round(sampler.peak_gib, 3),
            "samples": sampler.samples,
            "total": result.return_result,
        }


BENCHMARK = Benchmark(
    what="runs under a memory limit with predictions of memory wrong by a factor",
    measure=measure,
    rows="runs",
    key=("case", "predicted_over_true", "kernel_enforces"),
    cases=CASES,
    fails=lambda record: any(row["peak_gib"] > row["budget_gib"] for row in record["runs"]),
)
