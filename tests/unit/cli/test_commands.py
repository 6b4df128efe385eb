"""The command line: whole outputs, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from commands import autotune as call
from places import CASES

ROOT_COMMAND = [sys.executable, "-m", "autotune"]


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
    assert lines[0].startswith("4 fragments: 4 H2O; in all 12 atoms, charge 0, singlet; ")
    assert lines[1].startswith("tuning: default - no tuning for faulty on this machine; run `autotune calibrate")
    assert lines[-1].startswith("10 tasks in ")


def on_a_terminal(*arguments):
    """Return exit status and standard output of a command whose standard output is a terminal."""
    import pty

    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*ROOT_COMMAND, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.DEVNULL
    ) as process:
        os.close(follower)
        said = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # how a terminal ends
                break
            if not piece:
                break
            said += piece
    os.close(leader)
    return process.returncode, said.decode().replace("\r\n", "\n")


def test_a_terminal_shows_the_table_in_place_of_the_json(input_file):
    status, output = on_a_terminal("run", input_file)
    assert status == 0
    assert output.startswith("BSSE  n-body ")
    assert "result: interaction energy through the 2-body level, nocp: " in output
    status, output = on_a_terminal("run", input_file, "--json")
    assert (status, json.loads(output)["schema_name"]) == (0, "qcschema_many_body_result")


@pytest.mark.parametrize(("workers", "threads", "said"), [(64, 2, True), (64, 1, False), (1, 1, False)])
def test_more_threads_than_cores_are_said(input_file, workers, threads, said):
    status, _, errors = call("run", input_file, "--workers", workers, "--threads", threads, "--journal", "none")
    assert status == 0
    assert ("64 workers with 2 threads each are 128 threads on" in errors) == said
    assert ("which mostly takes longer: give --workers" in errors) == said


def test_a_stored_result_is_shown_as_the_run_showed_it(input_file, tmp_path):
    result, table = tmp_path / "result.json", tmp_path / "table.csv"
    status, output, errors = call("run", input_file, "-o", result, "--csv", table)
    assert (status, output) == (0, "")
    shown = call("show", result, "--csv", tmp_path / "again.csv")
    assert (shown[0], shown[2]) == (0, "")
    assert shown[1] in errors
    assert table.read_text() == (tmp_path / "again.csv").read_text()
    assert call("show", "-", stdin=result.read_text()) == shown


def test_the_json_is_either_printed_or_written(input_file, tmp_path):
    assert call("run", input_file, "--json", "-o", tmp_path / "result.json") == (
        *(2, ""),
        "autotune: --json prints the result and -o writes it to a file; leave one of them out\n",
    )


def test_where_nothing_has_to_be_computed_the_missing_record_is_explained(tmp_path, faulty):
    path, record = tmp_path / "input.json", tmp_path / "record.json"
    fields = faulty("water4", max_nbody=1)
    fields["specification"]["keywords"]["bsse_type"] = ["cp"]
    path.write_text(json.dumps(fields))
    status, output, errors = call("run", path, "--record", record)
    assert (status, json.loads(output)["return_result"]) == (0, 0.0)
    assert errors.splitlines()[-2:] == [
        "result: interaction energy through the 1-body level, cp: 0.00000000 Eh = 0.000 kcal/mol",
        "nothing had to be computed for this expansion, so there is no record of a run",
    ]
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
    expected += (
        "policy tuning versions machine methods task_records nodes omitted understood doubts other_cores speeds "
    )
    expected += "energies largest_terms sum_off_hartree schema"
    assert fields.keys() == set(expected.split())
    assert fields["gap"].keys() == {"startup", "tail", "memory", "retries", "scheduler", "assembly"}


@pytest.mark.parametrize("spelling", ["cp, nocp", "CP nocp", "cp,nocp,cp"])
def test_bsse_treatments_may_be_listed_with_commas_or_spaces(tmp_path, spelling):
    (tmp_path / "w.xyz").write_text(XYZ)
    listed = [call("estimate", tmp_path / "w.xyz", *FAULTY, "--json", "--bsse", text) for text in (spelling, "cp,nocp")]
    assert listed[0][0] == 0
    assert json.loads(listed[0][1])["tasks"] == json.loads(listed[1][1])["tasks"]


def test_a_comment_with_letters_of_an_old_encoding_is_read(tmp_path):
    path = tmp_path / "w.xyz"
    path.write_bytes(XYZ.replace("\n\n", "\nwater, \xe5ngstr\xf6m\n").encode("latin-1"))
    assert call("estimate", path, *FAULTY)[0] == 0


def test_letters_of_an_old_encoding_anywhere_else_make_no_text_file(tmp_path):
    path = tmp_path / "w.xyz"
    path.write_bytes(XYZ.replace("H", "\xc5").encode("latin-1"))
    assert call("estimate", path, *FAULTY) == (
        *(2, ""),
        f"autotune: {path} is not a text file; give a ManyBodyInput (JSON) or an XYZ file\n",
    )


def test_a_molecule_with_options_is_computed():
    status, output, errors = call("run", "-", *FAULTY, "--quiet", "--journal", "none", stdin=MOLECULE)
    assert (status, errors) == (0, "")
    assert json.loads(output)["molecule"]["fragments"] == [[0, 1, 2], [3, 4, 5]]


def test_scattered_fragments_leave_nothing_but_the_result_on_standard_output(tmp_path):
    path = tmp_path / "scattered.json"
    molecule = json.loads((CASES / "noncontiguous.json").read_text())["molecule"]
    path.write_text(json.dumps(molecule))
    status, output, errors = call("run", path, *FAULTY, "--quiet", "--journal", "none")
    assert (status, errors) == (0, "")
    assert json.loads(output)["molecule"]["symbols"] == molecule["symbols"]


XYZ = "6\n\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\nO 0 0 3\nH 0 0 3.96\nH 0.93 0 2.76\n"
FAULTY = ("--program", "faulty", "--method", "nothing")

MOLECULE, LEVELS = ((CASES / f"{name}.json").read_text() for name in ("q_mol", "levels_ssie"))


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", (), "input is empty; give a ManyBodyInput (JSON) or an XYZ file"),
        ('{"molecule": [', (), "input is not valid JSON (line 1, column 15)"),
        ("[]", (), "input holds a JSON list, not a ManyBodyInput object"),
        ("{}", (), "input is JSON, but neither a ManyBodyInput"),
        (XYZ, (), "input is an XYZ file; say at least --program and --method"),
        (XYZ, ("--program", "faulty"), "a geometry needs --program and --method"),
        (MOLECULE, (), "input is a QCSchema Molecule, which does not say what to compute; say at least --program and"),
        (MOLECULE, (*FAULTY, "--fragments", "3,3"), "input states its own fragments; leave out --fragments"),
        (LEVELS, (), "several levels and supersystem_ie_only do not go together"),
        (XYZ, (*FAULTY, "--fragments", "6x1"), "the molecule is one fragment, so there is nothing to expand"),
        (XYZ, (*FAULTY, "--fragments", "2x4"), "fragments '2x4' hold 8 atoms, but the geometry has 6"),
        (XYZ, (*FAULTY, "--charges", "9:+1"), "charge '9:+1'"),
        (
            XYZ.replace("6", "5", 1).replace("H 0.93 0 -0.24\n", ""),
            FAULTY,
            "fragment 1 (O H) has an odd number of electrons when neutral",
        ),
        (XYZ, (*FAULTY, "--max-nbody", "5"), "max_nbody is 5, but must lie within 1 and the 2 fragments"),
        (XYZ, (*FAULTY, "--max-nbody", "0"), "max_nbody is 0, but must lie within 1 and the 2 fragments"),
        (
            "{}",
            ("--max-nbody", "0"),
            "input is a ManyBodyInput, which says itself what to compute; leave out --max-",
        ),
        (
            '{"schema_name": "qcschema_output", "molecule": {}}',
            ("--bsse", "cp"),
            "input is a qcschema_output, the calculation of one molecule; give a ManyBodyInput, the molecule alone",
        ),
        (XYZ, (*FAULTY, "--journal", "none/at/all"), "none/at/all cannot be written: there is no folder none/at"),
        ("{}", ("--bsse", "cp"), "input is a ManyBodyInput, which says itself what to compute; leave out --bsse"),
        (XYZ, (*FAULTY, "--keywords", "at"), "--keywords 'at' is not understood"),
        (XYZ, (*FAULTY, "--bsse", "pc"), "--bsse has 'pc'; known are nocp, cp, vmfc, or several as cp,nocp"),
        (XYZ, (*FAULTY, "--bsse", "cp;nocp"), "--bsse has 'cp;nocp'; known are nocp, cp, vmfc, or several as cp,nocp"),
        (XYZ, (*FAULTY, "--bsse", " , "), "--bsse ' , ' names nothing; known are nocp, cp, vmfc"),
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
            "fragment 2: method 'nothin' is not known",
        ),
        (XYZ, (*FAULTY, "--workers", "0"), "invalid value for '--workers': 0 is not in the range x>=1; see `"),
        (XYZ, (*FAULTY, "--memory", "0"), "invalid value for '--memory': 0.0 is not in the range x>0; see `"),
        (XYZ, (*FAULTY, "--memory", "nan"), "option memory_gib is nan, but must be above 0 and finite"),
        (XYZ, (*FAULTY, "--memory", "inf"), "option memory_gib is inf, but must be above 0 and finite"),
        (XYZ, (*FAULTY, "--cores", "1.5"), "invalid value for '--cores': '1.5' is not a valid whole number; see `"),
        (XYZ, (*FAULTY, "--memory", "4GB"), "invalid value for '--memory': '4GB' is not a valid number; see `"),
        (XYZ, (*FAULTY, "--driver", "properties"), "invalid value for '--driver': 'properties' is not one of"),
        (XYZ, (*FAULTY, "--threads", "100000"), "option threads is 100000, but only"),
        (XYZ, (*FAULTY, "-o", "out", "--record", "out"), "out is named for two different things"),
        (XYZ, (*FAULTY, "--tuning", "/nowhere"), "/nowhere cannot be read"),
        (XYZ, (*FAULTY, "--no-strategy", "hybird"), "there is no strategy 'hybird'; did you mean hybrid?"),
        (XYZ, (*FAULTY, "-o", "/nowhere/result.json"), "/nowhere/result.json cannot be written"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2_before_any_task_starts(tmp_path, text, arguments, message):
    path = tmp_path / "input"
    path.write_text(text)
    status, output, errors = call("run", path, *arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1), errors
    assert errors.removeprefix("autotune: ").removeprefix(str(tmp_path) + "/").startswith(message)


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
    assert failed.startswith("autotune: 6 of 10 tasks failed: ")
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


def test_doctor_compares_what_it_said_on_nodes(tmp_path):
    status, text, _ = call("doctor", "--json")
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(text)
    here = json.loads(text)
    other.write_text(json.dumps({**here, "host": "other", "machine": {**here["machine"], "cores": 999}}))
    assert call("doctor", "--compare", one, one)[0] == 0
    status, said, errors = call("doctor", "--compare", one, other)
    assert (status, errors) == (1, "")
    assert "  cores: 999 instead of " in said
    assert said.splitlines()[-1] == "they are not alike"
    status, said, _ = call("doctor", "--compare", "--json", one, other)
    assert (status, json.loads(said)["alike"]) == (1, False)
    for words in (("--compare",), (one,)):
        assert call("doctor", *words) == (
            *(2, ""),
            "autotune: give files with --compare, which compares what `autotune doctor --json` wrote on each node\n",
        )


@pytest.mark.parametrize("speeds", ["", "x", "1x", "0x2", "-1x2", "1x0", "nanx2", "infx2", "1x8;0.5x8", "1x1000001"])
def test_speeds_of_cores_that_are_none_are_refused_in_one_line(tmp_path, speeds):
    (tmp_path / "w.xyz").write_text(XYZ)
    status, output, errors = call("simulate", tmp_path / "w.xyz", *FAULTY, "--core-speeds", speeds)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert "is no list of speeds and numbers of cores, such as 1x8,0.5x8" in errors


def test_speeds_of_cores_go_with_no_other_number_of_them(tmp_path):
    (tmp_path / "w.xyz").write_text(XYZ)
    words = ("simulate", tmp_path / "w.xyz", *FAULTY, "--core-speeds", "1x2,0.5x2")
    status, said, _ = call(*words, "--json")
    assert (status, json.loads(said)["cores"]) == (0, 4)
    assert call(*words, "--cores", "3")[2] == "autotune: there are 4 speeds for 3 cores; leave the cores out\n"
    refused = call(*words, "--threads", "2")[2]
    assert (
        refused == "autotune: where cores are not alike, only tasks of one core each are simulated; give --threads 1\n"
    )
    assert call(*words, "--nodes", "2")[2] == "autotune: --core-speeds are those of one machine; leave out --nodes\n"


def test_usage_errors_get_one_line_and_exit_2():
    assert call("run") == (2, "", "autotune: missing argument 'INPUT...'; see `autotune run --help`\n")
    assert call("nosuch") == (2, "", "autotune: no such command 'nosuch'; see `autotune --help`\n")


@pytest.mark.parametrize(
    ("contention", "message"),
    [
        ("nan", "contention is nan, but must be 1 or more and finite"),
        ("inf", "contention is inf, but must be 1 or more and finite"),
        ("0.5", "invalid value for '--contention': 0.5 is not in the range x>=1; see `"),
    ],
)
def test_a_contention_that_is_none_is_refused_in_one_line(tmp_path, contention, message):
    (tmp_path / "w.xyz").write_text(XYZ)
    status, output, errors = call("simulate", tmp_path / "w.xyz", *FAULTY, "--contention", contention)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"autotune: {message}")


def test_the_input_is_never_written_over(tmp_path):
    path = tmp_path / "w.xyz"
    path.write_text(XYZ)
    (tmp_path / "link").symlink_to(path)
    for target in (path, tmp_path / "link"):
        status, _, errors = call("run", path, *FAULTY, "-o", target)
        assert (status, path.read_text()) == (2, XYZ)
        assert "is what this command reads; give what it writes another name" in errors


def test_an_output_may_be_a_link_or_a_device(tmp_path):
    (tmp_path / "w.xyz").write_text(XYZ)
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    command = ("run", tmp_path / "w.xyz", *FAULTY, "--quiet", "--journal", "none")
    assert call(*command, "-o", tmp_path / "link") == (0, "", "")
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "target").read_text())["success"]
    assert call(*command, "-o", "/dev/null", "--record", "/dev/null") == (0, "", "")
    assert Path("/dev/null").is_char_device()
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        assert call(*command, "-o", tmp_path / "pipe") == (0, "", "")
        assert json.loads(reader.communicate()[0])["success"]


def test_a_result_may_be_read_by_whom_the_umask_lets(tmp_path):
    (tmp_path / "w.xyz").write_text(XYZ)
    umask = os.umask(0o022)
    try:
        call("run", tmp_path / "w.xyz", *FAULTY, "--quiet", "-o", tmp_path / "result.json")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("verb", ["estimate", "simulate"])
def test_what_is_left_out_of_a_run_is_left_out_of_its_estimate(tmp_path, verb):
    (tmp_path / "w.xyz").write_text(XYZ)
    command = (verb, tmp_path / "w.xyz", *FAULTY, "--json")
    assert json.loads(call(*command)[1])["tasks"] == 3
    assert json.loads(call(*command, "--screen-distance", "1")[1])["tasks"] == 2
    nothing = (*command, "--bsse", "cp", "--max-nbody", "1")
    assert (call(*nothing)[0], json.loads(call(*nothing)[1])) == (0, {"tasks": 0})


def test_the_estimate_is_of_no_more_memory_than_there_is(tmp_path):
    (tmp_path / "w.xyz").write_text(XYZ)
    status, _, errors = call("estimate", tmp_path / "w.xyz", *FAULTY, "--memory", "1e9")
    assert (status, errors.count("\n")) == (2, 1)


ONE_OF_TWO_RADICALS = "5\n{comment}\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\nO 0 0 3\nH 0 0 3.96\n"


@pytest.mark.parametrize(
    ("comment", "arguments"),
    [
        ('{"fragments": [3, 2]}', ()),
        ("", ("--charges", "1:0")),
        ("", ("--multiplicities", "1:1")),
    ],
)
def test_what_is_said_of_one_fragment_is_not_taken_for_another(tmp_path, comment, arguments):
    path = tmp_path / "w.xyz"
    path.write_text(ONE_OF_TWO_RADICALS.format(comment=comment))
    status, _, errors = call("run", path, *FAULTY, *arguments)
    assert status == 2
    assert "fragment 2 (O H) has an odd number of electrons when neutral" in errors
    for stated in ("--charges=2:-1", "--multiplicities=2:2"):
        assert call("run", path, *FAULTY, "--quiet", stated)[0] == 0


def test_a_multiplicity_that_fragments_do_not_have_by_themselves_is_refused(faulty, tmp_path):
    fields = faulty("water2", max_nbody=1)
    del fields["molecule"]["fragment_multiplicities"]
    for multiplicity, accepted in ((1, True), (3, False)):
        fields["molecule"]["molecular_multiplicity"] = multiplicity
        (tmp_path / "in.json").write_text(json.dumps(fields))
        status, _, errors = call("run", tmp_path / "in.json", "--quiet")
        assert (status == 0) == accepted
    assert "the molecule has multiplicity 3, its fragments at their lowest 1 together" in errors
    assert errors.count("\n") == 1


def test_keywords_that_are_no_object_are_refused_in_one_line(faulty, tmp_path):
    fields = faulty("water2", max_nbody=1)
    for chemistry in fields["specification"]["specification"].values():
        chemistry["keywords"] = [1]
    (tmp_path / "in.json").write_text(json.dumps(fields))
    for verb in ("run", "estimate"):
        status, output, errors = call(verb, tmp_path / "in.json")
        assert (status, output, errors.count("\n")) == (2, "", 1)
        assert "keywords" in errors


def test_a_run_that_fails_says_which_files_are_of_an_earlier_one(input_file, tmp_path, faulty):
    output, record, failing = tmp_path / "result.json", tmp_path / "record.json", tmp_path / "failing.json"
    assert call("run", input_file, "-o", output, "--record", record)[0] == 0
    before = output.read_text()
    failing.write_text(json.dumps(faulty("water4", "diverge", at=[6])))
    status, _, errors = call("run", failing, "-o", output, "--record", record, "--quiet")
    assert status == 1
    assert errors.splitlines()[-1] == f"autotune: {output} is of an earlier run, not of this one"
    assert output.read_text() == before
    status, _, errors = call("run", tmp_path / "none.xyz", "-o", output, "--record", record)
    assert status == 2
    files = f"{output}, {record}, {output}.partial"
    assert errors.splitlines()[-1] == f"autotune: {files} are of an earlier run, not of this one"


def test_an_output_that_cannot_be_written_at_the_end_names_the_journal(input_file, tmp_path):
    status, _, errors = call("run", input_file, "-o", "/dev/full", "--record", tmp_path / "record.json", "--quiet")
    assert status == 2
    kept = f"10 finished tasks are kept in {tmp_path / 'home' / 'journal.sqlite3'}"
    assert errors.splitlines() == [
        "autotune: /dev/full cannot be written: No space left on device",
        f"autotune: {kept}; the same command with --resume goes on from there",
    ]
    assert (tmp_path / "record.json").is_file()


LOST = """
import os, signal, time
from autotune.cli import interruption

class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(1)

interruption.listen()
swallows = Swallows()
del swallows
try:
    interruption.check()
except KeyboardInterrupt:
    print(interruption.status(), interruption.words())
"""


@pytest.mark.parametrize(("name", "said"), [("SIGINT", "130 interrupted"), ("SIGTERM", "143 ended by SIGTERM")])
def test_a_signal_that_a_librarys_callback_swallows_is_not_lost(name, said):
    done = subprocess.run(
        [sys.executable, "-c", LOST.format(name=name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stderr == ""
    assert done.stdout == f"{said}\n"


@pytest.mark.parametrize("option", ["-o", "--csv", "--record"])
def test_a_dash_is_no_file(option, input_file):
    status, output, errors = call("run", input_file, option, "-")
    assert (status, output) == (2, "")
    assert errors == (
        "autotune: - is no file: give a name; what goes to standard output goes there without an option\n"
    )


def test_a_failure_names_the_limits_that_the_shell_has_set(tmp_path, faulty):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(faulty("water2", "raise")))
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 4000000; exec "$@"', "bash", *ROOT_COMMAND, "run", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "autotune: each process is limited to 3.81 GiB a file (`ulimit -f`)" in done.stderr.splitlines()


def test_a_result_is_no_input_and_no_record_and_the_command_that_reads_it_is_named(tmp_path, input_file):
    result = tmp_path / "result.json"
    assert call("run", input_file, "-o", result)[0] == 0
    for command in ("run", "report"):
        status, output, errors = call(command, result)
        assert (status, output) == (2, "")
        assert "`autotune show" in errors
