"""The scheduler's promises, for any tasks, any policy and any order of events."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_tasks import Machine, Planned, scheduler_of

from autotune.base.types import Estimate, Policy
from autotune.schedule.events import Failed, Finished, Learned
from autotune.schedule.widths import LastTasks, widths


def planned(number, seconds=1.0, level=1, memory_gib=0.1, parallel=0.0, one_core=False, program="", start=0.0):
    estimate = Estimate(
        alone_s=seconds,
        parallel=parallel,
        memory_gib=memory_gib,
        one_core=one_core,
        program=program,
        start_s=start * seconds,
    )
    return Planned(number, estimate, level)


tasks_of = st.lists(
    st.builds(
        dict,
        seconds=st.floats(0.01, 100.0),
        level=st.integers(1, 3),
        memory_gib=st.floats(0.0, 12.0),
        parallel=st.floats(0.0, 1.0),
        one_core=st.booleans(),
        program=st.sampled_from(["starts", "another"]),
        start=st.sampled_from([0.0, 0.5, 0.9]),
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
    batch_s=st.sampled_from([0.0, 1.0, 50.0]),
    tunables=st.sampled_from([(), (("starts.tasks_per_start", 4), ("another.tasks_per_start", 50))]),
)

randoms = st.randoms(use_true_random=False)


def simple(cores, **changes):
    """Return a policy of so many workers with a core each, the longest task first."""
    usual = Policy(workers=cores, core_slots=cores, order="longest", level_barriers=False)
    return dataclasses.replace(usual, **changes)


def numbers(starts):
    return [number for start in starts for number in start.numbers]


@given(tasks_of, policies, st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), randoms)
@settings(max_examples=200, deadline=None)
def test_nothing_is_exceeded_every_task_runs_once_an_attempt_and_one_that_is_to_run_alone_after_all_others(
    tasks, policy, alone, failing, random
):
    """Whatever tasks really take; behind barriers, after all others of its level."""
    alone, failing = ({task.number for task in tasks} & numbers for numbers in (alone, failing))
    stretch = [random.choice((0.2, 0.7, 1.0, 1.3, 5.0)) for _ in tasks]
    machine = Machine(tasks, policy, fail=failing, alone=alone, stretch=stretch.__getitem__)
    machine.run()
    assert machine.counts == {task.number: 1 + (task.number in failing | alone) for task in tasks}
    level = {task.number: task.level if policy.level_barriers else 0 for task in tasks}
    order = [(level[number], number in alone) for number in machine.finished]
    assert order == sorted(order)


@given(tasks_of, st.lists(policies, min_size=2, max_size=4), st.sets(st.integers(0, 9)), randoms)
@settings(max_examples=80, deadline=None)
def test_a_policy_that_changes_loses_no_task_and_keeps_nobody_from_running_alone_once(tasks, choice, alone, random):
    alone &= {task.number for task in tasks}
    machine = Machine(tasks, choice[0], alone=alone, adapt=lambda: random.choice(choice))
    machine.run()
    assert machine.counts == {task.number: 1 + (task.number in alone) for task in tasks}


@given(tasks_of, policies, st.sets(st.integers(0, 9)), randoms)
@settings(max_examples=150, deadline=None)
def test_in_a_pause_nothing_starts_while_something_runs_and_every_task_runs_all_the_same(tasks, policy, alone, random):
    alone &= {task.number for task in tasks}
    machine = Machine(tasks, policy, alone=alone, pause=lambda: random.random() < 0.7)
    machine.run()
    assert machine.counts == {task.number: 1 + (task.number in alone) for task in tasks}


@given(
    tasks_of,
    st.lists(policies, min_size=1, max_size=3),
    st.sets(st.integers(0, 9)),
    st.sets(st.integers(0, 9)),
    st.integers(0, 10),
    randoms,
)
@settings(max_examples=150, deadline=None)
def test_after_a_drop_nothing_starts_and_the_run_is_done_when_what_runs_has_ended(
    tasks, choice, failing, alone, after, random
):
    failing, alone = ({task.number for task in tasks} & numbers for numbers in (failing, alone))
    adapt = (lambda: random.choice(choice)) if len(choice) > 1 else (lambda: None)
    machine = Machine(tasks, choice[0], fail=failing, alone=alone, drop_after=after, adapt=adapt)
    machine.run()
    assert len(machine.finished) >= min(after, len(tasks))
    assert machine.scheduler.done
    assert machine.scheduler.running == []
    assert machine.scheduler.decide(machine.clock) == []


@given(tasks_of, st.integers(1, 6), st.sampled_from([0.0, 1.0]))
@settings(max_examples=100, deadline=None)
def test_without_memory_limits_the_makespan_is_within_the_list_scheduling_guarantee(tasks, cores, batch_s):
    machine = Machine(tasks, simple(cores, batch_s=batch_s), cores=cores)
    machine.run()
    seconds = [task.estimate.alone_s for task in tasks]
    bound = max(sum(seconds) / cores, *seconds)
    longest = max(*seconds, batch_s)
    assert bound - 1e-6 <= machine.clock <= sum(seconds) / cores + (1 - 1 / cores) * longest + 1e-6


@given(tasks_of, st.integers(1, 6), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_slot_stays_idle_while_a_task_waits_that_fits(tasks, cores, admission):
    """Narrow tasks only: with wide ones and with memory a slot may be kept for a task that has waited longer."""
    small = [planned(t.number, t.estimate.alone_s, memory_gib=t.estimate.memory_gib % 1.0) for t in tasks]
    machine = Machine(small, simple(cores, order="input", memory_admission=admission), cores=cores)
    check = machine.check

    def conserving():
        check()
        waiting = len(tasks) - sum(machine.counts.values())
        assert waiting == 0 or len(machine.scheduler.running) == cores

    machine.check = conserving
    machine.run()


def test_a_batch_does_not_slip_past_a_task_that_waits_for_memory():
    """The first of a batch would end in time, all of them together would not."""
    big = [planned(0, 10.0, memory_gib=5.0), planned(1, 9.5, memory_gib=5.0)]
    tiny = [planned(n, 6.0) for n in range(2, 42)]
    policy = simple(2, memory_admission=True, batch_s=13.0)
    scheduler = scheduler_of([*big, *tiny], policy, cores=2, memory_gib=5.1)
    assert [start.numbers for start in scheduler.decide(0.0)] == [(0,), (2,)]


@given(tasks_of, policies)
@settings(max_examples=100, deadline=None)
def test_what_passes_a_task_that_waits_for_memory_does_not_hold_it_up(tasks, policy):
    """With exact predictions, the first task that waits for memory starts when it would have without the others."""
    policy = dataclasses.replace(policy, memory_admission=True, level_barriers=False, order="longest", batch_s=0.0)
    policy = dataclasses.replace(policy, width=1, widest=1, widen_tail=False, tunables=())
    scheduler = scheduler_of(tasks, policy, cores=4, memory_gib=8.0)
    first = numbers(scheduler.decide(0.0))
    ranked = sorted(tasks, key=lambda t: (-t.estimate.alone_s, t.number))
    blocked = next((t for t in ranked if t.number not in first), None)
    if blocked is None or not scheduler.memory_bound:
        return
    before = [task for task in ranked[: ranked.index(blocked)] if task.number in first]
    assert start_of(tasks, policy, blocked.number) <= start_of([*before, blocked], policy, blocked.number) + 1e-6


def start_of(tasks, policy, wanted):
    return next(begun.begins_s for begun in Machine(tasks, policy).run() if begun.number == wanted)


def test_what_others_use_is_made_first_and_longest_first_where_that_is_the_order():
    tasks = [planned(0, 1.0), planned(1, 5.0), planned(2, 3.0), planned(3, 0.5), planned(4, 0.1)]

    def order(name, **ahead):
        scheduler, started = scheduler_of(tasks, simple(1, order=name), cores=1, memory_gib=1.0, **ahead), []
        while not scheduler.done:
            started += numbers(scheduler.decide(0.0))
            scheduler.handle(Finished(started[-1]))
            scheduler.handle(Learned({}))
        return started

    first = {0: 1, 3: 1, 4: 2}
    assert order("longest") == [1, 2, 0, 3, 4]
    assert order("longest", ahead=first) == [4, 0, 3, 1, 2]
    assert order("input", ahead=first) == [0, 1, 2, 3, 4]
    assert order("shortest", ahead=first) == [4, 3, 0, 2, 1]


def assert_decides(tasks, policy, *steps):
    """Handle events and compare decisions, which are lists of tasks and the cores of each, with what is started."""
    scheduler = scheduler_of(tasks, policy, cores=policy.core_slots, memory_gib=8.0)
    for step in steps:
        if isinstance(step, list):
            starts = scheduler.decide(0.0)
            assert [(*start.numbers, start.resources.cores) for start in starts] == step
            assert policy.memory_admission or not any(start.resources.memory_gib for start in starts)
        else:
            scheduler.handle(step)
    return scheduler


def test_learned_costs_change_the_order_of_what_waits():
    learned = Learned({2: planned(2, 9.0).estimate})
    assert_decides([planned(number) for number in range(3)], simple(1), [(0, 1)], learned, Finished(0), [(2, 1)])


def test_predictions_of_tasks_that_run_leave_the_order_of_those_that_wait():
    learned, tasks = Learned({0: planned(0, 8.5).estimate}), [planned(n, 9.0 - n) for n in range(3)]
    assert_decides(tasks, simple(1), [(0, 1)], learned, Failed(0, again=True), [(0, 1)])


def test_level_barriers_hold_the_next_level_back_until_the_last_task_of_this_one_finished():
    tasks = [planned(0, level=1), planned(1, level=1), planned(2, level=2)]
    policy = Policy(workers=4, core_slots=4)
    assert_decides(tasks, policy, [(0, 1), (1, 1)], Finished(0), [], Finished(1), [(2, 1)])


def test_a_task_that_does_not_fit_in_memory_lets_smaller_ones_pass():
    tasks = [planned(0, 9.0, memory_gib=5.0), planned(1, 8.0, memory_gib=5.0), planned(2, 1.0, memory_gib=1.0)]
    assert assert_decides(tasks, simple(4, memory_admission=True), [(0, 1), (2, 1)]).memory_bound


def test_a_task_larger_than_the_budget_runs_alone():
    tasks = [planned(0, 9.0, memory_gib=50.0), planned(1, 1.0, memory_gib=1.0)]
    assert_decides(tasks, simple(4, memory_admission=True), [(0, 1)], Finished(0), [(1, 1)])


def test_a_task_that_would_hold_up_the_rest_gets_as_many_cores_as_pay():
    tasks = [planned(0, 100.0, parallel=0.9), *(planned(n, 1.0) for n in range(1, 9))]
    assert_decides(tasks, simple(4, widest=4), [(0, 4)])


def test_a_wide_task_does_not_leave_a_core_idle_while_a_long_one_runs():
    tasks = [planned(n, 20.0, parallel=0.9) for n in range(3)] + [planned(n, 1.0) for n in range(3, 9)]
    learned = Learned({n: task.estimate for n, task in enumerate(tasks) if n > 1})
    assert_decides(tasks, simple(2, widest=2), [(0, 1), (1, 1)], Finished(0), learned, [(2, 1)])


@pytest.mark.parametrize(("parallel", "width"), [(0.95, 4), (0.05, 1)])
def test_the_last_task_is_widened_only_where_its_program_gains_from_it(parallel, width):
    assert_decides([planned(0, 10.0, parallel=parallel)], simple(4, widest=4, widen_tail=True), [(0, width)])


@pytest.mark.parametrize("number", [1, 2])
def test_a_program_that_takes_one_core_is_given_one_whatever_the_policy_says(number):
    tasks = [planned(0, parallel=0.9, one_core=True), planned(1, parallel=0.9)]
    policy = Policy(workers=2, core_slots=4, width=2, widest=4, order="input", widen_tail=True)
    starts = scheduler_of(tasks[:number], policy, cores=4, memory_gib=10.0).decide(0.0)
    assert {start.numbers: start.resources.cores for start in starts}[0,] == 1


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


@given(
    st.lists(
        st.tuples(st.floats(0.01, 100.0), st.floats(0.0, 0.99), st.floats(0.0, 3.0), st.booleans(), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 16),
    st.integers(1, 16),
    st.sampled_from([2.0, 8.0, math.inf]),
    st.floats(0.0, 100.0),
)
def test_the_widths_of_the_last_tasks_are_those_that_a_look_at_all_of_them_gives(
    tasks, cores, widest, memory_gib, running_core_s
):
    """Tasks that wait have come and others have gone; the sums that are kept know of both."""
    estimates = {
        n: Estimate(alone_s=s, parallel=p, memory_gib=m, one_core=one) for n, (s, p, m, one, _) in enumerate(tasks)
    }
    gone = {n for n, (*_, goes) in enumerate(tasks) if goes}
    late = {n for n in estimates if n % 3 == 0}
    given_ = {"cores": cores, "narrowest": 1, "widest": min(widest, cores), "memory_gib": memory_gib}
    last = LastTasks({n: e for n, e in estimates.items() if n not in late}, **given_)
    for n in sorted(late):
        last.add(n, estimates[n])
    for n in sorted(gone):
        last.remove(n)
    left = {n: e for n, e in estimates.items() if n not in gone}
    committed_core_s = running_core_s + math.fsum(e.alone_s for e in left.values() if e.one_core)
    wide = {n: e for n, e in left.items() if not e.one_core}
    assert last.widths(running_core_s) == widths(wide, committed_core_s=committed_core_s, **given_)


@pytest.mark.parametrize("policy", [simple(1, batch_s=1.0), simple(1, tunables=(("starts.tasks_per_start", 8),))])
def test_a_suspect_is_never_put_into_a_batch_nor_into_a_start_with_others_again(policy):
    tasks = [planned(number, seconds=0.01, program="starts", start=0.5) for number in range(200)]
    scheduler = scheduler_of(tasks, policy, cores=1, memory_gib=8.0)
    (first,) = scheduler.decide(0.0)
    suspects, others = first.numbers[2:4], first.numbers[4:]
    assert others
    for number in first.numbers:
        scheduler.handle(Failed(number, again=True, suspect=number in suspects))
    seen = []
    while not scheduler.done:
        (start,) = scheduler.decide(0.0)
        seen.append(start.numbers)
        for number in start.numbers:
            scheduler.handle(Finished(number))
    assert {(suspect,) for suspect in suspects} <= set(seen)
    assert any(len(numbers) > 1 for numbers in seen)


def test_the_first_of_a_batch_may_fail_and_start_again_while_the_rest_still_runs():
    tasks = [planned(number, seconds=0.01) for number in range(200)]
    scheduler = scheduler_of(tasks, simple(2, batch_s=1.0), cores=2, memory_gib=8.0)
    first, second = scheduler.decide(0.0)
    scheduler.handle(Failed(first.numbers[0], again=True, suspect=True))
    for number in second.numbers:
        scheduler.handle(Finished(number))
    running = {first: set(first.numbers[1:])}
    while not scheduler.done:
        running |= {start: set(start.numbers) for start in scheduler.decide(0.0)}
        assert sum(start.resources.cores for start in running) <= 2
        start = max(running, key=lambda start: start.numbers)
        number = running[start].pop()
        scheduler.handle(Finished(number))
        if not running[start]:
            del running[start]
    assert not any(running.values())


# --- several tasks in one start of their program ---------------------------------------------------------------------


def sharing(tasks, *, workers=2, most=16):
    """Return the run of tasks of one program, of which so many at most share a start."""
    policy = simple(workers, tunables=(("starts.tasks_per_start", most),))
    machine = Machine(tasks, policy, cores=workers)
    machine.run()
    return machine


@given(tasks_of, st.integers(1, 6), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_no_more_tasks_share_a_start_than_the_policy_says_and_only_of_its_program(tasks, workers, most):
    machine = sharing(tasks, workers=workers, most=most)
    shared = [start for _, start in machine.starts if len(start.numbers) > 1]
    assert all(start.together for start in shared)
    assert max((len(start.numbers) for start in shared), default=1) <= most
    assert {machine.estimates[number].program for start in shared for number in start.numbers} <= {"starts"}
    assert machine.counts == dict.fromkeys(range(len(tasks)), 1)


@pytest.mark.parametrize("count", [2, 10, 56, 300])
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_shared_starts_save_time_and_all_workers_take_part(count, workers):
    tasks = [planned(number, 0.015, program="starts", start=2 / 3) for number in range(count)]
    apart, shared = (sharing(tasks, workers=workers, most=most) for most in (1, 16))
    assert shared.clock <= apart.clock
    if count >= 8 * workers:
        assert shared.clock < 0.6 * apart.clock
    if count >= 2 * workers:
        assert len([start for at, start in shared.starts if at == 0.0]) == workers


@given(st.lists(st.floats(0.2, 1.0), min_size=1, max_size=60), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_workers_that_share_starts_end_within_a_task_and_a_start_of_each_other(seconds, workers):
    tasks = [
        planned(number, each + 0.1, program="starts", start=0.1 / (each + 0.1)) for number, each in enumerate(seconds)
    ]
    machine = sharing(tasks, workers=workers)
    work_s, starts_s = sum(seconds), 0.1 * len(machine.starts)
    assert machine.clock <= (work_s + starts_s) / workers + max(seconds) + 0.1 + 1e-9


def test_a_long_task_is_not_bound_to_others_for_a_short_start():
    tasks = [planned(number, 10.0, program="starts", start=0.02) for number in range(20)]
    assert all(len(start.numbers) == 1 for _, start in sharing(tasks).starts)


def test_of_uncertain_predictions_less_goes_to_a_worker_at_once():
    def first(spread):
        tasks = [planned(number, 1.0, program="starts", start=0.3) for number in range(40)]
        tasks = [task._replace(estimate=dataclasses.replace(task.estimate, spread=spread)) for task in tasks]
        return len(sharing(tasks, most=40).starts[0][1].numbers)

    assert first(0.0) >= 19
    assert first(0.5) <= 10


def test_a_start_that_is_shared_is_expected_to_end_when_it_does():
    tasks = [planned(number, 2.0, program="starts", start=0.5) for number in range(4)]
    policy = simple(1, tunables=(("starts.tasks_per_start", 4),))
    scheduler = scheduler_of(tasks, policy, cores=1, memory_gib=8.0)
    (start,) = scheduler.decide(0.0)
    assert len(start.numbers) == 4
    assert scheduler._running.left_core_s(0.0) == pytest.approx(5.0)
    assert scheduler._running.work_s(1.0) == pytest.approx(4.0)
