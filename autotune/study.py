"""Studies: what a calibration runs, read from TOML files.

Rules: a study is data, validated on reading; geometries are named from the packaged clusters or by a path beside the
study file, and never leave that folder.
"""

from __future__ import annotations

import contextlib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from autotune.errors import InputError, one_line, quoted
from autotune.inputs import Expansion, from_xyz, read_text

STUDY_SCHEMA = "autotune.study/1"
MAX_STUDY_BYTES = 2**15  # tomllib's time grows with the square of the parts of a dotted key
_PACKAGED = re.compile(r"[\w-]{1,60}")
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>s|m|min|h)?")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One workload of a study.

    Attributes:
        geometry: A packaged cluster such as `water4`, or an XYZ file beside the study.
        bsse: As in `Expansion`.
        max_nbody: As in `Expansion`.
    """

    geometry: str
    bsse: tuple[str, ...] = ("nocp",)
    max_nbody: int = 2

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A whole study.

    Attributes:
        name: File name without ending.
        folder: Where its own geometries are.
        method: What is calibrated.
        search: Workloads for the search, cheapest first.
        confirm: Workloads for the confirmation, cheapest first.
        budget_s: Wall time allowed.
        trials: Most configurations to try.
        seed: Of every random choice.
    """

    name: str
    folder: Path | None
    method: MethodChoice
    search: tuple[Rung, ...]
    confirm: tuple[Rung, ...]
    budget_s: float
    trials: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The TOML file, field by field."""

    schema: Literal["autotune.study/1"]
    method: MethodChoice
    search: tuple[Rung, ...]
    confirm: tuple[Rung, ...]
    budget: str = "2m"
    trials: int = 40
    seed: int = 0


def load(name: str) -> Study:
    """Return a packaged study by name, or the study in a file.

    Raises:
        InputError: There is no such study, or a field of it is wrong.
    """
    from pydantic import TypeAdapter, ValidationError

    packaged = files("autotune.studies") / f"{name}.toml"
    if _PACKAGED.fullmatch(name) and packaged.is_file():
        text, folder = packaged.read_text(encoding="utf-8"), None
    elif name.endswith(".toml"):
        text, folder = read_text(name)[0], Path(name).resolve().parent
    else:
        known = sorted(p.name.removesuffix(".toml") for p in files("autotune.studies").iterdir() if ".toml" in p.name)
        raise InputError(f"there is no study {name!r}; packaged are {', '.join(known)}, or give a .toml file")
    if len(text) > MAX_STUDY_BYTES:
        raise InputError(f"{name} is larger than {MAX_STUDY_BYTES // 2**10} KiB; this is not a study")
    try:
        fields = TypeAdapter(_File).validate_python(tomllib.loads(text))
    except ValidationError as error:
        fault = error.errors()[0]
        where = one_line(".".join(map(str, fault["loc"])))
        raise InputError(f"study {name}: field {where}: {one_line(fault['msg'])}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"study {name} is not valid TOML: {one_line(error)}") from error
    if fields.trials < 1:
        raise InputError(f"study {name}: trials is {quoted(fields.trials)}, but must be at least 1")
    if not fields.search or not fields.confirm:
        raise InputError(f"study {name} needs at least one [[search]] and one [[confirm]] workload")
    return Study(
        name=Path(name).stem,
        folder=folder,
        method=fields.method,
        search=fields.search,
        confirm=fields.confirm,
        budget_s=parse_duration(fields.budget),
        trials=fields.trials,
        seed=fields.seed,
    )


def with_method(study: Study, **changes: Any) -> Study:
    """Return the study with fields of its method replaced; None leaves a field as it is."""
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(study, method=replace(study.method, **given))


def fields_of(study: Study, rung: Rung) -> dict[str, Any]:
    """Return the ManyBodyInput fields of one workload of a study."""
    method = study.method
    expansion = Expansion(
        program=method.program,
        method=method.method,
        basis=method.basis,
        bsse=rung.bsse,
        max_nbody=rung.max_nbody,
        driver=method.driver,
        keywords=dict(method.keywords or {}),
    )
    return from_xyz(_geometry_text(study, rung), name=rung.geometry, expansion=expansion)


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
        f"study {study.name} names geometry {quoted(rung.geometry)},"
        " which is neither a packaged cluster nor a file beside it"
    )


def parse_duration(text: str) -> float:
    """Return seconds for `90`, `90s`, `2m` or `1.5h`."""
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else 0.0
    if not 0.0 < seconds < math.inf:
        raise InputError(f"{quoted(text)} is not a duration; give for example 90s, 2m or 1h")
    return seconds
