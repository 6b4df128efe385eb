"""The command line: whole outputs, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from commands import autotune as call
from places import CASES

ROOT_COMMAND = [sys.executable, "-m", "autotune"]
XYZ = "6\n\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\nO 0 0 3\nH 0 0 3.96\nH 0.93 0 2.76\n"
FAULTY = ("--program", "faulty", "--method", "nothing")
MOLECULE = (CASES / "q_mol.json").read_text()


@pytest.fixture
def input_file(tmp_path, faulty):
    path = tmp_path / "input.json"
    path.write_text(json.dumps(faulty("water4")))
    return path


@pytest.fixture
def waters(tmp_path):
    path = tmp_path / "w.xyz"
    path.write_text(XYZ)
    return path


# --- results ----------------------------------------------------------------------------------------------------------


def test_the_result_goes_to_standard_output_all_else_to_standard_error_and_is_shown_again_in_the_same_words(
    input_file, tmp_path, in_process
):
    stored, table = tmp_path / "result.json", tmp_path / "table.csv"
    status, output, errors = call("run", input_file, "--csv", table)
    assert status == 0
    result = json.loads(output)
    assert (result["schema_name"], result["schema_version"]) == ("qcschema_many_body_result", 2)
    lines = errors.splitlines()
    assert lines[0].startswith("4 fragments: 4 H2O; in all 12 atoms, charge 0, singlet; ")
    assert lines[1].startswith("tuning: default - no tuning for faulty on this machine; run `autotune calibrate")
    assert lines[-1].startswith("10 tasks in ")
    stored.write_text(output)
    shown = in_process("show", stored, "--csv", tmp_path / "again.csv")
    assert (shown.status, shown.errors) == (0, "")
    assert shown.output in errors
    assert table.read_text() == (tmp_path / "again.csv").read_text()
    assert in_process("show", "-", stdin=output) == shown
    for command in ("run", "report"):  # a result is no input and no record
        status, output, errors = in_process(command, stored)
        assert (status, output) == (2, "")
        assert "`autotune show" in errors


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
    status, output = on_a_terminal("run", input_file, "--json", "--resume")
    assert (status, json.loads(output)["schema_name"]) == (0, "qcschema_many_body_result")


@pytest.mark.parametrize(("threads", "said"), [(2, True), (1, False)])
def test_more_threads_than_cores_are_said(input_file, threads, said):
    status, _, errors = call("run", input_file, "--workers", 64, "--threads", threads, "--journal", "none")
    assert status == 0
    assert ("64 workers with 2 threads each are 128 threads on" in errors) == said
    assert ("which mostly takes longer: give --workers" in errors) == said


def test_where_nothing_has_to_be_computed_the_missing_record_is_explained(tmp_path, faulty, in_process):
    path, record = tmp_path / "input.json", tmp_path / "record.json"
    fields = faulty("water4", max_nbody=1)
    fields["specification"]["keywords"]["bsse_type"] = ["cp"]
    path.write_text(json.dumps(fields))
    status, output, errors = in_process("run", path, "--record", record)
    assert (status, json.loads(output)["return_result"]) == (0, 0.0)
    assert errors.splitlines()[-2:] == [
        "result: interaction energy through the 1-body level, cp: 0.00000000 Eh = 0.000 kcal/mol",
        "nothing had to be computed for this expansion, so there is no record of a run",
    ]
    assert not record.exists()


def test_a_molecule_on_standard_input_is_quietly_computed_into_a_file_that_may_be_read_by_whom_the_umask_lets(tmp_path):
    output, umask = tmp_path / "result.json", os.umask(0o022)
    try:
        done = call("run", "-", *FAULTY, "-o", output, "--quiet", "--journal", "none", stdin=MOLECULE)
    finally:
        os.umask(umask)
    assert done == (0, "", "")
    result = json.loads(output.read_text())
    assert result["return_result"] == 0.0
    assert result["molecule"]["fragments"] == [[0, 1, 2], [3, 4, 5]]
    assert stat.S_IMODE(output.stat().st_mode) == 0o644


def test_a_v1_input_comes_back_as_v1(tmp_path, faulty):
    from qcmanybody.models import v2

    path = tmp_path / "v1.json"
    path.write_text(v2.ManyBodyInput(**faulty("water4")).convert_v(1).json())
    status, output, _ = call("run", path, "--quiet")
    assert status == 0
    assert (json.loads(output)["schema_name"], json.loads(output)["schema_version"]) == ("qcschema_manybodyresult", 1)


def test_an_xyz_file_with_options_is_computed_and_written_to_a_link_a_pipe_and_a_device(tmp_path):
    path, link, pipe = (tmp_path / name for name in ("salt.xyz", "link", "pipe"))
    path.write_text((files("autotune.studies") / "workloads" / "sodium_chloride_water6.xyz").read_text())
    (tmp_path / "target").write_text("old")
    link.symlink_to("target")
    os.mkfifo(pipe)
    options = (*FAULTY, "--max-nbody", 2, "--bsse", "cp,nocp", "--quiet")
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        done = call("run", path, *options, "-o", link, "--record", pipe, "--csv", "/dev/null")
        fields = json.loads(reader.communicate()[0])
    assert done == (0, "", "")
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()
    molecule = json.loads((tmp_path / "target").read_text())["molecule"]
    assert molecule["fragment_charges"] == [1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert fields["schema"] == "autotune.run/5"
    expected = (
        "created workload content energy_hartree "
        "wall_s tasks recalled attempts lower_bound_s efficiency gap cpu_utilisation peak_memory_gib memory_budget_gib "
        "policy tuning versions machine methods task_records nodes omitted understood doubts other_cores speeds "
        "energies largest_terms sum_off_hartree schema"
    )
    assert fields.keys() == set(expected.split())
    assert fields["gap"].keys() == {"startup", "tail", "memory", "retries", "scheduler", "assembly"}


def test_scattered_fragments_leave_nothing_but_the_result_on_standard_output(tmp_path):
    path = tmp_path / "scattered.json"
    molecule = json.loads((CASES / "noncontiguous.json").read_text())["molecule"]
    path.write_text(json.dumps(molecule))
    status, output, errors = call("run", path, *FAULTY, "--quiet", "--journal", "none")
    assert (status, errors) == (0, "")
    assert json.loads(output)["molecule"]["symbols"] == molecule["symbols"]


@pytest.mark.parametrize("spelling", ["cp, nocp", "CP nocp", "cp,nocp,cp"])
def test_bsse_treatments_may_be_listed_with_commas_or_spaces(waters, in_process, spelling):
    estimate = ("estimate", waters, *FAULTY, "--json", "--bsse")
    listed = [in_process(*estimate, text) for text in (spelling, "cp,nocp")]
    assert listed[0].status == 0
    assert json.loads(listed[0].output)["tasks"] == json.loads(listed[1].output)["tasks"]


def test_letters_of_an_old_encoding_are_read_in_a_comment_and_make_no_text_file_anywhere_else(waters, in_process):
    waters.write_bytes(XYZ.replace("\n\n", "\nwater, \xe5ngstr\xf6m\n").encode("latin-1"))
    assert in_process("estimate", waters, *FAULTY).status == 0
    waters.write_bytes(XYZ.replace("H", "\xc5").encode("latin-1"))
    assert in_process("estimate", waters, *FAULTY) == (
        *(2, ""),
        f"autotune: {waters} is not a text file; give a ManyBodyInput (JSON) or an XYZ file\n",
    )


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", (), "input is empty; give a ManyBodyInput (JSON) or an XYZ file"),
        ('{"molecule": [', (), "input is not valid JSON (line 1, column 15)"),
        ("[]", (), "input holds a JSON list, not a ManyBodyInput object"),
        (XYZ, (), "input is an XYZ file; say at least --program and --method"),
        (XYZ, ("--program", "faulty"), "a geometry needs --program and --method"),
        (MOLECULE, (), "input is a QCSchema Molecule, which does not say what to compute; say at least --program and"),
        (XYZ, (*FAULTY, "--fragments", "6x1"), "the molecule is one fragment, so there is nothing to expand"),
        (XYZ, (*FAULTY, "--fragments", "2x4"), "fragments '2x4' hold 8 atoms, but the geometry has 6"),
        (XYZ, (*FAULTY, "--charges", "9:+1"), "charge '9:+1'"),
        (XYZ, (*FAULTY, "--max-nbody", "0"), "max_nbody is 0, but must lie within 1 and the 2 fragments"),
        ("{}", ("--max-nbody", "0"), "input is a ManyBodyInput, which says itself what to compute; leave out --max-"),
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
        (
            XYZ,
            ("--program", "faulti", "--method", "nothing"),
            "program 'faulti' is not known to QCEngine; did you mean faulty?",
        ),
        (XYZ, ("--program", "psi4x", "--method", "hf"), "program 'psi4x' is not known to QCEngine"),
        (XYZ, ("--program", "cfour", "--method", "hf"), "program 'cfour' is not installed on this machine"),
        (XYZ, (*FAULTY[:3], "nothin"), "fragment 2: method 'nothin' is not known"),
        (XYZ, (*FAULTY, "--workers", "0"), "invalid value for '--workers': 0 is not in the range x>=1; see `"),
        (XYZ, (*FAULTY, "--memory", "nan"), "invalid value for '--memory': 'nan' is no amount of memory; give for "),
        (XYZ, (*FAULTY, "--cores", "1.5"), "invalid value for '--cores': '1.5' is not a valid whole number; see `"),
        (XYZ, (*FAULTY, "--json", "-o", "out"), "--json prints the result and -o writes it to a file; leave one of"),
        *[(XYZ, (*FAULTY, option, "-"), "- is no file: give a name; what goes to") for option in ("-o", "--csv")],
        (XYZ, (*FAULTY, "--record", "-"), "- is no file: give a name; what goes to standard output goes there without"),
        (XYZ, (*FAULTY, "--driver", "properties"), "invalid value for '--driver': 'properties' is not one of"),
        (XYZ, (*FAULTY, "--threads", "100000"), "option threads is 100000, but only"),
        (XYZ, (*FAULTY, "-o", "out", "--record", "out"), "out is named for two different things"),
        (XYZ, (*FAULTY, "--tuning", "/nowhere"), "/nowhere cannot be read"),
        (XYZ, (*FAULTY, "--no-strategy", "hybird"), "there is no strategy 'hybird'; did you mean hybrid?"),
        (XYZ, (*FAULTY, "-o", "/nowhere/result.json"), "/nowhere/result.json cannot be written"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2_before_any_task_starts(tmp_path, in_process, text, arguments, message):
    path = tmp_path / "input"
    path.write_text(text)
    status, output, errors = in_process("run", path, *arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1), errors
    assert errors.removeprefix("autotune: ").removeprefix(str(tmp_path) + "/").startswith(message)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "/nowhere.json"), "/nowhere.json cannot be read: No such file or directory; check the path"),
        (("run",), "missing argument 'INPUT...'; see `autotune run --help`"),
        (("report",), "missing argument 'RUN...'; see `autotune report --help`"),
        (("nosuch",), "no such command 'nosuch'; see `autotune --help`"),
    ],
)
def test_what_cannot_be_understood_gets_one_line_and_exit_2(arguments, words):
    assert call(*arguments) == (2, "", f"autotune: {words}\n")


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        *[
            ("--core-speeds", text, "is no list of speeds and numbers of cores, such as 1x8,0.5x8")
            for text in ("", "x", "1x", "0x2", "-1x2", "1x0", "nanx2", "infx2", "1x8;0.5x8", "1x1000001")
        ],
        ("--contention", "nan", "autotune: contention is nan, but must be 1 or more and finite"),
        ("--contention", "inf", "autotune: contention is inf, but must be 1 or more and finite"),
        ("--contention", "0.5", "autotune: invalid value for '--contention': 0.5 is not in the range x>=1; see `"),
        ("--memory", "1e9", "autotune: 1e+09 GiB of memory asked for, but this process may use"),
    ],
)
def test_conditions_that_cannot_be_are_refused_in_one_line(waters, in_process, option, text, message):
    verb = "estimate" if option == "--memory" else "simulate"
    status, output, errors = in_process(verb, waters, *FAULTY, option, text)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_speeds_of_cores_go_with_no_other_number_of_them(waters, in_process):
    words = ("simulate", waters, *FAULTY, "--core-speeds", "1x2,0.5x2")
    status, said, _ = in_process(*words, "--json")
    assert (status, json.loads(said)["cores"]) == (0, 4)
    for option, number, refusal in (
        ("--cores", 3, "there are 4 speeds for 3 cores; leave the cores out"),
        ("--threads", 2, "where cores are not alike, only tasks of one core each are simulated; give --threads 1"),
        ("--nodes", 2, "--core-speeds are those of one machine; leave out --nodes"),
    ):
        assert in_process(*words, option, number).errors == f"autotune: {refusal}\n"


def test_the_input_is_never_written_over(waters, tmp_path, in_process):
    (tmp_path / "link").symlink_to(waters)
    for target in (waters, tmp_path / "link"):
        status, _, errors = in_process("run", waters, *FAULTY, "-o", target)
        assert (status, waters.read_text()) == (2, XYZ)
        assert "is what this command reads; give what it writes another name" in errors


@pytest.mark.parametrize(
    ("comment", "arguments"),
    [('{"fragments": [3, 2]}', ()), ("", ("--charges", "1:0")), ("", ("--multiplicities", "1:1"))],
)
def test_what_is_said_of_one_fragment_is_not_taken_for_another(waters, in_process, comment, arguments):
    waters.write_text(f"5\n{comment}\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\nO 0 0 3\nH 0 0 3.96\n")
    status, _, errors = in_process("run", waters, *FAULTY, *arguments)
    assert status == 2
    assert "fragment 2 (O H) has an odd number of electrons when neutral" in errors
    for stated in ("--charges=2:-1", "--multiplicities=2:2"):
        assert in_process("estimate", waters, *FAULTY, stated).status == 0


def test_a_multiplicity_that_fragments_do_not_have_by_themselves_is_refused(faulty, tmp_path, in_process):
    fields = faulty("water2", max_nbody=1)
    del fields["molecule"]["fragment_multiplicities"]
    for verb, multiplicity, expected in (("estimate", 1, 0), ("run", 3, 2)):
        fields["molecule"]["molecular_multiplicity"] = multiplicity
        (tmp_path / "in.json").write_text(json.dumps(fields))
        status, _, errors = in_process(verb, tmp_path / "in.json")
        assert status == expected
    assert "the molecule has multiplicity 3, its fragments at their lowest 1 together" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("verb", ["run", "estimate"])
def test_keywords_that_are_no_object_are_refused_in_one_line(faulty, tmp_path, in_process, verb):
    fields = faulty("water2", max_nbody=1)
    for chemistry in fields["specification"]["specification"].values():
        chemistry["keywords"] = [1]
    (tmp_path / "in.json").write_text(json.dumps(fields))
    status, output, errors = in_process(verb, tmp_path / "in.json")
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert "keywords" in errors


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failing_task_exits_1_still_writes_the_record_and_says_which_files_are_of_an_earlier_run(
    tmp_path, faulty, in_process
):
    path, record, output = (tmp_path / f"{name}.json" for name in ("input", "record", "result"))
    path.write_text(json.dumps(faulty("water4", "diverge", at=[6])))
    output.write_text("earlier")
    record.write_text("earlier")
    status, said, errors = call("run", path, "-o", output, "--record", record)
    assert (status, said) == (1, "")
    failed, cure, kept, partial, earlier = errors.splitlines()[-5:]
    assert failed.startswith("autotune: 6 of 10 tasks failed: ")
    assert "convergence: QCEngine Convergence Error: did not converge" in failed
    assert cure.startswith("autotune: `--rescue` gives")
    assert partial == f"autotune: 4 components that were computed are in {output}.partial"
    assert kept.startswith("autotune: 4 finished tasks are kept in ")
    assert earlier == f"autotune: {output} is of an earlier run, not of this one"
    assert output.read_text() == "earlier"
    statuses = [task["status"] for task in json.loads(record.read_text())["task_records"]]
    assert (statuses.count("done"), statuses.count("failed")) == (4, 6)
    status, _, errors = in_process("run", tmp_path / "none.xyz", "-o", output, "--record", record)
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


# --- other commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["estimate", "simulate"])
def test_what_is_left_out_of_a_run_is_left_out_of_its_estimate(waters, in_process, verb):
    command = (verb, waters, *FAULTY, "--json")
    for options, tasks in (((), 3), (("--screen-distance", "1"), 2)):
        assert json.loads(in_process(*command, *options).output)["tasks"] == tasks
    nothing = in_process(*command, "--bsse", "cp", "--max-nbody", "1")
    assert (nothing.status, json.loads(nothing.output)) == (0, {"tasks": 0})


def test_doctor_prints_the_same_facts_for_people_and_as_json_and_compares_those_of_nodes(tmp_path, in_process):
    status, people, _ = in_process("doctor")
    assert status == 0
    status, text, _ = call("doctor", "--json")
    facts = json.loads(text)
    assert status == 0
    assert f"{facts['machine']['cores']} usable cores" in people
    assert facts["machine"]["key"] in people
    assert {program["name"]: program["found"] for program in facts["programs"]}["faulty"]
    assert all(finding["topic"] in people for finding in facts["findings"])
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(text)
    other.write_text(json.dumps({**facts, "host": "other", "machine": {**facts["machine"], "cores": 999}}))
    assert in_process("doctor", "--compare", one, one).status == 0
    status, said, errors = in_process("doctor", "--compare", one, other)
    assert (status, errors) == (1, "")
    assert "  cores: 999 instead of " in said
    assert said.splitlines()[-1] == "they are not alike"
    status, said, _ = in_process("doctor", "--compare", "--json", one, other)
    assert (status, json.loads(said)["alike"]) == (1, False)
    for words in (("--compare",), (one,)):
        assert in_process("doctor", *words) == (
            *(2, ""),
            "autotune: give files with --compare, which compares what `autotune doctor --json` wrote on each node\n",
        )
