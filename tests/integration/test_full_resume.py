"""Claims about a run of which the journal has everything: no program is started, and the answer is the same."""

from __future__ import annotations

import pytest

from autotune import Options, Session
from autotune.base.errors import InputError
from autotune.programs import facts
from autotune.runtime import local
from autotune.session import known_checks


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "autotune" / "checks.json"


class StartError(Exception):
    """The processes from which workers come would have been started."""


@pytest.fixture
def nothing_starts(monkeypatch):
    def start(**_):
        raise StartError

    def forbid():
        monkeypatch.setattr(local, "Pool", start)

    return forbid


def resumed(given):
    with Session(Options(resume=True)) as session:
        return session.run(given), session.record


def test_no_program_is_started_and_the_result_and_the_versions_are_those_of_the_run(cluster, nothing_starts):
    with Session() as session:
        first = session.run(cluster("water2"))
        versions = session.record.versions
    nothing_starts()
    result, record = resumed(cluster("water2"))
    assert result.properties == first.properties
    assert record.versions == versions
    assert record.recalled == record.tasks == 3


def test_where_a_task_is_missing_programs_start(cluster, nothing_starts):
    resumed(cluster("water2", max_nbody=1))
    _, record = resumed(cluster("water2"))
    assert (record.recalled, record.tasks) == (2, 3)
    nothing_starts()
    assert resumed(cluster("water2"))[1].recalled == 3


def test_after_another_installation_programs_are_asked_again(cluster, nothing_starts, monkeypatch):
    resumed(cluster("water2"))
    monkeypatch.setattr(known_checks, "stamp", lambda names: f"another {' '.join(names)}")
    assert resumed(cluster("water2"))[1].recalled == 3  # it has the same version
    nothing_starts()
    assert resumed(cluster("water2"))[1].recalled == 3
    monkeypatch.setattr(known_checks, "stamp", lambda names: f"a third {' '.join(names)}")
    with pytest.raises(StartError):
        resumed(cluster("water2"))


def test_a_program_whose_installations_cannot_be_told_apart_is_asked_each_time(faulty, nothing_starts):
    assert not facts.facts_of("faulty").installed_as
    resumed(faulty("water2"))
    nothing_starts()
    with pytest.raises(StartError):
        resumed(faulty("water2"))


@pytest.mark.parametrize(
    "content", ["", "no JSON", '{"schema": "autotune.checks/1"}', '{"schema": "autotune.checks/2"}']
)
def test_a_cache_that_cannot_be_read_costs_only_a_start(cluster, nothing_starts, cache, content):
    resumed(cluster("water2"))
    cache.write_text(content)
    assert resumed(cluster("water2"))[1].recalled == 3
    nothing_starts()
    assert resumed(cluster("water2"))[1].recalled == 3


def test_an_answer_of_another_form_is_no_answer(cluster, cache):
    resumed(cluster("water2"))
    cache.write_text(cache.read_text().replace('"problems": []', '"problems": 1'))
    assert resumed(cluster("water2"))[1].recalled == 3


def test_the_oldest_answers_are_forgotten(cluster, nothing_starts, monkeypatch):
    monkeypatch.setattr(known_checks, "MOST_ANSWERS", 2)
    for basis in ("sto-3g", "3-21g", "6-31g"):
        resumed(cluster("water2", basis=basis))
    nothing_starts()
    for basis in ("3-21g", "6-31g"):
        resumed(cluster("water2", basis=basis))
    with pytest.raises(StartError):
        resumed(cluster("water2", basis="sto-3g"))


def test_what_was_refused_is_refused_again(cluster):
    for _ in range(2):
        with pytest.raises(InputError, match="no-such-basis"):
            resumed(cluster("water2", basis="no-such-basis"))


def test_programs_load_early_where_nothing_is_known_of_them_yet(cluster, monkeypatch):
    early = []
    load = local.Local.load
    monkeypatch.setattr(local.Local, "load", lambda place, *names: early.append(names) or load(place, *names))
    for count in (1, 1):
        resumed(cluster("water2"))
        assert len(early) == count
    with Session() as session:
        session.run(cluster("water2"))
    assert len(early) == 2
