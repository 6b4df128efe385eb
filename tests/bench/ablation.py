"""Measure what each strategy is worth: all of them on, each one off in turn, all off; interleaved repeats.

Each run is a warm `Session` (programs loaded, workers started), from input to result. Workloads are those on which a
strategy should matter on two cores, and some on which none should. The same policies are simulated for 16 and 64 cores
beside it, with the measured times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from harness import Benchmark, Computation, interval, offer_faulty_program, take_turns
from tuning_factory import make_tuning

from autotune.base.options import Options
from autotune.base.records import Law, RunRecord
from autotune.compare import judgement
from autotune.costs import cost_law
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin.composition import STANDARD
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.schedule import simulator
from autotune.session.session import Session
from autotune.tunings import library

ALL, NONE = "all on", "all off"
PROGRAMS = "tunables"  # of the programs
SIDES = {ALL: (), **{f"without {name}": (name,) for name in (*STANDARD, PROGRAMS)}, NONE: (*STANDARD, PROGRAMS)}
SIMULATED_CORES = (16, 64)
SLOW = 4.0  # a side so many times slower than the first is repeated no further after two runs


class Load(NamedTuple):
    """What is computed, and the circumstances it is run under."""

    computed: Computation
    memory_gib: float | None = None
    whole: bool = False
    wrong_costs: bool = False
    competitor: bool = False

    @property
    def fields(self) -> dict:
        fields = self.computed.fields
        if self.whole:
            fields["specification"]["keywords"]["supersystem_ie_only"] = True
        return fields


METHANOL = Computation("methanol_water6", "hf", "6-31g*", 2)
BENZENES = Computation("benzene3", "hf", "6-31g", 2)
ASLEEP = Computation("water6", "sleep", max_nbody=3, program="faulty", keywords={"seconds": 0.5})
LOADS = {
    "uneven: methanol_water6 HF/6-31G* 2-body": Load(METHANOL),
    "uneven: sodium_chloride_water6 cp HF/STO-3G 2-body": Load(
        Computation("sodium_chloride_water6", "hf", "sto-3g", 2, "cp")
    ),
    "few, large: benzene3 MP2/6-31G 2-body": Load(BENZENES._replace(method="mp2")),
    "one dominates: water8 HF/6-31G* 1-body and whole": Load(Computation("water8", "hf", "6-31g*", 8), whole=True),
    "memory-bound (1 GiB): benzene3 HF/6-31G 2-body": Load(BENZENES, memory_gib=1.0),
    "memory-bound (0.7 GiB): benzene3 HF/6-31G 2-body": Load(BENZENES, memory_gib=0.7),
    "wrong costs: methanol_water6 HF/6-31G* 2-body": Load(METHANOL, wrong_costs=True),
    "a core taken away: methanol_water6 HF/6-31G* 2-body": Load(METHANOL, competitor=True),
    "even: water6 HF/6-31G* 3-body": Load(Computation("water6", "hf", "6-31g*", 3)),
    "tiny: water16 HF/STO-3G 2-body": Load(Computation("water16", "hf", "sto-3g", 2)),
    "tasks wait: water6 3-body, 0.5 s asleep": Load(ASLEEP),
}


def measure(arguments) -> Iterator[dict]:
    offer_faulty_program()
    for name in arguments.cases:
        yield {"name": name, **ablate(LOADS[name], arguments.repeats)}


def ablate(load: Load, repeats: int) -> dict[str, object]:
    fields = load.fields
    records: dict[str, RunRecord] = {}

    def run(side: str) -> float:
        with circumstances(load) as options:
            seconds, records[side] = run_warm(fields, options, SIDES[side])
        return seconds

    def is_slow(side: str, times: Mapping[str, list[float]]) -> bool:
        return len(times[side]) > 1 and min(times[side]) > SLOW * min(times[ALL])

    times = take_turns({side: lambda side=side: run(side) for side in SIDES}, repeats=repeats, skip=is_slow)
    simulated = simulate(fields, load, records[ALL])
    rows = {}
    for side in SIDES:
        peak_gib = records[side].peak_memory_gib
        rows[side] = {"times_s": times[side], "peak_memory_gib": peak_gib, "simulated_s": simulated[side]}
        if side != ALL:
            gain = judgement.compare_groups(times[side], times[ALL])
            rows[side] |= {"gain_of_all_on": gain.speedup, "interval": interval(gain)}
            larger = [simulated[side][str(cores)] / simulated[ALL][str(cores)] for cores in SIMULATED_CORES]
            print(f"  {side:32s} {gain.speedup:5.2f} {interval(gain)}, on more cores {larger}, {peak_gib:.2f} GiB")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": len(records[ALL].task_records),
        "memory_gib": load.memory_gib,
        "sides": rows,
    }


@contextlib.contextmanager
def circumstances(load: Load) -> Iterator[dict[str, object]]:
    """Set up what a load is run under: a tuning with wrong costs, a process that takes a core."""
    options: dict[str, object] = {"tuning": "none", "memory_gib": load.memory_gib}
    with contextlib.ExitStack() as stack:
        if load.wrong_costs:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "wrong.json"
            law = Law(seconds={"start": 1.0, "matrices": 0.0, "integrals": 0.0}, spread=0.1, parallel=0.0, half_s=1.0)
            like = {"method": load.computed.method, "basis": load.computed.basis, "largest_functions": 1000}
            library.save(make_tuning(**like, verdict="cannot tell", smallest_functions=0, law=law), path)
            options["tuning"] = str(path)
        if load.competitor:
            competitor = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(competitor.kill)
        yield options


def run_warm(
    fields: dict[str, object], options: Mapping[str, object], without: tuple[str, ...]
) -> tuple[float, RunRecord]:
    """Return the seconds of one run in a session that has served a small one, and its record."""
    small = {
        **fields,
        "specification": {**fields["specification"], "keywords": {"bsse_type": ["nocp"], "max_nbody": 1}},
    }
    with Session(without_some(without, **options)) as session:
        session.run(small)
        started = time.perf_counter()
        session.run(fields)
        seconds = time.perf_counter() - started
        assert session.record is not None
        return seconds, session.record


def without_some(names: tuple[str, ...], **options: object) -> Options:
    """Return options of a run without some strategies, or with the programs left alone."""
    without = tuple(name for name in names if name != PROGRAMS)
    return Options(without=without, program_tuning=PROGRAMS not in names, **options)


def simulate(fields: dict[str, object], load: Load, record: RunRecord) -> dict[str, dict[str, float]]:
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
            options = without_some(without, tuning="none")
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


BENCHMARK = Benchmark(
    what="wall time with each strategy, or the programs' tunables, switched off over all on; simulated for more cores",
    measure=measure,
    rows="loads",
    key=("name",),
    cases=LOADS,
    repeats=5,
)
