"""What a report says of a run is true, looks the same in every form, and nothing in a record can harm it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import sqlite3
import statistics
import struct
import tomllib
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest
import run_factory as made
from click.testing import CliRunner
from commands import autotune
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import ROOT
from run_factory import filled, task

from autotune.base import json_files
from autotune.base.errors import AutotuneError, InputError
from autotune.base.records import NBodyEnergies, Term
from autotune.base.text import percent, seconds
from autotune.cli.main import cli
from autotune.expansion.expansion import Expansion
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE
from autotune.expansion.readers import many_body_fields
from autotune.plugin.hookspecs import hookimpl
from autotune.plugin.manager import Manager
from autotune.reports import content, figures, html_page, markdown_page, run_pictures
from autotune.reports.advice import GOOD_EFFICIENCY, advice
from autotune.reports.facts import levels, predictions
from autotune.reports.files import changes
from autotune.reports.losses import losses
from autotune.reports.panels import PANELS
from autotune.reports.sentences import task_name
from autotune.reports.timeline import MOST_BARS, MOST_LANES, timeline

MOST_BYTES = 2 * 10**6
WELL = [task(0, start=0.01, wall=10), task(1, start=0.01, wall=9.9)]
STARTS_LATE = [task(0, start=5, wall=5), task(1, start=5, wall=5)]
LONE_END = [task(0, start=0, wall=2), task(1, start=0, wall=10, nbody=3)]
LONGEST_LAST = [task(0, start=0, wall=4), task(1, start=0, wall=4), task(2, start=4, wall=6)]
PAUSES = [task(0, start=0, wall=6), task(1, start=6, wall=4), task(2, start=6, wall=4)]
UNTUNED = replace(made.TUNED, match="default", source="")
WIDE = made.run([task(n, start=5 * n, wall=5, width=2) for n in range(2)], lower_bound_s=8.0, efficiency=0.8)
SLEEP = {"method": "sleep", "max_nbody": 3, "seconds": 0.05}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a function that computes an input by the command line, and returns the file of the record."""
    folder = tmp_path_factory.mktemp("runs")

    def compute(name, *options, program="faulty", method="nothing", basis="", max_nbody=2, **keywords):
        text = (files("autotune.studies") / "workloads" / "water4.xyz").read_text()
        expansion = Expansion(program=program, method=method, basis=basis, max_nbody=max_nbody, keywords=keywords)
        source, record = folder / f"{name}-input.json", folder / f"{name}.json"
        source.write_text(json.dumps(many_body_fields(text, name="water4", expansion=expansion)))
        command = ("run", source, "-o", folder / "result.json", "--record", record, "--quiet", *options)
        autotune(*command, environment={"AUTOTUNE_HOME": folder})
        return json_files.load_run(record)

    return compute


@pytest.fixture(scope="module")
def slept(recorded):
    return recorded("slept", **SLEEP)


@pytest.fixture
def slept_file(slept, tmp_path):
    (tmp_path / "records").mkdir()
    json_files.save_run(slept, tmp_path / "records" / "slept.json")
    return tmp_path / "records" / "slept.json"


@pytest.fixture(scope="module")
def diverged(recorded):
    return recorded("diverged", method="diverge", at=[6])


@pytest.fixture(scope="module")
def computed(recorded):
    return recorded("computed", program="pyscf", method="hf", basis="sto-3g", max_nbody=3)


def reported(*runs, sections=()):
    return content.report([(f"run{n}.json", run) for n, run in enumerate(runs, 1)], sections=sections)


def of(run):
    return reported(run).runs[0]


def page(*runs, **options):
    return html_page.html(reported(*runs, **options))


VOID = ("meta", "link", "br", "hr")
KNOWN = set(
    re.findall(
        r"\w+",
        "html head meta link title style body main header footer article section div span p a h1 h2 h3 h4 ul ol li dl"
        " dt dd table thead tbody tr th td figure figcaption svg g defs desc path use text rect pattern clippath code"
        " pre strong em s small i br hr blockquote details summary",
    )
)


class Reader(HTMLParser):
    """Reads a page as strictly as a report deserves: every tag closed, nothing that runs, nothing from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.ids, self.titles = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in KNOWN, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in ("src", "href", "action", "xlink:href"):
                followed = tag == "a" and value.startswith(("http://", "https://", "mailto:"))
                assert followed or value.startswith("#") or value == "data:,", value
            if name == "id":
                assert value not in self.ids
                self.ids.append(value)
            if name == "aria-label":
                self.words.append(value)
        assert tag != "svg" or ("role", "img") in attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["title"] and "svg" in self.open:
            self.titles.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


# --- the numbers are those of the record ------------------------------------------------------------------------------


def test_the_cost_of_each_level_is_what_its_tasks_took(computed):
    tasks = [dataclasses.asdict(each) for each in computed.task_records]
    groups = defaultdict(list)
    for each in tasks:
        groups[each["nbody"]].append(each)
    total = sum(each["wall_s"] * each["width"] for each in tasks)
    found = levels(computed.task_records)
    assert [level.nbody for level in found] == [1, 2, 3]
    for level in found:
        some = groups[level.nbody]
        core_s = sum(each["wall_s"] * each["width"] for each in some)
        assert level.tasks == len(some)
        assert level.core_s == pytest.approx(core_s)
        assert level.share == pytest.approx(core_s / total)
        assert level.median_s == statistics.median(each["wall_s"] for each in some)
        assert level.peak_gib == max(each["peak_gib"] for each in some)


def test_errors_of_predictions_are_quantiles_of_the_ratios_of_measured_to_predicted_times(computed):
    ratios = [r.wall_s / r.predicted_s for r in computed.task_records]
    off = sorted(max(ratio, 1 / ratio) for ratio in ratios)
    found = predictions(computed.task_records)
    assert found.tasks == len(ratios) == 14
    assert 1 + found.median == pytest.approx(math.sqrt(off[6] * off[7]))
    assert 1 + found.quantile_90 == pytest.approx(off[11] ** 0.3 * off[12] ** 0.7)
    assert found.factor == pytest.approx(math.exp(statistics.median(map(math.log, ratios))))
    assert found.near == pytest.approx(sum(0.8 <= ratio <= 1.2 for ratio in ratios) / 14)
    worst = found.worst[0]
    assert max(worst.wall_s / worst.predicted_s, worst.predicted_s / worst.wall_s) == pytest.approx(off[-1])


@pytest.mark.parametrize("name", ["computed", "slept"])
def test_where_the_time_went_adds_up_to_the_wall_time(name, request):
    run = request.getfixturevalue(name)
    found = losses(run)
    assert [loss.useful for loss in found] == [True] + [False] * (len(found) - 1)
    assert sum(loss.share for loss in found) == pytest.approx(1.0, abs=0.03)  # less what is too little to be said
    useful_s = sum(each.width * each.wall_s for each in run.task_records) / run.machine.cores
    assert sum(loss.time_s for loss in found if loss.useful or "wide" in loss.name) == pytest.approx(useful_s, rel=0.01)


def test_a_report_says_in_every_form_what_ran_on_what_and_with_which_tuning(computed):
    run, report = computed, reported(computed)
    texts = Reader(html_page.html(report)).text, re.sub(r"\\(?=[*_\[\]|~$#`])", "", markdown_page.markdown(report))
    for words in (
        "H8O4 3-body, pyscf hf/sto-3g energy",
        f"{run.energy_hartree:.10f} Eh",
        run.machine.cpu_model,
        run.content,
        f"pyscf {run.versions['pyscf']}",
        "default: no tuning for pyscf on this machine",
        "autotune calibrate --program pyscf --method hf --basis sto-3g",
        "hybrid.width = 1",
        "Tasks that are predicted to take longest start first",
        f"{100 * run.efficiency:.0f} % of what",
        f"No schedule of these measured task times can end before {run.lower_bound_s:.2f} s",
        "no task ran yet: imports, planning, first processes",
        "Predicted against measured",
        "3-body",
        "What to change next",
    ):
        assert all(words in text for text in texts), words


def test_every_panel_is_in_every_form_and_one_that_only_draws_in_the_page(diverged):
    row = NBodyEnergies(bsse="nocp", nbody=1, method="pyscf hf/sto-3g", total_hartree=-75.0, returned="total")
    term = Term(
        bsse="nocp", nbody=2, fragments=(1, 2), distance_angstrom=2.0, contribution_hartree=-0.01, running_hartree=-0.01
    )
    report = reported(replace(diverged, energies=(row,), largest_terms=(term,)))
    page, text = Reader(html_page.html(report)).text, markdown_page.markdown(report)
    assert [panel.name for panel in PANELS if panel.title not in page] == []
    assert [panel.name for panel in PANELS if f"## {panel.title}\n" not in text] == ["timeline"]


def test_the_terms_that_contribute_most_are_shown_in_every_form(computed):
    terms = sorted(computed.largest_terms, key=lambda term: -abs(term.contribution_hartree))
    assert list(computed.largest_terms) == terms
    assert len(terms) == 10
    markdown, page = markdown_page.markdown(reported(computed)), html_page.html(reported(computed))
    largest = f"{terms[0].contribution_hartree * KCAL_PER_HARTREE:.4f}"
    name = "-".join(map(str, terms[0].fragments))
    assert re.search(rf"^\| {name} \| nocp \| .* \| {largest} \|$", markdown, re.MULTILINE)
    assert largest in page
    assert "What contributes most" not in markdown_page.markdown(reported(replace(computed, largest_terms=())))


# --- where the time went ----------------------------------------------------------------------------------------------


def said(run, name):
    return next(loss.sentence for loss in losses(run) if loss.name == name)


@pytest.mark.parametrize(
    ("walls_s", "share", "waited"),
    [
        ((8.9, 10.0), "11 % of the time (1.10 s)", "one core waited for the last dimer."),
        ((8.0, 8.0, 8.0, 10.0), "20 % of the time (2.00 s)", "3 of 4 cores waited for the last dimer."),
        (
            (7.0, 8.0, 9.0, 10.0),
            "30 % of the time (3.00 s)",
            "2 of 4 cores waited for the last 3 tasks, most of all for dimer 1 and 2.",
        ),
        (
            (6.0, 9.0, 10.0),
            "40 % of the time (4.00 s)",
            "1.2 of 3 cores, on average, waited for the last 2 tasks, most of all for dimer 1 and 2.",
        ),
    ],
)
def test_who_waited_for_whom_at_the_end_is_said(walls_s, share, waited):
    run = made.run([task(n, start=0, wall=wall_s) for n, wall_s in enumerate(walls_s)], cores=len(walls_s))
    assert said(run, "tail") == f"{share} {waited}"


@pytest.mark.parametrize(
    ("name", "run", "words"),
    [
        ("start-up", made.run([task(n, start=2, wall=8) for n in range(2)]), "20 % of the time (2.00 s) no task"),
        ("assembly", made.run([task(n, start=0, wall=9) for n in range(2)], wall=10), "10 % of the time (1.00 s)"),
        (
            "waiting for memory",
            made.run(PAUSES, memory_idle=6),
            "30 % of the cores' time (3.00 s) was idle because tasks waited for memory.",
        ),
        (
            "failed attempts",
            made.run(PAUSES, lost=6),
            "30 % of the cores' time (3.00 s) went to attempts that failed.",
        ),
        (
            "between tasks",
            made.run(PAUSES),
            "30 % of the cores' time (3.00 s) was idle between tasks although work was ready.",
        ),
        (
            "price of wide tasks",
            WIDE,
            "20 % of the cores' time (2.00 s) was the price of giving tasks several cores",
        ),
    ],
)
def test_each_loss_is_said_with_its_share(name, run, words):
    assert words in said(run, name)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (made.run([task(n, start=5 * (n // 2), wall=5) for n in range(4)]), "all cores would have to work from the"),
        (made.run([task(0, start=0, wall=9, nbody=3), task(1, start=0, wall=5)]), "the longest task, trimer 1 to 3,"),
        (
            made.run([task(n, start=5 * n, wall=5, peak=6.0) for n in range(2)]),
            "tasks that need more than half of the memory budget run one after another",
        ),
        (
            made.run([task(n, start=5 * (n // 2), wall=5, peak=5.0) for n in range(4)], cores=4),
            "the tasks' memory fills the budget for as long",
        ),
    ],
)
def test_what_sets_the_bound_is_said(run, words):
    assert words in of(run).bound


def test_a_bound_above_the_wall_time_is_explained_and_counts_as_all():
    run = made.run([task(n, start=0, wall=5, peak=5.0) for n in range(4)], cores=4)
    assert (run.efficiency, run.wall_s) == (2.0, 5.0)
    found = of(run)
    assert found.bound.startswith("The bound, 10.0 s, is above the wall time, 5.00 s: it counts each task's peak")
    assert found.headline.endswith(": 100 % of what any schedule of them could reach.")


# --- what to change next ----------------------------------------------------------------------------------------------


def advised(run):
    return advice(run, losses=losses(run), predictions=predictions(run.task_records))


def with_policy(run, **changes):
    return replace(run, policy=replace(run.policy, **changes))


@pytest.mark.parametrize(
    ("run", "what", "why"),
    [
        (made.run(WELL), "Nothing: leave everything as it is.", "reached more than 99 % of what any schedule"),
        (made.run(STARTS_LATE), "`autotune.Session`", "50 % of the time (5.00 s) no task ran yet"),
        (with_policy(made.run(LONGEST_LAST), order="input"), "Start the longest tasks first", "waited for"),
        (
            with_policy(made.run(LONE_END), widen_tail=False),
            "hybrid.widen",
            "(8.00 s) one core waited for the last trimer",
        ),
        (
            made.run(LONE_END),
            "Calibrate: the last task was not given the idle cores",
            "80 % of the time (8.00 s) one core",
        ),
        (
            made.run([task(0, start=0, wall=8), task(1, start=8, wall=2, width=2), task(2, start=2, wall=1)], cores=3),
            "Calibrate: the last task",
            "waited for the last dimer",
        ),
        (
            made.run(PAUSES, memory_idle=6),
            "`--memory`: tasks might take 10.0 GiB of 62.8 GiB",
            "30 % of the cores' time",
        ),
        (made.run(PAUSES, memory_idle=6, memory_budget_gib=62.0), "a machine with more memory", "waited for memory"),
        (with_policy(made.run(PAUSES), level_barriers=True), "dynamic_balancing mixes levels", "between tasks"),
        (with_policy(made.run(PAUSES), tasks_per_worker=1), "method_tuning", "between tasks"),
        (with_policy(made.run(PAUSES), workers=1), "Use all cores", "between tasks"),
        (made.run(PAUSES), "calibrate, so that short ones are known and batched", "between tasks"),
        (
            made.run([*PAUSES[:2], replace(PAUSES[2], attempts=2, peak_gib=3.0)], lost=6),
            "1 of 1 repeated task took more than they were told to",
            "attempts that failed",
        ),
        (made.run(PAUSES, lost=6), "`autotune doctor`", "attempts that failed"),
        (WIDE, "Run more tasks at once with fewer cores each", "price of giving tasks several cores"),
        (
            replace(made.run(WELL), cpu_utilisation=0.3),
            "Let more tasks run at once",
            "held 99 % of the cores' time, but computed in 30 % of it",
        ),
        (
            made.run([replace(each, predicted_s=each.wall_s / 1.5) for each in PAUSES]),
            "`autotune calibrate --program pyscf --method mp2 --basis cc-pvdz`",
            "Half of the tasks took 50 % more or less than predicted, or worse.",
        ),
        (
            made.run(PAUSES, tuning=UNTUNED),
            "`autotune calibrate --program pyscf --method mp2 --basis cc-pvdz`",
            "What is fastest for this method was not measured on this machine.",
        ),
        (
            made.run(WELL, tuning=UNTUNED),
            "Nothing about the schedule; only a calibration",
            "not measured on this machine",
        ),
        (made.run([], tasks=3, recalled=3), "Nothing: no task had to be computed.", "had 3 tasks of 3"),
    ],
)
def test_what_to_change_follows_from_what_was_measured(run, what, why):
    found = [each for each in advised(run) if what in each.what]
    assert len(found) == 1, advised(run)
    assert why in found[0].why


def test_failures_come_first_with_the_cure_of_their_kind():
    kinds = ["convergence", "convergence", "memory", "disk", "timeout", "missing", "input"]
    broken = [task(n, start=n, wall=1, status="failed", error_type=kind) for n, kind in enumerate(kinds)]
    first, *_ = advised(made.run([*broken, task(9, start=0, wall=9)]))
    assert "`--resume`" in first.what
    assert first.why.startswith("7 tasks of 8 failed: convergence (2), memory (1), ")
    for option in ("--rescue", "--memory", "--scratch", "--timeout", "autotune doctor"):
        assert f"`{option}`" in first.why or f"longer `{option}`" in first.why


def test_a_good_run_of_a_tuned_method_has_nothing_to_change_however_its_predictions_are():
    run = made.run([replace(each, predicted_s=3 * each.wall_s) for each in WELL])
    assert run.efficiency >= GOOD_EFFICIENCY
    assert [each.what for each in advised(run)] == ["Nothing: leave everything as it is."]


# --- real runs --------------------------------------------------------------------------------------------------------


def test_failures_are_listed_with_kind_and_message(diverged):
    report = reported(diverged)
    (found,), html = report.runs, html_page.html(report)
    page = Reader(html)
    assert found.headline.startswith("6 tasks of 10 failed, in ")
    assert len(found.failed) == 6
    for words in (page.text, markdown_page.markdown(report)):
        assert "What failed" in words
        assert "did not converge" in words
        assert "6 of 10: convergence" in words  # one row: all of them failed in the same way
        assert re.search(r"dimer \d and \d and 5 more", words)
    assert "fill: url(#h" in html  # hatched
    assert sum(": failed\n" in title for title in page.titles) >= 6


def test_a_run_of_which_all_tasks_failed_says_what_it_did(recorded):
    run = recorded("lost", method="diverge", at=[3, 6])
    assert all(record.status == "failed" for record in run.task_records)
    starts = [record.started_s for record in run.task_records]
    assert run.gap.startup == min(starts) < run.wall_s
    assert run.gap.retries > 0.0
    assert math.isclose(sum((run.gap.startup, run.gap.retries, run.gap.scheduler, run.gap.assembly)), run.wall_s)
    assert [each.what[:20] for each in of(run).advice] == ["Mend what failed, th"]


def test_other_programs_are_named_and_are_the_first_thing_to_change():
    run = made.run([task(n, start=5.0 * n, wall=5.0, cpu_s=2.0) for n in range(6)], other_cores=0.9)
    found = of(run)
    assert dict(found.facts)["Other programs"] == "used 0.9 of 2 cores, on average, while tasks ran"
    assert found.advice[0].what.startswith("Stop what else runs on this machine")
    assert "Other programs" not in dict(of(replace(run, other_cores=0.05)).facts)


def test_losses_and_levels_share_no_colour_the_tuning_is_folded_and_what_to_do_comes_first():
    assert not set(figures.COLOURS) & set(figures.LOSS_COLOURS)
    assert [panel.name for panel in PANELS][:2] == ["energies", "next"]
    text = page(made.filled(40, cores=4))
    for form in ('class="loss0"', 'class="c2"', "<details><summary><h3>The tuning"):
        assert form in text
    assert text.count("<details>") == 1


def test_tasks_of_a_journal_are_told_from_those_computed(recorded, slept):
    assert (slept.recalled, len(slept.task_records)) == (0, 14)
    run = recorded("again", "--resume", **SLEEP)
    assert (run.recalled, run.task_records) == (14, ())
    found = of(run)
    assert found.headline.startswith("Nothing was computed in ")
    assert dict(found.facts)["Tasks"] == "0 computed and 14 from the journal"
    assert "Nothing: no task had to be computed." in Reader(page(run)).text


def test_runs_are_put_side_by_side(slept, computed):
    text = Reader(page(slept, computed)).text
    assert text.startswith("2 runs - autotune report autotune report 2 runs Side by side run wall time lower bound")
    assert "did not compute the same, so their times say nothing about each other" in text
    assert "All runs computed the same; their energies are equal." in Reader(page(slept, slept)).text
    other = replace(slept, energy_hartree=slept.energy_hartree + 1e-6, recalled=1)
    remarks = reported(slept, other).remarks
    assert "their energies differ (1e-06 Eh apart)" in remarks[0]
    assert "from a journal" in remarks[1]


def test_runs_of_one_file_name_are_told_apart_by_their_paths():
    assert content.names_of(["a/run.json", "b/run.json", "b/other.json"]) == ["a/run.json", "b/run.json", "other.json"]


# --- the timeline -----------------------------------------------------------------------------------------------------


def test_bars_in_one_lane_never_overlap_and_no_lane_is_added_to_the_cores(computed):
    line = timeline(computed.task_records, cores=computed.machine.cores, wall_s=computed.wall_s)
    assert line.lanes == computed.machine.cores
    took_s = sum(each.width * each.wall_s for each in computed.task_records)
    assert sum(bar.lanes * bar.busy_s for bar in line.bars) == pytest.approx(took_s)
    ends = defaultdict(float)
    for bar in line.bars:
        for lane in range(bar.lane, bar.lane + bar.lanes):
            assert bar.start_s >= ends[lane] - 0.002
            ends[lane] = bar.end_s


def test_the_curves_are_the_sums_over_running_tasks():
    line = timeline([task(0, start=0, wall=4, peak=1.0), task(1, start=1, wall=2, peak=2.0)], cores=2, wall_s=5)
    assert line.busy == ((0.0, 0.0), (0, 1.0), (1, 2.0), (3, 1.0), (4, 0.0), (5, 0.0))
    assert [held for _, held in line.held_gib] == [0.0, 1.0, 3.0, 1.0, 0.0, 0.0]


def test_of_a_large_run_the_means_of_busy_cores_and_the_peaks_of_memory_are_kept():
    run = filled(3000, cores=4)
    line = timeline(run.task_records, cores=4, wall_s=run.wall_s)
    times = [time_s for time_s, _ in line.busy]
    area = sum((b - a) * value for (a, value), b in zip(line.busy, times[1:], strict=False))
    assert len(line.busy) <= 402
    assert area == pytest.approx(sum(each.wall_s for each in run.task_records))
    assert max(value for _, value in line.busy) <= 4
    assert max(value for _, value in line.held_gib) == pytest.approx(1.2)


def test_beyond_what_can_be_seen_bars_stand_for_several_tasks_and_lose_none():
    run = filled(5000, cores=16, failed=(7, 4000))
    line = timeline(run.task_records, cores=16, wall_s=run.wall_s)
    assert line.merged
    assert len(line.bars) < 2 * MOST_BARS + 16 * 8
    assert sum(bar.tasks for bar in line.bars) == 5000
    assert sum(bar.failed for bar in line.bars) == 2
    assert sum(bar.busy_s for bar in line.bars) == pytest.approx(sum(each.wall_s for each in run.task_records))


def test_the_report_of_runs_of_44000_tasks_stays_below_2_megabytes_and_says_that_a_bar_stands_for_several():
    text = page(*(filled(44_000, cores=cores) for cores in (2, 256)))
    assert len(text.encode()) < MOST_BYTES
    assert "a bar stands for several" in Reader(text).text


def test_the_timelines_of_many_runs_together_have_not_many_more_bars_than_those_of_four():
    report = reported(*[filled(1400, cores=8)] * 20)
    assert sum(len(run.timeline.bars) for run in report.runs) < 2 * 4 * MOST_BARS + 20 * 8 * 8


# --- nothing in a record can harm it ----------------------------------------------------------------------------------

EVIL = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' `|` [a](javascript:b) \n# c"


def harmed(run):
    """Return a run with harmful text wherever there is text."""
    bad = replace(made.TUNED, match=EVIL, reason=EVIL, source=EVIL, parameters={EVIL: EVIL})
    tasks = tuple(
        replace(each, label=label, error_type=EVIL, error=EVIL, status=status)
        for each in run.task_records
        for label, status in ((EVIL, "failed"), (json.dumps([EVIL, [1], [1, 2]]), "done"))
    )
    method = replace(run.methods[0], program=EVIL, method=EVIL, basis=EVIL, keywords=EVIL)
    here = replace(run.machine, cpu_model=EVIL, cores_limited_by=EVIL)
    versions, policy = {EVIL: EVIL}, replace(run.policy, order=EVIL, blas_kernel=EVIL)
    words = {"created": EVIL, "workload": EVIL, "content": EVIL, "versions": versions, "policy": policy}
    return replace(run, tuning=bad, task_records=tasks, methods=(method,), machine=here, **words)


def test_text_of_a_record_cannot_become_html():
    run = harmed(made.run(PAUSES, tuning=UNTUNED))
    made_of = content.report([(EVIL, run), (f"{EVIL}2", run)], sections=[(EVIL, EVIL)])
    reader = Reader(html_page.html(made_of))
    assert "<script>alert(1)</script>" in reader.text
    assert any("<script>" in title for title in reader.titles)


def test_text_of_a_record_cannot_become_markdown():
    from markdown_it import MarkdownIt

    run = harmed(made.run(PAUSES, tuning=UNTUNED))
    clean = made.run(PAUSES, tuning=UNTUNED)
    clean = replace(clean, task_records=(replace(clean.task_records[0], status="failed"), *clean.task_records[1:]))
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    shown = reader.render(markdown_page.markdown(content.report([(EVIL, run)])))
    assert not re.search(r"<(script|img|a)\b", shown)
    headings = [re.findall(r"<h\d>", reader.render(markdown_page.markdown(reported(each)))) for each in (run, clean)]
    assert headings[0] == headings[1]
    rows = {row.count("<td") for row in re.findall(r"<tr>.*?</tr>", shown, re.DOTALL)}
    assert rows <= {0, 2, 4, 6}


odd_numbers = st.sampled_from([0.0, -1.0, math.inf, -math.inf, math.nan, 1e-320, 1e300, 5.0])


@st.composite
def odd_runs(draw):
    tasks = [
        replace(
            task(n, start=0, wall=1, nbody=draw(st.integers(-2, 40))),
            status=draw(st.sampled_from(["done", "failed", "?"])),
            **{name: draw(odd_numbers) for name in ("started_s", "wall_s", "peak_gib", "predicted_s", "cpu_s")},
            width=draw(st.sampled_from([1, 0, -3, 2, 10**9])),
            label=draw(
                st.text(max_size=12) | st.sampled_from(['["a", [1], [1]]', "[[]]", '["a", [true], []]', "\ud800"])
            ),
            attempts=draw(st.integers(-1, 9)),
        )
        for n in range(draw(st.integers(0, 6)))
    ]
    names = ("wall_s", "lower_bound_s", "efficiency", "cpu_utilisation", "peak_memory_gib", "memory_budget_gib")
    run = made.run([], cores=draw(st.sampled_from([1, 2, 10**9])))
    changes = {name: draw(odd_numbers) for name in names}
    gap = replace(run.gap, **{name: draw(odd_numbers) for name in ("startup", "tail", "memory", "scheduler")})
    energy = draw(odd_numbers | st.none())
    return replace(run, task_records=tuple(tasks), gap=gap, energy_hartree=energy, workload=draw(st.text()), **changes)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(odd_runs())
def test_nothing_odd_in_a_record_keeps_it_from_being_reported(run):
    made_of = reported(run, made.run([]))
    Reader(html_page.html(made_of)).text.encode()
    markdown_page.markdown(made_of).encode()


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd_runs())
def test_nothing_odd_in_a_record_keeps_it_from_being_drawn(tmp_path, run):
    run_pictures.draw(reported(run), tmp_path / "odd.png")


def test_more_cores_than_can_be_drawn_are_cut():
    line = timeline([task(n, start=0, wall=1, width=10**6) for n in range(3)], cores=10**6, wall_s=1)
    assert line.lanes == MOST_LANES
    assert all(bar.lane + bar.lanes <= MOST_LANES for bar in line.bars)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (with_policy(made.run(WELL), width=0), r"run1\.json: field policy\.width is 0, but must be above 0"),
        (replace(made.run(WELL), machine=replace(made.run(WELL).machine, cores=0)), r"field machine\.cores is 0"),
        *[(made.run(WELL, cores=4, nodes=nodes), r"field (nodes|machine\.cores) is") for nodes in (0, -1, 5)],
    ],
)
def test_numbers_that_no_run_can_have_are_refused_in_one_line(run, words):
    with pytest.raises(InputError, match=words):
        reported(run)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ('["(auto)", [2], [2]]', "monomer 2"),
        ('["(auto)", [1, 3, 5], [1, 3, 5]]', "trimer 1, 3 and 5"),
        ('["(auto)", [1, 2], [1, 2, 3, 4, 6]]', "dimer 1 and 2 in the basis of 1 to 4 and 6"),
        ('["mp2/cc-pvdz", [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]]', "7-mer 1 to 7 (mp2/cc-pvdz)"),
        ("something `else`\nthan that", "something 'else' than that"),
        ("", "task 4"),
    ],
)
def test_tasks_are_named_as_people_would(label, name):
    assert task_name(replace(task(4, start=0, wall=1), label=label)) == name


@pytest.mark.parametrize(
    ("time_s", "words"),
    [
        (0.0, "0.00 s"),
        (0.0123, "12.3 ms"),
        (1.254, "1.25 s"),
        (31.24, "31.2 s"),
        (200, "3 min 20 s"),
        (math.nan, "an unknown time"),
    ],
)
def test_durations_have_as_many_digits_as_are_worth_reading(time_s, words):
    assert seconds(time_s) == words


def test_a_share_is_never_rounded_to_nothing_or_to_all():
    shares = (0.0, 0.001, 0.11, 0.999, 1.0)
    assert [percent(share) for share in shares] == ["0 %", "less than 1 %", "11 %", "more than 99 %", "100 %"]


def test_what_a_page_is_laid_out_with_is_in_the_package():
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    others = [path for path in (ROOT / "autotune" / "reports").iterdir() if path.is_file() and path.suffix != ".py"]
    assert {path.suffix for path in others} == {".html", ".css"}
    assert all(any(path.match(pattern) for pattern in packaged["autotune.reports"]) for path in others)


# --- plugins ----------------------------------------------------------------------------------------------------------


SECTION = """About **{}** runs, {} changes.

- `one`
- two

| a | b |
|---|---|
| 1 | <2> |

[far](https://a.org) [bad](javascript:alert(1)) ![picture](https://a.org/b.png)
"""


def adding(section, *, name=""):
    """Return a plugin that adds what a function makes of the runs and their changes."""

    class Section:
        __name__ = name

        @hookimpl
        def autotune_report_sections(self, runs, changes):
            return section(runs, changes)

    return Section()


def test_plugins_add_sections_in_their_order():
    run = made.run(WELL)
    energy = adding(lambda runs, changes: ("Energy", SECTION.format(len(runs), len(changes))))
    second = adding(lambda *_: ("Second", "# Heading\n```\ncode <b>\n\nmore\n```\nend"))
    sections = Manager([energy, adding(lambda *_: None), second]).report_sections([run], ["a change"])
    assert [title for title, _ in sections] == ["Energy", "Second"]
    text = page(run, sections=sections)
    assert "About <strong>1</strong> runs, 1 changes." in text
    assert "<ul>\n<li><code>one</code></li>\n<li>two</li>\n</ul>" in text
    assert "<td>1</td>\n<td>&lt;2&gt;</td>" in text
    assert "<h4>Heading</h4>" in text
    assert "<pre><code>code &lt;b&gt;\n\nmore\n</code></pre>\n<p>end</p>" in text
    assert re.findall('<a href="(?!#)(.*?)"', text) == ["https://a.org", "https://a.org/b.png"]
    Reader(text)
    assert markdown_page.markdown(reported(run, sections=sections)).endswith(
        "## Second\n\n# Heading\n```\ncode <b>\n\nmore\n```\nend\n"
    )


def test_a_plugin_that_returns_something_else_is_named():
    with pytest.raises(InputError, match=r"a pair of texts, title and markdown, not 'only a title'.*\(wrong\)"):
        Manager([adding(lambda *_: "only a title", name="wrong")]).report_sections([], [])


@given(st.text())
def test_no_markdown_of_a_plugin_can_break_the_page(text):
    Reader(html_page.markdown(text))


def test_an_installed_plugin_adds_its_section_to_the_command_line(tmp_path, slept, slept_file, monkeypatch):
    (tmp_path / "energy_section.py").write_text(
        "from autotune.plugin.hookspecs import hookimpl\n\n\n@hookimpl\ndef autotune_report_sections(runs):\n"
        '    return "Energy", f"{runs[0].wall_s * runs[0].machine.cores:.3f} core-seconds"\n'
    )
    folder = tmp_path / "energy_section-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: energy-section\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[autotune]\nenergy = energy_section\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    done = autotune("report", slept_file, "-o", tmp_path / "report.html")
    assert done.errors == ""
    words = f"Energy {slept.wall_s * slept.machine.cores:.3f} core-seconds"
    assert words in Reader((tmp_path / "report.html").read_text()).text


def test_a_plugin_gets_how_later_runs_of_the_same_work_compare_with_the_first():
    first = replace(filled(4, cores=2), wall_s=10.0)
    later, other = replace(first, wall_s=12.0), replace(first, wall_s=5.0, content="other work")
    (row,) = changes([first, later, other], ["a", "b", "c"])
    assert (row.base_s, row.head_s, row.base_runs, row.head_runs) == pytest.approx((10.0, 12.0, 1, 1))
    assert changes([first, other], ["a", "b"]) == ()
    assert changes([first, replace(later, recalled=1)], ["a", "b"]) == ()


# --- the command line -------------------------------------------------------------------------------------------------


def called(*arguments):
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def test_the_html_goes_beside_the_record_and_its_name_is_printed(slept_file):
    beside = slept_file.with_suffix(".html")
    done = called(slept_file)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{beside}\n", "")
    Reader(beside.read_text())


def test_markdown_shows_the_picture_by_its_path_from_there(tmp_path, slept_file):
    (tmp_path / "my pictures").mkdir()
    page, text, picture = tmp_path / "r.html", tmp_path / "report.md", tmp_path / "my pictures" / "line.png"
    done = called(slept_file, slept_file, "-o", page, "--markdown", text, "--picture", picture)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(page), str(text), str(picture)]
    assert "![Who ran where and when](my%20pictures/line.png)" in text.read_text()
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert width > 1000
    assert height > 600
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {slept_file, page, text, picture}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{slept}", "-o", "{slept}"), "is what this command reads; give what it writes another name"),
        (("{slept}", "-o", "{folder}/a", "--markdown", "{folder}/a"), "is named for two different things"),
        (("{slept}", "-o", "{folder}/none/a.html"), "cannot be written: there is no folder"),
        (("{slept}", "-o", "{folder}"), "cannot be written: it is a folder"),
        (("{folder}",), "is a folder; give the run records themselves, such as"),
        (("{slept}", "-o", "{folder}/a.html", "--picture", "{folder}/a.xyz"), "cannot be drawn: its ending must be"),
        (("{slept}", "{folder}/none.json", "-o", "{folder}/a.html"), "none.json cannot be read: No such file"),
        (("{folder}/text.json",), "text.json is not valid JSON"),
        (("{folder}/journal",), "journal is a database, as a journal of tasks is, not 'autotune.run/5'"),
        (("{folder}/other.json",), "other.json has schema 'autotune.partial/1', expected 'autotune.run/5'"),
        (("{folder}/wrong.json",), "wrong.json: field wall_s: "),
    ],
)
def test_what_cannot_be_used_gets_one_line_and_nothing_is_written(tmp_path, slept_file, arguments, message):
    (tmp_path / "text.json").write_text("no")
    (tmp_path / "other.json").write_text('{"schema": "autotune.partial/1"}')
    with contextlib.closing(sqlite3.connect(tmp_path / "journal")) as journal:
        journal.execute("CREATE TABLE tasks (key TEXT)")
    fields = json.loads(slept_file.read_text())
    (tmp_path / "wrong.json").write_text(json.dumps({**fields, "wall_s": "long"}))
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = called(*(each.format(slept=slept_file, folder=tmp_path) for each in arguments))
    assert isinstance(done.exception, AutotuneError)
    assert (done.exception.exit_code, done.output) == (2, "")
    assert str(done.exception).isprintable()
    assert message in str(done.exception)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_run_on_several_nodes_is_told_as_one_of_nodes():
    run = replace(filled(40, cores=8), nodes=4)
    run = replace(run, policy=replace(run.policy, workers=2, core_slots=2, widest=2))
    (told,) = content.report([("run.json", run)]).runs
    assert dict(told.facts)["Machine"].startswith("4 nodes, each ")
    assert "2 cores" in dict(told.facts)["Machine"]
    assert not any("idle" in sentence and "of 8" in sentence for sentence in told.does)
    assert not any("Use all cores" in each.what for each in told.advice)
