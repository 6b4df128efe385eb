"""Whether calibrations keep to their budget: each packaged study with a real program, timed from outside.

The wall time of the whole command counts, start-up included. A calibration may end early; it may not end more than a
tenth of its budget late. Needs no quiet machine: other load makes it harder.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

from harness import Benchmark, autotune_command, run_command

from autotune.calibration import studies

METHODS = {"quick": ("hf", "6-31g*"), "standard": ("mp2", "cc-pvdz"), "thorough": ("b3lyp", "def2-svp")}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        method, basis = METHODS[name]
        command = autotune_command("calibrate", "--study", name, "--method", method, "--basis", basis, "--force")
        load = os.getloadavg()
        with tempfile.TemporaryDirectory() as home:
            wall_s, _ = run_command(command, environment={**os.environ, "AUTOTUNE_HOME": home})
        budget_s = studies.load(name).budget_s
        yield {
            "study": name,
            "method": f"pyscf {method}/{basis}",
            "budget_s": budget_s,
            "wall_s": round(wall_s, 1),
            "over": round(wall_s / budget_s - 1.0, 3),
            "within_a_tenth": wall_s <= 1.1 * budget_s,
            "load_before_and_after": [load[0], os.getloadavg()[0]],
        }


BENCHMARK = Benchmark(
    what="wall time of calibrations against their budget",
    measure=measure,
    rows="studies",
    key=("study",),
    cases=METHODS,
)
