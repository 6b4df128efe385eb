"""Which tasks go to a node next: bundles, the largest tasks first, smaller bundles towards the end.

Rules: pure - no clock, no futures; `dispatch.py` deals to real nodes, `node_simulator.py` to pretended ones.

A bundle is the share of what is left that each node would get in two rounds (factoring: Hummel, Schonberg and Flynn
1992), so that early ones are worth their way and late ones even out what was predicted wrongly. It is held between what
makes its fixed cost small and what one can afford to lose with a node. Tasks of a bundle are a multiple of a node's
cores where there are enough, because equal tasks go in rounds.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

AT_A_NODE = 2  # bundles: one at work, one that waits, so that the node need not
ROUNDS = 2  # in which nodes would take all that is left
LEAST_S = 3.0  # of a node's time; a bundle costs some 0.1 s beside its tasks
MOST_S = 300.0  # what is lost with a node at most, and how long a drained node still works
FIRST_S = 20.0  # while nothing was measured: predictions may be wrong by ten
MOST_TASKS = 20_000  # of one bundle: what is sent at once
MOST_LOSSES = 3  # of one task in bundles that did not come back


class Dealer:
    """Deals the tasks of one run.

    Args:
        costs_s: Predicted core-seconds of each task, by number.
        nodes: Nodes that work at once.
        cores: Of one node.
        measured: The costs come from measured times.

    Attributes:
        waiting: Tasks that are not dealt.
    """

    def __init__(self, costs_s: Mapping[int, float], *, nodes: int, cores: int, measured: bool = False) -> None:
        self._costs_s = dict(costs_s)
        self._nodes, self._cores, self._measured = nodes, cores, measured
        self._queue = [(-cost_s, number) for number, cost_s in costs_s.items()]
        heapq.heapify(self._queue)
        self._left_s = sum(costs_s.values())
        self._losses: Counter[int] = Counter()
        self._parts: list[tuple[int, ...]] = []
        self._dropped = False

    @property
    def waiting(self) -> int:
        """Tasks that are not dealt."""
        return len(self._queue) + sum(map(len, self._parts))

    def deal(self) -> tuple[int, ...]:
        """Return the next bundle, its largest task first; empty when nothing waits."""
        if self._parts:
            return self._dealt(self._parts.pop())
        least_s, most_s = LEAST_S * self._cores, (MOST_S if self._measured else FIRST_S) * self._cores
        target_s = min(max(self._left_s / (ROUNDS * self._nodes), least_s), most_s)
        bundle: list[int] = []
        spent_s = 0.0
        while self._queue and len(bundle) < MOST_TASKS:
            whole_round = len(bundle) % self._cores == 0
            if bundle and spent_s >= target_s and whole_round:
                break
            cost_s, number = heapq.heappop(self._queue)
            bundle.append(number)
            spent_s -= cost_s
        return self._dealt(tuple(bundle))

    def lost(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Take back the tasks of a bundle that did not return; return those that were lost too often to be tried again.

        They come back in two halves: a task that takes its node with it is soon alone and gives up alone. After `drop`
        they do not come back.
        """
        if self._dropped:
            return ()
        self._losses.update(numbers)
        self._left_s += sum(self._costs_s[number] for number in numbers)
        alone = len(numbers) == 1
        if alone and self._losses[numbers[0]] >= MOST_LOSSES:
            self._left_s -= self._costs_s[numbers[0]]
            return tuple(numbers)
        middle = (len(numbers) + 1) // 2
        self._parts += [tuple(part) for part in (numbers[:middle], numbers[middle:]) if part]
        return ()

    def learn(self, costs_s: Mapping[int, float]) -> None:
        """Follow predictions that changed; those of tasks that are dealt count when they come back."""
        self._measured = True
        self._costs_s.update(costs_s)
        numbers = [number for _, number in self._queue]
        self._queue = [(-self._costs_s[number], number) for number in numbers]
        heapq.heapify(self._queue)
        self._left_s = self._sum_s(numbers) + sum(map(self._sum_s, self._parts))

    def drop(self) -> None:
        """Forget what waits, and what is still to be lost."""
        self._queue, self._parts, self._left_s, self._dropped = [], [], 0.0, True

    def _dealt(self, bundle: tuple[int, ...]) -> tuple[int, ...]:
        self._left_s = max(0.0, self._left_s - self._sum_s(bundle))
        return bundle

    def _sum_s(self, numbers: Iterable[int]) -> float:
        return sum(self._costs_s[number] for number in numbers)
