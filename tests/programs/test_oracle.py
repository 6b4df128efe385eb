"""Real chemistry through the whole runtime equals upstream: its replay to the last bit, its own run to 1e-9 Eh.

Why not 1e-12 against the independent run: upstream gives every task all cores, autotune mostly one. With another number
of threads OpenMP adds in another order, a task's energy moves by up to 5e-13 Eh (more for correlated methods, whose
amplitudes are converged to a threshold), and many-body coefficients amplify that; see docs/results.md.
"""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import qcengine
from qcmanybody.models import v1, v2
from replay import assert_bit_equal, replayed
from threadpoolctl import threadpool_limits

import autotune
from autotune.expansion import workload
from autotune.expansion.component import atomic_input

pytestmark = pytest.mark.usefixtures("registered")

SERIAL = [
    ("pyscf", "water4", "hf", "6-31g*", "nocp", 3, "energy"),
    ("pyscf", "water4", "hf", "6-31g*", "cp", 2, "energy"),
    ("pyscf", "water4", "hf", "sto-3g", "nocp", 2, "gradient"),
]
ONE_VERSION = [
    *SERIAL,
    ("pyscf", "water4", "mp2", "cc-pvdz", "nocp", 2, "energy"),
    ("pyscf", "water2", "mp2", "cc-pvdz", "cp", 2, "gradient"),
    ("pyscf", "water4", "hf", "sto-3g", "vmfc", 3, "gradient"),
    ("pyscf", "water2", "hf", "sto-3g", "cp", 2, "hessian"),
    ("nwchem", "water2", "hf", "6-31g*", "nocp", 2, "energy"),
    ("nwchem", "water2", "hf", "6-31g*", "cp", 2, "energy"),
]
BOTH_VERSIONS = [
    ("psi4", "water2", "hf", "6-31g", "cp", 2, "energy"),
    ("psi4", "water2", "hf", "6-31g", "vmfc", 2, "energy"),
    ("psi4", "water2", "hf", "6-31g", "nocp", 2, "gradient"),
    ("tblite", "water4", "gfn2-xtb", "", "nocp", 3, "energy"),
    ("tblite", "water4", "gfn2-xtb", "", "nocp", 3, "gradient"),
]


def marked(case, *others):
    return pytest.param(case, *others, marks=pytest.mark.programs(case[0]), id=" ".join(map(str, [*case, *others])))


@pytest.fixture(scope="module")
def usual(private_home):  # noqa: ARG001 - in place before the first worker starts
    """Return a session with all that is usual."""
    with autotune.Session() as warm:
        yield warm


@pytest.fixture
def model(cluster):
    """Return a function that makes the input of a case, in a version of QCSchema."""

    def make(case, version, results="all"):
        program, name, method, basis, bsse, max_nbody, driver = case
        chosen = {"program": program, "method": method, "basis": basis, "bsse": (bsse,), "driver": driver}
        fields = cluster(name, max_nbody=max_nbody, **chosen)
        fields["specification"]["protocols"] = {"cluster_results": results}
        made = v2.ManyBodyInput(**fields)
        return made.convert_v(1) if version == 1 else made

    return make


@pytest.mark.parametrize(
    ("case", "version"),
    # Those with PySCF run in `make test`, too.
    [pytest.param(case, 2, id=" ".join(map(str, case))) for case in ONE_VERSION if case[0] == "pyscf"]
    + [marked(case, 2) for case in (*ONE_VERSION, *BOTH_VERSIONS) if case[0] != "pyscf"]
    + [marked(case, 1) for case in BOTH_VERSIONS],
)
def test_the_result_equals_upstreams_replay_to_the_last_bit(usual, model, case, version):
    asked = model(case, version)
    ours = usual.run(asked)
    assert_bit_equal(ours, replayed(asked, ours))


def numbers(properties):
    text = properties.model_dump_json() if hasattr(type(properties), "model_fields") else properties.json()
    return json.loads(text)


@pytest.mark.parametrize(
    ("case", "version"), [marked(case, 2) for case in SERIAL] + [marked(case, 1) for case in SERIAL[::2]]
)
def test_the_result_agrees_with_upstreams_own_serial_run(usual, model, case, version):
    asked = model(case, version, results="none")
    ours = usual.run(asked)
    upstreams = qcengine.compute(asked, "qcmanybody", raise_error=True)
    assert type(ours) is type(upstreams) is (v1.ManyBodyResult if version == 1 else v2.ManyBodyResult)
    assert np.max(np.abs(np.asarray(ours.return_result) - np.asarray(upstreams.return_result))) < 1e-9
    our_properties, upstream_properties = (numbers(r.properties) for r in (ours, upstreams))
    assert our_properties.keys() == upstream_properties.keys()
    for name, value in our_properties.items():
        if isinstance(value, (int, float)):
            assert abs(value - upstream_properties[name]) < 1e-9, name


# --- components ------------------------------------------------------------------------------------------------------


def test_components_are_bit_equal_to_qcengines_at_equal_width_in_the_same_environment(model):
    """In the workers' environment nothing but the width may matter; the kernel of the BLAS is left to the library."""
    asked = model(("pyscf", "water2", "mp2", "cc-pvdz", "nocp", 2, "energy"), 2)
    result = autotune.run(copy.deepcopy(asked), threads=1, strategies=())
    work = workload.load(asked)
    for task in work.tasks:
        one = qcengine.compute(
            atomic_input(work.recipe, task.level, task.real, task.basis),
            "pyscf",
            task_config={"ncores": 1, "memory": 4.0},
            raise_error=True,
        )
        assert one.return_result == result.cluster_results[task.labels[0]].return_result


PARAMETERS = {"s8": 2.02929367, "a1": 0.40868035, "a2": 4.53807137}


@pytest.mark.parametrize("driver", ["energy", "gradient"])
@pytest.mark.parametrize(
    ("case", "keywords"),
    [
        marked(("mopac", "pm6"), {}),
        marked(("mopac", "pm7"), {}),
        marked(("dftd4", "b3lyp-d4"), {}),  # ways to ask for the same correction; the last is one of its own
        marked(("dftd4", "b3lyp"), {"level_hint": "d4"}),
        marked(("dftd4", ""), {"params_tweaks": PARAMETERS}),
    ],
)
def test_each_component_equals_qcengines_to_the_last_bit(session, three_waters, monkeypatch, case, keywords, driver):
    components = session.components(three_waters(*case, keywords=keywords, driver=driver))
    assert len(components) == 6
    if kernel := session.record.policy.blas_kernel:
        monkeypatch.setenv("OPENBLAS_CORETYPE", kernel)
    for label, component in components.items():
        with threadpool_limits(1):
            alone = qcengine.compute(
                component.input_data, case[0], raise_error=True, task_config={"ncores": 1, "memory": 1.0}
            )
        assert np.array_equal(component.return_result, alone.return_result), label
