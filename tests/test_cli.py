"""The command line: whole outputs, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ROOT_COMMAND = [sys.executable, "-m", "autotune"]


def call(*arguments, stdin=""):
    done = subprocess.run(
        [*ROOT_COMMAND, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def input_file(tmp_path, faulty):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(faulty("water4")))
    return path


def test_the_result_goes_to_standard_output_and_everything_else_to_standard_error(input_file):
    status, output, errors = call("run", input_file)
    assert status == 0
    result = json.loads(output)
    assert (result["schema_name"], result["schema_version"]) == ("qcschema_many_body_result", 2)
    lines = errors.splitlines()
    assert lines[0].startswith("tuning: default - no tuning for faulty on this machine; run `autotune calibrate")
    assert lines[-1].startswith("10 tasks in ")


def test_where_nothing_has_to_be_computed_the_missing_record_is_explained(tmp_path, faulty):
    path, record = tmp_path / "input.json", tmp_path / "record.json"
    fields = faulty("water4", max_nbody=1)
    fields["specification"]["keywords"]["bsse_type"] = ["cp"]
    path.write_text(json.dumps(fields))
    status, output, errors = call("run", path, "--record", record)
    assert (status, json.loads(output)["return_result"]) == (0, 0.0)
    assert errors == "nothing had to be computed for this expansion, so there is no record of a run\n"
    assert not record.exists()


def test_standard_input_and_an_output_file_give_the_same_result_quietly(input_file, tmp_path):
    output = tmp_path / "result.json"
    status, out, errors = call("run", "-", "-o", output, "--quiet", stdin=input_file.read_text())
    assert (status, out, errors) == (0, "", "")
    assert json.loads(output.read_text())["return_result"] == 0.0


def test_a_v1_input_comes_back_as_v1(tmp_path, faulty):
    from qcmanybody.models import v2

    path = tmp_path / "v1.json"
    path.write_text(v2.ManyBodyInput(**faulty("water4")).convert_v(1).json())
    status, output, _ = call("run", path, "--quiet")
    assert status == 0
    assert (json.loads(output)["schema_name"], json.loads(output)["schema_version"]) == ("qcschema_manybodyresult", 1)


def test_an_xyz_file_with_options_is_computed(tmp_path):
    from importlib.resources import files

    path = tmp_path / "salt.xyz"
    path.write_text((files("autotune.studies") / "workloads" / "sodium_chloride_water6.xyz").read_text())
    record = tmp_path / "record.json"
    status, output, _ = call(
        "run",
        path,
        "--program",
        "faulty",
        "--method",
        "nothing",
        "--max-nbody",
        2,
        "--bsse",
        "cp,nocp",
        "--record",
        record,
    )
    assert status == 0
    molecule = json.loads(output)["molecule"]
    assert molecule["fragment_charges"] == [1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    fields = json.loads(record.read_text())
    assert fields["schema"] == "autotune.run/5"
    expected = (
        "created workload content energy_hartree "
        "wall_s tasks recalled attempts lower_bound_s efficiency gap cpu_utilisation peak_memory_gib memory_budget_gib "
    )
    expected += "policy tuning versions machine methods task_records nodes omitted schema"
    assert fields.keys() == set(expected.split())
    assert fields["gap"].keys() == {"startup", "tail", "memory", "retries", "scheduler", "assembly"}


XYZ = "6\n\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\nO 0 0 3\nH 0 0 3.96\nH 0.93 0 2.76\n"
FAULTY = ("--program", "faulty", "--method", "nothing")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", (), "input is empty; give a ManyBodyInput (JSON) or an XYZ file"),
        ('{"molecule": [', (), "input is not valid JSON (line 1, column 15)"),
        ("[]", (), "input holds a JSON list, not a ManyBodyInput object"),
        ("{}", (), "the many-body input has no molecule"),
        (XYZ, (), "input is an XYZ file; say at least --program and --method"),
        (XYZ, ("--program", "faulty"), "an XYZ file needs --program and --method"),
        (XYZ, (*FAULTY, "--fragments", "6x1"), "the molecule has no fragments, so there is nothing to expand"),
        (XYZ, (*FAULTY, "--fragments", "2x4"), "fragments '2x4' hold 8 atoms, but the geometry has 6"),
        (XYZ, (*FAULTY, "--charges", "9:+1"), "charge '9:+1'"),
        (
            XYZ.replace("6", "5", 1).replace("H 0.93 0 -0.24\n", ""),
            FAULTY,
            "fragment 1 (O H) has an odd number of electrons when neutral",
        ),
        (XYZ, (*FAULTY, "--max-nbody", "5"), "the many-body input cannot be planned"),
        (XYZ, (*FAULTY, "--keywords", "at"), "--keywords 'at' is not understood"),
        (XYZ, (*FAULTY, "--bsse", "pc"), "the many-body input is not valid: field specification.keywords.bsse_type"),
        (XYZ.replace("0 0 3.96", "0 0 0.96"), FAULTY, "input: atoms 2 (H) and 5 (H) are only 0.000 Å apart"),
        (
            XYZ,
            ("--program", "faulti", "--method", "nothing"),
            "program 'faulti' is not known to QCEngine; did you mean faulty?",
        ),
        (XYZ, ("--program", "psi4x", "--method", "hf"), "program 'psi4x' is not known to QCEngine"),
        (XYZ, ("--program", "cfour", "--method", "hf"), "program 'cfour' is not installed on this machine"),
        (
            XYZ,
            ("--program", "faulty", "--method", "nothin"),
            "model chemistry '(auto)', fragment 2: method 'nothin' is not known",
        ),
        (XYZ, (*FAULTY, "--workers", "0"), "option workers is 0, but must be above 0"),
        (XYZ, (*FAULTY, "--tuning", "/nowhere"), "/nowhere cannot be read"),
        (XYZ, (*FAULTY, "--no-strategy", "hybird"), "there is no strategy 'hybird'; did you mean hybrid?"),
        (XYZ, (*FAULTY, "-o", "/nowhere/result.json"), "/nowhere/result.json cannot be written"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2_before_any_task_starts(tmp_path, text, arguments, message):
    path = tmp_path / "input"
    path.write_text(text)
    status, output, errors = call("run", path, *arguments)
    lines = [line for line in errors.splitlines() if not line.startswith("tuning:")]
    assert (status, output, len(lines)) == (2, "", 1), errors
    assert lines[0].removeprefix("autotune: ").removeprefix(str(tmp_path) + "/").startswith(message)


def test_a_missing_file_gets_one_line_and_exit_2():
    assert call("run", "/nowhere.json") == (
        2,
        "",
        "autotune: /nowhere.json cannot be read: No such file or directory; check the path\n",
    )


def test_a_failing_task_exits_1_and_still_writes_the_record(tmp_path, faulty):
    path, record = tmp_path / "input.json", tmp_path / "record.json"
    path.write_text(json.dumps(faulty("water4", "diverge", at=[6])))
    status, output, errors = call("run", path, "--record", record)
    assert (status, output) == (1, "")
    failed, kept = errors.splitlines()[-2:]
    assert failed.startswith("autotune: 6 of 10 fragments failed: ")
    assert "convergence: QCEngine Convergence Error: did not converge" in failed
    assert kept.startswith("autotune: 4 finished tasks are kept in ")
    statuses = [task["status"] for task in json.loads(record.read_text())["task_records"]]
    assert (statuses.count("done"), statuses.count("failed")) == (4, 6)


def test_doctor_prints_the_same_facts_for_people_and_as_json():
    status, people, _ = call("doctor")
    assert status == 0
    status, text, _ = call("doctor", "--json")
    facts = json.loads(text)
    assert status == 0
    assert f"{facts['machine']['cores']} usable cores" in people
    assert facts["machine"]["key"] in people
    assert {program["name"]: program["found"] for program in facts["programs"]}["faulty"]
    assert all(finding["topic"] in people for finding in facts["findings"])


def test_usage_errors_exit_2():
    status, _, errors = call("run")
    assert status == 2
    assert "Missing argument 'INPUT'" in errors
