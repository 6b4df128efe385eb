"""Numbers and foreign text as people read them: counts, lists, durations, shares, memory, single lines.

Rules: pure. What comes from a file or a library is shown on one line, without letters that cannot be printed.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable

MOST_QUOTED = 300
_MINUTE_S = 60.0
_LONG_S = 10.0
_SHORT_S = 0.1
_MUCH_GIB = 10.0
_MOST = 1e9  # seconds or GiB that no run has; said briefly


def one_line(text: object, *, most: int = MOST_QUOTED) -> str:
    """Return what a file or another library says as one printable line of at most so many letters."""
    line = " ".join(str(text).split())
    return printable(line) if len(line) <= most else f"{printable(line[:most])}…"


def printable(text: str) -> str:
    """Return a text with a mark in place of each letter that cannot be shown; line breaks and tabs stay."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def quote(value: object) -> str:
    """Return a value that a file holds as one short line."""
    return one_line(reprlib.repr(value))


def count(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: `1 task`, `2 tasks`, `1,000 tasks`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def signed(charge: int) -> str:
    """Return a charge as people write it: `+1`, `-2`, and `0` without a sign."""
    return f"{charge:+d}" if charge else "0"


def join_words(words: Iterable[str]) -> str:
    """Return words as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    *before, last = list(words) or [""]
    return f"{', '.join(before)} and {last}" if before else last


def finite(value: float) -> bool:
    """Return whether a measured time or ratio can be used: a number above 0."""
    return 0.0 < value < math.inf


def duration(seconds: float) -> str:
    """Return seconds for people: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


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


def gib(memory_gib: float) -> str:
    """Return an amount of memory."""
    if not abs(memory_gib) <= _MOST:
        return f"{memory_gib:.3g} GiB"
    return f"{memory_gib:.2f} GiB" if memory_gib < _MUCH_GIB else f"{memory_gib:.1f} GiB"
