"""Studies: what a calibration runs, read from TOML files.

Rules: a study is data, validated on reading; geometries are named from the packaged clusters or by a path beside the
study file, and never leave that folder. Workloads have a kind: the search and the confirmation take one of each kind
that the budget allows, the most expensive of that kind that fits.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from autotune.base.errors import InputError
from autotune.base.json_files import fault_of
from autotune.base.quantities import parse_duration
from autotune.base.text import one_line, quote
from autotune.base.types import Method
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields, read_text

STUDY_SCHEMA = "autotune.study/1"
LEAST_REPEATS = 3
MAX_STUDY_BYTES = 2**15  # tomllib's time grows with the square of the parts of a dotted key
_PACKAGED = re.compile(r"[\w-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One workload of a study.

    Attributes:
        geometry: A packaged cluster such as `water4`, or an XYZ file beside the study.
        bsse: As in `Expansion`.
        max_nbody: As in `Expansion`.
        kind: What it stands for, such as `even`, `uneven` or `counterpoise`.
    """

    geometry: str
    bsse: tuple[str, ...] = ("nocp",)
    max_nbody: int = 2
    kind: str = "even"

    @property
    def name(self) -> str:
        """Name for people: geometry, BSSE treatment and n-body level."""
        return f"{self.geometry} {'+'.join(self.bsse)} {self.max_nbody}-body"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodChoice:
    """The model chemistry a study calibrates; fields as in `Expansion`."""

    program: str
    method: str
    basis: str = ""
    driver: Literal["energy", "gradient", "hessian"] = "energy"
    keywords: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        """Return `PROGRAM METHOD/BASIS driver`."""
        return f"{self.program} {self.method}{'/' + self.basis if self.basis else ''} {self.driver}"

    @property
    def as_method(self) -> Method:
        """The method as tunings know it."""
        (method,) = self.expansion(("nocp",), None).models
        return method

    def expansion(self, bsse: tuple[str, ...], max_nbody: int | None) -> Expansion:
        """Return the expansion of a workload with this method."""
        return Expansion(
            program=self.program,
            method=self.method,
            basis=self.basis,
            bsse=bsse,
            max_nbody=max_nbody,
            driver=self.driver,
            keywords=dict(self.keywords or {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A whole study.

    Attributes:
        name: File name without ending.
        folder: Where its own geometries are.
        methods: What is calibrated, one after the other.
        search: Workloads for the search, cheapest first within a kind.
        confirm: Workloads for the confirmation, cheapest first within a kind; none of the search's.
        budget_s: Wall time allowed for each method.
        trials: Most configurations to try.
        repeats: Runs of the default that tell the noise.
        strategies: Whose parameters are searched; none means the five built in.
        seed: Of every random choice.
    """

    name: str
    folder: Path | None
    methods: tuple[MethodChoice, ...]
    search: tuple[Rung, ...]
    confirm: tuple[Rung, ...]
    budget_s: float
    trials: int
    repeats: int
    strategies: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The TOML file, field by field."""

    schema: Literal["autotune.study/1"]
    method: MethodChoice | tuple[MethodChoice, ...]
    search: tuple[Rung, ...]
    confirm: tuple[Rung, ...]
    budget: str = "2m"
    trials: Annotated[int, Ge(1)] = 40
    repeats: Annotated[int, Ge(LEAST_REPEATS)] = 5
    strategies: tuple[str, ...] = ()
    seed: int = 0


def packaged_names() -> list[str]:
    """Return the names of the packaged studies."""
    return sorted(p.name.removesuffix(".toml") for p in files("autotune.studies").iterdir() if ".toml" in p.name)


def load(name: str) -> Study:
    """Return a packaged study by name, or the study in a file.

    Raises:
        InputError: There is no such study, or a field of it is wrong.
    """
    from pydantic import TypeAdapter, ValidationError

    known = files("autotune.studies") / f"{name}.toml"
    if _PACKAGED.fullmatch(name) and known.is_file():
        text, folder = known.read_text(encoding="utf-8"), None
    elif name.endswith(".toml"):
        text, folder = read_text(name)[0], Path(name).resolve().parent
    else:
        raise InputError(
            f"there is no study {name!r}; packaged are {', '.join(packaged_names())}, or give a .toml file"
        )
    if len(text) > MAX_STUDY_BYTES:
        raise InputError(f"{name} is larger than {MAX_STUDY_BYTES // 2**10} KiB; this is not a study")
    try:
        fields = TypeAdapter(_File).validate_python(tomllib.loads(text))
    except ValidationError as error:
        raise InputError(f"study {name}: {fault_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"study {name} is not valid TOML: {one_line(error)}") from error
    _check(fields, name)
    return Study(
        name=Path(name).stem,
        folder=folder,
        methods=(fields.method,) if isinstance(fields.method, MethodChoice) else fields.method,
        search=fields.search,
        confirm=fields.confirm,
        budget_s=parse_duration(fields.budget),
        trials=fields.trials,
        repeats=fields.repeats,
        strategies=fields.strategies,
        seed=fields.seed,
    )


def _check(fields: _File, name: str) -> None:
    if not fields.method:
        raise InputError(f"study {name} needs at least one [[method]]")
    if not fields.search or not fields.confirm:
        raise InputError(f"study {name} needs at least one [[search]] and one [[confirm]] workload")
    shared = {rung.name for rung in fields.search} & {rung.name for rung in fields.confirm}
    if shared:
        raise InputError(f"study {name} confirms with {quote(min(shared))}, which its search has seen; take another")


def with_method(study: Study, **changes: Any) -> Study:
    """Return the study for one method: its first with these fields replaced; None leaves a field as it is.

    Without any change all its methods stay.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(study, methods=(replace(study.methods[0], **given),)) if given else study


def fields_of(study: Study, rung: Rung, method: MethodChoice) -> dict[str, Any]:
    """Return the ManyBodyInput fields of one workload of a study."""
    expansion = method.expansion(rung.bsse, rung.max_nbody)
    return many_body_fields(_geometry_text(study, rung), name=rung.geometry, expansion=expansion)


def geometries(study: Study) -> dict[str, str]:
    """Return the texts of all geometries of a study, by name.

    Raises:
        InputError: One is neither a packaged cluster nor a file beside the study.
    """
    return {rung.geometry: _geometry_text(study, rung) for rung in (*study.search, *study.confirm)}


def _geometry_text(study: Study, rung: Rung) -> str:
    packaged = files("autotune.studies") / "workloads" / f"{rung.geometry}.xyz"
    if _PACKAGED.fullmatch(rung.geometry) and packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    if study.folder is not None:
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            path = (study.folder / rung.geometry).resolve()
            if path.is_relative_to(study.folder) and path.is_file():
                return read_text(str(path))[0]
    raise InputError(
        f"study {study.name} names geometry {quote(rung.geometry)},"
        " which is neither a packaged cluster nor a file beside it"
    )
