"""What the sentences of a report share: commands within them, names of tasks, text that comes from files.

Rules: pure. Sentences are plain text in which `` `commands` `` stand between backticks; `spans` takes them apart for
those who render them. What comes from a file goes through `as_line` before it becomes part of a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from autotune.base.records import TaskRecord
from autotune.base.text import join_words, one_line, percent

MOST_TOLD = 1000  # characters of a text from a file
_CODE = re.compile(r"`([^`]+)`")
_MERS = ("monomer", "dimer", "trimer", "tetramer", "pentamer", "hexamer")
_LEAST_RANGE = 3  # fragments in a row that are said as first to last


def as_line(text: object, *, code: bool = True) -> str:
    """Return what a file says as one printable line, cut where it is long; backticks stay only where it has code."""
    line = one_line(text, most=MOST_TOLD)
    return line if code else line.replace("`", "'")


def spans(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a sentence: whether each is code, and its text."""
    for place, part in enumerate(_CODE.split(text)):
        if part:
            yield place % 2 == 1, part


def reached_percent(efficiency: float) -> str:
    """Return an efficiency in percent; more than all, where a bound was too high, is all."""
    return percent(min(1.0, efficiency))


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
        return as_line(record.label, code=False) or f"task {record.number}"
    level, real, basis = parts
    name = f"{mer(len(real))} {_ranges(real)}"
    if basis != real:
        name += f" in the basis of {_ranges(basis)}"
    return name if level == "(auto)" else f"{name} ({as_line(level, code=False)})"


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
    return join_words(
        text
        for group in groups
        for text in ([f"{group[0]} to {group[-1]}"] if len(group) >= _LEAST_RANGE else map(str, group))
    )
