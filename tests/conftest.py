"""What several test files share: clusters as ManyBodyInputs, a private store, and a program that computes nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import pytest

DISTRIBUTIONS = Path(__file__).parent / "distributions"

# Workers inherit the variable, this process needs the path; before any manager is made.
sys.path.insert(0, str(DISTRIBUTIONS))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DISTRIBUTIONS), os.environ.get("PYTHONPATH", "")]))

# Idle OpenMP threads sleep where programs compute in this process, as they do in workers: waiting, they take the cores
# of the tests beside.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


# Nothing is read from the real home, nor written there; what is cached here serves the next tests, too.
HOME = Path(tempfile.gettempdir()) / f"autotune-tests-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
HOME.mkdir(mode=0o700, exist_ok=True)
os.environ["HOME"] = str(HOME)
os.environ["MPLCONFIGDIR"] = str(HOME / "matplotlib")  # also where a test takes HOME away


LONG = ("test_parsl.py", "test_side_by_side.py", "test_calibration.py")  # files with tests of ten seconds and more


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that at the end no core waits for one test."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def private_home(tmp_path, monkeypatch):
    """Keep the user's tunings out of the tests, and the tests' out of the user's folder."""
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))


@pytest.fixture
def cluster():
    """Return a function that makes ManyBodyInput fields (v2) from a packaged cluster."""
    from autotune.expansion.expansion import Expansion
    from autotune.expansion.readers import many_body_fields

    def make(name, *, program="pyscf", method="hf", basis="sto-3g", **expansion):
        text = (files("autotune.studies") / "workloads" / f"{name}.xyz").read_text()
        return many_body_fields(
            text, name=name, expansion=Expansion(program=program, method=method, basis=basis, **expansion)
        )

    return make


@pytest.fixture
def faulty(cluster):
    """Return a function that makes an input for the program that computes nothing but fails as told."""

    def make(name="water4", method="nothing", *, max_nbody=2, **keywords):
        return cluster(name, program="faulty", method=method, basis="", max_nbody=max_nbody, keywords=keywords)

    return make
