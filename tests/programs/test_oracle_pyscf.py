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

import autotune
from autotune.base import errors
from autotune.plugin.manager import Manager

CASES = [
    ("water4", "hf", "6-31g*", "nocp", 3, "energy"),
    ("water4", "hf", "6-31g*", "cp", 2, "energy"),
    ("water4", "hf", "sto-3g", "nocp", 2, "gradient"),
    ("water4", "mp2", "cc-pvdz", "nocp", 2, "energy"),
    ("water2", "mp2", "cc-pvdz", "cp", 2, "gradient"),
    ("water4", "hf", "sto-3g", "vmfc", 3, "gradient"),
    ("water2", "hf", "sto-3g", "cp", 2, "hessian"),
]


@pytest.fixture(scope="module")
def session():
    Manager().register_programs()
    with autotune.Session() as warm:
        yield warm


def numbers(properties):
    text = properties.model_dump_json() if hasattr(type(properties), "model_fields") else properties.json()
    return json.loads(text)


def made(cluster, geometry, method, basis, bsse, max_nbody, driver):
    fields = cluster(geometry, method=method, basis=basis, bsse=(bsse,), max_nbody=max_nbody, driver=driver)
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    return fields


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_the_result_equals_upstreams_replay_to_the_last_bit(session, cluster, case):
    fields = made(cluster, *case)
    ours = session.run(fields)
    assert_bit_equal(ours, replayed(v2.ManyBodyInput(**fields), ours))


@pytest.mark.programs("pyscf")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: " ".join(map(str, case)))
def test_the_result_agrees_with_upstreams_own_serial_run(session, cluster, case, version):
    fields = made(cluster, *case)
    fields["specification"]["protocols"] = {"cluster_results": "none"}
    model = v2.ManyBodyInput(**fields)
    model = model.convert_v(1) if version == 1 else model
    ours = session.run(model)
    upstreams = qcengine.compute(model, "qcmanybody", raise_error=True)
    assert type(ours) is type(upstreams) is (v1.ManyBodyResult if version == 1 else v2.ManyBodyResult)
    assert np.max(np.abs(np.asarray(ours.return_result) - np.asarray(upstreams.return_result))) < 1e-9
    our_properties, upstream_properties = (numbers(r.properties) for r in (ours, upstreams))
    assert our_properties.keys() == upstream_properties.keys()
    for name, value in our_properties.items():
        if isinstance(value, (int, float)):
            assert abs(value - upstream_properties[name]) < 1e-9, name


def test_components_are_bit_equal_to_qcengines_at_equal_width_in_the_same_environment(cluster):
    """In the workers' environment nothing but the width may matter; the kernel of the BLAS is left to the library."""
    from autotune.expansion import workload
    from autotune.expansion.component import atomic_input

    fields = made(cluster, "water2", "mp2", "cc-pvdz", "nocp", 2, "energy")
    result = autotune.run(copy.deepcopy(fields), threads=1, strategies=())
    work = workload.load(fields)
    for task in work.tasks:
        one = qcengine.compute(
            atomic_input(work.recipe, task.level, task.real, task.basis),
            "pyscf",
            task_config={"ncores": 1, "memory": 4.0},
            raise_error=True,
        )
        assert one.return_result == result.cluster_results[task.labels[0]].return_result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "hff"}, "method 'hff'"),
        ({"basis": "cc-pvdzz"}, "cc-pvdzz"),
        ({"keywords": {"conv_tool": 1e-8}}, "conv_tool"),
    ],
)
def test_a_wrong_method_basis_or_keyword_is_refused_in_one_line_before_any_task(session, cluster, change, message):
    with pytest.raises(errors.InputError) as caught:
        session.run(cluster("water4", **{"basis": "sto-3g", "max_nbody": 2, **change}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
