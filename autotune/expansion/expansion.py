"""What is stated of an expansion beside its geometry: levels, model chemistries, keywords, what fragments are.

Rules: values are those of the user; what a text of the command line says is parsed here, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.base.errors import InputError
from autotune.base.text import one_line, quote
from autotune.base.types import Method
from autotune.expansion.labels import ONLY_LEVEL

_NEXT_LEVEL = re.compile(r",(?=\s*(?:\d+|supersystem)\s*=)")  # basis sets such as 6-311g(2df,p) have commas
_LIKE_OPTIONS = ("fragments", "charges", "multiplicities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a geometry does not say: the model chemistry and the expansion.

    Attributes:
        program: QCEngine program.
        method: Method; empty where `levels` name the methods.
        basis: Basis set; empty for methods without one.
        bsse: `nocp`, `cp`, `vmfc`, or several.
        max_nbody: Largest n-body level; None for all fragments, or for the highest of `levels`.
        levels: Model chemistry of each n-body level as `METHOD/BASIS`, or `PROGRAM METHOD/BASIS` for another program;
            by the level, or by `supersystem` for what a calculation of all fragments at once adds. A level that is
            not named is computed as the next higher one. Empty for one model chemistry.
        driver: `energy`, `gradient` or `hessian`.
        keywords: Program keywords.
        fragments: As `--fragments`; empty to find them by covalent connectivity.
        charges: As `--charges`; empty for what the file's comment states, else the usual charges of ions.
        multiplicities: As `--multiplicities`; empty for the lowest.
    """

    program: str
    method: str = ""
    basis: str = ""
    bsse: tuple[str, ...] = ("nocp",)
    max_nbody: int | None = None
    levels: Mapping[int | str, str] = field(default_factory=dict)
    driver: str = "energy"
    keywords: Mapping[str, Any] = field(default_factory=dict)
    fragments: str = ""
    charges: str = ""
    multiplicities: str = ""

    def __post_init__(self) -> None:
        """Refuse values of another kind, and what names its method twice; a program may have none, by its keywords."""
        for name in ("program", "method", "basis", "driver", "fragments", "charges", "multiplicities"):
            if not isinstance(value := getattr(self, name), str):
                likeness = f", as --{name} takes it" if name in _LIKE_OPTIONS else ""
                raise InputError(f"{name} of an expansion is {quote(value)}, but must be a text{likeness}")
        bsse: object = self.bsse
        if isinstance(bsse, str):
            raise InputError(f"bsse of an expansion is the text {quote(bsse)}, but must be a tuple, such as ('cp',)")
        if self.max_nbody is not None and type(self.max_nbody) is not int:
            raise InputError(f"max_nbody of an expansion is {quote(self.max_nbody)}, but must be a number, such as 2")
        if self.method and self.levels:
            raise InputError("an expansion has one method, or levels that name methods, and not both; leave one out")
        if self.basis and self.levels:
            raise InputError("levels name their basis sets themselves, as in 2=mp2/cc-pvdz; leave the basis out")
        for level in self.levels:
            if level != "supersystem" and (isinstance(level, str) or level < 1):
                raise InputError(f"levels name {level!r}; a level is a number from 1 on, or supersystem")

    @property
    def models(self) -> tuple[Method, ...]:
        """The model chemistries, as tunings know them."""
        return tuple(
            Method(
                program=chemistry.program,
                method=chemistry.method.lower(),
                basis=chemistry.basis.lower(),
                driver=self.driver,
                keywords=json.dumps(dict(self.keywords), sort_keys=True, separators=(",", ":"), default=str),
            )
            for chemistry in self.chemistries.values()
        )

    @property
    def chemistries(self) -> dict[str, Chemistry]:
        """The model chemistries by the label that the ManyBodyInput gives them; one that several levels have is one."""
        if not self.levels:
            return {ONLY_LEVEL: Chemistry(program=self.program.lower(), method=self.method, basis=self.basis)}
        return {text: parse_chemistry(text, program=self.program) for text in self.levels.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chemistry:
    """A program, a method, and a basis set or an empty text."""

    program: str
    method: str
    basis: str


def parse_chemistry(text: str, *, program: str) -> Chemistry:
    """Return the model chemistry that a text names: `METHOD/BASIS`, or `PROGRAM METHOD/BASIS` for another program.

    Raises:
        InputError: It names no method.
    """
    other, _, model = text.strip().rpartition(" ")
    method, _, basis = model.partition("/")
    if not method:
        raise InputError(f"the level {text!r} names no method; write METHOD/BASIS, as in 2=mp2/cc-pvdz")
    return Chemistry(program=(other.strip() or program).lower(), method=method, basis=basis)


def parse_levels(text: str) -> dict[int | str, str]:
    """Return the levels that a text names, as `2=mp2/cc-pvdz,3=hf/6-31g*,supersystem=hf/sto-3g`.

    Raises:
        InputError: A part of it is no such thing, or a level is named twice.
    """
    found: dict[int | str, str] = {}
    for part in _NEXT_LEVEL.split(text):
        level, equals, chemistry = (word.strip() for word in part.partition("="))
        if not equals or not chemistry or chemistry.endswith(",") or not (level == "supersystem" or level.isdecimal()):
            raise InputError(
                f"--levels has {one_line(part)[:40]!r}; write LEVEL=METHOD/BASIS, as in 2=mp2/cc-pvdz,3=hf/6-31g*"
            )
        key = level if level == "supersystem" else int(level)
        if key in found:
            raise InputError(f"--levels names level {level} twice; keep one")
        found[key] = chemistry
    return found


def parse_keywords(text: str, *, option: str = "--keywords") -> dict[str, Any]:
    """Return program keywords given as a JSON object, or as `name=value,name=value` with JSON values.

    Args:
        text: What the user gave.
        option: Where, for the message.

    Raises:
        InputError: It is neither.
    """
    if not text:
        return {}
    try:
        if text.lstrip().startswith("{"):
            return dict(json.loads(text))
        pairs = [part.split("=", 1) for part in text.split(",")]
        return {name.strip(): _value(value) for name, value in pairs}
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{option} {one_line(repr(text))} is not understood; give name=value,name=value or a JSON object"
        ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text.strip(), text.strip())
