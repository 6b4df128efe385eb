"""What differs between tunings, field by field.

Rules: what a run uses comes first (strategies, parameters, times), then what it rests on. A parameter that is not
stored is at its default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from autotune.base.errors import InputError
from autotune.base.records import Law, Tuning


class Difference(NamedTuple):
    """A field and its value in either tuning; None where a tuning has none."""

    field: str
    first: object
    second: object


def differences(first: Tuning, second: Tuning) -> list[Difference]:
    """Return the fields that differ, in the order of the first tuning."""
    one, other = dict(_flat(first)), dict(_flat(second))
    names = sorted(one | other, key=lambda name: _ORDER.index(name.partition(".")[0]))
    return [Difference(n, one.get(n), other.get(n)) for n in names if one.get(n) != other.get(n)]


def law_scale(first: Law, second: Law) -> float | None:
    """Return how much longer an operation takes by the second law, as geometric mean; None if they share no term."""
    shared = [term for term in first.seconds if first.seconds[term] > 0 and second.seconds.get(term, 0.0) > 0]
    if not shared:
        return None
    return math.exp(sum(math.log(second.seconds[term] / first.seconds[term]) for term in shared) / len(shared))


def pairs(first: Sequence[Tuning], second: Sequence[Tuning]) -> list[tuple[Tuning, Tuning]]:
    """Return which tunings of two sides are to be compared: those of equal methods, or the only two.

    Raises:
        InputError: The sides have no method in common.
    """
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    found = [(one, other) for one in first for other in second if one.method == other.method]
    if not found:
        has = [", ".join(str(tuning.method) for tuning in side) or "nothing" for side in (first, second)]
        raise InputError(f"A and B have no method in common: A has {has[0]}; B has {has[1]}")
    return found


_ORDER = (
    *("machine", "method", "strategies", "parameters", "law", "verdict", "speed_up", "interval", "noise", "trials"),
    *("study", "functions", "program_version", "versions", "created", "verified"),
)


def _flat(tuning: Tuning) -> Iterator[tuple[str, object]]:
    """Yield the fields to be compared; their first parts are those of `_ORDER`."""
    evidence, law = tuning.evidence, tuning.law
    yield "machine", tuning.machine.key
    yield "method", str(tuning.method)
    yield "strategies", list(tuning.strategies)
    yield from ((f"parameters.{name}", value) for name, value in sorted(tuning.parameters.items()))
    yield from ((f"law.seconds.{term}", seconds) for term, seconds in law.seconds.items())
    for name in ("spread", "parallel", "half_s", "contention"):
        yield f"law.{name}", getattr(law, name)
    for name in ("verdict", "speed_up", "noise", "study"):
        yield name, getattr(evidence, name)
    yield "interval", list(evidence.interval) if evidence.interval else None
    yield "trials", len(evidence.trials)
    yield "functions", [evidence.smallest_functions, evidence.largest_functions]
    yield "program_version", tuning.program_version
    yield from ((f"versions.{name}", version) for name, version in sorted(tuning.versions.items()))
    yield from (("created", tuning.created), ("verified", tuning.verified))
