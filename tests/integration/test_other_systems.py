"""On a system without fork, as Windows is, one can still look at what was made elsewhere: everything but computing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest
from places import SUPPORT
from tuning_factory import make_tuning

from autotune.tunings import library

WATERS = files("autotune.studies") / "workloads" / "water4.xyz"
EXPANSION = ("--program", "pyscf", "--method", "hf", "--basis", "6-31g*", "--max-nbody", "2")
MAIN = "import sys, other_system; from autotune.cli.main import main; sys.argv[0] = 'autotune'; main()"
THREE = "import other_system, autotune; autotune.Options(); autotune.Session; autotune.run"


def elsewhere(code, *arguments):
    """Run Python on the pretended system; return what it printed."""
    path = os.pathsep.join([str(SUPPORT), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_can_be_imported():
    elsewhere(THREE)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("doctor",),
        ("tunings", "list"),
        ("tunings", "show", "hf/6-31g*"),
        ("tunings", "export", "hf/6-31g*", "-o", "exported.json"),
        ("estimate", WATERS, *EXPANSION),
        ("simulate", WATERS, *EXPANSION, "--cores", "16", "--memory", "64"),
        ("regress", "stored.json", "stored.json", "--threshold", "50%"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])).partition("/")[0].strip(),
)
def test_what_computes_nothing_works(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tuning = make_tuning()
    library.save(tuning)
    library.save(tuning, tmp_path / "stored.json")
    assert elsewhere(MAIN, *arguments)


def test_what_is_imported_from_elsewhere_is_stored(tmp_path, monkeypatch):
    path = tmp_path / "theirs.json"
    library.save(make_tuning(), path)
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "other"))
    assert elsewhere(MAIN, "tunings", "import", path).startswith("taken: ")
    assert len(json.loads(elsewhere(MAIN, "tunings", "list", "--json"))["tunings"]) == 1
