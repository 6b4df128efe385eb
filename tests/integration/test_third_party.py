"""A strategy of someone else: docs/plugins.md shows it; here it is installed and used as is said there."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from installing import install, run_python
from places import TESTS

from autotune.base.types import Context, Policy
from autotune.machine import detection
from autotune.plugin import composition
from autotune.plugin.manager import Manager

pytestmark = pytest.mark.programs("pyscf")  # calibrates

SOURCE = TESTS / "distributions" / "polite_strategy"
FIELDS = (TESTS.parent / "docs" / "scheduling.md").read_text()
ALL_SIX = (*composition.STANDARD, "polite")
HERE = detection.detect()

STUDY = """
schema = "autotune.study/1"
budget = "20s"
trials = 2
method = {program = "faulty", method = "sleep", keywords = {seconds = 0.02}}
search = [{geometry = "water2"}]
confirm = [{geometry = "water4", max_nbody = 1}]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return install("polite_strategy", tmp_path_factory.mktemp("polite"))


@pytest.fixture
def python(installed, tmp_path):
    """Return a function that runs Python where the distribution is installed, and returns what it printed."""

    def call(*arguments, cwd=tmp_path):
        return run_python(*arguments, cwd=cwd, PYTHONPATH=installed).stdout

    return call


@pytest.fixture
def run(python, tmp_path, faulty):
    """Return a function that has `autotune run` compute an input and returns the record."""

    def call(seconds, *options, max_nbody=2):
        source, record = tmp_path / "input.json", tmp_path / "record.json"
        source.write_text(json.dumps(faulty("water4", "sleep", max_nbody=max_nbody, seconds=seconds)))
        python("-m", "autotune", "run", source, "-o", tmp_path / "result.json", "--record", record, *options)
        return json.loads(record.read_text())

    return call


def most_at_once(record):
    """Return the cores that tasks held at the same time."""
    tasks = record["task_records"]
    return max(
        sum(t["width"] for t in tasks if t["started_s"] <= at["started_s"] < t["started_s"] + t["wall_s"])
        for at in tasks
    )


def test_the_strategy_takes_less_than_thirty_lines():
    assert len((SOURCE / "polite_strategy.py").read_text().splitlines()) < 30


def test_the_document_names_every_field_of_the_policy_and_every_parameter_with_its_default():
    context = Context(machine=HERE, methods=(), tasks=0)
    defaults = composition.default_parameters(composition.choose(Manager().strategies, None), context)
    assert re.findall(r"^\| `(\w+\.\w+)` \| (\S+) \|", FIELDS, re.MULTILINE) == [
        (name, str(value)) for name, value in defaults.items()
    ]
    table = FIELDS.partition("its fields of the policy")[2].partition("| parameter |")[0]
    assert {f.name for f in dataclasses.fields(Policy)} == set(re.findall(r"`(\w+)`", table)) - set(
        composition.STANDARD
    )


@pytest.mark.skipif(HERE.cores < 2, reason="there is no core to leave to others")
def test_a_run_leaves_a_core_to_others_even_while_its_tasks_wait(run):
    # Longer than the 3 s after which workers are added for tasks that wait, were it not for the strategy.
    record = run(1.2, "--tuning", "none", "--strategies", ",".join(ALL_SIX), max_nbody=1)
    assert record["tuning"]["strategies"] == list(ALL_SIX)
    assert record["tuning"]["parameters"]["polite.spare"] == 1
    assert record["policy"]["workers"] == min(record["tasks"], HERE.cores - 1)
    assert record["policy"]["core_slots"] == HERE.cores - 1
    assert record["policy"]["most_workers"] <= HERE.cores - 1
    assert most_at_once(record) <= HERE.cores - 1


def test_it_is_not_applied_unless_it_is_named(run):
    record = run(0.01)
    assert record["tuning"]["strategies"] == list(composition.STANDARD)
    assert record["policy"]["core_slots"] == HERE.cores


def test_a_calibration_searches_it_and_its_tuning_applies_it_to_later_runs_without_being_asked(python, run, tmp_path):
    study = tmp_path / "waiting.toml"
    study.write_text(STUDY)
    said = python("-m", "autotune", "calibrate", "--study", study, "--search", "polite", "--force")
    (tuning,) = json.loads(Path(said.partition("stored in ")[2].strip()).read_text())["tunings"]
    assert tuning["strategies"] == list(ALL_SIX)
    assert len(tuning["evidence"]["trials"]) == 2  # all that its space has
    # Whether the spare core is missed, and whether so few pairs prove it, is the machine's affair.
    spare = tuning["parameters"].get("polite.spare", 1)
    record = run(0.02)
    assert record["tuning"]["match"] == "exact"
    assert record["tuning"]["strategies"] == list(ALL_SIX)
    assert record["tuning"]["parameters"]["polite.spare"] == spare
    assert record["policy"]["core_slots"] == max(1, HERE.cores - spare)


def test_it_fulfils_the_contract_of_every_strategy(python):
    # It is parametrised over the strategies that are installed; pytest fails where it finds none of this name.
    options = ("-p", "no:cacheprovider", "-k", "TestContract and polite")
    python("-m", "pytest", *options, TESTS / "unit" / "plugins" / "test_strategies.py", cwd=TESTS.parent)
