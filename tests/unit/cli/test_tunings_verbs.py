"""`autotune tunings`: whole outputs, and nothing removed or replaced that was not named."""

from __future__ import annotations

import dataclasses
import json
import os
import re

import pytest
from click.testing import CliRunner
from tuning_factory import make_tuning

from autotune.base.errors import AutotuneError
from autotune.cli import main
from autotune.machine import detection
from autotune.tunings import folders, library

KEY = detection.detect().key
OTHER = dataclasses.replace(detection.detect(), key="another-processor-64c-256g")
LATER = "2027-01-01T00:00:00+00:00"


def call(*arguments, stdin=""):
    """Return what a command prints, where it ends well."""
    done = CliRunner().invoke(main.cli, ["tunings", *map(str, arguments)], input=stdin)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def refusal(*arguments):
    """Return the one line a command refuses with."""
    with pytest.raises(AutotuneError) as caught:
        call(*arguments)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()
    return str(caught.value)


def methods():
    return sorted(str(found.method) for _, found in folders.everything())


def test_the_list_has_a_line_for_each_tuning_and_each_file_that_cannot_be_used_and_as_json_the_same_facts():
    hf = library.save(make_tuning())
    mp2 = library.save(make_tuning(method="mp2", verdict="same", program_version="2.6.1"))
    bad = mp2.with_name("bad.json")
    bad.write_text("{")
    heading, first, second, problem = call("list").splitlines()
    assert re.split(r"  +", heading) == ["machine", "method", "found", "created", "program", "file"]
    found = "1.27× the default's speed (95 % interval 1.10 to 1.40)"
    assert re.split(r"  +", first) == [KEY, "pyscf hf/6-31g* energy", found, "2026-11-25", "pyscf 2.14.0", str(hf)]
    assert "  the default is kept: nothing was shown to be faster in 3 trials  2026-11-25  pyscf 2.6.1  " in second
    assert problem.startswith(f"not used: {bad} is not valid JSON")
    listed = json.loads(call("list", "--json"))
    (found,) = listed["problems"]
    assert (found["file"], found["problem"][: len(str(bad))]) == (str(bad), str(bad))
    assert listed["tunings"][0] == {
        "machine": KEY,
        "method": "pyscf hf/6-31g* energy",
        "verdict": "faster",
        "speed_up": 1.27,
        "interval": [1.1, 1.4],
        "created": "2026-11-25T00:00:00+00:00",
        "verified": "",
        "program": "pyscf",
        "program_version": "2.14.0",
        "file": str(hf),
    }
    assert [each["file"] for each in listed["tunings"]] == [str(hf), str(mp2)]


def test_an_empty_list_says_what_to_do():
    assert call("list") == "no tunings yet; run `autotune calibrate`\n"
    assert json.loads(call("list", "--json")) == {"tunings": [], "problems": []}


def test_a_tuning_is_shown_in_words_by_file_or_by_words_of_its_method_and_as_json_that_is_a_file(tmp_path):
    path, copy = library.save(make_tuning()), tmp_path / "copy.json"
    library.save(make_tuning(method="mp2"))
    by_words = call("show", "hf/6-31g*")
    assert by_words == call("show", path)
    assert "pyscf hf/6-31g* energy" in by_words
    assert "adaptive_workers.per_core" in by_words
    copy.write_text(call("show", "hf", "--json"))
    assert library.load(copy) == (make_tuning(),)


def test_a_text_that_names_several_tunings_or_none_is_refused_with_what_there_is():
    for basis in ("sto-3g", "6-31g*"):
        library.save(make_tuning(basis=basis))
    library.save(make_tuning(machine=OTHER, method="mp2"))
    assert refusal("show", "hf") == (
        "'hf' names 2 tunings of this machine, say more of one: pyscf hf/6-31g* energy; pyscf hf/sto-3g energy"
    )
    assert refusal("show", "mp2") == "no tuning of this machine is of 'mp2'; `autotune tunings list` shows all"
    assert refusal("show", "mp2.json") == "mp2.json cannot be read: No such file or directory"


def test_a_diff_says_field_by_field_what_differs_and_nothing_else(tmp_path):
    before = make_tuning()
    law = dataclasses.replace(before.law, seconds={term: 2 * s for term, s in before.law.seconds.items()})
    after = dataclasses.replace(
        make_tuning(parameters={"hybrid.width": 2}, created=LATER, program_version="2.15.0", law=law, speed_up=1.5)
    )
    paths = [library.save(before, tmp_path / "a.json"), library.save(after, tmp_path / "b.json")]
    lines = call("diff", *paths).splitlines()
    assert lines[:2] == [
        f"A: pyscf hf/6-31g* energy of {KEY}, 2026-11-25",
        f"B: pyscf hf/6-31g* energy of {KEY}, 2027-01-01",
    ]
    assert [line for line in lines[2:] if "law" not in line] == [
        "  parameters.adaptive_workers.per_core: 2 -> default",
        "  parameters.hybrid.widen: False -> default",
        "  parameters.hybrid.width: default -> 2",
        "  speed_up: 1.27 -> 1.5",
        "  program_version: 2.14.0 -> 2.15.0",
        "  created: 2026-11-25T00:00:00+00:00 -> 2027-01-01T00:00:00+00:00",
        "  an operation takes 2.00 times as long in B as in A",
    ]
    (found,) = json.loads(call("diff", *paths, "--json"))
    assert found["differences"]["parameters.hybrid.width"] == [None, 2]
    assert found["law_scale"] == pytest.approx(2.0)
    assert call("diff", paths[0], paths[0]).splitlines()[2:] == ["  they are the same"]


def test_files_of_several_tunings_are_compared_method_by_method(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    library.export([make_tuning(), make_tuning(method="mp2")], paths[0])
    library.export([make_tuning(method="mp2", created=LATER), make_tuning(method="ccsd")], paths[1])
    assert call("diff", *paths).splitlines()[0] == f"A: pyscf mp2/6-31g* energy of {KEY}, 2026-11-25"
    library.export([make_tuning(method="ccsd")], paths[1])
    assert refusal("diff", *paths) == (
        "A and B have no method in common: A has pyscf hf/6-31g* energy, pyscf mp2/6-31g* energy;"
        " B has pyscf ccsd/6-31g* energy"
    )


def test_what_is_exported_is_imported_elsewhere_and_what_is_there_and_newer_is_left(tmp_path, monkeypatch):
    for method in ("hf", "mp2", "ccsd"):
        library.save(make_tuning(method=method))
    out = tmp_path / "ours.json"
    assert call("export", "hf", "mp2", "-o", out) == (
        f"exported pyscf hf/6-31g* energy of {KEY}\nexported pyscf mp2/6-31g* energy of {KEY}\n"
    )
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "elsewhere"))
    present = library.save(make_tuning(created=LATER))
    said = call("import", out).splitlines()
    assert said == [
        f"left: pyscf hf/6-31g* energy of {KEY}, created 2026-11-25, not newer than what is in {present}",
        f"taken: pyscf mp2/6-31g* energy of {KEY}, created 2026-11-25, into {present.with_name('pyscf-mp2.json')}",
    ]
    assert methods() == ["pyscf hf/6-31g* energy", "pyscf mp2/6-31g* energy"]


def test_what_is_imported_for_the_site_serves_all_users_who_cannot_write_it(tmp_path, monkeypatch):
    out, share = tmp_path / "ours.json", tmp_path / "new" / "share"
    library.export([make_tuning(), make_tuning(method="mp2")], out)
    monkeypatch.setenv("XDG_DATA_DIRS", f"{share}:/usr/share")
    before = os.umask(0o077)
    try:
        said = call("import", "--site", out)
    finally:
        os.umask(before)
    kept = share / "autotune" / "tunings" / KEY
    assert f"into {kept / 'pyscf-hf.json'}" in said
    assert not folders.home().exists()
    assert methods() == ["pyscf hf/6-31g* energy", "pyscf mp2/6-31g* energy"]
    for path in (*kept.iterdir(), kept, *kept.parents[: kept.parents.index(tmp_path)]):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    assert library.of_machine(detection.detect())[0][1].is_relative_to(share)
    assert "is not in your folder" in refusal("remove", "--yes", "hf")
    assert call("import", "--site", out).count("left: ") == 2


def test_importing_a_damaged_file_changes_nothing(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"schema": "autotune.tunings/1"}')
    assert refusal("import", bad) == f"{bad}: field machine: Field required; restore or remove the file"
    assert methods() == []


def test_files_are_merged_into_one(tmp_path):
    one, other, out = (tmp_path / f"{name}.json" for name in ("one", "other", "out"))
    library.save(make_tuning(), one)
    library.save(make_tuning(created=LATER), other)
    library.save(make_tuning(machine=OTHER), other)
    call("merge", one, other, "-o", out)
    assert sorted((tuning.machine.key, tuning.created[:4]) for tuning in library.load(out)) == sorted(
        [(KEY, "2027"), (OTHER.key, "2026")]
    )
    assert methods() == []


def test_a_tuning_is_removed_after_a_question_and_without_one_where_it_is_told():
    for basis in ("sto-3g", "6-31g*"):
        library.save(make_tuning(basis=basis))
    assert call("remove", "sto-3g", stdin="n\n") == "nothing was removed\n"
    nobody = "nobody answered on standard input; give --yes to remove it without a question"
    assert refusal("remove", "sto-3g") == nobody
    assert len(methods()) == 2
    assert call("remove", "sto-3g", stdin="y\n") == f"removed pyscf hf/sto-3g energy of {KEY}\n"
    assert methods() == ["pyscf hf/6-31g* energy"]
    call("remove", "hf", "--yes")
    assert methods() == []


def test_words_name_what_a_run_would_find_also_in_a_job_with_a_part_of_the_node():
    here = detection.detect()
    whole = dataclasses.replace(here, key="some-cpu-64c-256g", cores=64, memory_gib=256.0)
    part = dataclasses.replace(here, key="some-cpu-16c-64g", cores=16, memory_gib=64.0)
    for machine in (whole, part):
        library.save(make_tuning(machine=machine))
        (found,) = library.of_processor(part)
        assert found[0].machine == machine


def test_a_file_is_removed_with_all_its_tunings(tmp_path):
    path = tmp_path / "tunings.json"
    library.export([make_tuning(), make_tuning(method="mp2")], path)
    assert len(call("remove", path, "--yes").splitlines()) == 2
    assert not path.exists()
