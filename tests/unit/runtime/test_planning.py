"""Claims about `autotune.runtime.planning`: whose limits count."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
from click.testing import CliRunner

from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.cli.main import cli
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.runtime import planning

MORE = 4 * (os.cpu_count() or 1)  # cores than there are


def planned(fields, *, machine, here, **options):
    return planning.make(
        workload.load(fields), machine=machine, manager=Manager(), options=Options(tuning="none", **options), here=here
    )


def test_a_machine_that_is_pretended_has_its_own_limits_and_not_those_of_this_one(faulty):
    here = detection.detect()
    other = dataclasses.replace(here, cores=MORE, memory_gib=1e4)
    plan = planned(faulty("water2"), machine=other, here=False, threads=MORE // 2)
    assert plan.policy.width == MORE // 2
    assert plan.budget_gib == plan.policy.memory_fraction * 1e4
    assert planned(faulty("water2"), machine=other, here=True).budget_gib < here.memory_gib


def test_more_threads_than_the_machine_has_cores_are_refused_wherever_it_is(faulty):
    here = detection.detect()
    for machine in (here, dataclasses.replace(here, cores=MORE)):
        with pytest.raises(InputError, match=f"only {machine.cores} cores may be used"):
            planned(faulty("water2"), machine=machine, here=machine is here, threads=machine.cores + 1)


@pytest.mark.parametrize("nodes", [(), ("--nodes", "3")])
def test_what_is_asked_of_a_pretended_machine_is_not_refused_for_this_one(nodes, faulty, tmp_path):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(faulty("water4")))
    told = ["simulate", path, "--cores", MORE, "--threads", MORE // 2, "--memory", "5000", "--json", *nodes]
    done = CliRunner().invoke(cli, list(map(str, told)))
    assert done.exit_code == 0, done.output
    answer = json.loads(done.output)
    assert (answer["cores"], answer["memory_budget_gib"]) == (MORE, 5000.0)
