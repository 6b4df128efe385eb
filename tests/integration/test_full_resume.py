"""Claims about a run of which the journal has everything: no program is started, and the answer is the same."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, contextmanager
from importlib.resources import files

import pytest

from autotune import Options, Session
from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.programs import facts
from autotune.runtime import local
from autotune.session import known_checks
from autotune.workers.messages import Checked

WATERS = files("autotune.studies") / "workloads" / "water2.xyz"


def waters(basis="sto-3g"):
    stated = Expansion(program="pyscf", method="hf", basis=basis)
    return many_body_fields(WATERS.read_text(), name="water2", expansion=stated)


def go_to(folder, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_HOME", str(folder / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a run of two waters, its result and its record."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        go_to(folder, patch)
        with Session() as session:
            return folder, session.run(waters()), session.record


@pytest.fixture(autouse=True)
def folder(first, tmp_path, monkeypatch):
    """A folder of the test's own with the journal and the cache that the first run left."""
    found = shutil.copytree(first[0], tmp_path / "first")
    go_to(found, monkeypatch)
    return found


class StartError(Exception):
    """The processes from which workers come would have been started."""


@contextmanager
def nothing_starts():
    def start(**_):
        raise StartError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "Pool", start)
        yield


@contextmanager
def programs_are_asked():
    with nothing_starts(), pytest.raises(StartError):
        yield


def resumed(given):
    with Session(Options(resume=True)) as session:
        return session.run(given), session.record


def is_known_again():
    with nothing_starts():
        return resumed(waters())[1].recalled == 3


def test_no_program_is_started_and_the_result_and_the_versions_are_those_of_the_run(first):
    with nothing_starts():
        result, record = resumed(waters())
    assert result.properties == first[1].properties
    assert record.versions == first[2].versions
    assert record.recalled == record.tasks == 3


def test_where_a_task_is_missing_programs_start(folder):
    with closing(sqlite3.connect(folder / "home" / "journal.sqlite3", isolation_level=None)) as journal:
        journal.execute("DELETE FROM tasks WHERE rowid = 2")
    assert resumed(waters())[1].recalled == 2
    assert is_known_again()


def test_after_another_installation_programs_are_asked_again(monkeypatch):
    monkeypatch.setattr(known_checks, "stamp", lambda names: f"another {' '.join(names)}")
    assert resumed(waters())[1].recalled == 3  # it has the same version
    assert is_known_again()
    monkeypatch.setattr(known_checks, "stamp", lambda names: f"a third {' '.join(names)}")
    with programs_are_asked():
        resumed(waters())


def test_a_program_whose_installations_cannot_be_told_apart_is_asked_each_time(faulty):
    assert not facts.facts_of("faulty").installed_as
    resumed(faulty("water2"))
    with programs_are_asked():
        resumed(faulty("water2"))


def test_a_cache_that_cannot_be_read_costs_only_a_start(folder):
    cache = folder / "cache" / "autotune" / "checks.json"
    another_form = cache.read_text().replace('"problems": []', '"problems": 1')
    for content in ("", "no JSON", '{"schema": "autotune.checks/1"}', '{"schema": "autotune.checks/2"}', another_form):
        cache.write_text(content)
        with programs_are_asked():
            resumed(waters())
    assert resumed(waters())[1].recalled == 3
    assert is_known_again()


def test_the_oldest_answers_are_forgotten(monkeypatch):
    monkeypatch.setattr(known_checks, "MOST_ANSWERS", 2)
    works = [workload.load(waters(basis)) for basis in ("sto-3g", "3-21g", "6-31g")]
    for work in works:
        known_checks.keep(work, Options(), Checked((), {"pyscf": work.methods[0].basis}, {}))
    known = [known_checks.recall(work, Options()) for work in works]
    assert [found and found.versions["pyscf"] for found in known] == [None, "3-21g", "6-31g"]


def test_what_was_refused_is_refused_again():
    for _ in range(2):
        with pytest.raises(InputError, match="no-such-basis"):
            resumed(waters("no-such-basis"))


def test_programs_load_early_where_nothing_is_known_of_them_yet(folder, monkeypatch):
    early = []
    load = local.Local.load
    monkeypatch.setattr(local.Local, "load", lambda place, *names: early.append(names) or load(place, *names))
    assert is_known_again()
    assert early == []
    with programs_are_asked(), Session() as session:
        session.run(waters())
    assert len(early) == 1
    shutil.rmtree(folder / "cache")
    with programs_are_asked():
        resumed(waters())
    assert len(early) == 2
