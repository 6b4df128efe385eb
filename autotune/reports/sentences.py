"""What the sentences of a report share: commands within them, names of tasks, text that comes from files.

Rules: pure. Sentences are plain text in which `` `commands` `` stand between backticks; `spans` takes them apart for
those who render them. What comes from a file goes through `as_line` before it becomes part of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from autotune.base.records import TaskRecord
from autotune.base.text import one_line, percent
from autotune.expansion import labels

MOST_TOLD = 1000  # characters of a text from a file
_CODE = re.compile(r"`([^`]+)`")


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


def task_name(record: TaskRecord) -> str:
    """Return a task for people: `trimer 1, 3 and 5`, with the basis where it has more fragments than nuclei.

    Labels that are not of QCManyBody's form are given as they are.
    """
    words = labels.in_words(record.label).replace("`", "'")
    return words or as_line(record.label, code=False) or f"task {record.number}"
