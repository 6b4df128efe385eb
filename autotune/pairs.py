"""Runs pairs: the default and another policy, one right after the other, in random order, until the answer is clear.

Rules: instances take turns; what was measured before an interruption counts. `confirm.py` says when it is clear.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from autotune import confirm
from autotune.instances import Instance
from autotune.records import Pair
from autotune.timing import Budget, Timed, Timing
from autotune.types import Parameters


def measure(
    pairs: list[Pair],
    instances: Sequence[Instance],
    parameters: Parameters,
    *,
    timing: Timing,
    budget: Budget,
    order: random.Random,
    say: Callable[[str], None],
    on_pair: Callable[[Sequence[Pair]], None] = lambda _: None,
    on_default: Callable[[Instance, Timed], None] = lambda _, __: None,
) -> None:
    """Add pairs to a list until the answer is clear or the next would not fit into the budget.

    Args:
        pairs: Those there are already; more are added.
        instances: What is run; at least one.
        parameters: Of the policy that is held against the default.
        timing: Runs them.
        budget: What is left of it may be used.
        order: Decides which side comes first.
        say: Called with one line for each pair.
        on_pair: Called with all pairs after each.
        on_default: Called with each run of the default.
    """
    while not confirm.settled(pairs):
        instance = instances[len(pairs) % len(instances)]
        before = [pair.default_s + pair.tuned_s for pair in pairs if pair.workload == instance.name]
        if (before[-1] if before else 2 * timing.predicted_s(instance)) > budget.left_s:
            break
        plans = [timing.policy(chosen, [instance]) for chosen in ({}, parameters)]
        wall_s = {}
        for side in order.sample((0, 1), 2):
            timed = timing.run(instance, plans[side], learn=False)
            wall_s[side] = timed.wall_s
            if side == 0:
                on_default(instance, timed)
        pairs.append(Pair(workload=instance.name, default_s=wall_s[0], tuned_s=wall_s[1]))
        say(f"  pair {len(pairs)}, {instance.name}: default {wall_s[0]:.2f} s, winner {wall_s[1]:.2f} s")
        on_pair(pairs)
