"""Every benchmark can be started: it imports what is there, and its command line is read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import TESTS

BENCH = TESTS / "bench"
NAMES = sorted(path.stem for path in BENCH.glob("*.py") if "\nBENCHMARK = " in path.read_text())
# All in one fresh interpreter: they bring modules called `memory` and `programs`, and take a second to load.
LOAD = """
import importlib, json, runpy, sys
runner = runpy.run_path(sys.argv[1])
found = {}
for name in sys.argv[2:]:
    try:
        module = importlib.import_module(name)
        options = runner["parse"](name, module.__doc__, module.BENCHMARK, ["--output", "."])
        found[name] = {"output": str(options.output), "cases": len(getattr(options, "cases", [""]))}
    except ModuleNotFoundError as error:
        found[name] = {"missing": error.name}
print(json.dumps({"listed": sorted(runner["first_lines"]()), "all": runner["ALL"], "found": found}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    command = [sys.executable, "-c", LOAD, BENCH / "__main__.py", *NAMES]
    done = subprocess.run(command, cwd=tmp_path_factory.mktemp("bench"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_imported_and_reads_its_command_line(loaded, name):
    found = loaded["found"][name]
    if "missing" in found:
        assert not (BENCH / f"{found['missing']}.py").exists()
        pytest.skip(f"needs {found['missing']}, of the extra `bench` or `fuzz`")
    assert found["output"] == f"{name}.json"
    assert found["cases"]


def test_the_runner_lists_every_benchmark_and_all_are_some_of_them(loaded):
    assert loaded["listed"] == NAMES
    assert {line.split()[0] for line in loaded["all"]} <= set(NAMES)
