"""Run within a memory limit with predictions that are wrong by four either way: the run ends and keeps the budget.

Two programs: the one that only allocates, and PySCF with integrals in memory. The limit is given to autotune, and where
the machine lets us make a control group, the kernel enforces it as well. A thread of this process samples the resident
memory of all workers, with everything they start, every 20 ms, apart from autotune's own samples.

    python tests/bench/memory.py --output results/memory.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

DISTRIBUTIONS = Path(__file__).parents[1] / "distributions"
sys.path.insert(0, str(DISTRIBUTIONS))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DISTRIBUTIONS), os.environ.get("PYTHONPATH", "")]))

from autotune.base.errors import ResourceError  # noqa: E402
from autotune.base.types import Estimate, Machine, Task  # noqa: E402
from autotune.base.versions import library_versions  # noqa: E402
from autotune.costs import memory  # noqa: E402
from autotune.expansion.readers import Expansion, from_xyz  # noqa: E402
from autotune.machine import detection, process  # noqa: E402
from autotune.plugin.hookspecs import hookimpl  # noqa: E402
from autotune.runtime.planning import Options  # noqa: E402
from autotune.session.session import Session  # noqa: E402

CASES = {
    "faulty: allocates 0.6 GiB": (
        Expansion(
            program="faulty",
            method="allocate-anyway",
            keywords={"gib": 0.6, "seconds": 0.3, "at": [6]},
            max_nbody=2,
        ),
        "water6",
        1.7,
    ),
    "PySCF: HF/cc-pVTZ dimers and trimers": (
        Expansion(program="pyscf", method="hf", basis="cc-pvtz", max_nbody=3),
        "water4",
        2.2,
    ),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the record here")
    arguments = parser.parse_args()
    rows = []
    for name in CASES:
        for factor in (0.25, 4.0):
            for enforced in (False, True):
                rows.append(measured(name, factor, enforced=enforced))
                print(json.dumps(rows[-1]), flush=True)
    if arguments.output:
        record = {
            "schema": "autotune.benchmark/1",
            "what": "runs under a memory limit with predictions of memory wrong by a factor",
            "command": "python tests/bench/memory.py " + " ".join(sys.argv[1:]),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dataclasses.asdict(detection.detect()),
            "versions": library_versions(),
            "runs": rows,
        }
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    if any(row["peak_gib"] > row["budget_gib"] for row in rows):
        sys.exit(1)


def measured(name: str, factor: float, *, enforced: bool) -> dict[str, object]:
    expansion, geometry, budget_gib = CASES[name]
    text = (files("autotune.studies") / "workloads" / f"{geometry}.xyz").read_text()
    options = Options(memory_gib=budget_gib, workers=4, threads=1, journal="none", enforce_memory=enforced)
    row: dict[str, object] = {"case": name, "predicted_over_true": factor, "kernel_enforces": enforced}
    with Session(options) as session:
        session._manager._pluggy.register(Wrong(factor))
        sampler = Sampler(session)
        sampler.start()
        started = time.perf_counter()
        try:
            result = session.run(from_xyz(text, name=geometry, expansion=expansion))
        except ResourceError as error:
            return row | {"not_run": str(error), "peak_gib": 0.0, "budget_gib": budget_gib}
        finally:
            sampler.ended.set()
        record = session.record
        assert record is not None
        return row | {
            "wall_s": round(time.perf_counter() - started, 2),
            "tasks": record.tasks,
            "attempts": record.attempts,
            "budget_gib": budget_gib,
            "peak_gib": round(sampler.peak_gib, 3),
            "samples": sampler.samples,
            "total": result.return_result,
        }


if __name__ == "__main__":
    main()
