"""The scheduler's promises, for any tasks, any policy and any order of events."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.scheduler import Failed, Finished, Learned, Planned, Scheduler, widths
from autotune.types import Estimate, Policy


def planned(number, seconds=1.0, level=1, memory_gib=0.1, parallel=0.0):
    return Planned(
        number=number, level=level, estimate=Estimate(alone_s=seconds, parallel=parallel, memory_gib=memory_gib)
    )


tasks_of = st.lists(
    st.builds(
        dict,
        seconds=st.floats(0.01, 100.0),
        level=st.integers(1, 3),
        memory_gib=st.floats(0.0, 12.0),
        parallel=st.floats(0.0, 1.0),
    ),
    min_size=1,
    max_size=40,
).map(lambda fields: [planned(number, **task) for number, task in enumerate(fields)])

policies = st.builds(
    Policy,
    workers=st.integers(1, 6),
    core_slots=st.integers(1, 8),
    width=st.integers(1, 3),
    widest=st.integers(1, 4),
    order=st.sampled_from(["input", "longest", "shortest"]),
    level_barriers=st.booleans(),
    widen_tail=st.booleans(),
    memory_admission=st.booleans(),
)


def simulate(tasks, policy, *, cores=4, budget_gib=8.0, choose=None, fail=frozenset()):
    """Run to the end on a virtual clock; yield nothing, check everything, return (makespan, start counts)."""
    scheduler = Scheduler(tasks, policy, cores=cores, memory_budget_gib=budget_gib)
    slots = max(policy.core_slots, policy.width)
    estimates = {task.number: task.estimate for task in tasks}
    clock, running, counts = 0.0, [], {}
    to_fail = set(fail)
    while not scheduler.done:
        for start in scheduler.decide():
            counts[start.number] = counts.get(start.number, 0) + 1
            heapq.heappush(running, (clock + estimates[start.number].wall_s(start.width), start.number))
        assert running, "tasks are left, none runs, and the scheduler starts none"
        now = scheduler.running.values()
        assert len(now) <= policy.workers
        assert sum(start.width for start in now) <= slots
        granted = sum(start.memory_gib for start in now)
        assert granted <= budget_gib + 1e-9 or len(now) == 1
        index = 0 if choose is None else choose(len(running))
        clock_end, number = running.pop(index)
        heapq.heapify(running)
        clock = max(clock, clock_end)
        if number in to_fail:
            to_fail.discard(number)
            scheduler.handle(Failed(number, again=True))
        else:
            scheduler.handle(Finished(number))
    return clock, counts


@given(tasks_of, policies, st.data())
@settings(max_examples=150, deadline=None)
def test_cores_and_memory_are_never_exceeded_and_every_task_runs_once_in_any_order_of_events(tasks, policy, data):
    _, counts = simulate(tasks, policy, choose=lambda n: data.draw(st.integers(0, n - 1)))
    assert counts == dict.fromkeys(range(len(tasks)), 1)


@given(tasks_of, policies, st.sets(st.integers(0, 5)))
@settings(max_examples=80, deadline=None)
def test_a_failed_attempt_is_started_once_more_and_the_others_are_not(tasks, policy, failing):
    failing &= {task.number for task in tasks}
    _, counts = simulate(tasks, policy, fail=failing)
    assert counts == {task.number: 1 + (task.number in failing) for task in tasks}


@given(tasks_of, st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_without_memory_limits_the_makespan_is_within_the_list_scheduling_guarantee(tasks, cores):
    policy = Policy(workers=cores, core_slots=cores, order="longest", level_barriers=False)
    makespan, _ = simulate(tasks, policy, cores=cores)
    seconds = [task.estimate.alone_s for task in tasks]
    bound = max(sum(seconds) / cores, *seconds)
    guarantee = sum(seconds) / cores + (1 - 1 / cores) * max(seconds)
    assert bound - 1e-6 <= makespan <= guarantee + 1e-6


def test_longest_first_starts_the_longest_task_first():
    scheduler = Scheduler(
        [planned(0, 1.0), planned(1, 5.0), planned(2, 3.0)],
        Policy(workers=1, core_slots=1, order="longest", level_barriers=False),
        cores=1,
        memory_budget_gib=1.0,
    )
    assert [start.number for start in scheduler.decide()] == [1]


def test_learned_costs_change_the_order_of_what_waits():
    tasks = [planned(number, 1.0) for number in range(3)]
    policy = Policy(workers=1, core_slots=1, order="longest", level_barriers=False)
    scheduler = Scheduler(tasks, policy, cores=1, memory_budget_gib=1.0)
    assert [start.number for start in scheduler.decide()] == [0]
    scheduler.handle(Learned({2: Estimate(alone_s=9.0, parallel=0.0, memory_gib=0.1)}))
    scheduler.handle(Finished(0))
    assert [start.number for start in scheduler.decide()] == [2]


def test_level_barriers_hold_the_next_level_back_until_the_last_task_of_this_one_finished():
    tasks = [planned(0, level=1), planned(1, level=1), planned(2, level=2)]
    scheduler = Scheduler(tasks, Policy(workers=4, core_slots=4), cores=4, memory_budget_gib=1.0)
    assert [start.number for start in scheduler.decide()] == [0, 1]
    scheduler.handle(Finished(0))
    assert scheduler.decide() == []
    scheduler.handle(Finished(1))
    assert [start.number for start in scheduler.decide()] == [2]


def test_a_task_that_does_not_fit_in_memory_lets_smaller_ones_pass():
    tasks = [planned(0, 9.0, memory_gib=5.0), planned(1, 8.0, memory_gib=5.0), planned(2, 1.0, memory_gib=1.0)]
    policy = Policy(workers=4, core_slots=4, order="longest", level_barriers=False, memory_admission=True)
    scheduler = Scheduler(tasks, policy, cores=4, memory_budget_gib=8.0)
    assert [start.number for start in scheduler.decide()] == [0, 2]
    assert scheduler.memory_bound


def test_a_task_larger_than_the_budget_runs_alone():
    tasks = [planned(0, 9.0, memory_gib=50.0), planned(1, 1.0, memory_gib=1.0)]
    policy = Policy(workers=4, core_slots=4, order="longest", level_barriers=False, memory_admission=True)
    scheduler = Scheduler(tasks, policy, cores=4, memory_budget_gib=8.0)
    assert [start.number for start in scheduler.decide()] == [0]
    scheduler.handle(Finished(0))
    assert [start.number for start in scheduler.decide()] == [1]


def test_a_task_that_would_hold_up_the_rest_gets_as_many_cores_as_pay():
    tasks = [planned(0, 100.0, parallel=0.9), *(planned(n, 1.0) for n in range(1, 9))]
    policy = Policy(workers=4, core_slots=4, widest=4, order="longest", level_barriers=False)
    scheduler = Scheduler(tasks, policy, cores=4, memory_budget_gib=8.0)
    assert scheduler.decide()[0] == (0, 4, 0.0)


def test_a_wide_task_does_not_leave_a_core_idle_while_a_long_one_runs():
    tasks = [planned(n, 20.0, parallel=0.9) for n in range(3)] + [planned(n, 1.0) for n in range(3, 9)]
    policy = Policy(workers=2, core_slots=2, widest=2, order="longest", level_barriers=False)
    scheduler = Scheduler(tasks, policy, cores=2, memory_budget_gib=8.0)
    assert [start.number for start in scheduler.decide()] == [0, 1]
    scheduler.handle(Finished(0))
    scheduler.handle(Learned({n: task.estimate for n, task in enumerate(tasks) if n > 1}))
    assert scheduler.decide() == [(2, 1, 0.0)]


def test_equal_tasks_that_fill_the_cores_stay_narrow():
    estimates = {n: Estimate(alone_s=5.0, parallel=0.99, memory_gib=0.1) for n in range(8)}
    assert widths(estimates, cores=4, narrowest=1, widest=4) == {}


@given(
    st.lists(st.tuples(st.floats(0.01, 100.0), st.floats(0.0, 1.0)), min_size=1, max_size=12),
    st.integers(1, 16),
    st.integers(1, 16),
)
def test_chosen_widths_never_raise_the_bound_on_the_makespan(tasks, cores, widest):
    estimates = {n: Estimate(alone_s=s, parallel=p, memory_gib=0.1) for n, (s, p) in enumerate(tasks)}
    widest = min(widest, cores)
    chosen = widths(estimates, cores=cores, narrowest=1, widest=widest)
    assert all(1 < width <= widest for width in chosen.values())

    def bound(of):
        walls = {n: e.wall_s(of.get(n, 1)) for n, e in estimates.items()}
        return max(sum(of.get(n, 1) * wall for n, wall in walls.items()) / cores, *walls.values())

    assert bound(chosen) <= bound({}) * (1 + 1e-9)


@pytest.mark.parametrize(("parallel", "width"), [(0.95, 4), (0.05, 1)])
def test_the_last_task_is_widened_only_where_its_program_gains_from_it(parallel, width):
    policy = Policy(workers=4, core_slots=4, widen_tail=True, level_barriers=False)
    scheduler = Scheduler([planned(0, 10.0, parallel=parallel)], policy, cores=4, memory_budget_gib=8.0)
    assert [start.width for start in scheduler.decide()] == [width]
