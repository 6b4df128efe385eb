"""`autotune run` with several inputs: where results go, what is printed, exit codes, refusals."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from functools import partial
from importlib.resources import files

import pytest
from commands import autotune

from autotune.base import json_files

GFN = ("--program", "faulty", "--method", "nothing", "--max-nbody", "2")


def geometry(name):
    return (files("autotune.studies") / "workloads" / f"{name}.xyz").read_text()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dimers").mkdir()
    for name in ("a", "b"):
        (tmp_path / "dimers" / f"{name}.xyz").write_text(geometry("water2"))
    (tmp_path / "t.xyz").write_text(geometry("water2") + geometry("water4"))
    return tmp_path


@pytest.fixture
def call(folder):
    return partial(autotune, "run", cwd=folder)


@pytest.fixture
def refused(in_process, folder):
    return partial(in_process, "run", cwd=folder)


def test_a_folder_gets_a_result_for_each_input_by_its_name(call, tmp_path):
    status, output, said = call("dimers", "t.xyz", *GFN, "-o", "out", "--csv", "t.csv", "--record", "r.json")
    assert (status, output) == (0, "")
    names = ["dimers/a", "dimers/b", "t-0001", "t-0002"]
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == [
        f"{name}.json" for name in names
    ]
    for name in names:
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["success"] is True
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert [(row["input"], row["bsse"], row["nbody"], row["total_hartree"]) for row in rows] == [
        *((name, "nocp", "2", "-20.0") for name in names[:3]),
        (names[3], "nocp", "2", "-40.0"),
    ]
    lines = said.splitlines()
    assert lines[0].startswith("4 inputs with 13 distinct tasks: 3 × (2 fragments: 2 H2O; ")
    assert [line.split() for line in lines if line.startswith("dimers/b")] == [
        ["dimers/b", "nocp", "2", "-20.00000000", "0.00000000", "0.000"]
    ]
    assert lines[-1].startswith("13 tasks in ")
    assert json_files.load_run(tmp_path / "r.json").tasks == 13


@pytest.mark.parametrize("target", [(), ("-o", "all.jsonl")])
def test_json_lines_have_a_line_for_each_input(call, tmp_path, target):
    (tmp_path / "dimers" / "c.xyz").write_text("3\n\nO 0 0 0\n")
    status, output, said = call("dimers", *GFN, *target)
    assert status == 1
    lines = map(json.loads, (output or (tmp_path / "all.jsonl").read_text()).splitlines())
    found = {line["name"]: line for line in lines}
    assert sorted(found) == ["dimers/a", "dimers/b", "dimers/c"]
    assert found["dimers/a"]["result"]["schema_name"] == "qcschema_many_body_result"
    assert found["dimers/c"]["error"]["kind"] == "InputError"
    assert f"1 of 3 inputs failed: dimers/c: {found['dimers/c']['error']['message']}" in said


def test_of_an_input_that_fails_the_finished_components_are_kept_and_an_earlier_result_is_named(call, tmp_path):
    (tmp_path / "out" / "dimers").mkdir(parents=True)
    (tmp_path / "out" / "dimers" / "a.json").write_text("{}")
    keywords = json.dumps({"at": [6]})
    status, _, said = call(
        "dimers/a.xyz", "t.xyz", "--program", "faulty", "--method", "raise", "--keywords", keywords, "-o", "out"
    )
    assert status == 1
    assert "out/dimers/a.json is of an earlier run, not of this one" in said
    partial = json.loads((tmp_path / "out" / "dimers" / "a.json.partial").read_text())
    assert (len(partial["done"]), len(partial["failed"])) == (2, 1)
    assert "go on from there" in said or "goes on from there" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("dimers -o t.xyz", "t.xyz is a file; give the results of several inputs a folder, or a name in .jsonl"),
        ("dimers -o r.json", "r.json holds one result; give those of several inputs a folder, or a name in .jsonl"),
        ("dimers -o dimers", "dimers is the folder of the inputs; name another one for the results"),
        ("dimers -o x.jsonl --csv x.jsonl", "x.jsonl is named for two different things; give each its own file"),
        (
            "dimers -o out --csv out/dimers/a.json",
            "out/dimers/a.json cannot be written: there is no folder out/dimers",
        ),
        ("dimers/a.xyz nowhere.xyz -o out", "nowhere.xyz cannot be read: no such file; check the path"),
        (
            "dimers dimers/a.xyz -o out",
            "two inputs would be 'dimers/a' (dimers/a.xyz and dimers/a.xyz); rename one, or give paths from above",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(refused, tmp_path, arguments, words):
    assert refused(*arguments.split(), *GFN) == (2, "", f"autotune: {words}\n")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_results_never_replace_inputs(refused, tmp_path, faulty):
    text = json.dumps(faulty("water2"))
    for name in ("x", "y"):
        (tmp_path / f"{name}.json").write_text(text)
    status, _, said = refused("x.json", "y.json", "-o", ".")
    assert (status, said) == (2, "autotune: x.json is an input; name another folder for the results\n")
    assert (tmp_path / "x.json").read_text() == text


def test_one_input_from_a_pipe_is_read_once(call, tmp_path, faulty):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=[json.dumps(faulty("water2"))], daemon=True)
    writer.start()
    status, output, errors = call("pipe", "--quiet")
    assert status == 0, errors
    assert json.loads(output)["success"]


def test_where_no_input_can_be_computed_it_is_bad_input_and_replaces_no_file_of_lines(refused, tmp_path):
    (tmp_path / "all.jsonl").write_text("before\n")
    status, _, said = refused("dimers", "--program", "faulty", "--method", "unheard-of", "-o", "all.jsonl")
    assert status == 2
    assert "autotune: 2 of 2 inputs failed: dimers/a and dimers/b: fragment " in said
    assert "Traceback" not in said
    assert (tmp_path / "all.jsonl").read_text() == "before\n"
