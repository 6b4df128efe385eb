"""The confirmation: winner and default are run in pairs until the answer is clear; and what the pairs then say.

Rules: workloads count alike, whatever their times, and the scatter is that within a workload. Pairs are looked at after
every round over the workloads, so the confidence is set for several looks: with noise alone, about one confirmation in
a hundred ends with `faster` (results/calibration_aa.json). A gain on average is none where one workload loses. The
interval that is reported is the usual 95 % one; because the pairs end when they are clear, a speed-up tends to look a
little larger than it is. The two runs of a pair follow each other in random order, and instances take turns. An
instance on which the default fails is left out; a winner that fails, or takes far longer, has lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from autotune.base.errors import AutotuneError, InputError
from autotune.base.records import Pair
from autotune.base.text import one_line
from autotune.base.types import Parameters
from autotune.calibration.instances import Instance
from autotune.calibration.timing import Budget, OutOfTimeError, Timed, Timing
from autotune.compare import judgement

LEAST_PAIRS, MOST_PAIRS = 4, 16
CONFIDENCE = 0.995
WORTH_SHOWING = 0.05  # gain of which the pairs should be able to tell
FUTILE = 0.01  # a gain below is not worth more pairs, and a workload that loses more is not worth a gain elsewhere
FAR_SLOWER = 4.0  # times the default, after which a run of the winner is stopped


class Confirmation(NamedTuple):
    """What the pairs say: the verdict at the strict confidence, the speed-up with its 95 % interval."""

    verdict: Literal["faster", "same", "slower", "cannot tell"]
    speed_up: float
    interval: tuple[float, float] | None


def pairs_needed(noise: float) -> int:
    """Return how many pairs show a gain of `WORTH_SHOWING` at this run-to-run coefficient of variation."""
    return judgement.pairs_needed(noise, WORTH_SHOWING, alpha=1.0 - CONFIDENCE)


def pairs_wanted(noise: float) -> int:
    """Return how many of these to plan for."""
    return min(MOST_PAIRS, max(LEAST_PAIRS, pairs_needed(noise)))


def is_settled(pairs: Sequence[Pair]) -> bool:
    """Return whether more pairs would not change the answer; only after a whole round over the workloads."""
    counts = {len(group) for group in _by_workload(pairs)}
    if len(pairs) < LEAST_PAIRS or len(counts) > 1:
        return False
    strict, usual = compare(pairs, CONFIDENCE), compare(pairs, 0.95)
    return strict.verdict in ("faster", "slower") or usual.high < 1.0 + FUTILE or len(pairs) >= MOST_PAIRS


def conclude(pairs: Sequence[Pair]) -> Confirmation:
    """Return what the pairs say; `cannot tell` for fewer than `LEAST_PAIRS`, or where some workload loses."""
    strict, usual = compare(pairs, CONFIDENCE), compare(pairs, 0.95)
    verdict = strict.verdict if len(pairs) >= LEAST_PAIRS else "cannot tell"
    if verdict == "cannot tell" and len(pairs) >= LEAST_PAIRS and usual.high < 1.0 + FUTILE:
        verdict = "same" if usual.high >= 1.0 else "slower"
    if verdict == "faster" and any(_loses(group) for group in _by_workload(pairs)):
        verdict = "cannot tell"
    interval = (usual.low, usual.high) if len(pairs) > 1 else None
    return Confirmation(verdict, usual.speedup, interval)


def compare(pairs: Sequence[Pair], confidence: float) -> judgement.Comparison:
    """Return the comparison of winner against default, every workload with equal weight."""
    groups = _by_workload(pairs)
    return judgement.compare_strata(
        [[pair.default_s for pair in group] for group in groups],
        [[pair.tuned_s for pair in group] for group in groups],
        confidence=confidence,
    )


def _by_workload(pairs: Sequence[Pair]) -> list[list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.workload, []).append(pair)
    return list(groups.values())


def _loses(group: Sequence[Pair]) -> bool:
    """Return whether a workload takes longer with the winner, and that not by chance alone: at a one-sided 90 %."""
    found = judgement.compare_pairs(
        [pair.default_s for pair in group], [pair.tuned_s for pair in group], confidence=0.8
    )
    return found.speedup < 1.0 - FUTILE and (found.high < 1.0 or len(group) == 1)


# --- runs -------------------------------------------------------------------------------------------------------------


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
    on_tuned: Callable[[Instance, Timed], None] = lambda _, __: None,
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
        on_tuned: Called with each run of the winner.

    Raises:
        InputError: A program, method or basis set cannot be used at all.
        LostError: The winner failed on an instance.
    """
    usable = list(instances)
    names = {instance.name for instance in instances}
    pairs[:] = [pair for pair in pairs if pair.workload in names]
    while usable and not is_settled(pairs):
        instance = usable[len(pairs) % len(usable)]
        before = [pair for pair in pairs if pair.workload == instance.name]
        known_s = before[-1].default_s if before else None
        expected_s = before[-1].default_s + before[-1].tuned_s if before else 2 * timing.predicted_s(instance)
        if expected_s > budget.left_s:
            break
        sides = order.sample((False, True), 2)
        try:
            walls = dict(_runs(instance, parameters, sides, known_s, timing=timing, on_run=(on_default, on_tuned)))
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
    on_run: Sequence[Callable[[Instance, Timed], None]],
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
        on_run[tuned](instance, timed)
        yield tuned, timed.wall_s


def _run_default(instance: Instance, timing: Timing) -> None:
    try:
        timing.run(instance, timing.policy({}, instance), learn=False)
    except (InputError, OutOfTimeError):
        raise
    except AutotuneError as error:
        raise _DefaultFailedError(f"{instance.name}: {one_line(error)}") from error
