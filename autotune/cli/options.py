"""Options that several verbs share, and what they mean to the library."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError
from autotune.base.options import METRICS
from autotune.base.quantities import parse_duration, parse_memory
from autotune.base.text import one_line

if TYPE_CHECKING:
    from autotune.expansion.expansion import Expansion

BSSE = ("nocp", "cp", "vmfc")
NOTHING = "nothing has to be computed for this expansion"
Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class Number(click.FloatRange):
    """A number in a range, and called so in messages."""

    name = "number"


class WholeNumber(click.IntRange):
    """A whole number in a range, and called so in messages."""

    name = "whole number"


class Quantity(click.ParamType[float]):
    """A quantity with a unit."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return it as a number in the unit that the library has."""
        try:
            return value if isinstance(value, float) else self._parse(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


# What is not finite is refused by the library, as it is from Python.
MEMORY, TIME = Quantity("memory", parse_memory), Quantity("time", parse_duration)
AMOUNT, COUNT = Number(min=0, min_open=True), WholeNumber(min=1)


def together(*decorators: Any) -> Decorator:
    """Return several decorators as one; what is first is shown first."""

    def apply(function: Callable[..., None]) -> Callable[..., None]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


chemistry_options = together(
    click.option("--program", metavar="NAME", help="QCEngine program, such as pyscf."),
    click.option("--method", metavar="NAME", help="Method, such as hf, b3lyp, mp2, ccsd(t)."),
    click.option("--basis", metavar="NAME", help="Basis set, such as '6-31g*'."),
    click.option(
        "--levels", metavar="LIST", default="", help="Methods of n-body levels: 2=mp2/cc-pvdz,3=hf/6-31g*; no --method."
    ),
    click.option("--bsse", metavar="LIST", help="nocp, cp, vmfc, or several with commas. [default: nocp]"),
    click.option("--keywords", metavar="LIST", default="", help="Program keywords: name=value,... or a JSON object."),
    click.option("--charges", metavar="LIST", default="", help="Fragment charges: 1:+1,2:-1 or one for each."),
    click.option("--multiplicities", metavar="LIST", default="", help="Fragment multiplicities: 1:2 or one for each."),
)

expansion_options = together(
    chemistry_options,
    click.option("--max-nbody", type=int, metavar="N", help="Largest n-body level. [default: all fragments]"),
    click.option("--driver", type=click.Choice(["energy", "gradient", "hessian"]), help="What to compute."),
    click.option(
        "--fragments", metavar="LIST", default="", help="Atoms of fragments: 3x6 (six of 3 atoms), 3,3,6 or 1-3;4-6."
    ),
)

planning_options = together(
    click.option("--workers", type=COUNT, metavar="N", help="Tasks that run at once."),
    click.option("--threads", type=COUNT, metavar="N", help="Cores of each task."),
    click.option("--cores", type=COUNT, metavar="N", help="Cores to use of those usable."),
    click.option(
        "--memory", type=MEMORY, metavar="GIB", help="Memory of all tasks: 8 or 8GB. [default: 80 % of usable]"
    ),
    click.option("--tuning", default="auto", metavar="FILE|none", help="A tuning file, or none for the defaults."),
    click.option(
        "--strategies",
        metavar="LIST",
        help="Strategies to apply, in order, with commas; `standard` for those that are applied anyway.",
    ),
    click.option("--no-strategy", multiple=True, metavar="NAME", help="Leave a strategy out; may be repeated."),
    click.option("--no-program-tuning", is_flag=True, help="Let each program compute in its own way."),
)

fault_options = together(
    click.option("--timeout", type=TIME, metavar="TIME", help="Kill a task that runs longer: 90s, 2m, 1h."),
    click.option("--scratch", metavar="DIR", help="Folder for scratch files. [default: the system's]"),
    click.option("--scratch-gib", type=MEMORY, metavar="GIB", help="Scratch of all tasks. [default: 90 % of free]"),
    click.option("--resume", is_flag=True, help="Take tasks that the journal has instead of computing them again."),
    click.option("--journal", default="auto", metavar="FILE|none", help="Where finished tasks are kept."),
    click.option("--fail-fast", is_flag=True, help="Start nothing more once a fragment has failed for good."),
    click.option("--enforce-memory", is_flag=True, help="Let a control group hold all workers to the memory budget."),
    click.option(
        "--rescue", default="", metavar="LIST", help="Keywords of a second attempt where the first did not converge."
    ),
)

fleet_options = together(
    click.option("--backend", default="local", metavar="NAME", help="Where tasks run: local, or parsl for clusters."),
    click.option("--parsl-config", default="", metavar="FILE", help="Python file that defines Parsl's config."),
    click.option("--nodes", type=COUNT, metavar="N", help="Nodes of the backend. [default: as its config says]"),
)


omission_options = together(
    click.option("--reuse-contained", is_flag=True, help="Take energies that a task of a higher method contains."),
    click.option("--reuse-equal-monomers", is_flag=True, help="Compute one of the monomers that have one shape."),
    click.option("--reuse-equal-fragments", is_flag=True, help="The same of pairs, triples and so on."),
    click.option(
        "--screen-distance",
        metavar="ANGSTROM",
        help="Leave out terms of fragments farther apart: 8, or by n-body level 2=12,3=8.",
    ),
    click.option(
        "--screen-energy",
        type=AMOUNT,
        metavar="KCAL",
        help="Take terms that --screen-method finds smaller, kcal/mol, from it; the error is estimated.",
    ),
    click.option(
        "--screen-method", default="", metavar="METHOD", help="The cheap method: hf/6-31g*, or 'tblite gfn2-xtb'."
    ),
    click.option(
        "--screen-metric",
        type=click.Choice(METRICS),
        default=METRICS[0],
        show_default=True,
        help="What that distance is of: nearest atoms, centres of mass, farthest atoms.",
    ),
    click.option("--terms", metavar="FILE", help="Compute the terms in this file only, a line for each: 1 2 5."),
    click.option("--around", metavar="LIST", help="Compute pairs of these fragments with the others only: 1 or 1,2."),
)


METHOD = ("program", "method", "basis", "driver", "keywords")
GEOMETRY = ("levels", "bsse", "max_nbody", "fragments", "charges", "multiplicities")
EXPANSION = (*METHOD, *GEOMETRY)


def flags(given: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Return those of the options that were given, as they are typed."""
    return [f"--{name.replace('_', '-')}" for name in names if given[name] not in (None, "", ())]


def expansion(given: dict[str, Any], *, text: str, name: str) -> Expansion | None:
    """Return what the expansion options say of an input, or None where none was given.

    Raises:
        InputError: The input says itself what to compute, or the options do not suffice for a geometry.
    """
    from autotune.expansion.readers import says_what_to_compute

    told = flags(given, EXPANSION)
    if told and says_what_to_compute(text, name=name):
        raise InputError(
            f"{name} is a ManyBodyInput, which says itself what to compute; leave out {', '.join(told)}, or give an XYZ"
            " file"
        )
    return expansion_of_geometries(given)


def expansion_of_geometries(given: dict[str, Any]) -> Expansion | None:
    """Return what the expansion options say of geometries, or None where none was given; raises as `expansion`."""
    from autotune.expansion.expansion import Expansion, parse_keywords, parse_levels

    if not flags(given, EXPANSION):
        return None
    if not given["program"] or not (given["method"] or given["levels"]):
        raise InputError(
            "a geometry needs --program and --method, such as --program pyscf --method hf --basis '6-31g*'"
        )
    if given["levels"] and (given["method"] or given["basis"]):
        raise InputError("--levels names methods and basis sets, as in 2=mp2/cc-pvdz; leave out --method and --basis")
    return Expansion(
        program=given["program"],
        method=given["method"],
        basis=given["basis"] or "",
        bsse=_bsse(given["bsse"] or "nocp"),
        max_nbody=given["max_nbody"],
        levels=parse_levels(given["levels"]) if given["levels"] else {},
        driver=given["driver"] or "energy",
        keywords=parse_keywords(given["keywords"]),
        fragments=given["fragments"],
        charges=given["charges"],
        multiplicities=given["multiplicities"],
    )


def _bsse(text: str) -> tuple[str, ...]:
    """Return the BSSE treatments that a text lists, with commas or spaces between them."""
    found = tuple(name.lower() for name in text.replace(",", " ").split())
    if unknown := [name for name in found if name not in BSSE]:
        raise InputError(
            f"--bsse has {one_line(unknown[0])[:40]!r}; known are {', '.join(BSSE)}, or several as cp,nocp"
        )
    if not found:
        raise InputError(f"--bsse {text[:40]!r} names nothing; known are {', '.join(BSSE)}, or several as cp,nocp")
    return tuple(dict.fromkeys(found))


def many_body_fields(source: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the many-body input that INPUT and the expansion options mean; raises as `expansion`."""
    from autotune.expansion import readers

    text, name = readers.read_text(source)
    return readers.many_body_fields(text, name=name, expansion=expansion(given, text=text, name=name))


# Options of the library whose name on the command line is another one.
_OTHER_NAMES = {"memory": "memory_gib", "no_strategy": "without", "timeout": "task_limit_s"}
_SAME_NAMES = (
    *("workers", "threads", "cores", "tuning", "scratch", "scratch_gib", "journal", "resume", "fail_fast"),
    *("enforce_memory", "backend", "reuse_contained", "reuse_equal_monomers", "reuse_equal_fragments"),
    *("screen_energy", "screen_method", "screen_metric"),
)


def names_of(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a list with commas; None where there is no list."""
    return None if text is None else tuple(filter(None, (name.strip() for name in text.split(","))))


def _distances(text: str) -> float | dict[int, float]:
    """Return the distance in a text, or those by level, as `2=12,3=8`."""
    if "=" in text:
        return distances_by_level(text, option="--screen-distance")
    try:
        return float(text)
    except ValueError as error:
        shown = one_line(text)[:40]
        raise InputError(
            f"--screen-distance {shown!r} is no distance in Å, as 8, nor some by level, as 2=12,3=8"
        ) from error


def distances_by_level(text: str, *, option: str) -> dict[int, float]:
    """Return the distances by level in a text, as `2=12,3=8`."""
    found: dict[int, float] = {}
    try:
        for part in text.split(","):
            level, _, distance = part.partition("=")
            if int(level) in found:
                raise InputError(f"{option} names level {level} twice; keep one")
            found[int(level)] = float(distance)
    except ValueError as error:
        raise InputError(f"{option} {one_line(text)[:40]!r} names no distances in Å by level, as 2=12,3=8") from error
    return found


def _fragments(text: str) -> tuple[int, ...]:
    """Return the numbers of fragments in a list with commas."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise InputError(f"--around {one_line(text)[:40]!r} is no list of fragments, such as 1 or 1,2") from error


def _terms_in(path: str) -> tuple[tuple[int, ...], ...]:
    """Return the terms that a file names, a line for each: fragments with spaces, commas or hyphens between them."""
    from autotune.expansion.readers import read_text

    text, name = read_text(path)
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = re.split(r"[\s,;-]+", line.partition("#")[0].strip())
        if words == [""]:
            continue
        if not all(word.isdecimal() and int(word) for word in words) or len(set(words)) < 2:  # noqa: PLR2004 - a pair
            raise InputError(
                f"{name}: line {number} is no term, {one_line(line)[:40]!r}; write its fragments, as 1 2 5"
            )
        found.append(tuple(map(int, words)))
    if not found:
        raise InputError(f"{name} names no term; write one on each line, as 1 2 5")
    return tuple(found)


def session_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the library that a verb was given, by their names there."""
    found = {name: given[name] for name in _SAME_NAMES if name in given}
    found |= {name: given[shown] for shown, name in _OTHER_NAMES.items() if shown in given}
    if given["no_program_tuning"]:
        found["program_tuning"] = False
    if given["strategies"] is not None:
        found["strategies"] = names_of(given["strategies"])
    if given.get("screen_distance") is not None:
        found["screen_distance"] = _distances(given["screen_distance"])
    if given.get("terms"):
        found["terms"] = _terms_in(given["terms"])
    if given.get("around"):
        found["around"] = _fragments(given["around"])
    if given.get("rescue"):
        from autotune.expansion.expansion import parse_keywords

        found["rescue"] = parse_keywords(given["rescue"], option="--rescue")
    if "backend" in given:
        config = given["parsl_config"]
        if config and given["backend"] != "parsl":
            raise InputError("--parsl-config says how Parsl is to start; give --backend parsl with it")
        found |= {"backend_config": config, "nodes": given["nodes"]}
    return found


def check_targets(targets: Sequence[str | Path | None], inputs: Sequence[str | Path]) -> None:
    """Refuse files that cannot be written, that would be written twice, or that the command reads."""
    given = [Path(target) for target in targets if target]
    places = [path.resolve() for path in given]
    read = [Path(source).resolve() for source in inputs]
    for path, place in zip(given, places, strict=True):
        if str(path) == "-":
            raise InputError("- is no file: give a name; what goes to standard output goes there without an option")
        if place in read or (place.exists() and any(folder in read for folder in place.parents)):
            raise InputError(f"{path} is what this command reads; give what it writes another name")
        if places.count(place) > 1 and (place.is_file() or not place.exists()):
            raise InputError(f"{path} is named for two different things; give each its own file")
        check_target(path)


def check_target(path: Path) -> None:
    """Refuse what could not be written after hours of computing, with an `InputError`."""
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written: it is a folder, or its folder is not yours to write")


@contextlib.contextmanager
def noting_earlier_files(*targets: str | None) -> Iterator[None]:
    """Add to whatever ends the block which of the files that it was to write are of an earlier run."""
    before = {target: _stamp(target) for target in targets if target}
    try:
        yield
    except BaseException as error:
        if left := [target for target, stamp in before.items() if stamp and _stamp(target) == stamp]:
            verb = "is" if len(left) == 1 else "are"
            error.add_note(f"{', '.join(left)} {verb} of an earlier run, not of this one")
        raise


def _stamp(target: str) -> tuple[int, int] | None:
    """Return what changes where a file is written again; None where there is no file."""
    path = Path(target)
    with contextlib.suppress(OSError):
        if path.is_file():
            found = path.stat()
            return found.st_ino, found.st_mtime_ns
    return None
