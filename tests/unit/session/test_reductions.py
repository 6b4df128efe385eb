"""Runs that leave tasks out on request: results, journals, failures, refusals; and that nothing changes without."""

from __future__ import annotations

import json
import shutil
import sqlite3

import numpy as np
import pytest
from click.testing import CliRunner

import autotune
from autotune.base import json_files
from autotune.base.errors import InputError, TaskError
from autotune.base.options import OMISSIONS
from autotune.cli.main import cli
from autotune.expansion import workload
from autotune.expansion.lower_methods import Source
from autotune.journal.entries import Entry
from autotune.reports import content
from autotune.runtime.execution import Execution
from autotune.session import reductions
from autotune.session.session import Options, Session

pytestmark = pytest.mark.programs("pyscf")

ALL = {"reuse_contained": True, "reuse_equal_monomers": True, "screen_distance": 2.5}
CORRELATED = {"cc": ("ccsd(t)", {}), "mp": ("mp2", {}), "hf": ("hf", {})}


@pytest.fixture
def leveled(cluster):
    """Return a function that makes an input of four waters with a method and keywords for each n-body level."""

    def make(levels=CORRELATED, **keywords):
        fields = cluster("water4")
        specification = fields["specification"]
        chemistry = specification["specification"].pop("(auto)")
        for level, (method, told) in levels.items():
            model = {**chemistry["model"], "method": method}
            specification["specification"][level] = {**chemistry, "model": model, "keywords": told}
        bodies = dict(enumerate(levels, start=1))
        specification["keywords"] = {"bsse_type": ["nocp"], "levels": bodies, **keywords}
        return fields

    return make


def ran(fields, **options):
    """Return result, record and what was said of a run."""
    said = []
    # One core a task: with more, OpenMP adds in changing order.
    with Session(Options(threads=1, **options), on_notice=said.append) as session:
        return session.run(fields), session.record, said


def keys_in(path):
    with sqlite3.connect(path) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM tasks")}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return a function that returns what is `ran`, the first time, and a copy of the run's journal."""
    folder, found = tmp_path_factory.mktemp("stored"), {}

    def run(fields, **options):
        name = "-".join(["run", *options])
        if name not in found:
            found[name] = ran(fields, journal=str(folder / name), **options)
        journal = folder / f"{name}-{len(list(folder.iterdir()))}"
        shutil.copy(folder / name, journal)
        return *found[name], str(journal)

    return run


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_without_options_the_workload_is_the_same_object(leveled):
    work = workload.load(leveled())
    lean, done = reductions.plan(work, Options()), Execution()
    assert lean.work is work
    assert lean.fill_in(done) is done
    assert lean.list_omitted() == ()
    assert lean.find_late(done).tasks == ()


def test_nothing_is_both_computed_and_left_out_and_nothing_is_forgotten(leveled):
    work = workload.load(leveled())
    lean = reductions.plan(work, Options(**ALL))
    groups = [
        {task.key for task in lean.work.tasks},
        {task.key for task in lean.screen.dropped},
        set(lean.equal),
        set(lean.contained),
    ]
    assert sum(map(len, groups)) == len(work.tasks)
    assert set.union(*groups) == {task.key for task in work.tasks}
    assert lean.hosts <= groups[0]
    assert [task.number for task in lean.work.tasks] == sorted(task.number for task in lean.work.tasks)


def test_an_energy_that_its_host_does_not_have_is_computed_after_all(leveled):
    lean = reductions.plan(workload.load(leveled()), Options(reuse_contained=True))
    whole = Execution(contained={key: {"scf_total_energy": -1.0, "mp2_total_energy": -2.0} for key in lean.hosts})
    assert lean.find_late(whole).tasks == ()
    without = Execution(contained={key: {"scf_total_energy": -1.0} for key in lean.hosts})
    missing = {key for key, source in lean.contained.items() if source.energy == "mp2_total_energy"}
    late = lean.find_late(without)
    assert {task.key for task in late.tasks} == missing
    assert len(missing) == 4
    assert lean.list_omitted(late)[0].tasks == len(lean.contained) - 4


def test_values_of_a_late_task_are_its_own(leveled):
    lean = reductions.plan(workload.load(leveled()), Options(reuse_contained=True))
    (key, source), *_ = lean.contained.items()
    assert isinstance(source, Source)
    execution = Execution()
    execution.take(Entry(key, "", "", {"energy": -7.0}, None))
    assert {key: dict(values) for key, values in lean.fill_in(execution).values.items()} == {key: {"energy": -7.0}}


@pytest.mark.parametrize("option", ALL)
def test_what_no_option_is_defined_for_is_refused_in_one_line(cluster, option):
    for changed in ("driver", "kept"):
        fields = cluster("water2", driver="gradient" if changed == "driver" else "energy")
        if changed == "kept":
            fields["specification"]["protocols"] = {"cluster_results": "all"}
        with pytest.raises(InputError, match="driver gradient" if changed == "driver" else "cluster_results") as error:
            reductions.plan(workload.load(fields), Options(**{option: ALL[option]}))
        assert OMISSIONS[option] in str(error.value)
        assert "\n" not in str(error.value)


def test_embedding_charges_are_refused(cluster, monkeypatch):
    monkeypatch.setenv("QCMANYBODY_EMBEDDING_CHARGES", "1")
    fields = cluster("water2", program="psi4")
    fields["specification"]["keywords"]["embedding_charges"] = {1: [-0.8, 0.4, 0.4], 2: [-0.8, 0.4, 0.4]}
    fields["specification"]["keywords"]["return_total_data"] = True
    with pytest.raises(InputError, match="embedding charges"):
        reductions.plan(workload.load(fields), Options(reuse_equal_monomers=True))


def test_whole_results_of_components_are_refused(cluster):
    with Session(Options(reuse_contained=True)) as session, pytest.raises(InputError, match="whole results"):
        session.components(cluster("water2"))


# --- results ----------------------------------------------------------------------------------------------------------


def test_contained_energies_give_the_result_of_computing_them(leveled, stored):
    plain, before, *_ = stored(leveled())
    reused, record, said, _ = stored(leveled(), reuse_contained=True)
    assert (before.tasks, record.tasks, len(record.task_records)) == (28, 14, 14)
    assert "--reuse-contained: 14 of 28 tasks take an energy that another task contains" in said
    # MP2 of 4 monomers counts three times in their pairs.
    assert reused.return_result == pytest.approx(plain.return_result, abs=1e-8)


def test_where_nothing_is_contained_no_bit_changes(cluster):
    fields = cluster("water4", max_nbody=2)
    plain, _, _ = ran(fields)
    reused, record, _ = ran(fields, reuse_contained=True)
    assert record.omitted[0].tasks == 0
    assert reused.model_dump_json() == plain.model_dump_json()


def test_all_options_together_give_the_sum_that_is_made_by_hand(leveled):
    fields, turned = leveled(return_total_data=True), np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    geometry = np.array(fields["molecule"]["geometry"]).reshape(4, 3, 3)
    # The second water is the first one, turned and moved by whole numbers, so that no digit is lost.
    geometry[1] = geometry[0] @ turned + np.array([12.0, -9.0, 3.0])
    fields["molecule"]["geometry"] = geometry.ravel().tolist()
    with Session() as session:
        work = workload.load(fields)
        of = {label: found.return_result for label, found in session.components(work).items()}
    energy = {(task.level, task.real): of[label] for task in work.tasks for label in task.labels}
    near = [
        (i, j)
        for i in range(1, 5)
        for j in range(i + 1, 5)
        if min(np.linalg.norm(a - b) for a in geometry[i - 1] for b in geometry[j - 1]) * 0.529177210903 <= 2.5
    ]
    assert 0 < len(near) < 6
    by_hand = sum(energy["cc", (i,)] for i in range(1, 5)) + sum(
        energy["mp", (i, j)] - energy["mp", (i,)] - energy["mp", (j,)] for i, j in near
    )
    assert not any({(i, j), (j, k), (i, k)} <= set(near) for i, j, k in [(1, 2, 3), (1, 2, 4), (1, 3, 4), (2, 3, 4)])
    result, record, _ = ran(fields, **ALL)
    assert result.return_result == pytest.approx(by_hand, abs=1e-8)
    assert {each.option: each.tasks for each in record.omitted} == {
        "screen_distance": 2 * 6 + 4 - 2 * len(near),
        "reuse_equal_monomers": 3,
        "reuse_contained": 6 + len(near),
    }
    assert record.tasks == len(near) + 3


# --- journals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ALL)
def test_the_journal_has_only_what_was_computed_and_a_run_goes_on_from_it(leveled, stored, option):
    fields, chosen = leveled(), {option: ALL[option]}
    first, record, _, journal = stored(fields, **chosen)
    lean = reductions.plan(workload.load(fields), Options(**chosen))
    assert keys_in(journal) == {task.key for task in lean.work.tasks}
    again, resumed, said = ran(fields, journal=journal, resume=True, **chosen)
    assert f"{record.tasks} of {record.tasks} tasks are in the journal and are not computed again" in said
    assert (resumed.recalled, resumed.task_records) == (record.tasks, ())
    assert again.model_dump_json() == first.model_dump_json()


def test_a_journal_without_contained_energies_has_the_tasks_computed_after_all(leveled, stored):
    plain, _, _, journal = stored(leveled())
    result, record, said = ran(leveled(), journal=journal, resume=True, reuse_contained=True)
    # They are in the journal themselves, too.
    assert (record.tasks, record.recalled, record.omitted[0].tasks) == (28, 28, 0)
    assert any("14 tasks of these must be computed after all" in line for line in said)
    assert result.model_dump_json() == plain.model_dump_json()


def test_a_journal_with_contained_energies_serves_a_run_without_the_option(leveled, stored):
    *_, journal = stored(leveled(), reuse_contained=True)
    result, record, _ = ran(leveled(), journal=journal, resume=True)
    assert (record.tasks, record.recalled, len(record.task_records)) == (28, 14, 14)
    assert result.model_dump_json() == stored(leveled())[0].model_dump_json()


# --- failures ---------------------------------------------------------------------------------------------------------


def test_what_a_failed_task_would_have_contained_is_computed(leveled):
    # One cycle is not enough for CCSD, and does not concern HF.
    fields = leveled({"cc": ("ccsd", {"cc_max_cycle": 1}), "hf": ("hf", {})})
    with Session(Options(reuse_contained=True)) as session:
        with pytest.raises(TaskError, match=r"^4 of 14 tasks failed: ") as failed:
            session.run(fields)
        record = session.record
    assert {json.loads(label)[0] for label in failed.value.done} == {"hf"}
    assert len(failed.value.done) == 10
    assert (record.tasks, record.omitted[0].tasks) == (14, 0)


def test_with_fail_fast_nothing_more_is_computed(leveled):
    fields = leveled({"cc": ("ccsd", {"cc_max_cycle": 1}), "hf": ("hf", {})})
    with Session(Options(reuse_contained=True, fail_fast=True, workers=1)) as session:
        with pytest.raises(TaskError, match="failed; "):
            session.run(fields)
        assert not any(json.loads(each.label)[0] == "hf" and each.nbody == 1 for each in session.record.task_records)


def test_energies_of_a_second_attempt_with_other_keywords_are_not_taken(leveled):
    few = {"max_cycle": 2}
    fields, rescue = leveled({"mp": ("mp2", few), "hf": ("hf", few)}), {"max_cycle": 100}
    result, record, said = ran(fields, reuse_contained=True, rescue=rescue)
    assert (record.tasks, record.omitted[0].tasks) == (14, 0)
    assert any("4 tasks of these must be computed after all" in line for line in said)
    assert result.return_result == pytest.approx(ran(fields, rescue=rescue)[0].return_result, abs=1e-11)


# --- what is said -----------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_said_at_the_start_kept_in_the_record_and_told_in_reports(leveled, tmp_path):
    source, out, record = (tmp_path / name for name in ("in.json", "out.json", "record.json"))
    source.write_text(json.dumps(leveled()))
    options = ["--reuse-contained", "--reuse-equal-monomers", "--screen-distance", "2.5"]
    done = CliRunner().invoke(cli, ["run", str(source), *options, "--explain", "-o", str(out), "--record", str(record)])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["success"]
    loaded, lines = json_files.load_run(record), done.stderr.splitlines()
    assert [each.words for each in loaded.omitted] == [line for line in lines[:-1] if line.startswith("--")]
    assert [each.option for each in loaded.omitted] == list(reversed(ALL))
    facts = [value for name, value in content.report([("run", loaded)]).runs[0].facts if name == "Not computed"]
    assert len(facts) == sum(each.tasks > 0 for each in loaded.omitted)
    older = {name: value for name, value in json.loads(record.read_text()).items() if name != "omitted"}
    record.write_text(json.dumps(older))
    assert json_files.load_run(record).omitted == ()


def test_the_library_takes_the_options_by_name(cluster):
    with pytest.raises(InputError, match="screen_distance"):
        autotune.run(cluster("water2"), screen_distance=-1.0)
