"""Run QCManyBody's own test suite with its computations on autotune, and record what came out.

The suite is the one installed with QCManyBody; `tests/support/routed.py` lets its `ManyBodyComputer` and QCEngine's
procedure `qcmanybody` compute with autotune. Its own marks skip what needs a program that is not installed. With NWChem
and Psi4 it takes some hours on two cores. The exit status is 1 where a test fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from harness import SUPPORT, Benchmark, search_path

SUITE_RAN = (0, 1, 5)  # exits of pytest: all passed, some failed, none selected


def measure(arguments) -> dict:
    started = time.monotonic()
    seen = run(arguments.select)
    wall_s = time.monotonic() - started
    return {"versions": {**seen["versions"], "pytest": version("pytest")}, "wall_s": wall_s, **summary(seen)}


def run(selection: str) -> dict:
    """Return what the plugin saw, by test; nothing of the user's tunings or journals takes part."""
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "seen.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "routed", "-p", "no:cacheprovider", "-W", "ignore"]
        command += ["-c", os.devnull, f"--rootdir={folder}", "--pyargs", "qcmanybody"]
        command += ["-k", selection] if selection else []
        environment = {**os.environ, "AUTOTUNE_HOME": str(Path(folder) / "home"), "ROUTED_RECORD": str(seen)}
        environment["PYTHONPATH"] = search_path(SUPPORT)
        done = subprocess.run(command, cwd=folder, env=environment, check=False)
        if done.returncode not in SUITE_RAN or not seen.exists():
            sys.exit(f"the suite did not run: pytest ended with {done.returncode}")
        return json.loads(seen.read_text())


def summary(seen: dict) -> dict:
    """Return the numbers of a run, why tests were skipped, and which failed with which words."""
    tests = seen["tests"]
    outcomes = Counter(test["outcome"] for test in tests.values())
    skipped = Counter(test["said"] for test in tests.values() if test["outcome"] == "skipped")
    return {
        **{outcome: outcomes[outcome] for outcome in ("passed", "failed", "skipped")},
        "skip_reasons": dict(skipped.most_common()),
        "failures": {name: test["said"] for name, test in tests.items() if test["outcome"] == "failed"},
        "routed": seen["routed"],
        "tasks": seen["tasks"],
        "tests_routed": sum(1 for test in tests.values() if test["routed"]),
        "passed_and_routed": sum(1 for test in tests.values() if test["routed"] and test["outcome"] == "passed"),
        "tests_computed_without_autotune": seen["computed_without_autotune"],
        "tests_that_name_a_program_and_computed_nothing": seen["computed_nothing"],
    }


BENCHMARK = Benchmark(
    what="QCManyBody's own test suite, each many-body computation routed through a warm autotune session",
    measure=measure,
    options={"--select": {"default": "", "metavar": "EXPRESSION", "help": "only these tests, as pytest's -k"}},
    fails=lambda record: record["failed"] > 0,
)
