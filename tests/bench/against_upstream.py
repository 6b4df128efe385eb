"""Measure `autotune run` against upstream's serial run: whole process against whole process, interleaved pairs.

Both sides get the same ManyBodyInput file, the same harness and the same environment. Upstream is
`qcengine.compute(input, "qcmanybody")` at its defaults in a fresh Python; ours is the command a user types, with
whatever tuning is stored. A third side is upstream again, in the environment that autotune gives its workers (BLAS
threads, OpenMP waiting, OpenBLAS kernel): against it, what is left is scheduling. Prints a table, writes a record.

    python tests/bench/against_upstream.py --pairs 5 --output results/against_upstream.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from autotune.base.types import Method
from autotune.base.versions import library_versions
from autotune.compare import judgement
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.machine.process import THREAD_VARIABLES
from autotune.plugin.manager import Manager
from autotune.runtime import planning

UPSTREAM = """
import json, sys
import qcengine
from autotune_plugins.program_pyscf import autotune_register_programs
autotune_register_programs()
result = qcengine.compute(json.load(open(sys.argv[1])), "qcmanybody", raise_error=True)
open(sys.argv[2], "w").write(result.model_dump_json())
"""

WORKLOADS = {
    "water6 HF/6-31G*": ("water6", "hf", "6-31g*", {}, 3),
    "water8 HF/6-31G*": ("water8", "hf", "6-31g*", {}, 3),
    "water6 DF-MP2/cc-pVDZ": ("water6", "mp2", "cc-pvdz", {"density_fit": True}, 3),
    "water4 CCSD(T)/cc-pVDZ": ("water4", "ccsd(t)", "cc-pvdz", {}, 3),
}
SIDES = ("upstream", "upstream in autotune's environment", "autotune")
LONG_S = 60.0  # workloads that take upstream longer are repeated three times only


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="may be repeated; all by default")
    parser.add_argument("--output", type=Path, help="write the record here")
    arguments = parser.parse_args()
    names = arguments.workload or [name for name in WORKLOADS if name != "water6 HF/6-31G*"]
    measured = [measure(name, arguments.pairs) for name in names]
    if arguments.output:
        record = {
            "schema": "autotune.benchmark/1",
            "what": "autotune run against qcengine.compute(input, 'qcmanybody'); whole processes, interleaved pairs",
            "command": "python tests/bench/against_upstream.py " + " ".join(sys.argv[1:]),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dataclasses.asdict(detection.detect()),
            "load_before": os.getloadavg(),
            "versions": library_versions(),
            "workloads": measured,
        }
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")
        print(f"written to {arguments.output}")


def measure(name: str, pairs: int) -> dict[str, object]:
    geometry, method, basis, keywords, max_nbody = WORKLOADS[name]
    text = (files("autotune.studies") / "workloads" / f"{geometry}.xyz").read_text()
    expansion = Expansion(program="pyscf", method=method, basis=basis, keywords=keywords, max_nbody=max_nbody)
    fields = from_xyz(text, name=geometry, expansion=expansion)
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    energies: dict[str, float] = {}
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        source, answer, record = (Path(folder) / name for name in ("input.json", "answer.json", "record.json"))
        source.write_text(json.dumps(fields))
        ours = [sys.executable, "-m", "autotune", "run", str(source), "-o", str(answer), "--record", str(record)]
        upstream = [sys.executable, "-c", UPSTREAM, str(source), str(answer)]
        commands = dict(zip(SIDES, (upstream, upstream, [*ours, "--quiet"]), strict=True))
        environments = dict(zip(SIDES, (None, tuned_environment(), None), strict=True))
        done = 0
        while done < pairs and not (done >= 3 and times["upstream"][0] > LONG_S):
            for side in order.sample(SIDES, len(SIDES)):
                started = time.perf_counter()
                subprocess.run(commands[side], check=True, cwd=folder, env=environments[side])
                times[side].append(time.perf_counter() - started)
                energies[side] = json.loads(answer.read_text())["return_result"]
            done += 1
            print(f"  {name}: " + ", ".join(f"{side} {times[side][-1]:.2f} s" for side in SIDES), flush=True)
        run = json.loads(record.read_text())
    verdict = judgement.paired(times["upstream"], times["autotune"])
    scheduling = judgement.paired(times[SIDES[1]], times["autotune"])
    difference = abs(energies["upstream"] - energies["autotune"])
    print(
        f"{name}: {verdict.speedup:.2f}× upstream's speed (95 % interval {verdict.low:.2f} to {verdict.high:.2f},"
        f" {done} pairs); {scheduling.speedup:.2f}× ({scheduling.low:.2f} to {scheduling.high:.2f}) against upstream in"
        f" the same environment; energies differ by {difference:.1e} Eh; efficiency {run['efficiency']:.2f}"
    )
    return {
        "name": name,
        "tasks": run["tasks"],
        "times_s": times,
        "speed_up": verdict.speedup,
        "interval": [verdict.low, verdict.high],
        "speed_up_in_the_same_environment": scheduling.speedup,
        "interval_in_the_same_environment": [scheduling.low, scheduling.high],
        "energy_difference_hartree": difference,
        "efficiency": run["efficiency"],
        "cpu_utilisation": run["cpu_utilisation"],
        "gap_s": run["gap"],
        "tuning": run["tuning"],
        "policy": run["policy"],
    }


def tuned_environment() -> dict[str, str]:
    """Return this process's environment with what autotune sets for the threads of PySCF by default."""
    here, options = detection.detect(), planning.Options(tuning="none")
    method = Method(program="pyscf", method="hf", basis="6-31g*", driver="energy")
    plan = planning.guess((method,), machine=here, manager=Manager(), options=options)
    ours = planning.environment(plan)
    # The thread counts are each worker's; upstream's serial run has all cores.
    return {**os.environ, **{name: value for name, value in ours.items() if name not in THREAD_VARIABLES}}


if __name__ == "__main__":
    main()
