"""The virtual clock drives the real scheduler, and says so."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest
import run_factory
from commands import answer, autotune

from autotune.base import json_files
from autotune.base.types import Policy
from autotune.costs.cost_law import Costs
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.machine import detection
from autotune.schedule import simulator

FULL = Policy(workers=8, core_slots=8, order="longest", level_barriers=False)


@pytest.fixture(scope="module")
def waters():
    text = (files("autotune.studies") / "workloads" / "water16.xyz").read_text()
    chemistry = Expansion(program="pyscf", method="hf", basis="6-31g*", max_nbody=3)
    work = workload.load(many_body_fields(text, name="water16", expansion=chemistry))
    return work, estimates_of(work)


def estimates_of(work):
    return {task.number: Costs().estimate(task) for task in work.tasks}


def run(work, estimates, cores=8, policy=FULL, **options):
    here = replace(detection.detect(), cores=cores)
    return simulator.simulate(work.tasks, estimates, policy=policy, machine=here, memory_budget_gib=64.0, **options)


def test_many_equal_tasks_come_close_to_the_bound(waters):
    simulation = run(*waters)
    assert len(simulation.records) == 696
    assert 0.9 < simulation.efficiency <= 1.0


def test_more_cores_never_take_longer(waters):
    spans = [run(*waters, cores=n, policy=replace(FULL, workers=n, core_slots=n)).makespan_s for n in (1, 2, 8, 32)]
    assert spans == sorted(spans, reverse=True)


def test_barriers_between_levels_cost_time(waters):
    free = replace(FULL, workers=7, core_slots=7)
    barred = replace(free, level_barriers=True)
    assert run(*waters, policy=barred).makespan_s > run(*waters, policy=free).makespan_s


def test_measured_durations_replace_predicted_ones(waters):
    work, estimates = waters
    doubled = {number: 2 * estimate.alone_s for number, estimate in estimates.items()}
    ratio = run(work, estimates, durations_s=doubled).lower_bound_s / run(work, estimates).lower_bound_s
    assert ratio == pytest.approx(2.0)


def test_oversubscribed_cores_are_no_free_lunch(waters):
    crowded = replace(FULL, workers=16, core_slots=16)
    assert run(*waters, policy=crowded).makespan_s >= 0.95 * run(*waters).makespan_s


def lines_run(function):
    """Return how many lines of Python a call runs; of a loop in a line, each turn counts."""
    count, before = 0, sys.gettrace()

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def test_the_work_for_a_task_does_not_grow_with_the_number_of_tasks(waters):
    """So that a hundred thousand tasks are simulated within seconds."""
    work, predicted = waters
    policy = replace(FULL, workers=8, core_slots=8, widest=4, widen_tail=True, memory_admission=True)

    def lines_of_a_task(number):
        tasks = [replace(work.tasks[n % len(work.tasks)], number=n) for n in range(number)]
        estimates = {task.number: replace(predicted[task.number % len(work.tasks)], memory_gib=2.0) for task in tasks}
        here = replace(detection.detect(), cores=8)
        options = {"policy": policy, "machine": here, "memory_budget_gib": 12.5}
        return lines_run(lambda: simulator.simulate(tasks, estimates, **options)) / number

    assert lines_of_a_task(1200) < 1.15 * lines_of_a_task(300)


def test_contention_makes_the_simulated_run_longer(waters):
    free, crowded = run(*waters), run(*waters, contention=lambda busy: 1.0 + 0.2 * busy)
    assert 1.1 < crowded.makespan_s / free.makespan_s <= 1.2


def test_the_command_draws_its_answer_marks_it_as_simulated_and_replays_the_record_of_this_workload_only(
    tmp_path, faulty
):
    source, other, record, picture = (
        tmp_path / name for name in ("input.json", "other.json", "record.json", "schedule.png")
    )
    source.write_text(json.dumps(faulty("water8", max_nbody=3)))
    other.write_text(json.dumps(faulty("water16")))
    command = ("simulate", "--cores", 16, "--memory", 64)
    simulation = json.loads(answer(*command, source, "--json", "--plot", picture))
    assert simulation["simulated"] is True
    assert 0 < simulation["efficiency"] <= 1
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    tasks = workload.load(json.loads(source.read_text())).tasks
    done = [run_factory.task(task.number, start=0.0, wall=1.0, label=task.labels[0]) for task in tasks]
    json_files.save_run(run_factory.run(done), record)
    lines = answer(*command, source, "--replay", record).splitlines()
    assert lines[0].startswith("simulated: 92 tasks on 16 cores in 6")
    assert lines[-1] == f"times from: {record}"
    refused = autotune(*command, other, "--replay", record)
    assert refused.status == 2
    assert "has no times for 100 of the 136 tasks" in refused.errors


def test_estimate_prints_the_classes_of_tasks_and_starts_nothing(tmp_path, faulty):
    source = tmp_path / "input.json"
    source.write_text(json.dumps(faulty("methanol_water6", max_nbody=2)))
    estimate = json.loads(answer("estimate", source, "--json"))
    assert estimate["tasks"] == 21 == sum(row["tasks"] for row in estimate["classes"])
    assert estimate["core_s"] == pytest.approx(sum(row["total_s"] for row in estimate["classes"]))
    assert answer("estimate", source).splitlines()[1].split()[:3] == ["n-body", "tasks", "functions"]


def test_tasks_that_share_a_start_are_simulated_without_those_that_they_save(cluster):
    work = workload.load(cluster("water6", program="mopac", method="pm7", basis="", max_nbody=3))
    estimates = estimates_of(work)
    start_s = estimates[0].start_s
    one = replace(FULL, workers=1, core_slots=1)
    apart = run(work, estimates, cores=1, policy=one)
    shared = run(work, estimates, cores=1, policy=replace(one, tunables=(("mopac.tasks_per_start", 100),)))
    starts = 1 + sum(later.started_s > now.started_s + now.wall_s for now, later in pairwise(shared.records))
    assert starts < len(work.tasks) / 3
    saved_s = sum(record.wall_s for record in apart.records) - sum(record.wall_s for record in shared.records)
    assert saved_s == pytest.approx((len(work.tasks) - starts) * start_s)
    assert shared.makespan_s < apart.makespan_s - saved_s + 1e-9
    assert shared.efficiency <= 1.0
