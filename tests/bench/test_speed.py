"""pytest-benchmark's view of our own layers: what a decision, a plan, a look-up, a task and an import cost.

    pytest tests/bench/test_speed.py --benchmark-save=NAME
    autotune regress .benchmarks/*/0001_before.json .benchmarks/*/0002_after.json

`make test` runs each once, without a clock: times belong to a quiet machine, which `make speed` asks for.
"""

from __future__ import annotations

import math
import subprocess
import sys
from importlib.resources import files

import pytest

from autotune.base.options import Options
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.schedule.simulator import simulate
from autotune.session.session import Session
from autotune.tunings import library

pytestmark = pytest.mark.bench


def expansion(name, max_nbody, *, program="faulty", method="nothing"):
    text = (files("autotune.studies") / "workloads" / f"{name}.xyz").read_text()
    return many_body_fields(text, name=name, expansion=Expansion(program=program, method=method, max_nbody=max_nbody))


@pytest.fixture(scope="module")
def water16():
    return workload.load(expansion("water16", 3))


def test_planning_of_696_tasks(benchmark):
    fields = expansion("water16", 3)
    assert len(benchmark(workload.load, fields).tasks) == 696


def test_scheduling_of_696_tasks(benchmark, water16):
    here, manager = detection.detect(), Manager()
    plan = planning.make(water16, machine=here, manager=manager, options=Options(tuning="none"))
    estimates = {t.number: planning.estimate(t, costs=plan.costs, manager=manager, machine=here) for t in water16.tasks}
    run = benchmark(
        simulate, water16.tasks, estimates, policy=plan.policy, machine=here, memory_budget_gib=plan.budget_gib
    )
    assert len(run.records) == 696


def test_looking_up_a_tuning(benchmark):
    methods = workload.methods_of(expansion("water2", 1, program="pyscf", method="hf"))
    benchmark(library.find, detection.detect(), methods, smallest_functions=7, largest_functions=30)


def test_running_136_tasks_that_do_nothing(benchmark):
    fields = expansion("water16", 2)
    with Session(Options(journal="none")) as session:
        session.run(fields)
        benchmark.pedantic(session.run, args=(fields,), rounds=10)


@pytest.mark.parametrize(
    "code", ["import autotune", "import autotune.session.session", "from autotune.cli.main import cli"]
)
def test_importing(benchmark, code):
    benchmark.pedantic(subprocess.run, args=([sys.executable, "-c", code],), kwargs={"check": True}, rounds=10)


def test_assembling_696_energies(benchmark, water16):
    def energy(bodies):
        return -76.0 * bodies - 0.01 * math.comb(bodies, 2)

    result = benchmark(water16.assemble, {task.key: {"energy": energy(len(task.real))} for task in water16.tasks}, {})
    # The interaction energy, which is what upstream returns unless it is asked for the total.
    assert result.properties.return_energy == pytest.approx(-0.01 * math.comb(16, 2))
