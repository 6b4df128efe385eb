"""What a calibration of two minutes finds that starts from the program left alone, without its tunables.

Each case is a command `autotune calibrate --untouched`, with nothing stored before; what it confirms was measured on
workloads that its search did not see.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import Benchmark, autotune_command, run_command

from autotune.tunings import library

CASES = {"HF/6-31G*": "hf", "B3LYP/6-31G*": "b3lyp"}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tuning.json"
            words = ("calibrate", "--untouched", "--budget", arguments.budget, "--method", CASES[name], "-o", path)
            run_command(autotune_command(*words), environment={**os.environ, "AUTOTUNE_HOME": folder})
            (tuning,) = library.load(path)
        evidence = tuning.evidence
        yield {
            "case": name,
            "verdict": evidence.verdict,
            "speedup": evidence.speed_up,
            "interval": evidence.interval,
            "trials": len(evidence.trials),
            "spent_s": evidence.spent_s,
            "candidate": dict(evidence.candidate),
            "pairs": [[pair.workload, pair.default_s, pair.tuned_s] for pair in evidence.pairs],
            "deviations": dict(evidence.deviations),
        }


BENCHMARK = Benchmark(
    what="calibrations of two minutes that start from the program left alone: what they confirm",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    options={"--budget": {"default": "2m", "help": "of each calibration"}},
)
