"""Real programs for tests: which of them a test needs, sessions to run them in, small inputs.

A test says `pytest.mark.programs("psi4", "nwchem")`. Where one is missing it is skipped, with the reason; with
AUTOTUNE_REQUIRE_PROGRAMS=1, which `make test-programs` and CI set, it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

EXECUTABLES = ("chromium", "mopac", "nwchem", "psi4")
MODULES = ("dftd4", "playwright", "pyscf", "tblite")

BOHR = 0.52917721067  # Å
# The water molecule of PySCF's own tests, and the same out of its reach.
WATER = ((("O", 0.0, 0.0, 0.0), ("H", 0.0, -0.757, 0.587), ("H", 0.0, 0.757, 0.587)), 20.0)


def missing(names):
    """Return those of the programs that are not on this machine."""
    return [
        name
        for name in names
        if (name in EXECUTABLES and shutil.which(name) is None)
        or (name in MODULES and importlib.util.find_spec(name) is None)
        or (name == "nwchem" and importlib.util.find_spec("networkx") is None)  # QCEngine's harness needs it
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    names = sorted({name for mark in item.iter_markers("programs") for name in mark.args})
    unknown = set(names) - {*EXECUTABLES, *MODULES}
    assert not unknown, f"say in {__file__} how to look for {unknown}"
    absent = missing(names)
    if not absent:
        return
    message = f"not on this machine: {', '.join(absent)}"
    if os.environ.get("AUTOTUNE_REQUIRE_PROGRAMS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(autouse=True, scope="module")
def private_home(tmp_path_factory):
    """Give each file a home of its own, not each test: workers start again where their environment changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def session(private_home):  # noqa: ARG001 - in place before the first worker starts
    """Return a warm session of tasks on one core, without tunings and journal, shared by the tests of a file."""
    import autotune
    from autotune.base.options import Options

    with autotune.Session(Options(tuning="none", journal="none", threads=1)) as warm:
        yield warm


@pytest.fixture(scope="session")
def registered():
    """Let QCEngine in this process know our programs."""
    from autotune.plugin.manager import Manager

    Manager().register_programs()


@pytest.fixture(scope="session")
def asked():
    """Return a function that makes the input of one task from atoms (Å), its frame fixed as components have it."""
    from qcelemental.models.v2 import AtomicInput, Molecule

    def make(atoms, method, basis=None, driver="energy", *, real=None, multiplicity=1, charge=0, **keywords):
        molecule = Molecule(
            symbols=[symbol for symbol, *_ in atoms],
            geometry=[float(x) / BOHR for _, *xyz in atoms for x in xyz],
            real=real or [True] * len(atoms),
            molecular_charge=charge,
            molecular_multiplicity=multiplicity,
            fix_com=True,
            fix_orientation=True,
        )
        specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
        return AtomicInput(molecule=molecule, specification=specification)

    return make


@pytest.fixture(scope="session")
def expansion():
    """Return a function that makes ManyBodyInput fields from atoms (Å)."""
    from autotune.expansion.expansion import Expansion
    from autotune.expansion.readers import many_body_fields

    def make(atoms, *, program, method, basis="", comment="", **others):
        lines = [f"{symbol} {x:.8f} {y:.8f} {z:.8f}" for symbol, x, y, z in atoms]
        text = "\n".join([str(len(lines)), comment, *lines])
        return many_body_fields(
            text, name="atoms", expansion=Expansion(program=program, method=method, basis=basis, **others)
        )

    return make


@pytest.fixture(scope="session")
def two_waters(expansion):
    """Return a function that makes the input of two equal molecules far apart, so that a component is one of them."""

    def make(program, method, basis="", **others):
        atoms, apart = WATER
        both = [*atoms, *((symbol, x + apart, y, z) for symbol, x, y, z in atoms)]
        return expansion(both, program=program, method=method, basis=basis, max_nbody=1, **others)

    return make


@pytest.fixture(scope="session")
def three_waters(expansion):
    """Return a function that makes the input of the first three molecules of the packaged `water4`."""
    from importlib.resources import files

    lines = (files("autotune.studies") / "workloads" / "water4.xyz").read_text().splitlines()[2:11]
    atoms = [(symbol, *map(float, xyz)) for symbol, *xyz in map(str.split, lines)]

    def make(program, method, basis="", **others):
        return expansion(atoms, program=program, method=method, basis=basis, **{"max_nbody": 2, **others})

    return make


@pytest.fixture(scope="session")
def first_component():
    """Return a function that computes the first component of an input and nothing else."""
    from autotune.expansion import workload

    def compute(session, fields):
        work = workload.load(fields)
        label = work.tasks[0].labels[0]
        return session.components(work, labels=[label])[label]

    return compute


@pytest.fixture(scope="session")
def kept():
    """Return a function that lets an input keep its component results."""

    def keep(fields):
        fields["specification"]["protocols"] = {"cluster_results": "all"}
        return fields

    return keep
