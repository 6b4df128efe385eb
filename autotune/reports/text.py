"""The words that parts of a report share: durations, shares, names of tasks, text that comes from files.

Rules: pure. Sentences are plain text in which `` `commands` `` stand between backticks; `spans` takes them apart for
those who render them. What comes from a file goes through `told` before it becomes part of a sentence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence

from autotune.base.records import TaskRecord
from autotune.base.wording import listed
from autotune.reports.progress import duration

MOST_TOLD = 1000  # characters of a text from a file
_CODE = re.compile(r"`([^`]+)`")
_MERS = ("monomer", "dimer", "trimer", "tetramer", "pentamer", "hexamer")
_MINUTE_S = 60.0
_LONG_S = 10.0
_MUCH_GIB = 10.0
_MOST = 1e9  # seconds or GiB that no run has; said briefly
_SHORT_S = 0.1
_LEAST_RANGE = 3  # fragments in a row that are said as first to last


def told(text: object, *, code: bool = True) -> str:
    """Return what a file says as one printable line, cut where it is long; backticks stay only where it has code."""
    line = " ".join(str(text).split())
    line = line if len(line) <= MOST_TOLD else f"{line[:MOST_TOLD]}…"
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return shown if code else shown.replace("`", "'")


def spans(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a sentence: whether each is code, and its text."""
    for place, part in enumerate(_CODE.split(text)):
        if part:
            yield place % 2 == 1, part


def seconds(time_s: float) -> str:
    """Return a duration for people, with three digits where it is short: `3 min 20 s`, `31.2 s`, `1.25 s`, `12 ms`."""
    if not math.isfinite(time_s):
        return "an unknown time"
    if abs(time_s) > _MOST:
        return f"{time_s:.3g} s"
    if abs(time_s) >= _MINUTE_S:
        return duration(time_s)
    if abs(time_s) >= _LONG_S:
        return f"{time_s:.1f} s"
    return f"{time_s:.2f} s" if abs(time_s) >= _SHORT_S or not time_s else f"{1000 * time_s:.3g} ms"


def percent(share: float) -> str:
    """Return a share of 1 in percent; never 0 % of something that is there, nor all of it where something lacks."""
    if not math.isfinite(share):
        return "an unknown share"
    if 0.0 < share < 0.005:  # noqa: PLR2004 - would be rounded to nothing
        return "less than 1 %"
    if 0.995 <= share < 1.0:  # noqa: PLR2004 - would be rounded to all
        return "more than 99 %"
    return f"{100 * share:.0f} %" if abs(share) <= _MOST else f"{100 * share:.3g} %"


def reached(efficiency: float) -> str:
    """Return an efficiency in percent; more than all, where a bound was too high, is all."""
    return percent(min(1.0, efficiency))


def gib(memory_gib: float) -> str:
    """Return an amount of memory."""
    if not abs(memory_gib) <= _MOST:
        return f"{memory_gib:.3g} GiB"
    return f"{memory_gib:.2f} GiB" if memory_gib < _MUCH_GIB else f"{memory_gib:.1f} GiB"


def mer(nbody: int, number: int = 1) -> str:
    """Return what a fragment of so many bodies is called: `trimer`, `dimers`, `9-mer`."""
    name = _MERS[nbody - 1] if 1 <= nbody <= len(_MERS) else f"{nbody}-mer"
    return name if number == 1 else f"{name}s"


def task_name(record: TaskRecord) -> str:
    """Return a task for people: `trimer 1, 3 and 5`, with the basis where it has more fragments than nuclei.

    Labels that are not of QCManyBody's form are given as they are.
    """
    parts = _fragments(record.label)
    if parts is None:
        return told(record.label, code=False) or f"task {record.number}"
    level, real, basis = parts
    name = f"{mer(len(real))} {_ranges(real)}"
    if basis != real:
        name += f" in the basis of {_ranges(basis)}"
    return name if level == "(auto)" else f"{name} ({told(level, code=False)})"


def _fragments(label: str) -> tuple[str, list[int], list[int]] | None:
    try:
        found = json.loads(label)
    except (ValueError, RecursionError):
        return None
    match found:
        case [str(level), [*real], [*basis]] if real and all(type(each) is int for each in (*real, *basis)):
            return level, real, basis
    return None


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as a sentence lists them, those in a row as first to last."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return listed(
        text
        for group in groups
        for text in ([f"{group[0]} to {group[-1]}"] if len(group) >= _LEAST_RANGE else map(str, group))
    )
