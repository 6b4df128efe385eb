"""How exact a sum is: its coefficients are those of upstream's own sum, and errors those that were measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import autotune
from autotune.base.options import Options
from autotune.base.types import Method
from autotune.expansion import workload
from autotune.expansion.exactness import DOUBTFUL_KCAL, coefficients, error_of, exactness
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE
from autotune.programs.facts import facts_of
from autotune.session import reductions

RECORD = json.loads((Path(__file__).parents[3] / "results" / "convergence.json").read_text())


def exact(fields):
    return reductions.plan(workload.load(fields), Options()).exactness()


def total(work, values):
    return work.assemble(values, {}).properties.return_energy


def in_sum_of(work, task):
    """Return the coefficient of one task's energy in upstream's sum."""
    return total(work, {each.key: {"energy": float(each is task)} for each in work.tasks})


def whole_energy(fields):
    fields["specification"]["keywords"]["return_total_data"] = True
    return fields


@pytest.mark.parametrize("max_nbody", [1, 2, 3, 4, 5])
def test_coefficients_are_those_of_upstreams_sum(cluster, max_nbody):
    work = workload.load(whole_energy(cluster("water6", max_nbody=max_nbody)))
    expected = coefficients(6, range(1, max_nbody + 1))
    for task in work.tasks:
        assert in_sum_of(work, task) == expected[task.nbody]
    found = reductions.plan(work, Options()).exactness()
    assert found.factors == expected
    squares = sum(expected[task.nbody] ** 2 for task in work.tasks)
    assert found.per_energy_hartree == pytest.approx(1e-8 * math.sqrt(squares))


def test_each_level_of_several_methods_has_its_own(cluster):
    work = workload.load(whole_energy(cluster("water6", levels={1: "mp2/sto-3g", 3: "hf/sto-3g"}, method="", basis="")))
    squares = sum((error_of(task.method) * in_sum_of(work, task)) ** 2 for task in work.tasks)
    assert reductions.plan(work, Options()).exactness().in_sum_hartree == pytest.approx(math.sqrt(squares))


@pytest.mark.parametrize("options", [{"screen_distance": {2: 5.0, 3: 3.5}}, {"around": (1,)}], ids=str)
def test_a_screen_leaves_other_coefficients(cluster, options):
    work = workload.load(whole_energy(cluster("water6", max_nbody=2 if "around" in options else 3)))
    lean = reductions.plan(work, Options(**options))
    squares = 0.0
    for task in lean.work.tasks:
        done = reductions.Execution(values={each.key: {"energy": float(each is task)} for each in lean.work.tasks})
        screened = lean.screen.values(done.values)
        squares += total(work, {**done.values, **screened}) ** 2
    found = lean.exactness()
    assert found.per_energy_hartree == pytest.approx(1e-8 * math.sqrt(squares))


@pytest.mark.parametrize(
    "changes",
    [
        {"bsse": ("vmfc",), "max_nbody": 2},
        {"levels": {1: "mp2/sto-3g", "supersystem": "hf/sto-3g"}, "method": "", "basis": ""},
        {"driver": "gradient"},
    ],
    ids=str,
)
def test_nothing_is_said_of_what_is_not_known(cluster, changes):
    assert exact(cluster("water4", **changes)) is None


def test_counterpoise_corrections_have_the_same_coefficients(cluster):
    plain, corrected = (exact(cluster("water6", max_nbody=2, bsse=(bsse,))) for bsse in ("nocp", "cp"))
    assert plain.factors == corrected.factors


def method(program, name="hf", basis="6-31g*", **keywords):
    return Method(program=program, method=name, basis=basis, driver="energy", keywords=json.dumps(keywords))


def test_errors_follow_the_thresholds_that_keywords_name():
    assert error_of(method("pyscf", conv_tol=1e-8)) == pytest.approx(100 * error_of(method("pyscf")))
    assert error_of(method("pyscf", "mp2", conv_tol=1e-12)) == pytest.approx(0.1 * error_of(method("pyscf", "mp2")))
    # The default, written out, changes nothing; nor does an SCF that is tighter before coupled cluster.
    for name in ("hf", "mp2", "ccsd"):
        assert error_of(method("pyscf", name, conv_tol=1e-10, cc_conv_tol=1e-9)) == error_of(method("pyscf", name))
    assert error_of(method("pyscf", "ccsd", conv_tol=1e-13)) == error_of(method("pyscf", "ccsd"))
    assert error_of(method("psi4", d_convergence=1e-8)) == pytest.approx(1e-4 * error_of(method("psi4")))
    assert error_of(method("nwchem", scf__thresh=1e-6)) == pytest.approx(0.1 * error_of(method("nwchem")))
    # A loose threshold is not mended by a tight one beside it.
    loose = method("nwchem", scf__thresh=1e-3, scf__tol2e=1e-10)
    assert error_of(loose) > 10 * error_of(method("nwchem"))
    assert error_of(method("pyscf", conv_tol="tight")) == error_of(method("pyscf"))
    assert error_of(method("mopac", "pm7", "")) is None
    assert error_of(method("a program nobody knows")) is None


def test_energies_that_are_reused_have_one_error(cluster):
    work = workload.load(cluster("water6", max_nbody=1))
    first, *others = work.tasks
    equal = {task.key: first.key for task in others}
    alone = exactness(work.tasks, fragments=6, levels=work.levels)
    reused = exactness(work.tasks, fragments=6, levels=work.levels, equal=equal)
    assert alone.per_energy_hartree == pytest.approx(1e-8 * math.sqrt(6))
    assert reused.per_energy_hartree == pytest.approx(6e-8)


@pytest.mark.parametrize("row", RECORD["cases"], ids=lambda row: row["case"])
def test_facts_of_programs_are_what_was_measured(row):
    program, family = row["case"].partition(",")[0].split(" ", 1)
    stated = facts_of(program).convergence[family].error_hartree
    assert stated == pytest.approx(row["rms_hartree"], rel=0.05) or "gfn1" in row["case"]
    # What is expected of sums is what they were off by, or more.
    for made in row["sums"]:
        assert made["off_hartree"] < 4 * made["expected_hartree"]


def test_a_run_says_before_and_after_what_its_sum_multiplies(cluster):
    unknown = exact(cluster("water16", program="faulty", method="nothing", basis="", max_nbody=3))
    assert unknown.in_sum_hartree is None
    assert unknown.before_words().startswith(
        "the sum takes energies of 1 to 3 fragments times 91, -13 and 1: 1e-08 Eh in each make about "
    )
    said = []
    loose = cluster("water16", max_nbody=2, keywords={"conv_tol": 1e-5})
    with autotune.Session(Options(journal="none"), on_notice=said.append) as session:
        session.run(loose)
        off = session.record.sum_off_hartree
    expected = error_of(workload.load(loose).methods[0]) * math.sqrt(16 * 14**2 + 120)
    assert off == pytest.approx(expected)
    (before,) = (line for line in said if line.startswith("the sum takes"))
    (after,) = (line for line in said if line.startswith("by the thresholds"))
    shown = f"{expected * KCAL_PER_HARTREE:.1g} kcal/mol"
    assert shown in before
    assert after.endswith(f"the sum is exact to about {shown}")


@pytest.mark.parametrize(("in_sum_kcal", "is_advised"), [(0.045, False), (0.055, True)])
def test_tighter_thresholds_are_advised_from_a_twentieth_of_a_kcal_on(cluster, in_sum_kcal, is_advised):
    known = exact(cluster("water32", program="nwchem", max_nbody=3))
    words = replace(known, in_sum_hartree=in_sum_kcal / KCAL_PER_HARTREE).before_words()
    assert ("--keywords" in words) == is_advised


def test_advice_names_the_keywords_where_it_matters(cluster):
    words = exact(cluster("water32", program="nwchem", max_nbody=3)).before_words()
    assert words.endswith("to converge them more tightly: --keywords scf__thresh=1e-07,scf__tol2e=1e-10")
    tight = exact(cluster("water32", program="nwchem", max_nbody=3, keywords={"scf__thresh": 5e-6}))
    assert tight.in_sum_hartree * KCAL_PER_HARTREE > DOUBTFUL_KCAL
    assert "--keywords" not in tight.before_words()
    assert exact(cluster("water4", program="nwchem", max_nbody=3)).before_words() == ""
