"""Measure `autotune run` against upstream's serial run: whole process against whole process, interleaved pairs.

Both sides get the same ManyBodyInput file, the same harness and the same environment. Upstream is
`qcengine.compute(input, "qcmanybody")` at its defaults in a fresh Python; ours is the command a user types, with
whatever tuning is stored. A third side is upstream again, in the environment that autotune gives its workers (BLAS
threads, OpenMP waiting, OpenBLAS kernel): against it, what is left is scheduling.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import Benchmark, Computation, autotune_command, interval, run_command, take_turns

from autotune.base.types import Method
from autotune.compare import judgement
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
    "water6 HF/6-31G*": Computation("water6", "hf", "6-31g*", 3),
    "water8 HF/6-31G*": Computation("water8", "hf", "6-31g*", 3),
    "water6 DF-MP2/cc-pVDZ": Computation("water6", "mp2", "cc-pvdz", 3, keywords={"density_fit": True}),
    "water4 CCSD(T)/cc-pVDZ": Computation("water4", "ccsd(t)", "cc-pvdz", 3),
}
DEMO = "water6 HF/6-31G*"  # measured only where it is asked for
UPSTREAM_SIDE, SAME_ENVIRONMENT, OURS = "upstream", "upstream in autotune's environment", "autotune"
LONG_S = 60.0  # workloads that take upstream longer are repeated three times only


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        if arguments.case or name != DEMO:
            yield {"name": name, **compare(name, arguments.repeats)}


def compare(name: str, pairs: int) -> dict[str, object]:
    energies: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        source, answer, record = (Path(folder) / file for file in ("input.json", "answer.json", "record.json"))
        source.write_text(json.dumps(WORKLOADS[name].fields))
        upstream = [sys.executable, "-c", UPSTREAM, str(source), str(answer)]
        ours = autotune_command("run", source, "-o", answer, "--record", record, "--quiet")

        def run(side: str) -> float:
            environment = same_environment() if side == SAME_ENVIRONMENT else os.environ
            seconds, _ = run_command(ours if side == OURS else upstream, environment=environment)
            energies[side] = json.loads(answer.read_text())["return_result"]
            return seconds

        times = take_turns(
            {side: lambda side=side: run(side) for side in (UPSTREAM_SIDE, SAME_ENVIRONMENT, OURS)},
            repeats=pairs,
            skip=lambda side, found: len(found[side]) >= 3 and found[UPSTREAM_SIDE][0] > LONG_S,
        )
        fields = json.loads(record.read_text())
    whole, scheduling = (
        judgement.compare_pairs(times[side], times[OURS]) for side in (UPSTREAM_SIDE, SAME_ENVIRONMENT)
    )
    return {
        "tasks": fields["tasks"],
        "times_s": times,
        "speed_up": whole.speedup,
        "interval": interval(whole),
        "speed_up_in_the_same_environment": scheduling.speedup,
        "interval_in_the_same_environment": interval(scheduling),
        "energy_difference_hartree": abs(energies[UPSTREAM_SIDE] - energies[OURS]),
        "efficiency": fields["efficiency"],
        "cpu_utilisation": fields["cpu_utilisation"],
        "gap_s": fields["gap"],
        "tuning": fields["tuning"],
        "policy": fields["policy"],
    }


def same_environment() -> dict[str, str]:
    """Return this process's environment with what autotune sets for the threads of PySCF by default."""
    here, options = detection.detect(), planning.Options(tuning="none")
    method = Method(program="pyscf", method="hf", basis="6-31g*", driver="energy")
    plan = planning.guess((method,), machine=here, manager=Manager(), options=options)
    ours = planning.environment(plan)
    # The thread counts are each worker's; upstream's serial run has all cores.
    return {**os.environ, **{name: value for name, value in ours.items() if name not in THREAD_VARIABLES}}


BENCHMARK = Benchmark(
    what="autotune run against qcengine.compute(input, 'qcmanybody'); whole processes, interleaved pairs",
    measure=measure,
    rows="workloads",
    key=("name",),
    cases=WORKLOADS,
    repeats=5,
)
