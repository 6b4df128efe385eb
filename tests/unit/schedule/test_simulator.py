"""The virtual clock drives the real scheduler, and says so."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from commands import answer, autotune

from autotune.base.types import Policy
from autotune.costs.cost_law import Costs
from autotune.expansion import workload
from autotune.machine import detection
from autotune.schedule import simulator

FULL = Policy(workers=8, core_slots=8, order="longest", level_barriers=False)


@pytest.fixture
def waters(cluster):
    work = workload.load(cluster("water16", basis="6-31g*", max_nbody=3))
    costs = Costs()
    return work, {task.number: costs.estimate(task) for task in work.tasks}


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


def test_a_hundred_thousand_tasks_on_64_cores_take_less_than_twenty_seconds_to_simulate(faulty):
    work = workload.load(faulty("water64", max_nbody=3))
    tasks = [replace(work.tasks[number % len(work.tasks)], number=number) for number in range(100_000)]
    costs = Costs()
    estimates = {task.number: costs.estimate(task) for task in tasks}
    policy = replace(FULL, workers=64, core_slots=64, memory_admission=True)
    here = replace(detection.detect(), cores=64)
    started = time.process_time()
    simulator.simulate(tasks, estimates, policy=policy, machine=here, memory_budget_gib=256.0)
    assert time.process_time() - started < 20


def test_contention_makes_the_simulated_run_longer(waters):
    free, crowded = run(*waters), run(*waters, contention=lambda busy: 1.0 + 0.2 * busy)
    assert 1.1 < crowded.makespan_s / free.makespan_s <= 1.2


def test_the_command_marks_its_answer_as_simulated_and_draws_it(tmp_path, faulty):
    source, picture = tmp_path / "input.json", tmp_path / "schedule.png"
    source.write_text(json.dumps(faulty("water8", max_nbody=3)))
    command = ("simulate", source, "--cores", 16, "--memory", 64)
    assert answer(*command, "--plot", picture).startswith("simulated: 92 tasks on 16 cores in ")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    simulation = json.loads(answer(*command, "--json"))
    assert simulation["simulated"] is True
    assert 0 < simulation["efficiency"] <= 1


def test_a_record_can_be_replayed_and_one_of_another_workload_is_refused(tmp_path, faulty):
    source, other, record = tmp_path / "input.json", tmp_path / "other.json", tmp_path / "record.json"
    source.write_text(json.dumps(faulty("water4")))
    other.write_text(json.dumps(faulty("water6")))
    answer("run", source, "--quiet", "--record", record)
    simulated = ("simulate", "--cores", 4, "--replay", record, "--json")
    assert json.loads(answer(*simulated, source))["times_from"] == str(record)
    refused = autotune(*simulated, other)
    assert refused.status == 2
    assert "has no times for 11 of the 21 tasks" in refused.errors


def test_estimate_prints_the_classes_of_tasks_and_starts_nothing(tmp_path, faulty):
    source = tmp_path / "input.json"
    source.write_text(json.dumps(faulty("methanol_water6", max_nbody=2)))
    estimate = json.loads(answer("estimate", source, "--json"))
    assert estimate["tasks"] == 21 == sum(row["tasks"] for row in estimate["classes"])
    assert estimate["core_s"] == pytest.approx(sum(row["total_s"] for row in estimate["classes"]))
    assert answer("estimate", source).splitlines()[1].split()[:3] == ["n-body", "tasks", "functions"]


def test_tasks_that_share_a_start_are_simulated_without_those_that_they_save(cluster):
    work = workload.load(cluster("water6", program="mopac", method="pm7", basis="", max_nbody=3))
    costs = Costs()
    estimates = {task.number: costs.estimate(task) for task in work.tasks}
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
