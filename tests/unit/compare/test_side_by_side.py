"""`autotune regress --exec`: two installations or tunings in turn on this machine; and the command's outputs."""

from __future__ import annotations

import json
import stat
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from commands import autotune
from damage import run_record

from autotune.base import json_files
from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.compare import side_by_side
from autotune.session.session import Session

SLOWER_S = 12.0  # more than runs of a second scatter on a busy machine


def call(*arguments, cwd=None, **environment):
    return autotune("regress", *arguments, cwd=cwd, environment=environment, timeout_s=280)


@pytest.fixture
def workload(tmp_path, faulty):
    path = tmp_path / "two.json"
    path.write_text(json.dumps(faulty("water2", max_nbody=1)))
    return path


@pytest.fixture
def slow_python(tmp_path):
    """Return a Python whose autotune takes seconds longer for each run."""
    path = tmp_path / "slow-python"
    path.write_text(f'#!/bin/sh\ncase "$*" in *" run "*) sleep {SLOWER_S};; esac\nexec {sys.executable} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.programs("pyscf")  # a minute and a half, most of it asleep
def test_seconds_more_are_found_between_two_installations_and_written_everywhere(tmp_path, workload, slow_python):
    files = {name: tmp_path / f"out.{name}" for name in ("md", "xml", "svg")}
    status, output, errors = call(
        "--exec", sys.executable, slow_python, "--workload", workload, "--pairs", 4,
        "--markdown", files["md"], "--junit", files["xml"], "--picture", files["svg"],
    )  # fmt: skip
    assert status == 1, errors
    assert output.startswith("REGRESSION: of 1 workload, 1 slower")
    assert len([line for line in errors.splitlines() if line.startswith("pair ")]) == 4
    assert "**slower**" in files["md"].read_text()
    assert ET.fromstring(files["xml"].read_text().partition("\n")[2]).get("failures") == "1"
    assert "<svg" in files["svg"].read_text()


@pytest.mark.programs("pyscf")
def test_a_side_against_itself_is_not_slower(workload):
    status, output, _ = call("--exec", "none", "none", "--workload", workload, "--pairs", 2, "--json")
    found = json.loads(output)
    assert status in (0, 3)
    assert found["rows"][0]["verdict"] in ("same", "cannot tell")
    assert found["rows"][0]["energy_change_hartree"] == 0.0
    assert found["paired"]


SIDES = [side_by_side.Contender(name=name, python="p") for name in "ab"]


def sample(wall_s, workload="w"):
    return side_by_side.Sample(workload=workload, wall_s=wall_s, machine="", created="", source="")


def test_the_number_of_pairs_follows_from_the_scatter_of_the_first_ones_whoever_they_favour():
    def wanted(others_s, threshold):
        steady_s = [10.0, 10.01, 9.99, 10.0, 10.02]
        return side_by_side._pairs_wanted(list(map(sample, steady_s)), list(map(sample, others_s)), threshold)

    wild_s = [10.0, 14.0, 8.0, 12.0, 9.0]
    assert wanted([10.02, 10.0, 9.99, 10.01, 10.0], 0.05) == side_by_side.PILOT_PAIRS
    assert wanted(wild_s, 0.05) == side_by_side.MOST_PAIRS
    assert wanted([2 * wall_s for wall_s in wild_s], 0.3) == wanted(wild_s, 0.3)


def test_both_sides_run_once_before_anything_counts_and_then_in_turn(monkeypatch):
    ran = []

    def run(side, workload):
        ran.append((side.name, workload[0]))
        return sample(1.0 + len(ran) / 1e4, workload[0])

    monkeypatch.setattr(side_by_side, "_run", run)
    base, head = side_by_side.measure(SIDES, [["x"], ["y"]], pairs=3)
    assert ran[:4] == [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    assert (len(base), len(head)) == (6, 6)
    for first, second in zip(ran[4::2], ran[5::2], strict=True):
        assert {first[0], second[0]} == {"a", "b"}
        assert first[1] == second[1]
    assert [{name for _, name in ran[4 + 4 * n : 8 + 4 * n]} for n in range(3)] == [{"x", "y"}] * 3


def test_the_pilot_decides_how_many_pairs_there_are_and_is_not_among_them(monkeypatch):
    walls = iter([1.0, 1.0] + [9.0, 9.1] * 5 + [1.0, 1.001] * 5)
    said = []
    monkeypatch.setattr(side_by_side, "_run", lambda *_: sample(next(walls)))
    base, head = side_by_side.measure(SIDES, [["x"]], say=said.append)
    assert (len(base), len(head)) == (side_by_side.LEAST_PAIRS, side_by_side.LEAST_PAIRS)
    assert max(each.wall_s for each in (*base, *head)) < 2.0
    assert [line.partition(",")[0] for line in said] == [
        f"{kind} {n} of 5" for kind in ("pilot pair", "pair") for n in range(1, 6)
    ]


def test_a_virtual_environment_is_a_side(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    with pytest.raises(InputError, match="has no autotune"):
        # A link outside of any environment is the plain Python, which has nothing installed.
        side_by_side.contender(str(tmp_path))
    assert side_by_side.contender(sys.executable).python == sys.executable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "is neither a tuning file, a Python, a virtual environment"),
        ("", "is no virtual environment: it has no bin/python"),
        ("t.json", "has schema"),
        ("data", "is not a program that may be run"),
    ],
)
def test_what_is_no_side_is_refused_in_one_line(tmp_path, name, words):
    for other in ("t.json", "data"):
        (tmp_path / other).write_text("{}")
    with pytest.raises(InputError, match=words):
        side_by_side.contender(str(tmp_path / name))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a comparison needs BASE and HEAD, and 0 were given"),
        (("one.json",), "a comparison needs BASE and HEAD, and 1 were given"),
        (("none.json", "none.json"), "none.json cannot be read"),
        (("--exec", "none", "none"), "--exec needs something to run"),
        (("--exec", "none", "none", "--workload", "none.xyz"), "none.xyz cannot be read"),
        (("--history", ".", "a", "b"), "--history takes the place of BASE"),
        (("--history", "."), ". has no run record"),
        (("--threshold", "much", "a", "b"), "'much' is no share; give one such as 5% or 0.05"),
        (("--markdown", "no/such/place.md", "a", "b"), "there is no folder"),
        (("--history", ".", "--markdown", "x.md"), "--markdown is written of a comparison; give HEAD besides"),
        (("--exec", "none", "none", "--workload", "x", "--noise", "3%"), "--exec measures the noise itself"),
        (("--pairs", "3", "a", "b"), "--pairs says what --exec runs; give --exec, or leave it out"),
        (("a.json", "b.json", "--junit", "a.json"), "a.json is what this command reads"),
        (("a", "b", "--junit", "x", "--markdown", "x"), "x is named for two different things"),
        (("a", "b", "--confidence", "1.5"), "'1.5' is no share; give one such as 5% or 0.05; see `autotune regress"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2(tmp_path, arguments, words):
    status, output, errors = call(*arguments, cwd=tmp_path)
    assert (status, output) == (2, "")
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_records_before_and_after_are_compared_with_the_history_and_without(tmp_path, faulty):
    before, after = tmp_path / "before", tmp_path / "after"
    with Session(Options(journal="none")) as session:
        for folder, count in ((before, 4), (after, 3)):
            folder.mkdir()
            for number in range(count):
                session.run(faulty("water2", max_nbody=1))
                json_files.save_run(session.record, folder / f"{number}.json")
    status, output, _ = call(before, after, "--json")
    (row,) = json.loads(output)["rows"]
    assert status in (0, 1, 3)
    assert (row["base_runs"], row["head_runs"]) == (4, 3)
    assert row["energy_change_hartree"] == 0.0
    _, output, _ = call(after, "--history", before, "--picture", tmp_path / "h.png")
    assert "4 records, now at" in output
    assert (tmp_path / "h.png").stat().st_size > 5000


def test_records_steadier_than_the_noise_that_was_given_are_compared(tmp_path):
    status, output, errors = call(*records(tmp_path, [10.0] * 5, [10.3] * 5), "--noise", "3%")
    assert (status, errors) == (3, "")
    assert output.startswith("CANNOT TELL: of 1 workload, 1 cannot tell")
    assert call(*records(tmp_path, [10.0] * 5, [14.0] * 5), "--noise", "3%")[0] == 1


def test_records_that_a_folder_has_and_cannot_count_are_said(tmp_path):
    base, head = records(tmp_path, [10.0] * 3, [10.0] * 3)
    (head / "broken.json").write_text("{")
    status, output, errors = call(base, head)
    fault = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    assert status in (0, 3)
    assert "(3) →" in output
    assert errors == f"left out: {head / 'broken.json'} is not valid JSON ({fault})\n"


def records(folder, base_s, head_s):
    """Return two folders with run records of these times."""
    made = run_record()
    done = tuple(task for task in made.task_records if task.status == "done")
    for name, times_s in (("base", base_s), ("head", head_s)):
        (folder / name).mkdir(exist_ok=True)
        for number, wall_s in enumerate(times_s):
            created = f"2026-11-01T00:00:0{number}+00:00"  # equal ones would be copies of one measurement
            one = replace(made, task_records=done, wall_s=wall_s, created=created)
            json_files.save_run(one, folder / name / f"{number}.json")
    return folder / "base", folder / "head"
