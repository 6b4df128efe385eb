"""Measure each program against upstream's serial run and against fixed pools: whole processes, interleaved, repeated.

For each program: `autotune calibrate` in a fresh folder, then in turn, in random order: upstream's
`qcengine.compute(input, "qcmanybody")` at its defaults; `concurrent.futures` with 2, 3 and 4 workers of one core
(`fixed_pool.py`), of which the best counts; `autotune run` with the default; `autotune run` with what the calibration
stored. Psi4 runs as QCEngine runs it, a process for each task, everywhere but in autotune (`process_psi4.py`).

    python tests/bench/programs.py --output results/programs.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from autotune.base.versions import library_versions
from autotune.compare import judgement
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.programs import blas
from autotune.tunings import library

HERE = Path(__file__).parent
UPSTREAM = f"""
import json, sys
sys.path.insert(0, {str(HERE)!r})
import os
os.environ["FIXED_POOL_FOLDER"] = {str(HERE)!r}
import fixed_pool, qcengine
fixed_pool.register()
result = qcengine.compute(json.load(open(sys.argv[1])), "qcmanybody", raise_error=True)
open(sys.argv[2], "w").write(result.model_dump_json())
"""
POOLS = (2, 3, 4)


class Case(NamedTuple):
    """A workload, and by how much it is to be faster than upstream and than the best fixed pool."""

    program: str
    method: str
    basis: str
    keywords: dict[str, object]
    geometry: str
    molecules: int
    against_upstream: float
    against_pool: float = 0.0


CASES = {
    "Psi4 HF/6-31G*": Case("psi4", "hf", "6-31g*", {"scf_type": "df"}, "water10", 5, 8.0, 4.0),
    "NWChem HF/6-31G*": Case("nwchem", "hf", "6-31g*", {}, "water10", 5, 2.0),
    "MOPAC PM6": Case("mopac", "pm6", "", {}, "water10", 10, 2.5),
    "tblite GFN2-xTB": Case("tblite", "gfn2-xtb", "", {}, "water32", 32, 2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--study", default="standard")
    parser.add_argument("--no-calibration", action="store_true", help="for a quick look: the default only")
    parser.add_argument("--output", type=Path, help="write the record here, beside the cases that are there already")
    arguments = parser.parse_args()
    rows = json.loads(arguments.output.read_text())["cases"] if arguments.output and arguments.output.exists() else []
    for name in arguments.case or CASES:
        study = "" if arguments.no_calibration else arguments.study
        row = {"case": name, **measured(CASES[name], rounds=arguments.rounds, study=study)}
        rows = sorted(
            [each for each in rows if each["case"] != name] + [row], key=lambda r: list(CASES).index(r["case"])
        )
        print(json.dumps({key: row[key] for key in row if key != "samples_s"}), flush=True)
        if arguments.output:
            write(arguments.output, rows)


def measured(case: Case, *, rounds: int, study: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = {**os.environ, "AUTOTUNE_HOME": str(home)}
        found: dict[str, object] = {}
        if study:
            found = calibrated(case, study, environment)
        source, answer, record = (Path(folder) / name for name in ("input.json", "answer.json", "record.json"))
        source.write_text(json.dumps(fields_of(case)))
        ours = [sys.executable, "-m", "autotune", "run", str(source), "-o", str(answer), "--record", str(record)]
        commands = {"upstream": [sys.executable, "-c", UPSTREAM, str(source), str(answer)]}
        commands |= {
            f"pool of {n}": [sys.executable, str(HERE / "fixed_pool.py"), str(source), str(answer), str(n)]
            for n in POOLS
        }
        commands["default"] = [*ours, "--quiet", "--journal", "none", "--tuning", "none"]
        if found:
            commands["tuned"] = [*ours, "--quiet", "--journal", "none"]
        samples: dict[str, list[float]] = {side: [] for side in commands}
        energies: dict[str, float] = {}
        runs: dict[str, dict[str, object]] = {}
        order = random.Random(0)
        # Pools are told what autotune finds out: where OpenBLAS is too old for the processor, which kernels to use.
        kernels = {} if blas.knows_avx(blas.core()) else {"OPENBLAS_CORETYPE": "Haswell"}
        for _ in range(rounds):
            for side in order.sample(list(commands), len(commands)):
                started = time.perf_counter()
                told = kernels if side.startswith("pool") else {}
                subprocess.run(
                    commands[side], check=True, cwd=folder, env=environment | told, stdout=subprocess.DEVNULL
                )
                samples[side].append(round(time.perf_counter() - started, 3))
                energies[side] = json.loads(answer.read_text())["return_result"]
                if side in ("default", "tuned"):
                    runs[side] = json.loads(record.read_text())
            print("  " + ", ".join(f"{side} {walls[-1]:.2f} s" for side, walls in samples.items()), flush=True)
    return judged(case, samples, energies, runs) | found


def calibrated(case: Case, study: str, environment: dict[str, str], *, budget: str = "") -> dict[str, object]:
    command = [sys.executable, "-m", "autotune", "calibrate", "--study", study, "--program", case.program]
    command += ["--method", case.method, "--basis", case.basis]
    if budget:
        command += ["--budget", budget]
    if case.keywords:
        command += ["--keywords", json.dumps(case.keywords)]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    calibration_s = time.perf_counter() - started
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


def fields_of(case: Case) -> dict[str, object]:
    text = (files("autotune.studies") / "workloads" / f"{case.geometry}.xyz").read_text()
    atoms = 3 * case.molecules
    text = "\n".join([str(atoms), "", *text.splitlines()[2 : 2 + atoms]]) + "\n"
    expansion = Expansion(
        program=case.program, method=case.method, basis=case.basis, keywords=case.keywords, max_nbody=3
    )
    return from_xyz(text, name=case.geometry, expansion=expansion)


def judged(
    case: Case, samples: dict[str, list[float]], energies: dict[str, float], runs: dict[str, dict[str, object]]
) -> dict[str, object]:
    means = {side: math.exp(statistics.fmean(map(math.log, walls))) for side, walls in samples.items()}
    side = "tuned" if "tuned" in samples else "default"
    pool = min((name for name in samples if name.startswith("pool")), key=lambda name: means[name])
    upstream, best, default = (
        judgement.paired(samples[other], samples[side]) for other in ("upstream", pool, "default")
    )
    return {
        "workload": f"{case.molecules} molecules of {case.geometry}, 3-body",
        "tasks": runs[side]["tasks"],
        "mean_s": {name: round(seconds, 3) for name, seconds in means.items()},
        "against_upstream": round(upstream.speedup, 3),
        "against_upstream_interval": [round(upstream.low, 3), round(upstream.high, 3)],
        "against_upstream_wanted": case.against_upstream,
        "best_pool": pool,
        "against_pool": round(best.speedup, 3),
        "against_pool_interval": [round(best.low, 3), round(best.high, 3)],
        "against_pool_wanted": case.against_pool,
        "tuned_against_default": round(default.speedup, 3),
        "tuned_against_default_interval": [round(default.low, 3), round(default.high, 3)],
        "energy_difference_hartree": max(abs(e - energies["upstream"]) for e in energies.values()),
        "efficiency": runs[side]["efficiency"],
        "cpu_utilisation": runs[side]["cpu_utilisation"],
        "gap_s": runs[side]["gap"],
        "tuning": runs[side]["tuning"],
        "policy": runs[side]["policy"],
        "samples_s": samples,
    }


def write(path: Path, rows: list[dict[str, object]]) -> None:
    record = {
        "schema": "autotune.benchmark/1",
        "what": "autotune run, calibrated, against upstream's serial run and fixed pools; whole processes, interleaved",
        "command": "python tests/bench/programs.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "load_before": os.getloadavg(),
        "versions": library_versions(),
        "cases": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
