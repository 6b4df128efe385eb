"""Which tunings a user means by a file or by words of a method.

Rules: what exists as a file is the file. Words are looked for among the tunings that a run finds here, those of this
processor, and must name one: nothing is guessed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from autotune.base.errors import InputError
from autotune.base.records import Tuning
from autotune.base.text import quote
from autotune.machine import detection
from autotune.tunings import library


class Selected(NamedTuple):
    """A tuning and the file it is in."""

    tuning: Tuning
    path: Path


def is_file(text: str) -> bool:
    """Return whether a file is meant, rather than words of a method."""
    return os.path.lexists(text) or text.endswith(".json")


def select(text: str) -> list[Selected]:
    """Return the tunings of a file, or the one of this machine that a text names.

    Raises:
        InputError: The file cannot be used, or the text names none or several.
    """
    if is_file(text):
        return [Selected(tuning, Path(text)) for tuning in library.load(Path(text))]
    stored = library.of_processor(detection.detect())
    found = library.matching([tuning for tuning, _ in stored], text)
    if not found:
        raise InputError(f"no tuning of this machine is of {quote(text)}; `autotune tunings list` shows all")
    if len(found) > 1:
        names = "; ".join(sorted(str(tuning.method) for tuning in found))
        raise InputError(f"{quote(text)} names {len(found)} tunings of this machine, say more of one: {names}")
    return [Selected(tuning, path) for tuning, path in stored if tuning.method == found[0].method]


def only(text: str) -> Selected:
    """Return the one tuning that a text names or that a file holds; raises as `select`, and where it is not one."""
    found = select(text)
    if len(found) != 1:
        names = "; ".join(str(one.tuning.method) for one in found) or "none"
        raise InputError(f"{text} has to hold one tuning for this, but holds {len(found)}: {names}")
    return found[0]
