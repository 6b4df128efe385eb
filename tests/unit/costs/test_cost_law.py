"""The cost model and the accounts of a run."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import typical
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from autotune.base.records import Law
from autotune.base.types import Method
from autotune.costs import basis
from autotune.costs import cost_law as costs_module
from autotune.costs.cost_law import Costs, by_itself_s, fit, law_s
from autotune.costs.memory import need
from autotune.costs.overlap import Overlaps
from autotune.costs.terms import PRIORS, family, prior, terms
from autotune.programs.facts import facts_of
from autotune.schedule import bounds


def task(functions=50, electrons=20, method="hf", number=0, driver="energy"):
    of = Method(program="pyscf", method=method, basis="cc-pvdz", driver=driver)
    return typical.task(number, functions=functions, electrons=electrons, method=of)


def record(started_s, wall_s, width=1):
    return typical.record(started_s=started_s, wall_s=wall_s, width=width)


@pytest.mark.parametrize(
    ("symbol", "counts"),
    [
        ("O", {"sto-3g": 5, "6-31g*": 15, "6-31G(d)": 15, "cc-pvdz": 14, "ccpvdz": 14, "aug-cc-pvdz": 23}),
        ("C", {"def2-svp": 14, "def2SVP": 14, "no-such-basis": 0, "": 0}),
        ("H", {"6-31g**": 5, "cc-pVTZ": 14, "6-311++G(d,p)": 7}),
    ],
)
def test_basis_functions_are_counted_in_the_basis_sets_own_convention(symbol, counts):
    assert {name: basis.functions(name, symbol) for name in counts} == counts


METHODS = ["hf", "b3lyp", "mp2", "ccsd", "ccsd(t)"]


def prior_s(of):
    return law_s(None, of.method, of.size)


@given(st.integers(5, 300), st.sampled_from(METHODS))
def test_a_larger_task_is_predicted_to_take_longer_and_to_need_more(functions, method):
    small, large = task(method=method, functions=functions), task(method=method, functions=functions + 5)
    assert prior_s(large) > prior_s(small)
    assert need(large.method, large.size).peak_gib > need(small.method, small.size).peak_gib


@pytest.mark.parametrize(
    ("method", "times"), [("hf", 1.9), ("pbe", 1.7), ("mp2", 2.01), ("ccsd", 2.5), ("ccsd(t)", 2.8)]
)
def test_a_radical_has_orbitals_of_two_spins_and_three_kinds_of_pairs(method, times):
    closed = task(method=method, functions=150)
    radical = replace(closed, size=replace(closed.size, unpaired=1))
    assert times < prior_s(radical) / prior_s(closed) <= 3.0
    if method.startswith("ccsd"):
        grants = [need(of.method, of.size).grant_gib - facts_of("pyscf").grant_gib(0.0) for of in (closed, radical)]
        assert 2.5 < grants[1] / grants[0] <= 3.0


def test_methods_rank_as_chemists_expect():
    times = [prior_s(task(method=m, functions=72)) for m in ("hf", "mp2", "ccsd", "ccsd(t)")]
    assert times == sorted(times)
    assert prior_s(task(driver="hessian")) > prior_s(task(driver="gradient")) > prior_s(task())


@pytest.mark.parametrize(
    ("method", "basis_set", "keywords", "expected"),
    [
        ("HF", "6-31g*", "{}", "hf"),
        ("scf", "6-31g*", '{"scf_type":"df"}', "hf df"),
        ("mp2", "cc-pvdz", '{"density_fit":true}', "mp2 df"),
        ("mp2", "cc-pvdz", '{"density_fit":false}', "mp2"),
        ("ccsd(t)", "cc-pvdz", "{}", "ccsd(t)"),
        ("wb97x-d", "def2-svp", "{}", "dft"),
        ("gfn2-xtb", "", "{}", "semiempirical"),
        ("pm6", "", "{}", "semiempirical"),
    ],
)
def test_methods_belong_to_families(method, basis_set, keywords, expected):
    of = Method(program="pyscf", method=method.lower(), basis=basis_set, driver="energy", keywords=keywords)
    assert family(of) == expected
    assert terms(of, task().size).keys() == PRIORS[expected].keys()


def test_one_finished_task_teaches_its_own_kind_exactly_the_others_in_proportion_and_both_how_sure_it_is():
    costs, small, large = Costs(), task(functions=25), task(functions=50)
    before = costs.estimate(large).alone_s
    assert costs.estimate(small).spread == 0.5
    wall_s = 10 * costs.estimate(small).alone_s
    costs.observe(small, wall_s=wall_s, width=1, peak_gib=0.7)
    assert costs.estimate(small).alone_s == pytest.approx(wall_s)
    assert costs.estimate(large).alone_s == pytest.approx(10 * before)
    assert costs.estimate(small).memory_gib == 0.7
    for factor in (1.1, 0.9):
        costs.observe(small, wall_s=factor * wall_s, width=1, peak_gib=0.1)
    assert 0.05 <= costs.estimate(small).spread < 0.15
    assert costs.estimate(large).spread < 0.5


@given(st.sampled_from(METHODS), st.floats(0.1, 10.0), st.lists(st.floats(0.7, 1.5), min_size=10, max_size=10))
@settings(deadline=None, max_examples=40)
def test_a_law_is_recovered_from_its_own_samples_up_to_the_ridge(method, scale, off):
    of = task(method=method).method
    truth = Law(
        seconds={term: scale * f * s for f, (term, s) in zip(off, prior(of).items(), strict=False)},
        spread=0.1,
        parallel=0.5,
        half_s=1.0,
    )
    tasks = [task(method=method, functions=n, electrons=n // 2, number=n) for n in range(10, 200, 10)]
    fitted = fit([(t, law_s(truth, t.method, t.size), 1) for t in tasks])[of]
    for t in tasks:
        assert law_s(fitted, t.method, t.size) == pytest.approx(law_s(truth, t.method, t.size), rel=0.12)


@given(
    st.lists(st.lists(st.floats(0.01, 3.0), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(0.05, 1.0),
)
@settings(deadline=None)
def test_the_fit_is_the_minimum_that_scipy_finds(rows, ridge):
    names = ("a", "b", "c")
    found = costs_module._nonnegative([(dict(zip(names, row, strict=True)), 1.0) for row in rows], ridge)
    matrix = np.vstack([np.array(rows), math.sqrt(ridge) * np.eye(3)])
    right = np.concatenate([np.ones(len(rows)), math.sqrt(ridge) * np.ones(3)])
    _, residual = nnls(matrix, right)
    ours = np.linalg.norm(matrix @ np.array([found[name] for name in names]) - right)
    assert ours == pytest.approx(residual, rel=1e-3, abs=1e-4)


def test_a_term_that_small_tasks_do_not_show_keeps_its_proportion():
    """Fitted to molecules too small for triples to count, the law must still expect them of large ones."""
    of = task(method="ccsd(t)").method
    samples = [(t, 3.0 * prior_s(t), 1) for t in (task(method="ccsd(t)", functions=n, electrons=10) for n in (24, 29))]
    law = fit(samples)[of]
    large = task(method="ccsd(t)", functions=150, electrons=60)
    assert law_s(law, of, large.size) == pytest.approx(3.0 * prior_s(large), rel=0.05)


def test_measured_widths_teach_how_a_method_divides_and_wide_samples_alone_are_taken_to_divide_as_the_prior_does():
    tasks = [task(functions=n, number=n) for n in (60, 90, 120)]
    method = tasks[0].method
    flat = fit([(t, prior_s(t), w) for t in tasks for w in (1, 2)])[method]
    halved = fit([(t, prior_s(t) / w, w) for t in tasks for w in (1, 2)])[method]
    assert flat.parallel < 0.1
    assert halved.parallel > 0.9
    most, _ = costs_module._PARALLEL[family(method)]
    found = fit([(t, 3.0 * prior_s(t) * (1.0 - most + most / 4), 4) for t in tasks])
    assert found.keys() == {method}
    for of in tasks:
        assert law_s(found[method], method, of.size) == pytest.approx(3.0 * prior_s(of), rel=0.05)
    both = [(tasks[0], prior_s(tasks[0]), 1), *((t, 99.0, 4) for t in tasks)]
    assert law_s(fit(both)[method], method, tasks[0].size) == pytest.approx(prior_s(tasks[0]), rel=0.05)


def test_the_laws_are_those_of_all_methods_of_which_something_is_known():
    one, other = task(functions=50), task(functions=50, method="mp2")
    costs = Costs()
    costs.estimate(one)
    assert costs.laws() == {}
    costs.observe(one, wall_s=3.0, width=1, peak_gib=0.1)
    law = costs.laws()[one.method]
    assert law_s(law, one.method, one.size) == pytest.approx(3.0, rel=0.05)
    told = Costs({other.method: law})
    assert told.laws() == {other.method: law}
    assert Costs(costs.laws()).estimate(one).alone_s == pytest.approx(3.0, rel=0.05)


def test_primitives_of_a_basis_set_are_those_of_its_contractions():
    assert len(basis.primitives("sto-3g", "H")) == 3
    # 6-31G*, oxygen: 6 + 3 + 1 for each s, as many p less the core's, one Cartesian d.
    assert sum(width for _, width in basis.primitives("6-31g*", "O")) == 10 + 3 * 4 + 6
    assert basis.primitives("no-such-basis", "O") == ()


@given(st.floats(0.0, 40.0), st.floats(0.0, 20.0))
@settings(deadline=None, max_examples=30)
def test_fewer_pairs_overlap_the_farther_two_fragments_are_apart(distance, more):
    def pairs(z):
        return Overlaps([["O"], ["H"]], [[[0.0, 0.0, 0.0]], [[0.0, 0.0, z]]], "6-31g*").of([0, 1])

    apart = sum(Overlaps([[s]], [[[0.0] * 3]], "6-31g*").of([0]) for s in ("O", "H"))
    assert apart <= pairs(distance + more) <= pairs(distance)
    assert pairs(1e3) == apart


def test_sizes_are_equal_whatever_overlaps_but_geometry_still_ranks_equal_sizes():
    costs, loose, compact = Costs(), task(functions=38), task(functions=38)
    loose = replace(loose, size=replace(loose.size, pairs=3000.0))
    compact = replace(compact, size=replace(compact.size, pairs=5000.0))
    assert loose.size == compact.size
    costs.observe(loose, wall_s=1.0, width=1, peak_gib=0.1)
    assert costs.estimate(loose).alone_s == pytest.approx(1.0)
    assert costs.estimate(compact).alone_s > 1.2


@pytest.mark.parametrize(
    ("method", "functions", "electrons", "measured_gib"),
    [("hf", 204, 84, 1.757), ("hf", 102, 42, 0.231), ("mp2", 114, 42, 0.406), ("mp2", 96, 36, 0.265)],
)
def test_predicted_memory_lies_just_above_what_was_measured(method, functions, electrons, measured_gib):
    """Peaks of benzene and methanol-water clusters with PySCF 2.14."""
    of = task(method=method, functions=functions, electrons=electrons)
    assert measured_gib < need(of.method, of.size).peak_gib < 1.15 * measured_gib + 0.1


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
    gap = bounds.gap(records, cores=cores, wall_s=wall_s, memory_idle_core_s=0.5, lost_core_s=0.2)
    parts = [gap.startup, gap.tail, gap.memory, gap.retries, gap.scheduler, gap.assembly]
    assert all(part >= -1e-9 for part in parts)
    work_s = sum(r.wall_s * r.width for r in records) / cores
    assert sum(parts) + work_s >= wall_s - 1e-6


def test_two_cores_one_after_the_other_show_where_the_time_went():
    records = [record(1.0, 4.0), record(1.0, 2.0), record(4.0, 1.0)]
    gap = bounds.gap(records, cores=2, wall_s=6.0, memory_idle_core_s=0.0, lost_core_s=0.0)
    assert (gap.startup, gap.scheduler, gap.tail, gap.assembly) == (1.0, 0.5, 0.0, 1.0)
    assert (bounds.lower_bound_s(records, cores=2), bounds.lower_bound_s([], cores=2)) == (4.0, 0.0)


def test_a_program_that_is_a_process_for_each_task_is_predicted_to_start_each_time():
    small = task(functions=7, electrons=10)
    started = replace(small, method=replace(small.method, program="nwchem"))
    assert prior_s(started) - prior_s(small) == pytest.approx(facts_of("nwchem").start_s)
    unknown = replace(small, method=replace(small.method, program="another"))
    assert prior_s(unknown) > prior_s(started)


def test_an_estimate_says_its_program_whether_it_takes_one_core_and_how_long_it_starts():
    costs = Costs()
    costs.one_core = frozenset({"nwchem"})
    resident = costs.estimate(task())
    started = replace(task(), method=replace(task().method, program="nwchem"))
    found = costs.estimate(started)
    assert (resident.program, resident.start_s, resident.one_core) == ("pyscf", 0.0, False)
    assert (found.program, found.start_s, found.one_core) == ("nwchem", facts_of("nwchem").start_s, True)
    assert found.work_s == pytest.approx(resident.alone_s)
    costs.observe(started, wall_s=0.5 * found.start_s, width=1, peak_gib=0.1)
    assert 0.0 < costs.estimate(started).start_s < 0.5 * found.start_s  # it cannot be more than the task


@pytest.mark.parametrize("sharers", [1, 2, 16])
def test_what_is_learned_of_tasks_that_shared_a_start_predicts_tasks_by_themselves_and_together(sharers):
    start_s, work_s = facts_of("nwchem").start_s, 0.3
    together_s = start_s + sharers * work_s
    one = replace(task(), method=replace(task().method, program="nwchem"))
    costs = Costs()
    for _ in range(sharers):
        wall_s = by_itself_s(one.method, together_s / sharers, sharers=sharers, speed=1.0)
        costs.observe(one, wall_s=wall_s, width=1, peak_gib=0.1)
    found = costs.estimate(one)
    assert found.wall_s(1) == pytest.approx(start_s + work_s)
    assert found.wall_s(1) + (sharers - 1) * found.next_s(1) == pytest.approx(together_s)


@pytest.mark.parametrize(
    ("name", "symbols", "spherical"),
    [("cc-pvdz", ("O", "H"), True), ("6-31g*", ("O", "H"), False), ("cc-pvdz", ("H",), False), ("", ("O",), False)],
)
def test_a_basis_set_is_spherical_where_it_was_made_so_and_it_matters(name, symbols, spherical):
    assert basis.is_spherical(name, symbols) is spherical
