"""Nodes compared: what makes kinds of them, what does not, and files that are something else."""

from __future__ import annotations

import json

import pytest
from commands import answer

from autotune.base.errors import InputError
from autotune.machine import likeness


@pytest.fixture(scope="module")
def here():
    """Return what `autotune doctor --json` says here."""
    return {**json.loads(answer("doctor", "--json")), "findings": []}


@pytest.fixture
def write(tmp_path, here):
    """Return a function that writes what a node says, as here but for some facts of its machine or others."""

    def written(name, *, host=None, machine=None, pyscf=None, **changes):
        report = {**here, "host": host or name, "machine": here["machine"] | (machine or {}), **changes}
        if pyscf:
            report["programs"] = [
                one | ({"version": pyscf, "found": pyscf != "none"} if one["name"] == "pyscf" else {})
                for one in here["programs"]
            ]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(report))
        return path

    return written


def test_nodes_that_say_the_same_are_one_kind_whatever_a_kernel_keeps_for_itself(write, here):
    memory = here["machine"]["memory_gib"]
    found = likeness.compare([write("n1"), write("n2"), write("n3", machine={"memory_gib": 0.999 * memory})])
    (kind,) = found.kinds
    assert kind.nodes == ("n1", "n2", "n3")
    assert kind.key == here["machine"]["key"]
    assert kind.differences == {}


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"machine": {"cores": 62}}, "cores"),
        ({"machine": {"cpu_model": "another"}}, "cpu model"),
        ({"machine": {"cores_limited_by": "somebody"}}, "cores limited by"),
        ({"machine": {"memory_gib": 7000.0}}, "GiB of memory"),
        ({"pyscf": "1.0"}, "pyscf"),
        ({"autotune": "0.0.1"}, "autotune"),
    ],
)
def test_what_decides_times_and_numbers_makes_another_kind_told_against_the_commonest(write, changed, difference):
    found = likeness.compare([write("n1", **changed), write("n2"), write("n3")])
    assert [kind.nodes for kind in found.kinds] == [("n2", "n3"), ("n1",)]
    assert [*found.kinds[1].differences] == [difference]
    usual, other = found.kinds[1].differences[difference]
    assert usual != other


def test_a_program_that_a_node_lacks_is_a_difference(write):
    found = likeness.compare([write("n1"), write("n2"), write("n3", pyscf="none")])
    assert found.kinds[1].differences["pyscf"][1] == "not found"


def test_what_is_so_for_a_moment_is_told_beside(write):
    warning = {"severity": "warning", "topic": "load", "text": "load 9 on 2 cores", "cure": "wait"}
    found = likeness.compare([write("n1"), write("n2", findings=[warning, {**warning, "severity": "ok"}])])
    assert len(found.kinds) == 1
    assert found.warnings == {"n2": ("load: load 9 on 2 cores",)}


def test_where_hosts_have_one_name_files_name_the_nodes(write):
    assert likeness.compare([write("a", host="node"), write("b", host="node")]).kinds[0].nodes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is not valid JSON"),
        ("{}", "has schema None"),
        ('{"schema": "autotune.tuning/1"}', "expected 'autotune.doctor/1'"),
        ('{"schema": "autotune.doctor/1", "machine": {}}', "is not whole"),
        ('{"schema": "autotune.doctor/1", "machine": []}', "is not whole"),
        (None, "is not whole"),
    ],
)
def test_a_file_of_another_kind_is_named(write, text, fault):
    bad = write("bad", findings=[{}])
    if text is not None:
        bad.write_text(text)
    with pytest.raises(InputError, match=fault) as caught:
        likeness.compare([write("n1"), bad])
    assert str(bad) in str(caught.value)
