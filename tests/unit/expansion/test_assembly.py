"""Assembly of gradients and Hessians: every bit is upstream's, and memory is what the result needs."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import typical
from derivatives import DERIVATIVES, EXPANSIONS, UNEVEN, expanded, kept, made_up
from hypothesis import given, settings
from hypothesis import strategies as st
from qcmanybody.models import v2
from qcmanybody.v2 import ManyBodyComputer

from autotune import Options, Session
from autotune.base.errors import ResourceError
from autotune.expansion import assembly, workload
from autotune.journal import values
from autotune.journal.entries import Entry
from autotune.journal.journal import Journal
from autotune.journal.values import Values
from autotune.runtime.execution import Execution
from autotune.session import resume
from autotune.session.run_record import failure


def planned(name, driver, molecule=UNEVEN, **keywords):
    """Return the input of an expansion, its work, and made-up entries of its tasks."""
    fields = expanded({**EXPANSIONS[name], **keywords}, driver, molecule)
    work = workload.load(fields)
    return fields, work, list(made_up(work, names=DERIVATIVES[driver]))


def upstreams(fields, work, entries):
    """Return the result of upstream's own steps, with its own padding."""
    computer = ManyBodyComputer.from_manybodyinput(v2.ManyBodyInput(**fields), build_tasks=False)
    by_key = {entry.key: entry.values for entry in entries}
    properties = {label: dict(by_key[key]) for label, key in work._keys_by_label.items()}
    back = computer.qcmb_core.analyze(properties)
    back["nbody_number"] = len(properties)
    return computer.get_results(external_results=back, component_results={})


def assert_bit_equal(ours, upstream):
    assert ours.model_dump_json() == upstream.model_dump_json()


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("driver", DERIVATIVES)
@pytest.mark.parametrize("name", EXPANSIONS)
def test_a_result_has_every_bit_of_upstreams(name, driver, total):
    fields, work, entries = planned(name, driver, return_total_data=total)
    ours = work.assemble(kept(entries), {})
    assert_bit_equal(ours, upstreams(fields, work, entries))
    assert np.asarray(ours.return_result).shape == ((12, 3) if driver == "gradient" else (36, 36))
    assert np.count_nonzero(ours.return_result)


@given(
    name=st.sampled_from(list(EXPANSIONS)),
    total=st.booleans(),
    sizes=st.lists(st.integers(1, 3), min_size=3, max_size=4),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_so_has_that_of_any_fragments_and_numbers(name, total, sizes, seed):
    ends = np.cumsum([0, *sizes]).tolist()
    molecule = {
        "symbols": ["He"] * ends[-1],
        "geometry": [float(20 * atom) for atom in range(ends[-1]) for _ in range(3)],
        "fragments": [list(range(a, b)) for a, b in pairwise(ends)],
    }
    fields, work, _ = planned(name, "hessian", molecule, return_total_data=total)
    entries = list(made_up(work, names=("energy", "hessian"), seed=seed))
    assert_bit_equal(work.assemble(kept(entries), {}), upstreams(fields, work, entries))


def test_what_only_some_components_have_is_left_out_as_before():
    fields, work, _ = planned("nocp", "gradient")
    entries = list(made_up(work, names=DERIVATIVES["hessian"]))
    lacking = [e._replace(values={n: v for n, v in e.values.items() if n != "hessian"}) for e in entries]
    assert_bit_equal(work.assemble(kept([*entries[:3], *lacking[3:]]), {}), upstreams(fields, work, lacking))


# --- arrays that are too large for the result ---------------------------------------------------------------------


def test_above_the_limit_the_components_arrays_are_left_out_and_nothing_else(monkeypatch):
    fields, work, entries = planned("all at once", "hessian")
    dense = 8 * (36 + 36 * 36) * len(work._keys_by_label)
    monkeypatch.setattr(assembly, "DENSE_BYTES", dense)
    assert work.left_out_bytes(kept(entries)) == 0
    monkeypatch.setattr(assembly, "DENSE_BYTES", dense - 1)
    assert work.left_out_bytes(kept(entries)) == dense
    ours = json.loads(work.assemble(kept(entries), {}).model_dump_json())
    expected = json.loads(upstreams(fields, work, entries).model_dump_json())
    for of_component in expected["cluster_properties"].values():
        del of_component["return_gradient"], of_component["return_hessian"]
    assert ours == expected


def test_no_handle_is_left_in_what_upstream_makes_of_them(monkeypatch):
    _, work, entries = planned("supersystem", "gradient")
    given_back = {}
    get_results = type(work._computer).get_results

    def noting(self, *, external_results, component_results):
        given_back.update(external_results)
        return get_results(self, external_results=dict(external_results), component_results=component_results)

    monkeypatch.setattr(type(work._computer), "get_results", noting)
    work.assemble(kept(entries), {})
    arrays = [given_back["ret_gradient"], *given_back["results"].values()]
    arrays += [value for of_one in given_back["component_properties"].values() for value in of_one.values()]
    assert {type(value) for value in arrays} == {np.ndarray, float, int}
    assert not vars(work._computer.qcmb_core).keys() & {"resize_gradient", "resize_hessian"}


@pytest.mark.parametrize(
    ("keeps_results", "with_journal", "where"),
    [
        (False, True, "they are in {}"),
        (True, True, "they are in cluster_results and in {}"),
        (True, False, "they are in cluster_results"),
        (False, False, "protocol cluster_results=all or a journal keeps them"),
    ],
)
def test_the_notice_says_how_much_was_left_out_and_where_it_is(tmp_path, keeps_results, with_journal, where):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        said = resume.left_out_note(5 * 2**29, journal if with_journal else None, keeps_results=keeps_results)
        assert resume.left_out_note(0, journal, keeps_results=keeps_results) == ""
    assert said == (
        "cluster_properties has energies only: gradients and Hessians of all components, each in the shape of the whole"
        f" cluster, would take 2.5 GiB; {where.format(path)}"
    )


# --- memory ---------------------------------------------------------------------------------------------------------


def test_summing_the_hessians_of_32_waters_takes_a_tenth_of_what_padding_takes(cluster):
    fields = cluster("water32", program="faulty", method="nothing", basis="", max_nbody=2, driver="hessian")
    work = workload.load(fields)
    found = kept(made_up(work, names=("energy", "hessian")))
    dense = 528 * 8 * 288**2
    assert work.left_out_bytes(found) == dense  # 334 MiB
    tracemalloc.start()
    try:
        result = work.assemble(found, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.asarray(result.return_result).shape == (288, 288)
    assert peak < dense / 10


def test_arrays_beyond_the_limit_are_left_to_the_journal_and_give_the_same_result(tmp_path, monkeypatch):
    fields, work, entries = planned("all at once", "hessian")
    arrays = sum(array.nbytes for entry in entries for array in (entry.values["gradient"], entry.values["hessian"]))
    monkeypatch.setattr(values, "MEMORY_BYTES", arrays // 3)
    with Journal(tmp_path / "journal") as journal:
        found = kept(entries, journal)
        held = sum(getattr(v, "nbytes", 0) for of_task in found.values() for v in of_task._held.values())
        assert 0 < held <= arrays // 3
        assert not found.whole
        assert_bit_equal(work.assemble(found, {}), upstreams(fields, work, entries))


def test_without_a_journal_all_arrays_stay_in_memory(monkeypatch):
    monkeypatch.setattr(values, "MEMORY_BYTES", 0)
    found = kept([Entry("k", "v", "", {"energy": -1.0, "gradient": [[1.0, 2.0, -0.0]]}, None)])
    assert found.whole
    assert found["k"]["gradient"].tobytes() == np.array([[1.0, 2.0, -0.0]]).tobytes()
    assert repr(found["k"].as_json(arrays=True)) == "{'energy': -1.0, 'gradient': [[1.0, 2.0, -0.0]]}"


def test_of_several_entries_for_a_task_its_own_is_read_back_and_a_journal_that_has_lost_it_says_so(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(values, "MEMORY_BYTES", 0)
    with Journal(tmp_path / "journal") as journal:
        found = Values(journal)
        ours = Entry("k", "v 2", "{}", {"energy": -1.0, "gradient": np.array([[1.0, 2.0, 3.0]])}, None)
        for other in [ours._replace(version="v 1"), ours._replace(rescue="")]:
            journal.record(other._replace(values={"energy": -2.0, "gradient": [[0.0, 0.0, 0.0]]}))
        found.keep(ours)
        with pytest.raises(ResourceError, match=r"has lost a finished task; --resume computes it again"):
            found["k"]["gradient"]
        journal.record(ours)
        assert found["k"]["gradient"].tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("limit", [0, values.MEMORY_BYTES])
def test_a_failed_run_gives_lists_or_where_arrays_are_only_in_the_journal_energies(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(values, "MEMORY_BYTES", limit)
    _, work, _ = planned("nocp", "gradient")
    first, second, *_ = work.tasks
    lists = {"energy": -1.0, "gradient": [[1.0, 2.0, -0.0]]}
    failed = typical.record(second.number, label=second.labels[0], status="failed", error_type="input", error="no")
    with Journal(tmp_path / "journal") as journal:
        execution = Execution(values=Values(journal), records=[failed])
        execution.take(Entry(first.key, "v", "", lists, None))
        error = failure(execution, work)
    assert error.done == {first.labels[0]: lists if limit else {"energy": -1.0}}
    assert json.loads(json.dumps(error.done)) == error.done
    assert [*getattr(error, "__notes__", [])] == [
        "of what was computed only energies are given here; gradients and Hessians are in the journal"
    ] * (limit == 0)


# --- whole runs -----------------------------------------------------------------------------------------------------


def test_a_run_whose_arrays_are_all_read_back_gives_the_same_result_and_says_what_it_leaves_out(
    cluster, tmp_path, monkeypatch
):
    fields, said = cluster("water2", driver="gradient"), []
    path = str(tmp_path / "journal")
    with Session(Options(journal=path)) as session:
        expected = session.run(fields)
    monkeypatch.setattr(values, "MEMORY_BYTES", 0)
    with Session(Options(journal=path, resume=True), on_notice=said.append) as session:
        assert session.run(fields).model_dump_json() == expected.model_dump_json()
        assert session.record.recalled == 3
        assert not [line for line in said if "cluster_properties" in line]
        monkeypatch.setattr(assembly, "DENSE_BYTES", 0)
        anew = session.run(fields)
    assert np.array_equal(anew.return_result, expected.return_result)
    (notice,) = [line for line in said if "cluster_properties" in line]
    assert notice.startswith("cluster_properties has energies only: ")
    assert notice.endswith(f" would take 0.0 GiB; they are in {path}")
    assert all(each.return_gradient is None for each in anew.cluster_properties.values())
