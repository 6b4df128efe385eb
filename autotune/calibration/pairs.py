"""Runs pairs: the default and another policy, one right after the other, in random order, until the answer is clear.

Rules: instances take turns; what was measured before an interruption counts. `confirm.py` says when it is clear. An
instance on which the default fails is left out; a winner that fails, or takes far longer, has lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from autotune.base.errors import AutotuneError, InputError, one_line
from autotune.base.records import Pair
from autotune.base.types import Parameters
from autotune.calibration import confirmation
from autotune.calibration.instances import Instance
from autotune.calibration.timing import Budget, OutOfTimeError, Timed, Timing

FAR_SLOWER = 4.0  # times the default, after which a run of the winner is stopped


class LostError(AutotuneError):
    """The winner failed, or took far longer than the default."""


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

    Raises:
        InputError: A program, method or basis set cannot be used at all.
        LostError: The winner failed on an instance.
    """
    usable = list(instances)
    names = {instance.name for instance in instances}
    pairs[:] = [pair for pair in pairs if pair.workload in names]
    while usable and not confirmation.settled(pairs):
        instance = usable[len(pairs) % len(usable)]
        before = [pair for pair in pairs if pair.workload == instance.name]
        known_s = before[-1].default_s if before else None
        expected_s = before[-1].default_s + before[-1].tuned_s if before else 2 * timing.predicted_s(instance)
        if expected_s > budget.left_s:
            break
        sides = order.sample((False, True), 2)
        try:
            walls = dict(_runs(instance, parameters, sides, known_s, timing=timing, on_default=on_default))
        except OutOfTimeError:
            break
        except _DefaultFailedError as error:
            say(f"  {instance.name} is left out: {error}")
            usable.remove(instance)
            pairs[:] = [pair for pair in pairs if pair.workload != instance.name]
            on_pair(pairs)
            continue
        pairs.append(Pair(workload=instance.name, default_s=walls[False], tuned_s=walls[True]))
        say(f"  pair {len(pairs)}, {instance.name}: default {walls[False]:.2f} s, winner {walls[True]:.2f} s")
        on_pair(pairs)


class _DefaultFailedError(AutotuneError):
    """The default failed on an instance."""


def _runs(
    instance: Instance,
    parameters: Parameters,
    sides: Sequence[bool],
    default_s: float | None,
    *,
    timing: Timing,
    on_default: Callable[[Instance, Timed], None],
) -> Iterator[tuple[bool, float]]:
    """Yield whether it was the winner, and its wall time; `default_s` is what the default took before, if it did."""
    for tuned in sides:
        plan = timing.policy(parameters if tuned else {}, instance)
        limit_s = FAR_SLOWER * default_s if tuned and default_s else None
        try:
            timed = timing.run(instance, plan, learn=False, limit_s=limit_s)
        except (InputError, OutOfTimeError):
            raise
        except AutotuneError as error:
            if tuned and default_s is None:
                # What the default cannot compute either says nothing about the winner.
                _run_default(instance, timing)
            raise (LostError if tuned else _DefaultFailedError)(f"{instance.name}: {one_line(error)}") from error
        if not tuned:
            default_s = timed.wall_s
            on_default(instance, timed)
        yield tuned, timed.wall_s


def _run_default(instance: Instance, timing: Timing) -> None:
    try:
        timing.run(instance, timing.policy({}, instance), learn=False)
    except (InputError, OutOfTimeError):
        raise
    except AutotuneError as error:
        raise _DefaultFailedError(f"{instance.name}: {one_line(error)}") from error
