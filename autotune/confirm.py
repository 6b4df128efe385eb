"""The confirmation: winner and default, paired, until the answer is clear; and what it then says. Pure.

Rules: looked at after every pair, so the confidence is set for several looks: with noise alone, about one
confirmation in a hundred ends with `faster` (results/calibration_aa.json). The interval that is reported is the usual
95 % one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from autotune import compare
from autotune.records import Pair

LEAST_PAIRS, MOST_PAIRS = 4, 16
CONFIDENCE = 0.995
WORTH_SHOWING = 0.05  # gain of which the pairs should be able to tell
FUTILE = 0.01  # a gain below is not worth more pairs


class Confirmation(NamedTuple):
    """What the pairs say: the verdict at the strict confidence, the speed-up with its 95 % interval."""

    verdict: Literal["faster", "same", "slower", "cannot tell"]
    speed_up: float
    interval: tuple[float, float] | None


def pairs_wanted(noise: float) -> int:
    """Return how many pairs show a gain of `WORTH_SHOWING` at this run-to-run coefficient of variation."""
    needed = compare.pairs_needed(noise, WORTH_SHOWING, alpha=1.0 - CONFIDENCE, noise_known=False)
    return min(MOST_PAIRS, max(LEAST_PAIRS, needed))


def settled(pairs: Sequence[Pair]) -> bool:
    """Return whether more pairs would not change the answer."""
    if len(pairs) < LEAST_PAIRS:
        return False
    strict, usual = _compared(pairs, CONFIDENCE), _compared(pairs, 0.95)
    return strict.verdict in ("faster", "slower") or usual.high < 1.0 + FUTILE or len(pairs) >= MOST_PAIRS


def concluded(pairs: Sequence[Pair]) -> Confirmation:
    """Return what the pairs say; `cannot tell` for fewer than `LEAST_PAIRS`."""
    strict, usual = _compared(pairs, CONFIDENCE), _compared(pairs, 0.95)
    verdict = strict.verdict if len(pairs) >= LEAST_PAIRS else "cannot tell"
    if verdict == "cannot tell" and len(pairs) >= LEAST_PAIRS and usual.high < 1.0 + FUTILE:
        verdict = "same" if usual.high >= 1.0 else "slower"
    interval = (usual.low, usual.high) if len(pairs) > 1 else None
    return Confirmation(verdict, usual.speedup, interval)


def _compared(pairs: Sequence[Pair], confidence: float) -> compare.Comparison:
    return compare.paired([pair.default_s for pair in pairs], [pair.tuned_s for pair in pairs], confidence=confidence)
