"""Nodes that are not there, and what a simulated run on them would do; see `simulate_nodes.py`.

Rules: records only; what cannot be is refused when it is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotune.base.errors import InputError

LATENCY_S = 0.1  # one way; executors over a cluster's network take some 10 ms, through a file system a second


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
    back_s: float = math.inf
    spread: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.count < 1 or self.cores < 1:
            raise InputError(f"{self.count} nodes of {self.cores} cores cannot compute anything; give at least 1 of 1")
        for name in ("latency_s", "start_spread_s", "lost", "spread"):
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
