"""When plugins are told of a run: once that it starts and once that it ended, however it ends."""

from __future__ import annotations

import json
import os

import pytest

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.journal.journal import Journal
from autotune.plugin.hookspecs import hookimpl
from autotune.runtime import fleet
from autotune.session.session import Options, Session

DIMER = 6  # atoms


class Watcher:
    """A plugin that notes what it is told, in order."""

    def __init__(self):
        self.told, self.backends = [], 0

    @hookimpl
    def autotune_backends(self):
        self.backends += 1
        return {}

    @hookimpl
    def autotune_run_started(self, workload):
        self.told.append(("started", len(workload)))

    @hookimpl
    def autotune_task_done(self, task, record):
        assert task.number == record.number
        self.told.append(("task", record.status))

    @hookimpl
    def autotune_run_done(self, run):
        self.told.append(("done", run))


@pytest.fixture
def failing(cluster):
    """An input whose monomers do not converge in CCSD, so that the HF energies in them are computed after all."""
    fields = cluster("water4")
    specification = fields["specification"]
    chemistry = specification["specification"].pop("(auto)")
    for level, (method, keywords) in {"cc": ("ccsd", {"cc_max_cycle": 1}), "hf": ("hf", {})}.items():
        model = {**chemistry["model"], "method": method}
        specification["specification"][level] = {**chemistry, "model": model, "keywords": keywords}
    specification["keywords"] = {"bsse_type": ["nocp"], "levels": {1: "cc", 2: "hf"}}
    return fields


def run(fields, *, on_progress=None, watcher=None, **options):
    """Return what a plugin is told of one run, how it ended, and the session's record."""
    watcher = watcher or Watcher()
    ended = None
    with Session(Options(**{"journal": "none", **options}), on_progress=on_progress) as session:
        session._manager._pluggy.register(watcher)
        try:
            session.run(fields)
        except (InputError, ResourceError, TaskError, KeyboardInterrupt) as error:
            ended = error
    return watcher.told, ended, session.record


def check(told, *, tasks):
    """Check the order of what was told, and that the record has all tasks that were; return the record."""
    kinds = [kind for kind, _ in told]
    assert kinds == ["started", *["task"] * (len(told) - 2), "done"]
    assert told[0] == ("started", tasks)
    record = told[-1][1]
    assert [each.status for each in record.task_records] == [status for kind, status in told if kind == "task"]
    return record


def test_of_a_run_that_comes_to_its_end_and_of_one_that_finds_all_in_the_journal(faulty, tmp_path):
    watcher, journal = Watcher(), str(tmp_path / "journal.sqlite3")
    told, ended, record = run(faulty("water4"), watcher=watcher, journal=journal)
    assert ended is None
    assert check(told, tasks=10) is record
    assert len(record.task_records) == 10
    assert watcher.backends == 0
    told, _, record = run(faulty("water4"), journal=journal, resume=True)
    assert check(told, tasks=10) is record
    assert (record.recalled, record.task_records) == (10, ())


@pytest.mark.parametrize("fail_fast", [False, True])
def test_of_a_run_with_failed_tasks(faulty, fail_fast):
    told, ended, record = run(faulty("water4", "crash", at=[DIMER]), fail_fast=fail_fast, workers=1)
    assert isinstance(ended, TaskError)
    assert check(told, tasks=10) is record
    assert record.energy_hartree is None
    assert ("task", "failed") in told
    assert (len(record.task_records) < 10) is fail_fast
    assert ("1 of 10 tasks failed" in str(ended) and "were not started after that" in str(ended)) is fail_fast


def test_of_a_run_that_is_interrupted_and_what_a_plugin_raises_then_does_not_hide_why(faulty):
    class Broken(Watcher):
        @hookimpl
        def autotune_run_done(self, run):
            super().autotune_run_done(run)
            raise ValueError(f"no energy in {run.workload}")

    def interrupt(snapshot):
        if snapshot.done:
            raise KeyboardInterrupt

    fields = faulty("water4", "sleep", seconds=0.3)
    told, ended, _ = run(fields, on_progress=interrupt, watcher=Broken(), workers=1)
    assert isinstance(ended, KeyboardInterrupt)
    assert any("a plugin failed in autotune_run_done (ValueError: no energy in" in note for note in ended.__notes__)
    record = check(told, tasks=10)
    assert 0 < len(record.task_records) < 10
    assert record.energy_hartree is None


def test_of_a_run_whose_journal_cannot_be_written_any_more(faulty, tmp_path, monkeypatch):
    def full(*_):
        raise ResourceError("the journal cannot be written")

    monkeypatch.setattr(Journal, "flush", full)
    told, ended, _ = run(faulty("water2"), journal=str(tmp_path / "journal.sqlite3"))
    assert isinstance(ended, ResourceError)
    check(told, tasks=3)


def test_of_a_run_with_tasks_that_are_computed_after_all(failing):
    told, ended, record = run(failing, reuse_contained=True)
    assert isinstance(ended, TaskError)
    early = told[0][1]
    assert early < 14
    assert check(told, tasks=early) is record
    assert len(record.task_records) == record.tasks == 14


def test_of_a_run_that_is_interrupted_among_tasks_that_are_computed_after_all(failing):
    totals = []

    def interrupt(snapshot):
        totals.append(snapshot.total)
        if snapshot.total != totals[0]:
            raise KeyboardInterrupt

    told, ended, _ = run(failing, on_progress=interrupt, reuse_contained=True)
    assert isinstance(ended, KeyboardInterrupt)
    record = check(told, tasks=totals[0])
    assert record.tasks == 14
    assert len(record.task_records) >= totals[0]


@pytest.mark.parametrize("what", ["nothing to compute", "refused"])
def test_a_run_that_does_not_start_is_not_told_of(faulty, what):
    fields, options = faulty("water4", max_nbody=1), {}
    if what == "refused":
        options["threads"] = 1 + (os.cpu_count() or 1)
    else:
        fields["specification"]["keywords"]["bsse_type"] = ["cp"]
    told, ended, record = run(json.loads(json.dumps(fields)), **options)
    assert (told, record) == ([], None)
    assert isinstance(ended, InputError) is (what == "refused")


def test_backends_are_asked_for_once_a_session_and_only_where_one_is_named():
    watcher = Watcher()
    with Session(Options(journal="none")) as session:
        session._manager._pluggy.register(watcher)
        for _ in range(2):
            with pytest.raises(InputError, match="there is no backend 'cloud'"):
                fleet.Fleet(Options(backend="cloud"), manager=session._manager, say=print)
    assert watcher.backends == 1
