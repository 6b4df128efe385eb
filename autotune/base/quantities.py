"""Quantities as people type them, with units: times and amounts of memory.

Rules: what is refused is shown, with examples of what is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from autotune.base.errors import InputError
from autotune.base.text import quote

_QUANTITY = re.compile(r"(?P<number>(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*(?P<unit>[a-z]*)")
_SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
# A letter alone is binary, as in Slurm.
_BINARY = {"": 1, "k": 2**-20, "m": 2**-10, "g": 1, "t": 2**10}
_GIB = {f"{prefix}{rest}": size for prefix, size in _BINARY.items() for rest in (("", "ib") if prefix else ("",))}
_GIB |= {"mb": 10**6 / 2**30, "gb": 10**9 / 2**30, "tb": 10**12 / 2**30}


def parse_duration(text: str) -> float:
    """Return seconds for `90`, `90s`, `2m` or `1.5h`; raises InputError for anything else."""
    return _parse(text, _SECONDS, "is not a duration; give for example 90s, 2m or 1h")


def parse_memory(text: str) -> float:
    """Return GiB for `8`, `8GiB`, `8G` (as in Slurm), `8GB` (10^9 bytes each) or `500MB`; raises InputError else."""
    return _parse(text, _GIB, "is no amount of memory; give for example 8 (GiB), 8GB or 500MB")


def _parse(text: str, units: Mapping[str, float], fault: str) -> float:
    match = _QUANTITY.fullmatch(text.strip().lower())
    size = units.get(match["unit"]) if match else None
    found = float(match["number"]) * size if match and size else 0.0
    if not 0.0 < found < math.inf:
        raise InputError(f"{quote(text)} {fault}")
    return found
