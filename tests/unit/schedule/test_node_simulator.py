"""Several nodes on a virtual clock: every task ends once, chance is repeatable, and the numbers add up."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from functools import partial

import pytest
from commands import autotune
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_tasks import Planned, mappings

from autotune.base.errors import InputError
from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule import bundles, node_simulator, simulator
from autotune.schedule.node_simulator import PretendedNodes

FULL = Policy(workers=4, core_slots=4, widest=4, order="longest", level_barriers=False, widen_tail=True)
NODES = PretendedNodes(count=4, cores=4, memory_gib=64.0, latency_s=0.01, spread=0.0)
SHARES = ("waiting", "planning", "within", "lost")


def tasks(*seconds, spread=0.0):
    estimate = Estimate(alone_s=1.0, parallel=0.5, memory_gib=0.1, spread=spread)
    return [
        Planned(number=number, level=1, estimate=replace(estimate, alone_s=float(alone_s)))
        for number, alone_s in enumerate(seconds)
    ]


def run(planned, nodes=NODES, **options):
    return node_simulator.simulate_nodes(*mappings(planned), policy=FULL, nodes=nodes, **options)


MANY, SOME = tasks(*[8.0] * 2000), tasks(*[2.0] * 2000)


class Watched(bundles.Dealer):
    """A dealer that notes what is out, and fails where a task is dealt while it is."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.out, self.gone = set(), []
        Watched.last = self

    def deal(self):
        bundle = super().deal()
        assert bundle
        assert not self.out & set(bundle)
        self.out |= set(bundle)
        return bundle

    def lost(self, numbers):
        assert set(numbers) <= self.out
        self.out -= set(numbers)
        gone = super().lost(numbers)
        self.gone += gone
        return gone


class Held(node_simulator._Run):
    """A run that fails where a node has more bundles than it may."""

    def _note_room(self, number):
        assert len(self._nodes[number].dealt or ()) <= bundles.AT_A_NODE
        super()._note_room(number)


@st.composite
def fleets(draw):
    count = draw(st.integers(1, 12))
    back_s = draw(st.sampled_from([math.inf, 0.0, 50.0]))
    return PretendedNodes(
        count=count,
        cores=draw(st.integers(1, 4)),
        memory_gib=64.0,
        latency_s=draw(st.sampled_from([0.0, 0.1, 5.0, 100.0])),  # the last is longer than a loss goes unnoticed
        start_spread_s=draw(st.sampled_from([0.0, 30.0])),
        stragglers=draw(st.floats(0.0, 1.0)),
        slower=draw(st.floats(1.0, 5.0)),
        lost=draw(st.integers(0, count - 1 if back_s == math.inf else count)),
        back_s=back_s,
        spread=draw(st.sampled_from([0.0, 0.3])),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(0.01, 500.0), min_size=1, max_size=150), fleets(), st.booleans())
def test_every_task_ends_exactly_once_or_is_given_up_whatever_befalls_the_nodes(seconds, nodes, measured):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_simulator, "Dealer", Watched)
        patch.setattr(node_simulator, "_Run", Held)
        found = run(tasks(*seconds), nodes, measured=measured)
    dealer = Watched.last
    assert dealer.waiting == 0
    assert len(dealer.out) == found.done
    assert dealer.out | set(dealer.gone) == set(range(len(seconds)))
    assert (len(dealer.gone), found.done + found.given_up) == (found.given_up, len(seconds))
    shares = [getattr(found, name) for name in SHARES]
    assert min(shares) >= 0
    assert sum(shares) <= 1 + 1e-9
    assert found.held_s <= nodes.count * found.makespan_s + 1e-6


@given(st.lists(st.floats(0.01, 500.0), min_size=1, max_size=100), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_no_fleet_beats_its_bound_and_what_is_not_idle_is_the_work(seconds, count):
    found = run(tasks(*seconds), replace(NODES, count=count))
    assert found.makespan_s >= found.bound_s
    busy_s = found.held_s * NODES.cores * (1 - sum(getattr(found, name) for name in SHARES))
    assert busy_s == pytest.approx(sum(seconds), rel=1e-6)
    assert (found.nodes_lost, found.bundles_lost, found.lost_core_s, found.given_up) == (0, 0, 0.0, 0)


def test_one_node_takes_what_the_scheduler_takes_and_what_its_bundle_costs():
    planned = tasks(*[3.0] * 4)
    alone_s = simulator.makespan_s(*mappings(planned), policy=FULL, budget=Resources(cores=4, memory_gib=64.0))
    found = run(planned, replace(NODES, count=1), measured=True)
    assert found.bundles == 1
    assert found.makespan_s == pytest.approx(alone_s + node_simulator.PLANNING_S + 2 * NODES.latency_s)


def test_many_tasks_scale_and_few_do_not():
    few = tasks(*[2.0] * 8)
    spans = [run(MANY, replace(NODES, count=n)).makespan_s for n in (1, 2, 8)]
    assert spans[0] / spans[1] > 1.9
    assert spans[0] / spans[2] > 7
    more, less = (run(few, replace(NODES, count=n)) for n in (50, 2))
    assert more.makespan_s == pytest.approx(less.makespan_s, rel=0.5)
    assert more.waiting > 0.9


def test_nodes_have_work_waiting_so_that_latency_is_hidden():
    near, far = (run(MANY, replace(NODES, latency_s=latency_s)).makespan_s for latency_s in (0.0, 3.0))
    assert far - near < 4 * 3.0


def test_a_lost_node_costs_what_it_had_and_its_tasks_are_computed_twice():
    sound, struck = run(SOME), run(SOME, replace(NODES, lost=2, seed=3))
    assert struck.nodes_lost == 2
    assert struck.bundles_lost == 4
    assert struck.lost_core_s > 0
    assert struck.makespan_s > sound.makespan_s + node_simulator.NOTICED_S / 2
    assert struck.done == sound.done == 2000


def test_a_node_that_comes_back_helps():
    gone, back = (run(MANY, replace(NODES, lost=3, back_s=back_s)).makespan_s for back_s in (math.inf, 10.0))
    assert back < gone


def test_stragglers_and_late_starts_take_longer():
    even_s = run(SOME).makespan_s
    assert run(SOME, replace(NODES, stragglers=0.5, slower=3.0)).makespan_s > 1.3 * even_s
    late = run(SOME, replace(NODES, start_spread_s=200.0))
    assert late.makespan_s > 1.05 * even_s
    assert late.held_s < NODES.count * late.makespan_s  # a node in the queue is not held


def test_the_same_seed_gives_the_same_run_and_another_another():
    planned, nodes = tasks(*[2.0] * 500, spread=0.2), replace(NODES, spread=None, lost=1, stragglers=0.25)
    assert run(planned, nodes) == run(planned, nodes)
    assert run(planned, nodes).makespan_s != run(planned, replace(nodes, seed=1)).makespan_s


def test_times_scatter_around_the_prediction_as_the_estimate_says():
    drawn = node_simulator.drawn_s(mappings(tasks(*[2.0] * 20_000, spread=0.3))[0], spread=None, seed=0)
    assert statistics.fmean(drawn.values()) == pytest.approx(2.0, rel=0.01)
    assert statistics.pstdev(map(math.log, drawn.values())) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 0}, "give at least 1 of 1"),
        ({"lost": 4}, "4 of 4 nodes cannot be lost"),
        ({"lost": 5, "back_s": 1.0}, "5 of 4 nodes cannot be lost"),
        ({"stragglers": 1.5}, "must be a share"),
        ({"slower": 0.5}, "slower by 1 or more"),
        ({"latency_s": -1.0}, "must be 0 or more"),
        ({"spread": math.nan}, "must be 0 or more"),
    ],
)
def test_nodes_that_cannot_be_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        replace(NODES, **changes)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def simulated(tmp_path, faulty):
    source = tmp_path / "input.json"
    source.write_text(json.dumps(faulty("water32", max_nbody=2)))
    return partial(autotune, "simulate", source, "--cores", 4, "--memory", 8)


def test_the_command_says_how_many_nodes_are_worth_it_and_draws_it_marked_as_simulated(simulated, tmp_path):
    picture = tmp_path / "scaling.svg"
    done = simulated("--nodes", "1-20", "--stragglers", "0.1x3", "--lost", "1", "--plot", str(picture))
    assert done.errors == ""
    lines = done.output.splitlines()
    assert lines[0].startswith("simulated: 528 tasks, ")
    assert [line.split()[0] for line in lines[1:7]] == ["nodes", "1", "2", "5", "10", "20"]
    assert lines[7].startswith("worth it: ")
    assert lines[8] == "assumed:"
    nodes = "each node has 4 cores and 8 GiB for tasks; 10 % of the nodes take 3 times as long; all start at once"
    assert f"  - {nodes}" in lines
    assert picture.stat().st_size > 10_000


def test_one_number_of_nodes_is_answered_in_words_and_as_json(simulated):
    asked = ("--nodes", "3", "--latency", "0.5", "--spread", "0", "--start-spread", "10", "--seed", "7")
    words = simulated(*asked).output
    assert words.startswith("simulated: 528 tasks on 3 nodes of 4 cores in ")
    assert "a bundle takes 0.5 s to its node" in words
    assert "nodes start at random within 10 s" in words
    assert "tasks take exactly what is predicted" in words
    answer = json.loads(simulated(*asked, "--json").output)
    assert answer["simulated"] is True
    assert answer["worth_it"] == 3
    assert len(answer["assumed"]) == 5
    (row,) = answer["runs"]
    assert (row["nodes"], row["done"], row["given_up"]) == (3, 528, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nodes", "0"), "--nodes '0' is no list of numbers"),
        (("--nodes", "8-2"), "is no list of numbers"),
        (("--nodes", "many"), "is no list of numbers"),
        (("--nodes", "1,2000000"), "up to 100,000"),
        (("--lost", "1"), "--lost is about several nodes; say how many with --nodes"),
        (("--start-spread", "1"), "--start-spread is about several nodes"),
        (("--nodes", "4", "--stragglers", "2x3"), "--stragglers '2x3' is no share"),
        (("--nodes", "4", "--stragglers", "nanx2"), "is no share"),
        (("--nodes", "4", "--plot", "a.svg"), "needs several numbers of nodes"),
        (("--nodes", "1-4", "--plot", "a.xyz"), "its ending must be one of"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(simulated, arguments, words):
    done = simulated(*arguments)
    assert done.status == 2
    assert words in done.errors
    assert len(done.errors.splitlines()) == 1
