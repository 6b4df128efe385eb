"""Measure each program against upstream's serial run and against fixed pools: whole processes, interleaved, repeated.

For each program: `autotune calibrate` in a fresh folder, then in turn, in random order: upstream's
`qcengine.compute(input, "qcmanybody")` at its defaults; `concurrent.futures` with 2, 3 and 4 workers of one core
(`fixed_pool.py`), of which the best counts; `autotune run` with the default; `autotune run` with what the calibration
stored. Psi4 runs as QCEngine runs it, a process for each task, everywhere but in autotune (`process_psi4.py`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import NamedTuple

from harness import HERE, Benchmark, Computation, autotune_command, interval, run_command, take_turns

from autotune.compare import judgement
from autotune.programs import blas
from autotune.tunings import library

UPSTREAM = f"""
import json, sys
sys.path.insert(0, {str(HERE)!r})
import fixed_pool, qcengine
fixed_pool.register()
result = qcengine.compute(json.load(open(sys.argv[1])), "qcmanybody", raise_error=True)
open(sys.argv[2], "w").write(result.model_dump_json())
"""
POOLS = (2, 3, 4)


class Case(NamedTuple):
    """A workload, and by how much it is to be faster than upstream and than the best fixed pool."""

    computed: Computation
    against_upstream: float
    against_pool: float = 0.0


def waters(
    geometry: str, molecules: int, program: str, method: str, basis: str = "", **keywords: object
) -> Computation:
    return Computation(geometry, method, basis, 3, program=program, keywords=keywords, atoms=3 * molecules)


CASES = {
    "Psi4 HF/6-31G*": Case(waters("water10", 5, "psi4", "hf", "6-31g*", scf_type="df"), 8.0, 4.0),
    "NWChem HF/6-31G*": Case(waters("water10", 5, "nwchem", "hf", "6-31g*"), 2.0),
    "MOPAC PM6": Case(waters("water10", 10, "mopac", "pm6"), 2.5),
    "tblite GFN2-xTB": Case(waters("water32", 32, "tblite", "gfn2-xtb"), 2.0),
}


def measure(arguments) -> Iterator[dict]:
    study = "" if arguments.no_calibration else arguments.study
    for name in arguments.cases:
        yield {"case": name, **compare(CASES[name], rounds=arguments.repeats, study=study)}


def upstream_command(source: Path, answer: Path) -> list[str]:
    return [sys.executable, "-c", UPSTREAM, str(source), str(answer)]


def pool_command(source: Path, answer: Path, workers: int) -> list[str]:
    return [sys.executable, str(HERE / "fixed_pool.py"), str(source), str(answer), str(workers)]


def kernels() -> dict[str, str]:
    """Return what pools are told of OpenBLAS, as autotune's workers are: its kernels, where it is too old to know."""
    return {} if blas.knows_avx(blas.core()) else {"OPENBLAS_CORETYPE": "Haswell"}


def compare(case: Case, *, rounds: int, study: str) -> dict[str, object]:
    energies: dict[str, float] = {}
    runs: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AUTOTUNE_HOME": str(Path(folder) / "home")}
        tuning = calibrate(case.computed, study, environment) if study else {}
        source, answer, record = (Path(folder) / name for name in ("input.json", "answer.json", "record.json"))
        source.write_text(json.dumps(case.computed.fields))
        ours = autotune_command("run", source, "-o", answer, "--record", record, "--quiet", "--journal", "none")
        commands = {"upstream": upstream_command(source, answer)}
        commands |= {f"pool of {n}": pool_command(source, answer, n) for n in POOLS}
        commands["default"] = [*ours, "--tuning", "none"]
        if tuning:
            commands["tuned"] = ours

        def run(side: str) -> float:
            more = kernels() if side.startswith("pool") else {}
            seconds, _ = run_command(commands[side], environment=environment | more)
            energies[side] = json.loads(answer.read_text())["return_result"]
            if side in ("default", "tuned"):
                runs[side] = json.loads(record.read_text())
            return round(seconds, 3)

        samples = take_turns({side: lambda side=side: run(side) for side in commands}, repeats=rounds)
    return judge(case, samples, energies, runs) | tuning


def calibrate(case: Computation, study: str, environment: dict[str, str], *, budget: str = "") -> dict[str, object]:
    command = autotune_command("calibrate", "--study", study, "--program", case.program)
    command += ["--method", case.method, "--basis", case.basis]
    if budget:
        command += ["--budget", budget]
    if case.keywords:
        command += ["--keywords", json.dumps(dict(case.keywords))]
    calibration_s, _ = run_command(command, environment=environment)
    stored = [
        path for path in Path(environment["AUTOTUNE_HOME"]).rglob("*.json") if "tunings" in path.read_text()[:200]
    ]
    tuning = next(tuning for path in stored for tuning in library.load(path))
    return {
        "calibration_s": round(calibration_s, 1),
        "budget_s": tuning.evidence.budget_s,
        "verdict": tuning.evidence.verdict,
        "parameters": dict(tuning.parameters),
        "gain_when_confirmed": tuning.evidence.speed_up,
        "machine_noise": round(tuning.evidence.noise, 4),
        "trials": len(tuning.evidence.trials),
    }


def judge(
    case: Case, samples: dict[str, list[float]], energies: dict[str, float], runs: dict[str, dict[str, object]]
) -> dict[str, object]:
    means = {side: geometric_mean(walls) for side, walls in samples.items()}
    side = "tuned" if "tuned" in samples else "default"
    pool = min((name for name in samples if name.startswith("pool")), key=lambda name: means[name])
    upstream, best, default = (
        judgement.compare_pairs(samples[other], samples[side]) for other in ("upstream", pool, "default")
    )
    return {
        "workload": f"{case.computed.atoms // 3} molecules of {case.computed.geometry}, 3-body",
        "tasks": runs[side]["tasks"],
        "mean_s": {name: round(seconds, 3) for name, seconds in means.items()},
        "against_upstream": round(upstream.speedup, 3),
        "against_upstream_interval": interval(upstream),
        "against_upstream_wanted": case.against_upstream,
        "best_pool": pool,
        "against_pool": round(best.speedup, 3),
        "against_pool_interval": interval(best),
        "against_pool_wanted": case.against_pool,
        "tuned_against_default": round(default.speedup, 3),
        "tuned_against_default_interval": interval(default),
        "energy_difference_hartree": max(abs(e - energies["upstream"]) for e in energies.values()),
        "efficiency": runs[side]["efficiency"],
        "cpu_utilisation": runs[side]["cpu_utilisation"],
        "gap_s": runs[side]["gap"],
        "tuning": runs[side]["tuning"],
        "policy": runs[side]["policy"],
        "samples_s": samples,
    }


BENCHMARK = Benchmark(
    what="autotune run, calibrated, against upstream's serial run and fixed pools; whole processes, interleaved",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    repeats=5,
    options={
        "--study": {"default": "standard"},
        "--no-calibration": {"action": "store_true", "help": "for a quick look: the default only"},
    },
)
