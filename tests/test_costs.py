"""The cost model and the accounts of a run."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import account, basis
from autotune.costs import Costs, fit, prior_s
from autotune.types import Method, PowerLaw, Task, TaskRecord, TaskSize


def task(functions=50, electrons=20, method="hf", number=0, driver="energy"):
    return Task(
        number=number,
        key=str(number),
        level="(auto)",
        real=(1,),
        basis=(1,),
        labels=("x",),
        method=Method(program="pyscf", method=method, basis="cc-pvdz", driver=driver),
        size=TaskSize(atoms=6, ghost_atoms=0, electrons=electrons, functions=functions),
    )


def record(started_s, wall_s, width=1, number=0):
    return TaskRecord(
        number=number,
        label="x",
        nbody=1,
        status="done",
        attempts=1,
        started_s=started_s,
        wall_s=wall_s,
        cpu_s=wall_s,
        width=width,
        grant_gib=1.0,
        peak_gib=0.1,
        predicted_s=wall_s,
    )


@pytest.mark.parametrize(
    ("name", "symbol", "count"),
    [
        ("sto-3g", "O", 5),
        ("6-31g*", "O", 15),
        ("6-31G(d)", "O", 15),
        ("6-31g**", "H", 5),
        ("cc-pvdz", "O", 14),
        ("cc-pVTZ", "H", 14),
        ("aug-cc-pvdz", "O", 23),
        ("def2-svp", "C", 14),
        ("no-such-basis", "O", 0),
        ("", "O", 0),
    ],
)
def test_basis_functions_are_counted_in_the_basis_sets_own_convention(name, symbol, count):
    assert basis.functions(name, symbol) == count


@given(st.integers(5, 300), st.sampled_from(["hf", "b3lyp", "mp2", "ccsd", "ccsd(t)"]))
def test_a_larger_task_is_predicted_to_take_longer(functions, method):
    assert prior_s(task(method=method).method, task(functions=functions + 5).size) > prior_s(
        task(method=method).method, task(functions=functions).size
    )


def test_methods_rank_as_chemists_expect():
    times = [prior_s(task(method=m).method, task(functions=72).size) for m in ("hf", "mp2", "ccsd", "ccsd(t)")]
    assert times == sorted(times)
    assert prior_s(task(driver="gradient").method, task().size) > prior_s(task().method, task().size)


def test_one_finished_task_teaches_its_own_kind_exactly_and_the_others_in_proportion():
    costs, small, large = Costs(), task(functions=25), task(functions=50)
    before = costs.estimate(large).alone_s
    costs.observe(small, wall_s=10 * costs.estimate(small).alone_s, width=1, peak_gib=0.7)
    assert costs.estimate(large).alone_s == pytest.approx(10 * before)
    assert costs.estimate(small).memory_gib == 0.7


def test_a_power_law_is_recovered_from_its_own_samples():
    law = PowerLaw(scale=3.0, bend=0.2, reference_s=1.0)
    tasks = [task(functions=n, number=n) for n in (20, 40, 60, 80)]
    fitted = fit([(t, law.apply(prior_s(t.method, t.size))) for t in tasks])[tasks[0].method]
    for t in [*tasks, task(functions=120)]:
        assert fitted.apply(prior_s(t.method, t.size)) == pytest.approx(law.apply(prior_s(t.method, t.size)))


def test_amdahls_law_gives_the_time_at_a_width():
    estimate = Costs().estimate(task(functions=400))
    assert estimate.wall_s(1) == estimate.alone_s
    assert estimate.wall_s(2) == pytest.approx(estimate.alone_s * (1 - estimate.parallel / 2))


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0.01, 20), st.integers(1, 2)).map(lambda t: record(*t)),
        min_size=1,
        max_size=12,
    )
)
def test_the_gap_and_the_work_add_up_to_at_least_the_wall_time(records):
    cores, wall_s = 4, max(r.started_s + r.wall_s for r in records) + 1.0
    gap = account.gap(records, cores=cores, wall_s=wall_s, memory_idle_core_s=0.5, lost_core_s=0.2)
    parts = [gap.startup, gap.tail, gap.memory, gap.retries, gap.scheduler, gap.assembly]
    assert all(part >= -1e-9 for part in parts)
    work_s = sum(r.wall_s * r.width for r in records) / cores
    assert sum(parts) + work_s >= wall_s - 1e-6


def test_two_cores_one_after_the_other_show_where_the_time_went():
    records = [record(1.0, 4.0), record(1.0, 2.0), record(4.0, 1.0)]
    gap = account.gap(records, cores=2, wall_s=6.0, memory_idle_core_s=0.0, lost_core_s=0.0)
    assert (gap.startup, gap.scheduler, gap.tail, gap.assembly) == (1.0, 0.5, 0.0, 1.0)
    assert account.lower_bound_s(records, 2) == 4.0
    assert account.lower_bound_s([], 2) == 0.0
    assert math.isclose(sum(r.wall_s for r in records) / 2 + 1.0 + 0.5 + 0.0 + 1.0, 6.0)
