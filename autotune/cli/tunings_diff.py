"""`autotune tunings diff`: what differs between tunings, field by field.

Rules: what a run uses comes first (strategies, parameters, times), then what it rests on. A parameter that is not
stored is at its default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from autotune.base.errors import InputError
from autotune.cli import selection

if TYPE_CHECKING:
    from autotune.base.records import Law, Tuning


class Difference(NamedTuple):
    """A field and its value in either tuning; None where a tuning has none."""

    field: str
    first: object
    second: object


@click.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(first: str, second: str, as_json: bool) -> None:
    """Show what differs between tunings A and B: a FILE or METHOD-TEXT each.

    Of files with several tunings, those of equal methods are compared.

    \b
    autotune tunings diff 'hf/6-31g*' 'mp2/6-31g*'
    autotune tunings diff old.json new.json --json
    """
    pairs = _pairs(first, second)
    if as_json:
        click.echo(json.dumps([_as_json(one, other) for one, other in pairs], indent=1))
        return
    for one, other in pairs:
        click.echo(f"A: {one.method} of {one.machine.key}, {one.created[:10]}")
        click.echo(f"B: {other.method} of {other.machine.key}, {other.created[:10]}")
        for field, before, after in differences(one, other):
            missing = "default" if field.startswith("parameters.") else "none"
            click.echo(f"  {field}: {_shown(before, missing)} -> {_shown(after, missing)}")
        if one == other:
            click.echo("  they are the same")
        scale = law_scale(one.law, other.law)
        if scale is not None and one.law != other.law:
            click.echo(f"  an operation takes {scale:.2f} times as long in B as in A")


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


def _pairs(first: str, second: str) -> list[tuple[Tuning, Tuning]]:
    sides = [[one.tuning for one in selection.selected(text)] for text in (first, second)]
    if [len(side) for side in sides] == [1, 1]:
        return [(sides[0][0], sides[1][0])]
    pairs = [(one, other) for one in sides[0] for other in sides[1] if one.method == other.method]
    if not pairs:
        has = [", ".join(str(tuning.method) for tuning in side) or "nothing" for side in sides]
        raise InputError(f"A and B have no method in common: A has {has[0]}; B has {has[1]}")
    return pairs


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


def _as_json(first: Tuning, second: Tuning) -> dict[str, object]:
    sides = [{"machine": t.machine.key, "method": str(t.method), "created": t.created} for t in (first, second)]
    found = {field: [before, after] for field, before, after in differences(first, second)}
    return {"a": sides[0], "b": sides[1], "differences": found, "law_scale": law_scale(first.law, second.law)}


def _shown(value: object, missing: str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(_shown(part, missing) for part in value) or missing
    return missing if value in (None, "") else str(value)
