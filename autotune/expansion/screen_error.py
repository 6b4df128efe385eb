"""What a screen by a cheap method can make of the sum: an estimate from the terms that both methods have computed.

Rules: pure. How far the methods differ in a term is taken to grow with the cube root of the cheap term, with a mean
and a scatter for each n-body level; both are learned from the smallest terms that were computed, which are most like
those that were not. In (H2O)16 and (H2O)32, HF on GFN2-xTB and MP2 on HF, it grows with the square root or faster, so
the cube root expects more of small terms than they have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

POWER = 1.0 / 3.0  # of the cheap term
NEAREST_TERMS = 10.0  # learned from: up to so many times the threshold
FEWEST = 10  # terms of a level that anything can be learned from
DEVIATIONS = 3.0  # standard deviations, of the scatter and of the mean


class Computed(NamedTuple):
    """A term (Eh) that both methods have computed."""

    cheap: float
    expensive: float


def largest_error(computed: Sequence[Computed], left: Sequence[float], *, threshold: float) -> float | None:
    """Return by how much (Eh) the sum of one level may be wrong; None where too few terms tell.

    That is the mean difference as learned, and three standard deviations of the scatter and of the mean.

    Args:
        computed: Terms of the level that both methods have.
        left: Those (Eh, by the cheap method) that the expensive one has not.
        threshold: Of the screen, Eh.
    """
    if not left:
        return 0.0
    ordered = sorted((term for term in computed if term.cheap), key=lambda term: abs(term.cheap))
    near = [term for term in ordered if abs(term.cheap) <= NEAREST_TERMS * threshold]
    near = near if len(near) >= FEWEST else ordered[:FEWEST]
    if len(near) < FEWEST:
        return None
    units = [(term.expensive - term.cheap) / abs(term.cheap) ** POWER for term in near]
    mean, scatter = fmean(units), stdev(units)
    weights = [abs(cheap) ** POWER for cheap in left]
    whole, together = math.fsum(weights), math.sqrt(math.fsum(weight**2 for weight in weights))
    return abs(mean) * whole + DEVIATIONS * math.hypot(scatter * together, scatter * whole / math.sqrt(len(units)))
