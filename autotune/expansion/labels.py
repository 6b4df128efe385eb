"""Labels of components, as QCManyBody writes them, in words for people.

Rules: pure; a label of another form, as files may have, is in no words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from autotune.base.text import join_words, one_line

ONLY_LEVEL = "(auto)"  # what QCManyBody calls the model chemistry where there is one
_MERS = ("monomer", "dimer", "trimer", "tetramer", "pentamer", "hexamer")
_LEAST_RANGE = 3  # fragments in a row that are said as first to last
_MOST_TOLD = 1000  # characters of a level, which may come from a file


def mer(nbody: int, number: int = 1) -> str:
    """Return what a fragment of so many bodies is called: `trimer`, `dimers`, `9-mer`."""
    name = _MERS[nbody - 1] if 1 <= nbody <= len(_MERS) else f"{nbody}-mer"
    return name if number == 1 else f"{name}s"


def in_words(label: str) -> str:
    """Return a component as `trimer 1, 3 and 5`, with the basis where it has more fragments than nuclei, and its level.

    Labels that are not of QCManyBody's form are an empty text.
    """
    parts = _parts(label)
    if parts is None:
        return ""
    level, real, basis = parts
    name = f"{mer(len(real))} {_ranges(real)}"
    if basis != real:
        name += f" in the basis of {_ranges(basis)}"
    return name if level == ONLY_LEVEL else f"{name} ({one_line(level, most=_MOST_TOLD)})"


def _parts(label: str) -> tuple[str, list[int], list[int]] | None:
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
