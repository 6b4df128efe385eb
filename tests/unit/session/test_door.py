"""The door for Python: what `autotune` and `autotune.plugin` export, typed, and what its functions return."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from typing import get_type_hints

import pytest
from click.testing import CliRunner
from places import ROOT

import autotune
from autotune import plugin
from autotune.base import json_files
from autotune.base.options import GivenConditions, GivenOptions
from autotune.cli.main import cli
from autotune.runtime import planning
from autotune.schedule.node_simulator import PretendedNodes
from autotune.session import forecast

WATER = autotune.Expansion(program="faulty", method="nothing", max_nbody=2)
TEXT = (files("autotune.studies") / "workloads" / "water4.xyz").read_text()
SCRIPT = """
import sys
from pathlib import Path

import autotune


def main(folder: Path) -> None:
    water = autotune.Expansion(program="faulty", method="sleep", keywords={"seconds": 0.02}, max_nbody=2)
    xyz = folder / "water4.xyz"
    expected = autotune.estimate(xyz, expansion=water)
    larger = autotune.simulate(xyz, expansion=water, cores=64, memory_gib=256.0)
    nodes = autotune.simulate_scaling(xyz, [1, 2], expansion=water, cores=2, latency_s=0.2)
    (found,) = autotune.calibrate(folder / "study.toml", force=True, say=print)
    with autotune.Session(autotune.Options(journal="none")) as session:
        result = session.run(xyz, expansion=water)
        assert session.record
        report = autotune.report(session.record, output=folder / "report.html")
    times: list[float] = [expected.wall_s, larger.schedule.makespan_s, nodes.scaling.worth.makespan_s]
    print(autotune.__version__, len(times), found.path.is_file(), result.success, len(report.runs))
    try:
        autotune.run(xyz)
    except autotune.AutotuneError as error:
        print(f"{type(error).__name__}: {error}")


main(Path(sys.argv[1]))
"""
STUDY = """
schema = "autotune.study/1"
budget = "8s"
trials = 1
repeats = 3
method = {program = "faulty", method = "sleep", keywords = {seconds = 0.02}}
search = [{geometry = "water2", max_nbody = 1}]
confirm = [{geometry = "water2", max_nbody = 2}]
"""


@pytest.fixture
def script(tmp_path):
    for name, text in (("script.py", SCRIPT), ("study.toml", STUDY), ("water4.xyz", TEXT)):
        (tmp_path / name).write_text(text)
    return tmp_path / "script.py"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return what a session had of a text, a file and the file's name: results, plans, the last record and its file."""
    folder, plans = tmp_path_factory.mktemp("ran"), []
    (folder / "water4.xyz").write_text(TEXT)
    sources = (TEXT, folder / "water4.xyz", str(folder / "water4.xyz"))
    with autotune.Session(autotune.Options(tuning="none", journal="none"), on_plan=plans.append) as session:
        results = [session.run(source, expansion=WATER).return_result for source in sources]
    json_files.save_run(session.record, folder / "run.json")
    return results, plans, session.record, folder / "run.json"


def judged_by_mypy(script):
    """Return what mypy says of a script, as it is called by a user who has installed autotune, editable or not."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), script]
    return subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False).stdout


@pytest.mark.programs("pyscf")
def test_a_users_script_passes_the_strict_checks_of_mypy(script):
    assert judged_by_mypy(script) == "Success: no issues found in 1 source file\n"


@pytest.mark.programs("pyscf")
def test_options_that_do_not_exist_or_are_of_another_type_fail_the_checks_of_mypy(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text(
        "import autotune\n"
        'autotune.run("water.xyz", wrokers=3)\n'
        'autotune.run("water.xyz", workers="3")\n'
        'autotune.estimate("water.xyz", strategies="hybrid")\n'
        'autotune.simulate("water.xyz", memory="4")\n'
        'autotune.simulate_scaling("water.xyz", [2], latency=0.1)\n'
        "autotune.calibrate(bugdet_s=3.0)\n"
        'autotune.simulate_scaling("water.xyz", [2], latency_s=0.1, cores=4)\n'
    )
    *faults, total = judged_by_mypy(script).splitlines()
    at = [int(line.split(":")[1]) for line in faults if ": error: " in line]
    assert (at, total) == ([2, 3, 4, 5, 6, 7], "Found 6 errors in 1 file (checked 1 source file)")


def test_options_by_name_are_the_options():
    assert get_type_hints(GivenOptions) == get_type_hints(autotune.Options)
    conditions = get_type_hints(GivenConditions)
    assert conditions.keys() - get_type_hints(GivenOptions).keys() == set(forecast.CONDITIONS)
    nodes = get_type_hints(PretendedNodes)
    assert {name: conditions[name] for name in forecast.CONDITIONS} == {
        name: nodes[name] for name in forecast.CONDITIONS
    }


@pytest.mark.programs("pyscf")
def test_a_users_script_runs(script):
    done = subprocess.run(
        [sys.executable, script, script.parent], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert f"{autotune.__version__} 3 True True 1" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("InputError: ")


def test_an_input_is_a_model_its_fields_a_file_or_a_text(tmp_path, faulty, ran):
    (tmp_path / "water4.xyz").write_text(TEXT)
    (tmp_path / "input.json").write_text(json.dumps(faulty("water4")))
    geometries = (tmp_path / "water4.xyz", str(tmp_path / "water4.xyz"), TEXT)
    inputs = (faulty("water4"), tmp_path / "input.json", (tmp_path / "input.json").read_text() + "\n")
    found = [autotune.estimate(source, expansion=WATER) for source in geometries]
    found += [autotune.estimate(source) for source in inputs]
    assert {(each.tasks, each.core_s) for each in found} == {(10, found[0].core_s)}
    assert ran[0] == [0.0, 0.0, 0.0]
    assert autotune.run(tmp_path / "water4.xyz", expansion=WATER, journal="none").return_result == 0.0
    with pytest.raises(autotune.InputError, match="says itself what to compute; leave out the expansion"):
        autotune.estimate(faulty("water4"), expansion=WATER)


def test_a_report_is_returned_and_written_whatever_was_imported_before(tmp_path, ran):
    from autotune.reports import html_page

    *_, record, file = ran
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    one = autotune.report(record, output=page, markdown=text)
    assert (one.runs[0].name, one.runs[0].run) == ("run 1", record)
    assert page.read_text() == html_page.html(one)
    assert text.read_text().startswith("# ")
    two = autotune.report([file, record])
    assert [run.name for run in two.runs] == ["run.json", "run 2"]
    with pytest.raises(autotune.InputError, match="a report needs at least one run"):
        autotune.report([])


def test_a_run_hands_out_what_it_has_planned(ran):
    _, plans, record, _ = ran
    assert len(plans) == 3
    assert plans[-1].plan.policy == record.policy
    assert plans[-1].estimates.keys() == {task.number for task in record.task_records}


def test_a_run_is_explained_on_standard_error_and_planned_once(tmp_path, faulty, monkeypatch):
    (tmp_path / "input.json").write_text(json.dumps(faulty("water4")))
    make, calls = planning.make, []
    monkeypatch.setattr(planning, "make", lambda *work, **options: calls.append(1) or make(*work, **options))
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "input.json"), "--explain", "--quiet"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["return_result"] == 0.0
    assert done.stderr.startswith("input\n")
    assert "10 tasks\n" in done.stderr
    assert "Predicted: " in done.stderr
    assert calls == [1]


@pytest.mark.parametrize("function", [autotune.estimate, autotune.simulate])
def test_an_option_that_there_is_not_is_refused_by_its_name_and_so_is_an_input_without_tasks(function):
    with pytest.raises(autotune.InputError, match=rf"{function.__name__}\(\) has no option core; it has workers"):
        function(TEXT, expansion=WATER, core=2)
    nothing = autotune.Expansion(program="faulty", method="nothing", max_nbody=1, bsse=("cp",))
    with pytest.raises(autotune.InputError, match="no component to compute"):
        function(TEXT, expansion=nothing)
    with pytest.raises(autotune.InputError, match=r"simulate_scaling\(\) has no option latency"):
        autotune.simulate_scaling(TEXT, [1], expansion=WATER, latency=2)


def test_a_machine_that_is_pretended_is_not_bound_by_the_limits_of_this_one():
    run = autotune.simulate(TEXT, expansion=WATER, cores=4096, threads=512, memory_gib=1e6)
    assert (run.machine.cores, run.machine.memory_gib, run.memory_budget_gib) == (4096, 1e6, 1e6)
    assert {record.width for record in run.schedule.records} == {512}
    with pytest.raises(autotune.InputError, match="option threads is 9, but only 8 cores may be used"):
        autotune.simulate(TEXT, expansion=WATER, cores=8, threads=9)


@pytest.mark.parametrize("contention", [float("nan"), float("inf"), 0.5])
def test_a_contention_that_is_none_is_refused(contention):
    with pytest.raises(autotune.InputError, match=f"contention is {contention:g}, but must be 1 or more and finite"):
        autotune.simulate(TEXT, expansion=WATER, contention=contention)


def test_the_times_of_a_run_are_replayed_from_its_record_or_its_file(ran):
    *_, record, file = ran
    again = [autotune.simulate(TEXT, expansion=WATER, replay=of) for of in (record, file)]
    assert again[0].schedule == again[1].schedule
    assert again[0].times_from == f"the run of {record.created}"
    triples = autotune.Expansion(program="faulty", method="nothing", max_nbody=3)
    with pytest.raises(autotune.InputError, match=r"run\.json has no times for 4 of the 14 tasks"):
        autotune.simulate(TEXT, expansion=triples, replay=file)


@pytest.mark.parametrize("room", [autotune, plugin])
def test_every_exported_name_is_there_and_documented(room):
    assert dir(room) == sorted(room.__all__)
    assert all(getattr(room, name).__doc__ for name in room.__all__)
    with pytest.raises(AttributeError, match=f"module '{room.__name__}' has no attribute 'nothing'"):
        _ = room.nothing


def test_importing_the_room_of_plugins_loads_nothing_until_a_name_is_used():
    code = (
        "import sys, autotune.plugin as p; before = 'pluggy' in sys.modules\n"
        "p.Policy, p.RunRecord; records = 'pluggy' in sys.modules\n"
        "p.hookimpl; print(before, records, 'pluggy' in sys.modules, 'optuna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False True False\n"
