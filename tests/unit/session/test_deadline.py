"""How much of a machine is needed to be done in time: what is answered suffices, and less does not."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner
from places import ROOT

import autotune
from autotune.cli.main import cli

XYZ = ROOT / "studies" / "workloads" / "water16.xyz"
TRIPLES = autotune.Expansion(program="pyscf", method="hf", basis="6-31g*", max_nbody=3)
OPTIONS = {"tuning": "none", "cores": 2}


def alone(**options):
    return autotune.simulate(XYZ, expansion=TRIPLES, **{**OPTIONS, **options}).schedule.makespan_s


def test_the_fewest_cores_of_one_machine_that_do_it_are_found():
    memory_gib = autotune.simulate(XYZ, expansion=TRIPLES, **OPTIONS).machine.memory_gib
    one_s = alone(cores=1, memory_gib=memory_gib / 2)
    assert one_s > 1.5 * alone()
    found = autotune.needed_within(XYZ, 1.01 * one_s, expansion=TRIPLES, **OPTIONS)
    assert (found.nodes, found.cores, found.wall_s) == (1, 1, one_s)
    found = autotune.needed_within(XYZ, 0.99 * one_s, expansion=TRIPLES, **OPTIONS)
    assert (found.nodes, found.cores, found.wall_s) == (1, 2, alone())


def test_the_fewest_machines_that_do_it_are_found():
    two_s = alone()
    found = autotune.needed_within(XYZ, two_s / 3, expansion=TRIPLES, **OPTIONS)
    assert found.nodes > 2
    assert found.cores == 2
    assert found.wall_s <= two_s / 3
    (fewer,) = autotune.simulate_scaling(XYZ, [found.nodes - 1], expansion=TRIPLES, **OPTIONS).scaling.runs
    assert fewer.makespan_s > two_s / 3


def test_where_no_number_suffices_the_time_of_a_machine_for_each_task_is_told():
    found = autotune.needed_within(XYZ, 1e-6, expansion=TRIPLES, **OPTIONS)
    assert found.nodes == math.comb(16, 1) + math.comb(16, 2) + math.comb(16, 3)
    assert found.wall_s > 1e-6


@pytest.mark.parametrize("within_s", [0.0, -1.0, math.inf, math.nan])
def test_a_time_that_is_none_is_refused(within_s):
    with pytest.raises(autotune.InputError, match="must be positive and finite"):
        autotune.needed_within(XYZ, within_s, expansion=TRIPLES, **OPTIONS)


def test_the_command_says_it_in_a_line_and_as_json():
    command = [
        "estimate",
        str(XYZ),
        *["--program", "pyscf", "--method", "hf", "--basis", "6-31g*", "--max-nbody", "3", "--tuning", "none"],
    ]
    said = CliRunner().invoke(cli, [*command, "--cores", "2", "--within", "1h"]).stdout.splitlines()
    assert said[-1].startswith("within 1h: 1 of this machine's 2 cores (")
    assert "core-hours" in said[-3]
    fields = json.loads(CliRunner().invoke(cli, [*command, "--cores", "2", "--within", "1h", "--json"]).stdout)
    assert (fields["within_s"], fields["needed"]["cores"]) == (3600.0, 1)
    assert fields["core_hours"] == fields["core_s"] / 3600
    assert "needed" not in json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
