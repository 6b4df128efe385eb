"""Progress for people: plain lines where nobody watches, one live line on a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from autotune.base.text import duration
from autotune.base.types import Policy
from autotune.reports.progress import Progress, line
from autotune.runtime.monitor import Snapshot


def snapshot(done, elapsed_s=1.0, eta_s=None):
    return Snapshot(
        done=done,
        total=100,
        running=2,
        cores_in_use=2,
        cores=2,
        busy_cores=2.0,
        idle_cores=0.0,
        resident_gib=0.51,
        budget_gib=18.0,
        elapsed_s=elapsed_s,
        settled_s=elapsed_s,
        eta_s=eta_s,
        composed=Policy(),
    )


def test_with_several_nodes_a_line_counts_bundles():
    assert line(replace(snapshot(41, eta_s=200.0), nodes=1, running=1, cores=64)) == (
        "41/100 tasks, 1 bundle out to 1 node with 64 cores, 1 s elapsed, 3 min 20 s left"
    )


@pytest.mark.parametrize(
    ("snapshots", "shown"),
    [
        ([snapshot(done, elapsed_s=done / 10) for done in range(101)], [20, 40, 60, 80, 100]),
        ([snapshot(1, elapsed_s=float(second)) for second in range(120)], [1, 1, 1]),  # twice a minute
    ],
)
def test_without_a_terminal_there_are_a_few_plain_lines_and_no_control_characters(snapshots, shown):
    stream = io.StringIO()
    with Progress(stream) as progress:
        for each in snapshots:
            progress.show(each)
    assert [text.split()[0] for text in stream.getvalue().splitlines()] == [f"{done}/100" for done in shown]
    assert "\x1b" not in stream.getvalue()


def test_a_reader_that_went_away_does_not_end_the_run():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(text)

    with Progress(stream=Gone()) as progress:
        progress.show(snapshot(50))
        progress.show(snapshot(100))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (None, "41/100 tasks, 2 running on 2 of 2 cores, 0.5 of 18.0 GiB, 12 s elapsed, 3 min 20 s left"),
        (87, "41/100 tasks, 2 running on 2 of 2 cores, 0.5 of 18.0 GiB, 12 s elapsed, 3 min 20 s left"),
        (86, "41/100 tasks, 2 running on 2 of 2 cores, 0.5 of 18.0 GiB, 3 min 20 s left"),
        (60, "41/100 tasks, 2 running on 2 of 2 cores, 3 min 20 s left"),
        (10, "41/100 tasks, 3 min 20 s left"),
    ],
)
def test_a_line_says_what_is_done_and_leaves_out_what_does_not_fit_and_never_the_time_left(columns, said):
    options = {} if columns is None else {"columns": columns}
    assert line(snapshot(41, elapsed_s=12.0, eta_s=200.0), **options) == said


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_on_a_terminal_of_any_width_it_is_one_line(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    with Progress(stream, terminal=True) as progress:
        progress.show(replace(snapshot(50, elapsed_s=3725.0, eta_s=12000.0), done=123456, total=1000000))
    (shown, rest) = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", stream.getvalue()).strip("\r").split("\n")
    assert "123456/1000000 tas" in shown
    assert len(shown) <= columns
    assert not rest.strip()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (3600, "1 h 0 min")]
)
def test_durations_are_written_for_people(seconds, words):
    assert duration(seconds) == words
