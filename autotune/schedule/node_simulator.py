"""The virtual clock over several nodes: the real `Dealer`, and on each node the real scheduler.

Rules: nothing is started; whoever shows what comes out says that it is simulated, and `scaling.assumed` says under
which assumptions. Chance comes from a seed, and a task takes as long whatever the nodes are.

    dealer --latency--> node: one bundle at work, one waiting --latency--> dealer
           <-- a while after a node was lost: all its bundles whose results are not back

What a bundle did counts when its results are back, and then once: results of bundles that were dealt again
meanwhile are dropped. The dealer itself takes no time.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from autotune.base.errors import InputError
from autotune.base.types import Estimate, Policy, Resources
from autotune.schedule import simulator
from autotune.schedule.bundles import AT_A_NODE, Dealer

LATENCY_S = 0.1  # one way; executors over a cluster's network take some 10 ms, through a file system a second
PLANNING_S = 0.1  # of a node for a bundle, beside its tasks
NOTICED_S = 60.0  # after a node's last sign of life


@dataclass(frozen=True, slots=True, kw_only=True)
class PretendedNodes:
    """The nodes pretended, and what befalls them.

    Attributes:
        count: How many.
        cores: Of one node.
        memory_gib: What the tasks of one node may be granted together.
        latency_s: Until a bundle is at its node, and again until its results are back.
        start_spread_s: Nodes start at random within so many seconds.
        stragglers: Share of nodes that are slower.
        slower: How many times as long a bundle takes there.
        lost: Nodes that are lost, at random times within the time that all would take if they were never idle.
        noticed_s: So long after its last sign of life a node counts as lost.
        back_s: So long after a loss was noticed another node takes the place; infinity for never.
        spread: Standard deviation of the logarithm of a task's time over the predicted one, whose mean is 1; None takes
            each estimate's own.
        seed: Of chance.

    Raises:
        InputError: There can be no such nodes, or they could not finish.
    """

    count: int
    cores: int
    memory_gib: float
    latency_s: float = LATENCY_S
    start_spread_s: float = 0.0
    stragglers: float = 0.0
    slower: float = 2.0
    lost: int = 0
    noticed_s: float = NOTICED_S
    back_s: float = math.inf
    spread: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.count < 1 or self.cores < 1:
            raise InputError(f"{self.count} nodes of {self.cores} cores cannot compute anything; give at least 1 of 1")
        for name in ("latency_s", "start_spread_s", "lost", "noticed_s", "spread"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise InputError(f"{name} of nodes is {getattr(self, name)}, but must be 0 or more")
        if not 0 <= self.stragglers <= 1 or not 1 <= self.slower < math.inf:
            raise InputError(
                f"stragglers {self.stragglers}x{self.slower} must be a share up to 1, and slower by 1 or more"
            )
        if self.lost > self.count or (self.lost == self.count and not 0 <= self.back_s < math.inf):
            raise InputError(f"{self.lost} of {self.count} nodes cannot be lost: nobody would compute the rest")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesSimulation:
    """What a simulated run on several nodes would do.

    Attributes:
        nodes: The nodes.
        done: Tasks that ended, each once.
        makespan_s: From the first bundle's dealing until the last results are back.
        core_s: What the tasks take, each alone on one core of an ordinary node.
        held_s: Node-seconds, each node from its start until the end, or until it is lost.
        bundles: Bundles whose results came back.
        bundles_lost: Bundles that were taken back from lost nodes.
        lost_core_s: Core-seconds of nodes at work on bundles that were taken back: computed twice.
        nodes_lost: Nodes lost before the end.
        given_up: Tasks that were lost too often to be tried again.
        waiting: Share of the nodes' core time without a bundle.
        planning: Share that bundles cost beside their tasks.
        within: Share in which cores wait for the last tasks of their bundle, and that wide tasks take more.
        lost: Share of `lost_core_s`.
    """

    nodes: PretendedNodes
    done: int
    makespan_s: float
    core_s: float
    held_s: float
    bundles: int
    bundles_lost: int
    lost_core_s: float
    nodes_lost: int
    given_up: int
    waiting: float
    planning: float
    within: float
    lost: float

    @property
    def bound_s(self) -> float:
        """All cores of ordinary nodes busy all the time."""
        return self.core_s / (self.nodes.count * self.nodes.cores)

    @property
    def efficiency(self) -> float:
        """Bound over makespan."""
        return self.bound_s / self.makespan_s if self.makespan_s else 1.0

    @property
    def node_hours(self) -> float:
        """Hours for which nodes are held, together."""
        return self.held_s / 3600


def simulate_nodes(
    estimates: Mapping[int, Estimate],
    levels: Mapping[int, int],
    *,
    policy: Policy,
    nodes: PretendedNodes,
    measured: bool = False,
    durations_s: Mapping[int, float] | None = None,
    contention: Callable[[float], float] = lambda _: 1.0,
) -> NodesSimulation:
    """Run tasks on several nodes on a virtual clock.

    Args:
        estimates: What dealer and schedulers believe of each task, by number.
        levels: n-body level of each.
        policy: The policy of each node.
        nodes: The nodes.
        measured: What is believed comes from measured times.
        durations_s: Seconds alone on one core that tasks really take; by default drawn around what is believed.
        contention: As in `simulator.simulate`, on each node.
    """
    if durations_s is None:
        durations_s = drawn_s(estimates, spread=nodes.spread, seed=nodes.seed)

    def bundle_s(numbers: Sequence[int]) -> float:
        return simulator.makespan_s(
            {number: estimates[number] for number in numbers},
            {number: levels[number] for number in numbers},
            policy=policy,
            budget=Resources(cores=nodes.cores, memory_gib=nodes.memory_gib),
            durations_s=durations_s,
            contention=contention,
        )

    return _Run(estimates, nodes, durations_s, bundle_s, measured=measured).result()


def drawn_s(estimates: Mapping[int, Estimate], *, spread: float | None, seed: int) -> dict[int, float]:
    """Return the seconds that tasks really take on one core, by number: log-normal, what is believed their mean."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    drawn = {}
    for number, estimate in estimates.items():
        sigma = estimate.spread if spread is None else spread
        drawn[number] = estimate.alone_s * math.exp(sigma * chance.gauss(0.0, 1.0) - sigma * sigma / 2)
    return drawn


@dataclass(slots=True, eq=False)
class _Bundle:
    numbers: tuple[int, ...]
    span_s: float = 0.0  # at its node


@dataclass(slots=True, eq=False)
class _Node:
    number: int
    slower: float
    lost_after_s: float  # its start
    life: int = 0  # what was on its way in an earlier one is void
    started_s: float | None = None  # None while it is not there
    dealt: list[_Bundle] | None = None  # whose results are not back; None while the dealer knows no such node
    waiting: deque[_Bundle] = field(default_factory=deque)
    works: _Bundle | None = None
    began_s: float = 0.0


class _Run:
    """The events of one simulated run."""

    def __init__(
        self,
        estimates: Mapping[int, Estimate],
        nodes: PretendedNodes,
        durations_s: Mapping[int, float],
        bundle_s: Callable[[Sequence[int]], float],
        *,
        measured: bool,
    ) -> None:
        costs_s = {number: estimate.alone_s for number, estimate in estimates.items()}
        self._dealer = Dealer(costs_s, nodes=nodes.count, cores=nodes.cores, measured=measured)
        self._pretended, self._durations_s, self._bundle_s, self._measured = nodes, durations_s, bundle_s, measured
        self._tasks, self._core_s = len(costs_s), sum(durations_s[number] for number in costs_s)
        self._clock, self._sequence = 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._nodes = _nodes(nodes, within_s=self._core_s / (nodes.count * nodes.cores))
        self._room: list[tuple[int, int]] = []  # bundles of a node that can take one more, and which node
        self._done = self._given_up = self._bundles = self._bundles_lost = self._nodes_lost = 0
        self._held_s = self._useful_s = self._planning_s = self._spans_s = self._lost_s = 0.0

    def result(self) -> NodesSimulation:
        chance = random.Random(f"starts {self._pretended.seed}")  # noqa: S311 - no secrets
        for number in range(len(self._nodes)):
            self._at(chance.uniform(0.0, self._pretended.start_spread_s), partial(self._start, number))
        while self._done + self._given_up < self._tasks:
            self._clock = self._events[0][0]
            # All that happens at once, before anything is dealt: each node has one bundle before one has two.
            while self._events and self._events[0][0] == self._clock:
                heapq.heappop(self._events)[2]()
            self._deal()
        self._held_s += sum(self._clock - node.started_s for node in self._nodes if node.started_s is not None)
        cores = self._pretended.cores
        held_core_s = max(self._held_s * cores, 1e-9)
        return NodesSimulation(
            nodes=self._pretended,
            done=self._done,
            makespan_s=self._clock,
            core_s=self._core_s,
            held_s=self._held_s,
            bundles=self._bundles,
            bundles_lost=self._bundles_lost,
            lost_core_s=self._lost_s * cores,
            nodes_lost=self._nodes_lost,
            given_up=self._given_up,
            waiting=max(0.0, 1.0 - (self._spans_s + self._lost_s) * cores / held_core_s),
            planning=self._planning_s * cores / held_core_s,
            within=max(0.0, (self._spans_s - self._planning_s) * cores - self._useful_s) / held_core_s,
            lost=self._lost_s * cores / held_core_s,
        )

    def _at(self, time_s: float, happens: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (time_s, self._sequence, happens))

    # --- the dealer ---------------------------------------------------------------------------------------------------

    def _deal(self) -> None:
        while self._room and self._dealer.waiting:
            has, number = heapq.heappop(self._room)
            node = self._nodes[number]
            if node.dealt is None or len(node.dealt) != has:
                continue  # it was otherwise when this was noted
            bundle = _Bundle(self._dealer.deal())
            node.dealt.append(bundle)
            self._note_room(number)
            self._at(self._clock + self._pretended.latency_s, partial(self._arrive, node, node.life, bundle))

    def _note_room(self, number: int) -> None:
        dealt = self._nodes[number].dealt
        if dealt is not None and len(dealt) < AT_A_NODE:
            heapq.heappush(self._room, (len(dealt), number))

    def _return(self, number: int, bundle: _Bundle) -> None:
        node = self._nodes[number]
        if node.dealt is None or bundle not in node.dealt:
            self._lost_s += bundle.span_s  # the node was given up before its results were here
            return
        node.dealt.remove(bundle)
        self._done += len(bundle.numbers)
        self._bundles += 1
        self._spans_s += bundle.span_s
        self._planning_s += PLANNING_S * node.slower
        self._useful_s += node.slower * sum(self._durations_s[task] for task in bundle.numbers)
        if not self._measured:
            self._measured = True
            self._dealer.learn({})  # predictions are right on average: only now they are known to be
        self._note_room(number)

    def _miss(self, number: int) -> None:
        """Notice that a node is lost."""
        node = self._nodes[number]
        for bundle in node.dealt or ():
            self._given_up += len(self._dealer.lost(bundle.numbers))
            self._bundles_lost += 1
        node.dealt = None
        if self._pretended.back_s < math.inf:
            self._at(self._clock + self._pretended.back_s, partial(self._start, number))

    # --- a node -------------------------------------------------------------------------------------------------------

    def _start(self, number: int) -> None:
        node = self._nodes[number]
        node.started_s, node.dealt = self._clock, []
        node.life += 1
        if node.lost_after_s < math.inf:
            self._at(self._clock + node.lost_after_s, partial(self._lose, number))
            node.lost_after_s = math.inf  # once
        self._note_room(number)

    def _arrive(self, node: _Node, life: int, bundle: _Bundle) -> None:
        if node.life == life and node.started_s is not None:
            node.waiting.append(bundle)
            self._work(node)

    def _work(self, node: _Node) -> None:
        if node.works is None and node.waiting:
            bundle = node.works = node.waiting.popleft()
            node.began_s = self._clock
            bundle.span_s = node.slower * (PLANNING_S + self._bundle_s(bundle.numbers))
            self._at(self._clock + bundle.span_s, partial(self._end, node, node.life, bundle))

    def _end(self, node: _Node, life: int, bundle: _Bundle) -> None:
        if node.life == life:
            node.works = None
            self._at(self._clock + self._pretended.latency_s, partial(self._return, node.number, bundle))
            self._work(node)

    def _lose(self, number: int) -> None:
        node = self._nodes[number]
        assert node.started_s is not None
        self._held_s += self._clock - node.started_s
        self._lost_s += self._clock - node.began_s if node.works else 0.0
        self._nodes_lost += 1
        node.life += 1
        node.started_s, node.works = None, None
        node.waiting.clear()
        self._at(self._clock + self._pretended.noticed_s, partial(self._miss, number))


def _nodes(nodes: PretendedNodes, *, within_s: float) -> list[_Node]:
    """Return the nodes before they start; those that are lost work for a random time of `within_s` before."""
    chance = random.Random(f"nodes {nodes.seed}")  # noqa: S311 - no secrets
    slow = set(chance.sample(range(nodes.count), round(nodes.stragglers * nodes.count)))
    lost = {number: chance.uniform(0.0, within_s) for number in chance.sample(range(nodes.count), nodes.lost)}
    return [
        _Node(number, slower=nodes.slower if number in slow else 1.0, lost_after_s=lost.get(number, math.inf))
        for number in range(nodes.count)
    ]
