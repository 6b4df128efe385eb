"""Claims about many inputs in one run: results of single runs, tasks once, faults that stay where they are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.resources import files

import commands
import pytest

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.session import many

pytestmark = pytest.mark.programs("pyscf")  # a minute

WORKLOADS = files("autotune.studies") / "workloads"


def geometry(name):
    return (WORKLOADS / f"{name}.xyz").read_text()


def computed(log):
    return sorted(log.read_text().splitlines()) if log.exists() else []


def energies(outcomes):
    return {outcome.name: outcome.result.return_result for outcome in outcomes}


# Bits are equal at equal widths, and the last task of a run may be given both cores.
NARROW = {"journal": "none", "threads": 1}


def test_results_are_those_of_single_runs_bit_by_bit(cluster):
    whole = cluster("water2", max_nbody=2)
    whole["specification"]["protocols"] = {"cluster_results": "all"}
    first = cluster("water2", max_nbody=2)
    inputs = {
        "dimer": first,
        "cp": cluster("water4", bsse=("cp", "nocp"), max_nbody=2),
        "gradient": cluster("water2", driver="gradient"),
        "ions": cluster("sodium_chloride_water6", max_nbody=1),
        "levels": cluster("water4", levels={1: "mp2/sto-3g", 2: "hf/sto-3g"}, method="", basis=""),
        "nothing to compute": cluster("water2", bsse=("cp",), max_nbody=1),
        "components, too": whole,
    }
    found = autotune.run_many(inputs, **NARROW)
    assert [outcome.name for outcome in found] == list(inputs)
    assert [outcome.error for outcome in found] == [None] * len(inputs)
    with autotune.Session(autotune.Options(**NARROW)) as session:
        alone = [session.run(inputs[name]) for name in inputs]
    for outcome, single in zip(found, alone, strict=True):
        ours, theirs = (json.loads(each.model_dump_json()) for each in (outcome.result, single))
        components, as_before = ours.pop("cluster_results") or {}, theirs.pop("cluster_results") or {}
        assert ours == theirs, outcome.name
        assert [(label, each["molecule"], each["return_result"]) for label, each in components.items()] == [
            (label, each["molecule"], each["return_result"]) for label, each in as_before.items()
        ]


def test_what_options_leave_out_is_left_out_of_each(cluster):
    options = {"screen_distance": 2.5, "reuse_equal_monomers": True, "reuse_contained": True}
    inputs = {
        name: cluster(name, levels={1: "mp2/sto-3g", 2: "hf/sto-3g"}, method="", basis="")
        for name in ("water4", "ammonia5")
    }
    said, one_by_one, alone = [], {}, {}
    with autotune.Session(autotune.Options(**NARROW, **options), on_notice=said.append) as session:
        found = session.run_many(inputs)
        omitted = {each.option: (each.tasks, each.of) for each in session.record.omitted}
        for name, fields in inputs.items():
            alone[name] = session.run(fields).return_result
            for each in session.record.omitted:
                tasks, of = one_by_one.get(each.option, (0, 0))
                one_by_one[each.option] = (tasks + each.tasks, of + each.of)
    assert energies(found) == alone
    assert omitted == one_by_one
    tasks, of = omitted["screen_distance"]
    assert f"--screen-distance 2.5: {tasks} of {of} tasks of 2 inputs are not computed" in said


def test_equal_tasks_are_computed_once(tmp_path):
    log = tmp_path / "log"
    expansion = autotune.Expansion(program="faulty", method="nothing", max_nbody=2, keywords={"log": str(log)})
    texts = {"a": geometry("water4"), "b": geometry("water4"), "c": geometry("water2")}
    found = autotune.run_many(texts, expansion=expansion, journal="none")
    assert len(computed(log)) == 10 + 3
    assert energies(found)["a"] == energies(found)["b"]


def test_names_are_those_of_files_and_what_is_called_back_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.xyz").write_text(2 * geometry("water2"))
    (tmp_path / "w.xyz").write_text(geometry("water4"))
    expansion, seen = autotune.Expansion(program="faulty", method="nothing", max_nbody=1), []
    found = autotune.run_many(
        ["t.xyz", "w.xyz"], expansion=expansion, on_outcome=lambda each: seen.append(each.name), keep=False
    )
    assert found == []
    assert sorted(seen) == ["t-0001", "t-0002", "w"]


def test_a_result_is_there_before_the_others_have_ended(tmp_path):
    gate = tmp_path / "gate"
    quick = autotune.Expansion(program="faulty", method="nothing", max_nbody=1)
    events = []

    def look(snapshot):
        events.append(("progress", snapshot.total - snapshot.done))
        if ("outcome", "quick") in events:
            gate.touch()

    slow = autotune.read(
        geometry("water2"),
        expansion=autotune.Expansion(
            program="faulty", method="sleep", max_nbody=1, keywords={"seconds": 1.5, "first": str(tmp_path)}
        ),
    )
    options = autotune.Options(journal="none", workers=2)
    with autotune.Session(options, on_progress=look) as session:
        session.run_many(
            {"quick": autotune.read(geometry("water4"), expansion=quick), "slow": slow},
            on_outcome=lambda each: events.append(("outcome", each.name)),
        )
        assert session.record.workload.startswith("2 inputs 1-body, faulty ")
    assert gate.exists()  # progress was shown, so the run went on, after the first result


def test_an_input_that_fails_stops_no_other(faulty):
    inputs = {
        "sound": faulty("water4"),
        "no method": faulty("water4", "unheard-of"),
        "no input": {"molecule": {}},
        "no text": "3\n\nO 0 0 0\n",
        "crashes": faulty("water2", "raise", at=[6]),
    }
    with autotune.Session(autotune.Options(journal="none")) as session:
        found = {each.name: each for each in session.run_many(inputs)}
        assert {record.status for record in session.record.task_records} == {"done", "failed"}
    assert found["sound"].result.return_result == 0.0
    assert isinstance(found["no method"].error, InputError)
    assert "method 'unheard-of' is not known" in str(found["no method"].error)
    assert isinstance(found["no input"].error, InputError)
    assert str(found["no text"].error).startswith("the text is an XYZ file; say at least --program")
    crashed = found["crashes"].error
    assert isinstance(crashed, TaskError)
    assert str(crashed).startswith("1 of 3 tasks failed: dimer 1 and 2: program: ")
    assert (len(crashed.done), len(crashed.failed)) == (2, 1)
    assert str(many.sum_up({name: each.error for name, each in found.items()})).startswith("4 of 5 inputs failed: ")


@pytest.mark.parametrize(
    ("nbody", "options", "failed", "said"),
    [
        (1, {"workers": 1, "strategies": ()}, "1 of 2 tasks failed", "were not started after another"),
        (3, {}, "of 2 tasks failed", "it was not started after another"),
    ],
    ids=["in one lot", "in a later lot"],
)
def test_with_fail_fast_what_was_not_started_is_said(faulty, nbody, options, failed, said):
    inputs = {"bad": faulty("water2", "raise", max_nbody=1), "late": faulty("water4", max_nbody=nbody)}
    found = autotune.run_many(inputs, journal="none", fail_fast=True, **options)
    assert failed in str(found[0].error)
    assert f"{said} input failed" in str(found[1].error)


def test_late_tasks_are_counted_as_in_a_single_run(cluster, tmp_path):
    """The journal has the hosts without the energies that they contain."""
    journal = str(tmp_path / "journal")
    levels = cluster("water4", levels={1: "mp2/sto-3g", 2: "hf/sto-3g"}, method="", basis="")
    hosts = cluster("water4", method="mp2", max_nbody=1)
    autotune.run(hosts, journal=journal, threads=1)
    options = {"journal": journal, "threads": 1, "resume": True, "reuse_contained": True}
    (found,) = autotune.run_many({"a": levels}, **options)
    assert found.error is None
    assert found.result.return_result == autotune.run(levels, **NARROW).return_result
    assert "autotune" not in (found.result.extras or {})


def test_with_nothing_to_compute_there_is_nothing_to_leave_out(cluster):
    found = autotune.run_many([cluster("water2", bsse=("cp",), max_nbody=1)] * 2, screen_distance=3.0, journal="none")
    assert [each.result.return_result for each in found] == [0.0, 0.0]


def test_where_none_can_be_computed_the_sum_is_bad_input(faulty):
    errors = {each.name: each.error for each in autotune.run_many([faulty("water2", "no-such")] * 3, journal="none")}
    failure = many.sum_up(errors)
    assert isinstance(failure, InputError)
    assert str(failure).startswith("3 of 3 inputs failed: input-0001, input-0002 and input-0003: fragment ")
    assert many.sum_up({"a": None}) is None


def test_what_cannot_be_meant_is_refused_before_anything_is_computed(faulty, tmp_path):
    with pytest.raises(InputError, match=r"missing.xyz cannot be read: no such file"):
        autotune.run_many([tmp_path / "missing.xyz"])
    assert not autotune.run_many(json.dumps(faulty(max_nbody=1)), journal="none")[0].error  # one text is one source
    with pytest.raises(InputError, match=r"^these inputs say themselves what to compute; leave out the expansion"):
        autotune.run_many([json.dumps(faulty(), indent=1)], expansion=autotune.Expansion(program="a", method="b"))
    with pytest.raises(InputError, match=r"^reuse_densities takes inputs one after another"):
        autotune.run_many([faulty()], reuse_densities=True)


def test_lots_are_one_run_with_one_record(faulty, monkeypatch):
    monkeypatch.setattr(many, "MOST_INPUTS", 2)
    inputs = {name: faulty(name) for name in ("water2", "water4", "water6", "water8", "ammonia5")}
    with autotune.Session(autotune.Options(journal="none")) as session:
        found = session.run_many(inputs)
        record = session.record
    assert [each.error for each in found] == [None] * 5
    assert record.tasks == len(record.task_records) == 3 + 10 + 21 + 36 + 15
    assert sorted(each.number for each in record.task_records) == list(range(record.tasks))
    assert record.workload.startswith("5 inputs 2-body, faulty ")


def test_inputs_of_several_methods_are_one_lot_where_programs_are_set_alike_for_each(cluster, faulty):
    """A program's tunables depend on the method, and the last digits on them."""
    plans = []
    with autotune.Session(autotune.Options(journal="none"), on_plan=plans.append) as session:

        def lots(*inputs):
            del plans[:]
            assert [each.error for each in session.run_many(inputs)] == [None] * len(inputs)
            return [plan.work.inputs for plan in plans]

        assert lots(cluster("water2"), cluster("water2", basis="3-21g")) == [2]
        assert lots(cluster("water2"), cluster("water2", method="mp2")) == [1, 1]
        assert lots(faulty("water2"), faulty("water4", max_nbody=3)) == [1, 1]  # other largest tasks


def test_a_killed_run_goes_on_with_resume_and_nothing_is_computed_twice(tmp_path, wait_until):
    """Killed when some results are there; afterwards all are, equal to those of a run that nobody killed."""
    log, frames = tmp_path / "log", tmp_path / "frames.xyz"
    frames.write_text("".join(geometry(name) for name in ("water2", "water4", "water6", "water8")))
    keywords = json.dumps({"seconds": 0.15, "log": str(log)})
    what = ("run", frames, "--program", "faulty", "--method", "sleep", "--max-nbody", "2", "--keywords", keywords)
    what += ("--workers", "2", "--resume", "-o", out := tmp_path / "out")
    command = [sys.executable, "-m", "autotune", *what]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_until(lambda: len(computed(log)) >= 20)
        os.kill(process.pid, signal.SIGKILL)
    done = len(computed(log))
    assert 20 <= done < 70
    commands.answer(*what)
    again = len(computed(log)) - 70
    assert 0 <= again <= 2 + 20  # what was in flight, and what the journal had not been given yet
    results = {path.name: json.loads(path.read_text())["return_result"] for path in out.glob("**/*.json")}
    assert len(results) == 4
    expansion = autotune.Expansion(program="faulty", method="nothing", max_nbody=2)
    assert (
        list(results.values()) == [0.0] * 4 == list(energies(autotune.run_many([frames], expansion=expansion)).values())
    )
