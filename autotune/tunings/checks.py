"""What makes a tuning that was read from a file safe to use, beyond the kinds of its fields.

Rules: pure. Limits are far above what any calibration stores and far below what would harm: a tuning may be somebody
else's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from autotune.base.records import Law, Tuning
from autotune.base.types import Machine
from autotune.costs.terms import PRIORS, family

MOST_DEPTH = 12
MOST_ENTRIES = 10_000  # of a list or an object
MOST_TEXT = 20_000  # characters
MOST_NAME = 200  # characters, of an entry of an object
LARGEST = 1e15
LEAST_S = 1e-18  # of one operation, of at least one term: a law that is zero cannot be divided by
_MACHINE_KEY = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,199}")  # the name of a folder


class Fault(NamedTuple):
    """A field and what is wrong with it."""

    field: str
    text: str


def value_faults(fields: dict[str, object]) -> Iterator[Fault]:
    """Yield what JSON holds that no tuning does, at any depth."""
    waiting: list[tuple[str, int, object]] = [("", 0, fields)]
    while waiting:
        where, depth, value = waiting.pop()
        fault = _value_fault(value)
        if fault:
            yield Fault(where, fault)
        elif isinstance(value, (dict, list)) and depth == MOST_DEPTH:
            yield Fault(where, "is nested too deeply")
        elif isinstance(value, dict):
            start = f"{where}." if where else ""
            waiting += [(f"{start}{key}", depth + 1, inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{where}.{number}", depth + 1, inner) for number, inner in enumerate(value)]


def _value_fault(value: object) -> str:
    """Return what is wrong with one value by itself, or an empty text."""
    if isinstance(value, str):
        return "" if len(value) <= MOST_TEXT and value.isprintable() else "is too long or not printable"
    if isinstance(value, (int, float)):
        return "" if -LARGEST <= value <= LARGEST else "is too large or not a finite number"
    if isinstance(value, (dict, list)) and len(value) > MOST_ENTRIES:
        return f"has more than {MOST_ENTRIES} entries"
    if isinstance(value, dict) and any(len(name) > MOST_NAME or not name.isprintable() for name in value):
        return "has a name that is too long or not printable"
    return ""


def faults(tuning: Tuning) -> Iterator[Fault]:
    """Yield what of a tuning cannot have been measured, or would do harm."""
    yield from _machine_faults(tuning.machine)
    method = tuning.method
    if not method.program or not method.method:
        yield Fault("method", "names no program or no method")
    if not _is_object(method.keywords):
        yield Fault("method.keywords", "is not the text of a JSON object")
    else:
        yield from _law_faults(tuning.law, PRIORS[family(method)])
    if tuning.evidence.smallest_functions > tuning.evidence.largest_functions:
        yield Fault("evidence.smallest_functions", "is above largest_functions")
    for name, text in (("created", tuning.created), ("verified", tuning.verified)):
        if not _is_time(text) and (text or name == "created"):
            yield Fault(name, "is not a time such as 2026-11-25T12:00:00+00:00")


def _machine_faults(machine: Machine) -> Iterator[Fault]:
    if not _MACHINE_KEY.fullmatch(machine.key):
        yield Fault("machine.key", "is not the key of a machine")
    if machine.cores < 1 or machine.memory_gib <= 0.0:
        yield Fault("machine", "has no cores or no memory")


def _law_faults(law: Law, terms: Mapping[str, float]) -> Iterator[Fault]:
    for term in sorted(law.seconds.keys() - terms.keys()):
        yield Fault(f"law.seconds.{term}", f"is no term of this method; these are {', '.join(terms)}")
    if law.seconds and max(law.seconds.values()) < LEAST_S:
        yield Fault("law.seconds", "says that tasks take no time")


def _is_object(text: str) -> bool:
    """Return whether a text is a JSON object that is not nested too deeply to be worked with."""
    try:
        level = [json.loads(text)]
    except (ValueError, RecursionError):
        return False
    if not isinstance(level[0], dict):
        return False
    for _ in range(MOST_DEPTH):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _inside(outer)]
    return not level


def _inside(outer: dict[str, object] | list[object]) -> Iterable[object]:
    return outer.values() if isinstance(outer, dict) else outer


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
