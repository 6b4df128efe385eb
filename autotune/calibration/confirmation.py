"""The confirmation: winner and default, paired, until the answer is clear; and what it then says. Pure.

Rules: workloads count alike, whatever their times, and the scatter is that within a workload. Pairs are looked at after
every round over the workloads, so the confidence is set for several looks: with noise alone, about one confirmation in
a hundred ends with `faster` (results/calibration_aa.json). A gain on average is none where one workload loses. The
interval that is reported is the usual 95 % one; because the pairs end when they are clear, a speed-up tends to look a
little larger than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from autotune.base.records import Pair
from autotune.compare import judgement

LEAST_PAIRS, MOST_PAIRS = 4, 16
CONFIDENCE = 0.995
WORTH_SHOWING = 0.05  # gain of which the pairs should be able to tell
FUTILE = 0.01  # a gain below is not worth more pairs, and a workload that loses more is not worth a gain elsewhere


class Confirmation(NamedTuple):
    """What the pairs say: the verdict at the strict confidence, the speed-up with its 95 % interval."""

    verdict: Literal["faster", "same", "slower", "cannot tell"]
    speed_up: float
    interval: tuple[float, float] | None


def pairs_needed(noise: float) -> int:
    """Return how many pairs show a gain of `WORTH_SHOWING` at this run-to-run coefficient of variation."""
    return judgement.pairs_needed(noise, WORTH_SHOWING, alpha=1.0 - CONFIDENCE, noise_known=False)


def pairs_wanted(noise: float) -> int:
    """Return how many of these to plan for."""
    return min(MOST_PAIRS, max(LEAST_PAIRS, pairs_needed(noise)))


def settled(pairs: Sequence[Pair]) -> bool:
    """Return whether more pairs would not change the answer; only after a whole round over the workloads."""
    counts = {len(group) for group in _by_workload(pairs)}
    if len(pairs) < LEAST_PAIRS or len(counts) > 1:
        return False
    strict, usual = compared(pairs, CONFIDENCE), compared(pairs, 0.95)
    return strict.verdict in ("faster", "slower") or usual.high < 1.0 + FUTILE or len(pairs) >= MOST_PAIRS


def concluded(pairs: Sequence[Pair]) -> Confirmation:
    """Return what the pairs say; `cannot tell` for fewer than `LEAST_PAIRS`, or where some workload loses."""
    strict, usual = compared(pairs, CONFIDENCE), compared(pairs, 0.95)
    verdict = strict.verdict if len(pairs) >= LEAST_PAIRS else "cannot tell"
    if verdict == "cannot tell" and len(pairs) >= LEAST_PAIRS and usual.high < 1.0 + FUTILE:
        verdict = "same" if usual.high >= 1.0 else "slower"
    if verdict == "faster" and any(_loses(group) for group in _by_workload(pairs)):
        verdict = "cannot tell"
    interval = (usual.low, usual.high) if len(pairs) > 1 else None
    return Confirmation(verdict, usual.speedup, interval)


def compared(pairs: Sequence[Pair], confidence: float) -> judgement.Comparison:
    """Return the comparison of winner against default, every workload with equal weight."""
    groups = _by_workload(pairs)
    return judgement.stratified(
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
    found = judgement.paired([pair.default_s for pair in group], [pair.tuned_s for pair in group], confidence=0.8)
    return found.speedup < 1.0 - FUTILE and (found.high < 1.0 or len(group) == 1)
