"""Plain environments: every command does its work, writes its files and ends with the right status in each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from importlib.resources import files

import pytest
from run_factory import run, task

import autotune
from autotune.base import json_files
from autotune.cli.main import VERBS
from autotune.expansion.readers import many_body_fields

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


def becoming_unknown():
    """Return the words before a command whose user has no name."""
    if not can_be_unknown():
        pytest.skip("users without a name cannot be made here: unshare --user is refused")
    return UNKNOWN_USER


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return the files that commands read."""
    folder, studies = tmp_path_factory.mktemp("given"), files("autotune.studies")
    expansion = autotune.Expansion(program="faulty", method="nothing", max_nbody=2)
    fields = many_body_fields((studies / "workloads" / "water2.xyz").read_text(), name="water2", expansion=expansion)
    (folder / "inputs").mkdir()
    for path in (folder / "input.json", folder / "inputs" / "one.json"):
        path.write_text(json.dumps(fields))
    (folder / "result.json").write_text(autotune.run(fields, journal="none").model_dump_json())
    json_files.save_run(run([task(0, start=0.1, wall=1.0)]), folder / "run.json")
    return {
        "folder": folder / "inputs",
        "crystal": studies / "crystals" / "ammonia.cif",
        "program": "--program faulty --method nothing",
        **{name: folder / f"{name}.json" for name in ("input", "run", "result")},
    }


def call(arguments, folder, *, redirections="", unset=(), prefix=()):
    """Return what Python did with the arguments: exit status, standard output, standard error."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *prefix, sys.executable, *arguments],
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
    folder = tmp_path / "here"
    folder.mkdir()
    status, output, errors = call(
        ["-m", "autotune", *arguments.format(**given).split()],
        folder,
        redirections=redirections,
        unset=unset,
        prefix=becoming_unknown() if unknown else (),
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
        kept = f"autotune: 3 finished tasks are kept in {tmp_path / 'home' / 'journal.sqlite3'}; the same command with"
        notes = [f"{kept} --resume goes on from there"] if command == "run" else []
        fault, *said = errors.splitlines()[-1 - len(notes) :]
        assert fault.startswith("autotune: standard output cannot be written: ")
        assert fault.endswith("No space left on device") == (environment == "output full")
        assert said == notes


def test_a_reader_that_goes_away_is_no_fault(given, tmp_path):
    command = [sys.executable, "-m", "autotune", "estimate", str(given["input"])]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_program_that_has_closed_its_standard_streams_can_use_the_library(given, tmp_path):
    script = (
        f"import autotune\nresult = autotune.run({str(given['input'])!r}, journal='none')\n"
        "open('answer', 'w').write(str(result.return_result))\n"
    )
    assert call(["-c", script], tmp_path, redirections="<&- >&- 2>&-")[0] == 0
    assert (tmp_path / "answer").read_text() == "0.0"


def test_qcengine_finds_a_name_where_the_system_knows_none(given, tmp_path):
    script = (
        "import json, autotune, qcengine\nautotune.register(options=autotune.Options(journal='none'))\n"
        f"fields = json.load(open({str(given['input'])!r}))\n"
        "print(qcengine.compute(fields, 'autotune', raise_error=True).return_result)\n"
    )
    status, output, errors = call(["-c", script], tmp_path, unset=NAMES, prefix=becoming_unknown())
    assert (status, output) == (0, "0.0\n"), errors
