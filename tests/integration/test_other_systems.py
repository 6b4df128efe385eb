"""On a system without fork, as Windows is, one can still look at what was made elsewhere: everything but computing."""

from __future__ import annotations

import json
import os
from importlib.resources import files

from installing import run_python
from places import SUPPORT
from tuning_factory import make_tuning

from autotune.tunings import library

WATERS = files("autotune.studies") / "workloads" / "water4.xyz"
EXPANSION = ("--program", "pyscf", "--method", "hf", "--basis", "6-31g*", "--max-nbody", "2")
ALL = """
import sys, other_system, autotune
autotune.register()
[getattr(autotune, name) for name in dir(autotune)]
from autotune.cli.main import main
sys.argv = ["autotune", "--help"]
main()
"""
COMMANDS = """
import contextlib, io, json, sys, other_system
from autotune.cli.main import invoke
outputs = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["autotune", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert invoke() == 0, arguments
    outputs.append(said.getvalue())
print(json.dumps(outputs))
"""


def elsewhere(code, *arguments):
    """Run Python on the pretended system; return what it printed."""
    path = os.pathsep.join([str(SUPPORT), os.environ["PYTHONPATH"]])
    return run_python("-c", code, *arguments, cwd=None, PYTHONPATH=path).stdout


def test_the_package_can_be_imported_and_its_command_starts():
    assert elsewhere(ALL).startswith("Usage: autotune")


def test_what_computes_nothing_works_and_what_is_imported_from_elsewhere_is_stored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tuning = make_tuning()
    library.save(tuning)
    library.save(tuning, tmp_path / "stored.json")
    library.save(make_tuning(method="b3lyp"), tmp_path / "theirs.json")
    commands = [
        ("doctor",),
        ("tunings", "list"),
        ("tunings", "show", "hf/6-31g*"),
        ("tunings", "export", "hf/6-31g*", "-o", "exported.json"),
        ("estimate", str(WATERS), *EXPANSION),
        ("simulate", str(WATERS), *EXPANSION, "--cores", "16", "--memory", "64"),
        ("regress", "stored.json", "stored.json", "--threshold", "50%"),
        ("tunings", "import", "theirs.json"),
        ("tunings", "list", "--json"),
    ]
    *outputs, taken, listed = json.loads(elsewhere(COMMANDS, json.dumps(commands)))
    assert all(outputs)
    assert taken.startswith("taken: ")
    assert len(json.loads(listed)["tunings"]) == 2
