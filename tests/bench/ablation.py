"""Measure what each strategy is worth: all of them on, each one off in turn, all off; interleaved repeats.

Each run is a warm `Session` (programs loaded, workers started), from input to result. Workloads are those on which a
strategy should matter on two cores, and some on which none should. The same policies are simulated for 16 and 64 cores
beside it, with the measured times. Prints a table, writes a record.

    python tests/bench/ablation.py --repeats 5 --output results/ablation.json
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from autotune.base import json_files
from autotune.base.options import Options
from autotune.base.records import Evidence, Law, RunRecord, Tuning
from autotune.base.versions import library_versions
from autotune.compare import judgement
from autotune.costs import cost_law
from autotune.expansion import workload
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin.composition import STANDARD
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.schedule import simulator
from autotune.session.session import Session
from autotune.tunings import library

DISTRIBUTIONS = Path(__file__).parents[1] / "distributions"
sys.path.insert(0, str(DISTRIBUTIONS))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DISTRIBUTIONS), os.environ.get("PYTHONPATH", "")]))

ALL, NONE = "all on", "all off"
SIDES = {ALL: (), **{f"without {name}": (name,) for name in STANDARD}, NONE: STANDARD}
SIMULATED_CORES = (16, 64)
SLOW = 4.0  # a side so many times slower than the first is repeated no further after two runs


class Load(NamedTuple):
    """A workload and the circumstances it is run under."""

    geometry: str
    expansion: Expansion
    memory_gib: float | None = None
    whole: bool = False
    wrong_costs: bool = False
    competitor: bool = False


def _pyscf(method: str, basis: str, max_nbody: int, bsse: str = "nocp", **more: object) -> Expansion:
    return Expansion(program="pyscf", method=method, basis=basis, max_nbody=max_nbody, bsse=(bsse,), **more)


LOADS = {
    "uneven: methanol_water6 HF/6-31G* 2-body": Load("methanol_water6", _pyscf("hf", "6-31g*", 2)),
    "uneven: sodium_chloride_water6 cp HF/STO-3G 2-body": Load(
        "sodium_chloride_water6", _pyscf("hf", "sto-3g", 2, "cp")
    ),
    "few, large: benzene3 MP2/6-31G 2-body": Load("benzene3", _pyscf("mp2", "6-31g", 2)),
    "one dominates: water8 HF/6-31G* 1-body and whole": Load("water8", _pyscf("hf", "6-31g*", 8), whole=True),
    "memory-bound (1 GiB): benzene3 HF/6-31G 2-body": Load("benzene3", _pyscf("hf", "6-31g", 2), memory_gib=1.0),
    "memory-bound (0.7 GiB): benzene3 HF/6-31G 2-body": Load("benzene3", _pyscf("hf", "6-31g", 2), memory_gib=0.7),
    "wrong costs: methanol_water6 HF/6-31G* 2-body": Load(
        "methanol_water6", _pyscf("hf", "6-31g*", 2), wrong_costs=True
    ),
    "a core taken away: methanol_water6 HF/6-31G* 2-body": Load(
        "methanol_water6", _pyscf("hf", "6-31g*", 2), competitor=True
    ),
    "even: water6 HF/6-31G* 3-body": Load("water6", _pyscf("hf", "6-31g*", 3)),
    "tiny: water16 HF/STO-3G 2-body": Load("water16", _pyscf("hf", "sto-3g", 2)),
    "tasks wait: water6 3-body, 0.5 s asleep": Load(
        "water6", Expansion(program="faulty", method="sleep", keywords={"seconds": 0.5}, max_nbody=3)
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--load", action="append", metavar="TEXT", help="only loads whose name contains this")
    parser.add_argument("--output", type=Path, help="write the record here, beside the loads that are there already")
    arguments = parser.parse_args()
    chosen = {n: load for n, load in LOADS.items() if any(part in n for part in arguments.load or [""])}
    before = arguments.output and arguments.output.exists() and json.loads(arguments.output.read_text())["loads"]
    measured = {row["name"]: row for row in before or []}
    for name, load in chosen.items():
        measured[name] = ablated(name, load, arguments.repeats)
        if arguments.output:
            write(arguments.output, [measured[each] for each in LOADS if each in measured])


def ablated(name: str, load: Load, repeats: int) -> dict[str, object]:
    fields = fields_of(load)
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    records: dict[str, RunRecord] = {}
    order = random.Random(0)
    for repeat in range(repeats):
        for side in order.sample(list(SIDES), len(SIDES)):
            if repeat > 1 and min(times[side]) > SLOW * min(times[ALL]):
                continue
            with circumstances(load) as options:
                seconds, records[side] = timed(fields, options, SIDES[side])
            times[side].append(seconds)
            print(f"  {repeat + 1}/{repeats} {side}: {seconds:.2f} s", flush=True)
    rows = {}
    print(f"{name}: {len(records[ALL].task_records)} tasks, all on {min(times[ALL]):.2f} s")
    simulated = simulation(fields, load, records[ALL])
    for side in SIDES:
        rows[side] = {
            "times_s": times[side],
            "peak_memory_gib": records[side].peak_memory_gib,
            "simulated_s": simulated[side],
        }
        if side == ALL:
            continue
        verdict = judgement.unpaired(times[side], times[ALL])
        rows[side] |= {"gain_of_all_on": verdict.speedup, "interval": [verdict.low, verdict.high]}
        print(
            f"  {side:32s} {verdict.speedup:5.2f} ({verdict.low:.2f} to {verdict.high:.2f})"
            + "".join(
                f"   {cores} cores {simulated[side][str(cores)] / simulated[ALL][str(cores)]:5.2f}"
                for cores in SIMULATED_CORES
            )
            + f"   {records[side].peak_memory_gib:.2f} GiB",
            flush=True,
        )
    return {
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": len(records[ALL].task_records),
        "memory_gib": load.memory_gib,
        "sides": rows,
    }


@contextlib.contextmanager
def circumstances(load: Load) -> Iterator[dict[str, object]]:
    """Set up what a load is run under: a tuning with wrong costs, a process that takes a core."""
    options: dict[str, object] = {"tuning": "none", "memory_gib": load.memory_gib}
    competitor = None
    if load.wrong_costs:
        path = json_files.home() / "wrong.json"
        library.save(wrong_tuning(load), path)
        options["tuning"] = str(path)
    if load.competitor:
        competitor = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield options
    finally:
        if competitor:
            competitor.kill()
            competitor.wait()


def timed(
    fields: dict[str, object], options: Mapping[str, object], without: tuple[str, ...]
) -> tuple[float, RunRecord]:
    """Return the seconds of one run in a session that has served a small one, and its record."""
    small = {
        **fields,
        "specification": {**fields["specification"], "keywords": {"bsse_type": ["nocp"], "max_nbody": 1}},
    }
    with Session(Options(without=without, **options)) as session:
        session.run(small)
        started = time.perf_counter()
        session.run(fields)
        seconds = time.perf_counter() - started
        assert session.record is not None
        return seconds, session.record


def simulation(fields: dict[str, object], load: Load, record: RunRecord) -> dict[str, dict[str, float]]:
    """Return simulated seconds of every side on larger machines, from measured times, without start-up."""
    work, manager, here = workload.load(fields), Manager(), detection.detect()
    learned = cost_law.Costs()
    for task in record.task_records:
        learned.observe(work.tasks[task.number], wall_s=task.wall_s, width=task.width, peak_gib=task.peak_gib)
    estimates = {task.number: learned.estimate(task) for task in work.tasks}
    found: dict[str, dict[str, float]] = {side: {} for side in SIDES}
    for side, without in SIDES.items():
        for cores in SIMULATED_CORES:
            pretended = dataclasses.replace(here, cores=cores, memory_gib=here.memory_gib * cores / here.cores)
            options = Options(tuning="none", without=without)
            plan = planning.make(work, machine=pretended, manager=manager, options=options)
            run = simulator.simulate(
                work.tasks,
                estimates,
                policy=plan.policy,
                machine=pretended,
                memory_budget_gib=(load.memory_gib or 0.8 * here.memory_gib) * cores / here.cores,
            )
            found[side][str(cores)] = run.makespan_s
    return found


def wrong_tuning(load: Load) -> Tuning:
    """Return a tuning that takes all tasks for equally long."""
    work = workload.load(fields_of(load))
    return Tuning(
        machine=detection.detect(),
        method=work.methods[0],
        program_version="0",
        strategies=STANDARD,
        parameters={},
        law=Law(seconds={"start": 1.0, "matrices": 0.0, "integrals": 0.0}, spread=0.1, parallel=0.0, half_s=1.0),
        evidence=Evidence(
            study="none",
            search_workloads=(),
            pairs=(),
            speed_up=1.0,
            interval=None,
            verdict="cannot tell",
            noise=0.0,
            noise_s=(),
            search_tasks=(),
            candidate={},
            trials=(),
            importances={},
            stopped="nothing was measured",
            budget_s=0.0,
            spent_s=0.0,
            smallest_functions=0,
            largest_functions=1000,
        ),
        versions={},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def fields_of(load: Load) -> dict[str, object]:
    text = (files("autotune.studies") / "workloads" / f"{load.geometry}.xyz").read_text()
    fields: dict[str, object] = from_xyz(text, name=load.geometry, expansion=load.expansion)
    if load.whole:
        fields["specification"]["keywords"]["supersystem_ie_only"] = True
    return fields


def write(output: Path, measured: list[dict[str, object]]) -> None:
    record = {
        "schema": "autotune.benchmark/1",
        "what": "wall time with each strategy switched off over all on; measured here, simulated for more cores",
        "command": "python tests/bench/ablation.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "loads": measured,
    }
    output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
