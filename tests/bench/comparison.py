"""Ours against everyone else: each workload on autotune, upstream, the older executor's schedule and four engines.

All sides compute the same input with autotune's harnesses and equal keywords; the programs' tunables, which start an
SCF from fragments' densities, say, are autotune's own, and a further side runs without them. Upstream is
`qcengine.compute(input, "qcmanybody")` at its defaults. The older executor's schedule and the engines (`fixed_pool.py`)
run one core a task, each with its best number of workers, found by one run with 2, 3 and 4; where OpenBLAS is too old
for the processor they are told which kernels to use, as autotune's workers are. Sides take turns in random order. Cold
is a whole process; warm is the second pass over the input in it, for autotune the second run of a Session. The older
schedule's processes are never warm.

Simulated for more cores than there are: the real scheduler on a virtual clock, with the times measured here and without
start-up of any side; an engine is as many workers of one core as there are cores, in the order of the expansion.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import programs
from harness import Benchmark, Computation, autotune_command, interval, run_command, take_turns
from speedups import speedups

from autotune.base import json_files
from autotune.base.options import Options
from autotune.base.types import Policy
from autotune.compare import judgement
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.schedule import simulator
from autotune.session.forecast import replayed_s

WARM = """
import json, sys, time
import autotune
fields = json.load(open(sys.argv[1]))
with autotune.Session(autotune.Options(journal="none", **json.loads(sys.argv[2]))) as session:
    session.run(fields)
    started = time.perf_counter()
    session.run(fields)
    print(json.dumps([time.perf_counter() - started, session.record.lower_bound_s]))
"""

LEFT_ALONE = "autotune, programs left alone"
RECORDS = {"autotune": "tuned", LEFT_ALONE: "left_alone"}
GIB_A_CORE = 4.0
ENGINES = ("concurrent.futures", "loky", "dask", "parsl")
WORKERS = (2, 3, 4)
LARGER = (16, 64)  # cores that are simulated

CASES = {
    "water8 HF/6-31G* (PySCF)": Computation("water8", "hf", "6-31g*", 3),
    "water6 DF-MP2/cc-pVDZ (PySCF)": Computation("water6", "mp2", "cc-pvdz", 3, keywords={"density_fit": True}),
    "water10 MP2/6-31G (PySCF)": Computation("water10", "mp2", "6-31g", 2),
    "water4 CCSD(T)/6-31G (PySCF)": Computation("water4", "ccsd(t)", "6-31g", 3),
    "water4 B3LYP/6-31G* (PySCF)": Computation("water4", "b3lyp", "6-31g*", 2),
    "methanol_water6 HF/6-31G* (PySCF)": Computation("methanol_water6", "hf", "6-31g*", 2),
    "sodium_chloride_water6 cp HF/STO-3G (PySCF)": Computation("sodium_chloride_water6", "hf", "sto-3g", 2, "cp"),
    "benzene3 HF/6-31G (PySCF)": Computation("benzene3", "hf", "6-31g", 2),
    "ammonia5 vmfc HF/STO-3G (PySCF)": Computation("ammonia5", "hf", "sto-3g", 2, "vmfc"),
    "water5 HF/6-31G* (Psi4)": Computation(
        "water10", "hf", "6-31g*", 3, program="psi4", keywords={"scf_type": "df"}, atoms=15
    ),
    "methanol_water6 MP2/6-31G (Psi4)": Computation("methanol_water6", "mp2", "6-31g", 2, program="psi4"),
    "water5 HF/6-31G* (NWChem)": Computation("water10", "hf", "6-31g*", 3, program="nwchem", atoms=15),
    "water10 PM6 (MOPAC)": Computation("water10", "pm6", "", 3, program="mopac"),
    "water16 GFN2-xTB (tblite)": Computation("water16", "gfn2-xtb", "", 3, program="tblite"),
}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        yield {"case": name, **compare(CASES[name], rounds=arguments.repeats, budget=arguments.budget)}


def compare(case: Computation, *, rounds: int, budget: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AUTOTUNE_HOME": str(Path(folder) / "home")}
        source = Path(folder) / "input.json"
        source.write_text(json.dumps(case.fields))
        calibration = calibrate(case, budget, environment)
        kernels = programs.kernels()
        if case.program == "pyscf" and detection.vector() in ("avx2", "avx512"):
            kernels = {"OPENBLAS_CORETYPE": "Haswell"}
        pools = Pools(source, Path(folder) / "pool.json", environment | kernels)
        workers = {engine: pools.best(engine) for engine in ("older", *ENGINES)}
        sides: dict[str, Any] = {"upstream": lambda: run_upstream(source, folder, environment)}
        sides["autotune"] = lambda: run_ours(source, folder, environment, "--tuning", "auto")
        sides[LEFT_ALONE] = lambda: run_ours(source, folder, environment, "--tuning", "auto", "--no-program-tuning")
        if calibration["verdict"] == "faster":
            sides["autotune, default"] = lambda: run_ours(source, folder, environment, "--tuning", "none")
        sides["older, 4 workers"] = lambda: pools.run("older", 4)
        if workers["older"] != 4:
            sides["older, best"] = lambda: pools.run("older", workers["older"])
        for engine in ENGINES:
            sides[engine] = lambda engine=engine: pools.run(engine, workers[engine], passes=2)
        samples = take_turns(sides, repeats=rounds)
        records = {side: Path(folder) / f"{name}.json" for side, name in RECORDS.items()}
        larger = {str(cores): simulate_larger(source, records, cores) for cores in LARGER}
    return judge(case, samples, workers) | {"calibration": calibration, "simulated_s": larger}


class Pools:
    """The engines on one input."""

    def __init__(self, source: Path, answer: Path, environment: dict[str, str]) -> None:
        self._source, self._answer, self._environment = source, answer, environment

    def run(self, engine: str, workers: int, *, passes: int = 1) -> dict[str, float]:
        command = programs.pool_command(self._source, self._answer, workers)
        wall_s, output = run_command(
            [*command, "--engine", engine, "--passes", str(passes)], environment=self._environment
        )
        _, *further = json.loads(output.splitlines()[-1])
        # What the second pass took was no part of the cold run.
        sample = {"cold": wall_s - sum(further), "energy": energy_of(self._answer)}
        return sample | ({"warm": further[0]} if further else {})

    def best(self, engine: str) -> int:
        return min(WORKERS, key=lambda workers: self.run(engine, workers)["cold"])


def run_ours(source: Path, folder: str, environment: dict[str, str], *options: str) -> dict[str, float]:
    tuned = "--no-program-tuning" not in options
    answer, record = Path(folder) / "ours.json", Path(folder) / f"{RECORDS['autotune' if tuned else LEFT_ALONE]}.json"
    command = autotune_command("run", source, "-o", answer, "--record", record, "--quiet", "--journal", "none")
    wall_s, _ = run_command([*command, *options], environment=environment)
    run = json.loads(record.read_text())
    warm = {"tuning": options[1], "program_tuning": tuned}
    _, output = run_command([sys.executable, "-P", "-c", WARM, str(source), json.dumps(warm)], environment=environment)
    warm_s, _ = json.loads(output.splitlines()[-1])
    return {
        "cold": wall_s,
        "warm": warm_s,
        "energy": energy_of(answer),
        "bound": run["lower_bound_s"],
        "efficiency": run["efficiency"],
        "tasks": run["tasks"],
    }


def run_upstream(source: Path, folder: str, environment: dict[str, str]) -> dict[str, float]:
    answer = Path(folder) / "upstream.json"
    wall_s, _ = run_command(programs.upstream_command(source, answer), environment=environment)
    return {"cold": wall_s, "energy": energy_of(answer)}


def simulate_larger(source: Path, records: dict[str, Path], cores: int) -> dict[str, float]:
    """Return the makespans of all schedules on more cores, from the task times of runs here: ours, and left alone."""
    work, manager, here = workload.load(json.loads(source.read_text())), Manager(), detection.detect()
    larger = dataclasses.replace(here, cores=cores, memory_gib=GIB_A_CORE * cores)
    plan = planning.make(work, machine=larger, manager=manager, options=Options(tuning="none"))
    estimates = {
        task.number: planning.estimate(task, costs=plan.costs, manager=manager, machine=here) for task in work.tasks
    }
    times = {
        side: replayed_s(json_files.load_run(record), work.tasks, estimates, name=str(record))
        for side, record in records.items()
    }
    pool = Policy(workers=cores, core_slots=cores, level_barriers=False)
    policies = {
        "autotune": plan.policy,
        "upstream": Policy(workers=1, core_slots=cores, width=cores, level_barriers=False),
        "older, 4 workers": Policy(),
        "older, best": Policy(workers=cores, core_slots=cores),
        "engine": pool,
    }
    budget_gib = 0.8 * larger.memory_gib
    runs = {
        side: simulator.simulate(
            work.tasks,
            estimates,
            policy=policy,
            machine=larger,
            memory_budget_gib=budget_gib,
            durations_s=times.get(side, times[LEFT_ALONE]),
        )
        for side, policy in policies.items()
    }
    return {side: round(run.makespan_s, 4) for side, run in runs.items()} | {
        "bound": round(runs["autotune"].lower_bound_s, 4)
    }


def energy_of(path: Path) -> float:
    return float(json.loads(path.read_text())["properties"]["return_energy"])


def calibrate(case: Computation, budget: str, environment: dict[str, str]) -> dict[str, Any]:
    if budget == "0":
        return {"verdict": "none", "gain": 1.0}
    found = programs.calibrate(case, "standard", environment, budget=budget)
    return {key: found[key] for key in ("verdict", "parameters", "gain_when_confirmed", "calibration_s")}


def judge(case: Computation, samples: dict[str, list[dict[str, float]]], workers: dict[str, int]) -> dict[str, Any]:
    def walls(side: str, kind: str) -> list[float]:
        return [sample[kind] for sample in samples[side]]

    def against(side: str, kind: str) -> dict[str, Any]:
        found = judgement.compare_pairs(walls(side, kind), walls("autotune", kind))
        return {"speedup": round(found.speedup, 3), "interval": interval(found)}

    others = [side for side in samples if side != "autotune"]
    engine = min(ENGINES, key=lambda name: geometric_mean(walls(name, "cold")))
    warm = min(ENGINES, key=lambda name: geometric_mean(walls(name, "warm")))
    energies = [sample["energy"] for found in samples.values() for sample in found]
    return {
        "program": case.program,
        "tasks": samples["autotune"][0]["tasks"],
        "best_workers": workers,
        "mean_s": {side: round(geometric_mean(walls(side, "cold")), 3) for side in samples},
        "warm_s": {
            side: round(geometric_mean(walls(side, "warm")), 3) for side in samples if "warm" in samples[side][0]
        },
        "bound_s": round(geometric_mean(walls("autotune", "bound")), 3),
        "efficiency": round(fmean(walls("autotune", "efficiency")), 3),
        "against": {side: against(side, "cold") for side in others},
        "best_engine": engine,
        "best_engine_warm": warm,
        "against_warm": {side: against(side, "warm") for side in others if "warm" in samples[side][0]},
        "energies_differ_by": max(energies) - min(energies),
        "samples_s": samples,
    }


def means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the geometric means over the whole table."""
    names = ("against_upstream", "against_older_best", "against_best_engine_cold", "against_best_engine_warm")
    columns = zip(*map(speedups, rows), strict=True)
    return {
        "geometric_means": {name: round(geometric_mean(column), 3) for name, column in zip(names, columns, strict=True)}
    }


BENCHMARK = Benchmark(
    what="autotune against upstream, the older executor's schedule and four engines; in turn, cold and warm",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    repeats=4,
    options={"--budget": {"default": "1m", "help": "of each calibration; 0 for none"}},
    summary=means,
)
