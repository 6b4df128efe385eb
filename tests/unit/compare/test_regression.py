"""What two sides' times say: verdicts, the family of them, energies, machines, and how it is written down."""

from __future__ import annotations

import json
import math
import random
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace

import pytest

from autotune.compare.judgement import Noise
from autotune.compare.regression import ENERGY_TOLERANCE_HARTREE, judge
from autotune.compare.samples import Sample
from autotune.reports.regressions import headline, junit, markdown, table


def samples(times_s, workload="water", *, energy=-76.0, machine="here", content="w", source="f"):
    return [
        Sample(
            workload=workload,
            content=content,
            wall_s=time_s,
            energy_hartree=energy,
            machine=machine,
            created=f"2026-11-{day:02d}T00:00:00+00:00",
            source=source,
        )
        for day, time_s in enumerate(times_s, start=1)
    ]


def noisy(mean_s, count, *, cv=0.02, seed=0):
    generator = random.Random(seed)
    return [mean_s * math.exp(generator.gauss(0.0, cv)) for _ in range(count)]


def only(found):
    (row,) = found.rows
    return row


# --- one workload -----------------------------------------------------------------------------------------------------


STEADY, AGREE = noisy(10.0, 10), [10.0] * 3
KNOWN = Noise(cv=0.02, freedom=20)
WEATHER = [1.0, 2.0, 0.7, 1.5, 3.0, 1.1, 0.9, 2.2]
SWAYED = [10.0 * w for w in WEATHER], [11.5 * w for w in WEATHER]


@pytest.mark.parametrize(
    ("base", "head", "options", "verdict", "status"),
    [
        (STEADY, noisy(11.0, 10, seed=1), {}, "slower", 1),
        (STEADY, noisy(9.0, 10, seed=1), {}, "faster", 0),
        (STEADY, noisy(10.0, 10, seed=1), {}, "same", 0),
        ([10.0, 10.001, 9.999] * 4, [10.3, 10.301, 10.299] * 4, {"threshold": 0.05}, "same", 0),
        ([10.0, 10.001, 9.999] * 4, [10.3, 10.301, 10.299] * 4, {"threshold": 0.0}, "slower", 1),
        # With known noise one run a side is enough, and times that happen to agree scatter at least as much.
        ([10.0], [20.0], {"noise": KNOWN}, "slower", 1),
        ([10.0], [10.2], {"noise": KNOWN}, "cannot tell", 3),
        (AGREE, [10.6] * 3, {}, "slower", 1),
        (AGREE, [10.6] * 3, {"noise": Noise(cv=0.1, freedom=20)}, "cannot tell", 3),
        # Runs that were measured in turn are compared in pairs.
        (*SWAYED, {}, "cannot tell", 3),
        (*SWAYED, {"paired": True}, "slower", 1),
    ],
)
def test_a_workload_is_slower_faster_or_the_same_as_far_as_its_times_can_tell(base, head, options, verdict, status):
    found = judge(samples(base), samples(head), **options)
    row = only(found)
    assert (row.verdict, found.status) == (verdict, status)
    assert (row.base_runs, row.head_runs) == (len(base), len(head))
    assert row.low < row.change < row.high


def test_what_noise_hides_cannot_be_told_and_the_change_that_would_have_shown_is_said():
    found = judge(samples(noisy(10.0, 4, cv=0.2)), samples(noisy(10.5, 4, cv=0.2, seed=1)))
    row = only(found)
    assert (row.verdict, found.status) == ("cannot tell", 3)
    assert row.detectable > 0.2
    assert f"a change of {row.detectable:.1%} would have shown" in table(found)


def test_one_run_a_side_shows_nothing_and_the_cure_is_said():
    found = judge(samples([10.0]), samples([20.0]))
    row = only(found)
    assert (row.verdict, row.low, row.high, row.detectable) == ("cannot tell", None, None, None)
    assert "give several, or the noise of equal runs" in row.note


# --- the family -------------------------------------------------------------------------------------------------------


def test_with_noise_alone_at_most_one_family_of_twenty_has_a_false_alarm():
    alarms = 0
    for seed in range(200):
        base, head = [], []
        for number in range(8):
            base += samples(noisy(10.0, 5, cv=0.05, seed=1000 * seed + number), f"w{number}")
            head += samples(noisy(10.0, 5, cv=0.05, seed=1000 * seed + 500 + number), f"w{number}")
        rows = judge(base, head, threshold=0.0).rows
        alarms += any(row.verdict in ("faster", "slower") for row in rows)
    # 5 % of 200 are 10; more than 18 would be seen once in a hundred times.
    assert alarms <= 18


def test_a_difference_that_would_count_alone_may_be_chance_among_many_workloads():
    suspect = noisy(10.0, 5, cv=0.03, seed=3), noisy(10.8, 5, cv=0.03, seed=4)
    alone = judge(samples(suspect[0]), samples(suspect[1]))
    base = samples(suspect[0]) + [s for n in range(30) for s in samples(noisy(5.0, 5, seed=n), f"w{n}")]
    head = samples(suspect[1]) + [s for n in range(30) for s in samples(noisy(5.0, 5, seed=99 + n), f"w{n}")]
    among = next(row for row in judge(base, head).rows if row.workload == "water")
    assert only(alone).verdict == "slower"
    assert among.p_value > only(alone).p_value
    assert among.detectable > only(alone).detectable


def test_one_slower_workload_is_found_among_many_that_are_not():
    base = [s for n in range(10) for s in samples(noisy(5.0, 10, seed=n), f"w{n}")]
    head = [s for n in range(10) for s in samples(noisy(5.0 if n else 6.0, 10, seed=99 + n), f"w{n}")]
    found = judge(base, head)
    assert [row.workload for row in found.rows if row.verdict == "slower"] == ["w0"]
    assert headline(found) == "REGRESSION: of 10 workloads, 9 same, 1 slower"


# --- what is no matter of statistics ----------------------------------------------------------------------------------


def test_a_changed_energy_is_loud_even_where_times_are_the_same():
    base, head = samples(noisy(10.0, 10)), samples(noisy(10.0, 10, seed=1), energy=-76.0 + 1e-6)
    found = judge(base, head)
    row = only(found)
    assert row.energy_changed
    assert row.energy_change_hartree == pytest.approx(1e-6)
    assert (row.verdict, found.status) == ("same", 1)
    for text in (table(found), markdown(found)):
        assert "ENERGIES CHANGED in 1" in text
        assert "the energy changed by +1.0e-06 Eh" in text


def test_one_wrong_energy_among_many_runs_is_found_and_none_that_differs_as_programs_repeat_them():
    for energy, changed in ((-75.0, True), (-76.0 + ENERGY_TOLERANCE_HARTREE / 2, False)):
        head = samples(noisy(10.0, 9, seed=1)) + samples([10.0], energy=energy)
        assert only(judge(samples(noisy(10.0, 10)), head)).energy_changed is changed


def test_other_work_under_the_same_name_is_not_compared():
    found = judge(samples([10.0] * 5), samples([5.0] * 5, content="other"))
    assert only(found).verdict == "cannot tell"
    assert "the work is not the same" in only(found).note


def test_works_of_one_name_are_told_apart_by_their_digests():
    prism, ring = "aaaaaaaa11", "bbbbbbbb22"
    base = samples(noisy(10.0, 9), content=prism) + samples(noisy(20.0, 9, seed=1), content=ring, energy=-75.0)
    head = samples(noisy(10.0, 9, seed=2), content=prism) + samples(noisy(26.0, 9, seed=3), content=ring, energy=-75.0)
    found = judge(base, head)
    assert {row.workload: row.verdict for row in found.rows} == {
        "water [aaaaaaaa]": "same",
        "water [bbbbbbbb]": "slower",
    }
    assert not any(row.energy_changed for row in found.rows)
    gone = {row.workload: row.verdict for row in judge(base, head[:9]).rows}
    assert gone == {"water [aaaaaaaa]": "same", "water [bbbbbbbb]": "missing"}


@pytest.mark.parametrize(("energy", "words"), [(math.nan, "an energy is not a number"), (None, "HEAD has no energy")])
def test_an_energy_that_is_no_number_any_more_is_loud(energy, words):
    found = judge(samples([10.0] * 5), samples([10.0] * 5, energy=energy))
    assert (only(found).energy_changed, found.status) == (True, 1)
    assert only(found).energy_change_hartree is None
    assert words in table(found)
    assert (
        judge(samples([10.0] * 5, energy=None), samples([10.0] * 5)).status == 0
    )  # where there was none, none is missed


def test_times_of_different_machines_are_not_compared_unless_asked_for():
    base, head = samples([10.0, 10.1] * 3), samples([5.0, 5.1] * 3, machine="there")
    found = judge(base, head)
    assert (only(found).verdict, found.status) == ("cannot tell", 3)
    assert only(found).note == "measured on different machines: here, there"
    assert only(judge(base, head, any_machine=True)).verdict == "faster"


def test_a_workload_that_is_missing_cannot_be_told_and_a_new_one_is_only_said():
    base = samples([10.0] * 5) + samples([10.0] * 5, "gone")
    head = samples([10.0] * 5) + samples([10.0] * 5, "added")
    found = judge(base, head)
    assert {row.workload: row.verdict for row in found.rows} == {"water": "same", "gone": "missing", "added": "new"}
    assert found.status == 3
    assert judge(samples([10.0] * 5), head).status == 0
    for base in (samples([10.0] * 5, "other"), []):  # nothing is in both
        assert judge(base, samples([10.0] * 5)).status == 3


# --- how it is written ------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed():
    base = samples(noisy(10.0, 10)) + samples([1.0] * 5, "gone") + samples(noisy(0.02, 4, cv=0.5), "noise")
    head = (
        samples(noisy(13.0, 10, seed=1))
        + samples([1.0] * 5, "fresh")
        + samples(noisy(0.02, 4, cv=0.5, seed=1), "noise")
    )
    return judge(base, head, names=("before", "after"))


def test_table_and_markdown_have_a_line_for_each_workload_the_table_with_a_mark_that_needs_no_colour(mixed):
    lines = table(mixed).splitlines()
    assert lines[0] == "REGRESSION: of 4 workloads, 1 slower, 1 cannot tell, 1 missing, 1 new"
    marks = {line[0]: line.split()[1] for line in lines[2:] if line[:2] in ("! ", "? ")}
    assert marks["!"] == "water"
    assert "before → after, as recorded" in lines[-1]
    rows = [line for line in markdown(mixed).splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(mixed.rows)
    assert rows[1].startswith("| water | **slower** | ")


def test_what_next_to_no_runs_could_have_shown_is_said_without_digits_that_say_nothing():
    found = judge(samples([0.6, 0.9]), samples([0.4]), noise=Noise(cv=0.03, freedom=5))
    assert "to over +1000%)" in table(found)
    assert "not even a change of 1000% would have shown" in table(found)


def test_junit_has_a_case_for_each_workload_failures_for_slower_and_skips_for_what_cannot_be_told(mixed):
    suite = ET.fromstring(junit(mixed).partition("\n")[2])
    assert suite.attrib | {"name": ""} == {"name": "", "tests": "4", "failures": "1", "skipped": "2", "errors": "0"}
    outcome = {case.get("name"): [child.tag for child in case] for case in suite}
    assert outcome == {
        "water": ["failure", "system-out"],
        "noise": ["skipped", "system-out"],
        "gone": ["skipped", "system-out"],
        "fresh": ["system-out"],
    }


@pytest.mark.parametrize(
    "name", ["a|b", "x\ny", "<script>alert(1)</script>", "**bold** `code`", "\x1b[31mred\x00", "]]>&", "half \ud800"]
)
def test_a_name_cannot_change_what_it_stands_in_and_the_whole_answer_is_json(mixed, name):
    found = replace(mixed, rows=tuple(replace(row, workload=name) for row in mixed.rows))
    rows = [line for line in markdown(found).splitlines() if line.startswith("| ")]
    assert len(rows) == 5
    assert all(row.replace(r"\|", "").count("|") == 6 for row in rows)
    assert "<script>" not in markdown(found)
    assert len(ET.fromstring(junit(found).partition("\n")[2])) == 4
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["rows"][0]["verdict"] == "slower"
    assert len(table(found).splitlines()) == len(table(mixed).splitlines())
    assert all(letter.isprintable() for line in table(found).splitlines() for letter in line)
    table(found).encode()
