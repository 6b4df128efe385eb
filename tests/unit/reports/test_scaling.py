"""How many nodes are worth it, and what was assumed."""

from __future__ import annotations

import matplotlib as mpl
import pytest

from autotune.base.errors import InputError
from autotune.reports import scaling
from autotune.schedule.node_simulator import NodesSimulation, PretendedNodes


def simulated(count, makespan_s, **changes):
    numbers = dict.fromkeys(("bundles", "bundles_lost", "nodes_lost", "given_up"), 0)
    shares = dict.fromkeys(("lost_core_s", "waiting", "planning", "within", "lost"), 0.0)
    nodes = PretendedNodes(count=count, cores=10, memory_gib=64.0)
    told = {"done": 5, "core_s": 900.0, "held_s": count * makespan_s, **numbers, **shares, **changes}
    return NodesSimulation(nodes=nodes, makespan_s=makespan_s, **told)


def of(*pairs):
    return scaling.Scaling(runs=tuple(simulated(*pair) for pair in pairs))


def test_the_largest_number_with_enough_parallel_efficiency_is_worth_it():
    found = of((1, 1000.0), (2, 510.0), (4, 300.0), (10, 200.0))
    assert [round(found.efficiency(run), 2) for run in found.runs] == [1.0, 0.98, 0.83, 0.5]
    assert found.worth.nodes.count == 4
    assert scaling.verdict(found) == (
        "worth it: up to 4 nodes, 5 min 0 s instead of 16 min 40 s (the largest number with a parallel efficiency of at"
        " least 0.8 against 1 node). The fastest simulated: 10 nodes, 3 min 20 s, for 1.7 times the node-hours."
    )


def test_nothing_is_said_of_more_nodes_than_were_simulated():
    assert scaling.verdict(of((1, 100.0), (2, 51.0))).endswith("More were not simulated.")
    assert scaling.verdict(of((1, 100.0), (2, 100.0))) == (
        "worth it: 1 node, 1 min 40 s (the largest number with a parallel efficiency of at least 0.8 against 1 node)."
        " More are not faster."
    )


def test_speed_ups_are_against_the_fewest_nodes():
    found = of((10, 100.0), (20, 60.0))
    assert found.speed_up(found.runs[1]) == pytest.approx(100 / 60)
    assert found.efficiency(found.runs[1]) == pytest.approx(50 / 60)
    assert "against 10 nodes" in scaling.verdict(found)


def test_a_range_is_taken_in_steps():
    assert scaling.numbers_of_nodes(1, 1000) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert scaling.numbers_of_nodes(3, 12) == [3, 5, 10, 12]
    assert scaling.numbers_of_nodes(7, 7) == [7]


def test_where_core_time_went_adds_up_in_words():
    run = simulated(1, 100.0, waiting=0.1, planning=0.05, within=0.05)
    assert scaling.idle_words(run) == (
        "80.0 % tasks, 5.0 % cores that waited for the last tasks of a bundle, 5.0 % what bundles cost besides their"
        " tasks, 10.0 % nodes without a bundle"
    )


def test_assumptions_name_what_was_pretended():
    nodes = PretendedNodes(count=9, cores=64, memory_gib=200.0, stragglers=0.05, lost=2, start_spread_s=600.0)
    words = scaling.assumptions_of(nodes, spread=0.1, contention=1.2)
    assert words[0] == (
        "each node has 64 cores and 200 GiB for tasks; 5 % of the nodes take 2 times as long; nodes start at random"
        " within 10 min 0 s"
    )
    assert "which is noticed after 60 s; none takes its place" in words[2]
    assert words[3].startswith("single tasks take 1.11 times more or less")
    assert words[3].endswith("1.2 times as long while all cores of a node are busy")
    assert scaling.assumptions_of(nodes, spread=None)[3].startswith("tasks take what they took in the record")


@pytest.mark.parametrize("runs", [((1, 2.0), (2, 1.5), (4, 1.2)), ((1, 20.0), (8, 3.1)), ((1, 1.0), (2, 0.97))])
def test_the_picture_says_that_it_is_simulated_under_which_assumptions_and_has_numbers_on_its_axes(tmp_path, runs):
    path = tmp_path / "scaling.svg"
    with mpl.rc_context({"svg.fonttype": "none"}):
        scaling.draw(of(*runs), title="5 tasks", assumptions=("nodes are free", "time is none"), path=path)
    text = path.read_text()
    for words in ("simulated: 5 tasks", "Simulated. Assumed: nodes are free; time is none.", "ideal", "worth it"):
        assert words in text, words
    assert "mathdefault" not in text  # no formulas, however small the work


def test_what_is_wrong_with_the_pictures_file_is_said(tmp_path):
    with pytest.raises(InputError, match=r"a\.xyz cannot be drawn"):
        scaling.draw(of((1, 1.0)), title="", assumptions=(), path=tmp_path / "a.xyz")
