"""Plain environments: every command does its work, writes its files and ends with the right status in each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from run_factory import run, task

import autotune
from autotune.base import json_files
from autotune.cli.main import VERBS

NAMES = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "AUTOTUNE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
UNKNOWN_USER = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]

# A command's arguments, the files it writes, and whether standard output is where its answer goes.
COMMANDS = {
    "--version": ("--version", (), True),
    "run": ("run {input}", (), True),
    "run -o": ("run {input} -o result.json --record record.json", ("result.json", "record.json"), False),
    "run many": ("run {folder} -o results --csv many.csv", ("results", "many.csv"), False),
    "run many lines": ("run {folder}", (), True),
    "crystal": ("crystal {crystal} --cutoff 2=3 --csv terms.csv {program}", ("terms.csv",), True),
    "show": ("show {result} --csv energies.csv", ("energies.csv",), True),
    "terms": ("terms {result} --plot terms.svg", ("terms.svg",), True),
    "estimate": ("estimate {input}", (), True),
    "simulate": ("simulate {input} --nodes 1-4", (), True),
    "report": ("report {run} -o page.html --markdown page.md", ("page.html", "page.md"), True),
    "regress": ("regress {run} {run} --markdown changes.md", ("changes.md",), True),
    "doctor": ("doctor", (), True),
    "tunings list": ("tunings list", (), True),
    "calibrate": ("calibrate --workload {input} --budget 1s --force -o tuning.json", ("tuning.json",), True),
    "an error": ("run missing.xyz", (), False),
}
CANNOT_TELL, BAD_INPUT = 3, 2
STATUS = {"regress": CANNOT_TELL, "an error": BAD_INPUT}

# What a shell does before the command, the variables that are not set, and whether the answer is lost.
ENVIRONMENTS = {
    "output closed": (">&-", (), True),
    "error closed": ("2>&-", (), False),
    "all closed": ("<&- >&- 2>&-", (), True),
    "output full": (">/dev/full", (), True),
    "error full": ("2>/dev/full", (), False),
    "no HOME, no USER": ("", ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"), False),
    "unknown user": ("", NAMES, False),
}


@cache
def can_be_unknown():
    try:
        return subprocess.run([*UNKNOWN_USER, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return the files that commands read."""
    from importlib.resources import files

    from autotune.expansion.readers import Expansion, many_body_fields

    folder = tmp_path_factory.mktemp("given")
    text = (files("autotune.studies") / "workloads" / "water2.xyz").read_text()
    expansion = Expansion(program="faulty", method="nothing", basis="", max_nbody=2)
    fields = many_body_fields(text, name="water2", expansion=expansion)
    (folder / "input.json").write_text(json.dumps(fields))
    (folder / "result.json").write_text(autotune.run(fields, journal="none").model_dump_json())
    json_files.save_run(run([task(0, start=0.1, wall=1.0)]), folder / "run.json")
    (folder / "inputs").mkdir()
    (folder / "inputs" / "one.json").write_text(json.dumps(fields))
    crystal = Path(str(files("autotune.studies"))) / "crystals" / "ammonia.cif"
    program = "--program faulty --method nothing"
    return {
        "folder": folder / "inputs",
        "crystal": crystal,
        "program": program,
        **{name: folder / f"{name}.json" for name in ("input", "run", "result")},
    }


def call(arguments, folder, *, redirections="", unset=(), prefix=()):
    command = [*prefix, sys.executable, "-m", "autotune", *arguments]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in unset},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# All commands where nothing can be said and where nobody is known; elsewhere those whose answers go different ways.
HARSHEST = ("all closed", "unknown user")
VARIED = ("run", "run -o", "estimate", "an error")
CELLS = [
    (command, environment)
    for command in COMMANDS
    for environment in ENVIRONMENTS
    if environment in HARSHEST or command in VARIED
]


def test_the_table_has_every_command():
    assert {arguments.split()[0] for arguments, *_ in COMMANDS.values()} == {*VERBS, "--version"}


@pytest.mark.parametrize(("command", "environment"), CELLS, ids=map(" with ".join, CELLS))
def test_every_command_does_its_work_in_every_environment(command, environment, given, tmp_path):
    arguments, written, answers = COMMANDS[command]
    redirections, unset, lost = ENVIRONMENTS[environment]
    unknown = environment == "unknown user"
    if unknown and not can_be_unknown():
        pytest.skip("users without a name cannot be made here: unshare --user is refused")
    folder = tmp_path / "here"
    folder.mkdir()
    status, output, errors = call(
        arguments.format(**given).split(),
        folder,
        redirections=redirections,
        unset=unset,
        prefix=UNKNOWN_USER if unknown else (),
    )
    assert "Traceback" not in output + errors
    if unknown and command == "calibrate":
        # What is measured has to be kept somewhere.
        assert status == BAD_INPUT
        assert errors.startswith("autotune: there is no folder for this user's files: HOME is not set, and user 54321")
        assert errors.endswith("set AUTOTUNE_HOME\n")
        return
    assert status == STATUS.get(command, BAD_INPUT if answers and lost else 0), errors
    assert sorted(path.name for path in folder.iterdir()) == sorted(written)
    assert bool(output) is (answers and not lost)
    if answers and lost and "2>" not in redirections:
        assert errors.splitlines()[-1 if command != "run" else -2].startswith(
            "autotune: standard output cannot be written: "
        )


def test_a_result_that_standard_output_does_not_take_is_in_the_journal_which_is_named(given, tmp_path):
    status, _, errors = call(["run", str(given["input"])], tmp_path, redirections=">/dev/full")
    assert status == BAD_INPUT
    kept = f"3 finished tasks are kept in {tmp_path / 'home' / 'journal.sqlite3'}"
    assert errors.splitlines()[-2:] == [
        "autotune: standard output cannot be written: No space left on device",
        f"autotune: {kept}; the same command with --resume goes on from there",
    ]


def test_a_reader_that_goes_away_is_no_fault(given, tmp_path):
    command = [sys.executable, "-m", "autotune", "estimate", str(given["input"])]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_program_that_has_closed_its_standard_streams_can_use_the_library(given, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import autotune\nresult = autotune.run({str(given['input'])!r}, journal='none')\n"
        "open('answer', 'w').write(str(result.return_result))\n"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, str(script)],
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "answer").read_text() == "0.0"


def test_qcengine_finds_a_name_where_the_system_knows_none(given, tmp_path):
    if not can_be_unknown():
        pytest.skip("users without a name cannot be made here: unshare --user is refused")
    script = tmp_path / "script.py"
    script.write_text(
        "import json, autotune, qcengine\nautotune.register(options=autotune.Options(journal='none'))\n"
        f"fields = json.load(open({str(given['input'])!r}))\n"
        "print(qcengine.compute(fields, 'autotune', raise_error=True).return_result)\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [*UNKNOWN_USER, sys.executable, str(script)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0.0\n"), done.stderr
