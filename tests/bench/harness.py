"""What benchmarks share: how one is declared, workloads, sides in turn, fresh interpreters, whole processes.

A benchmark is a module of this folder with a `BENCHMARK`; it measures and nothing else. `python -m tests.bench NAME`
reads its options, runs it and writes its record (`__main__.py`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

HERE = Path(__file__).parent
TESTS = HERE.parent
SUPPORT, DISTRIBUTIONS = TESTS / "support", TESTS / "distributions"
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A measurement, and what its record says.

    Attributes:
        what: What is measured, in the words of the record.
        measure: Takes the options; yields the rows of the record one by one, or returns its fields where `rows` is "".
            Fields go over those that all records have, `versions` beside them.
        rows: Field of the record that holds the rows.
        key: Fields that tell rows apart. A row replaces the one of the same key in an earlier record of the same file,
            whose other rows stay; without a key none of them stays.
        cases: Names of which `--case` chooses; `arguments.cases` has those that were chosen.
        repeats: Value of `--repeats` where it is not given; 0 where there is nothing to repeat.
        options: Further options, and what argparse is told of them.
        summary: Returns further fields of the record from all rows.
        fails: Whether a record shows a fault of autotune; then the exit status is 1.
    """

    what: str
    measure: Callable[[Namespace], Any]
    rows: str = ""
    key: tuple[str, ...] = ()
    cases: Iterable[str] = ()
    repeats: int = 0
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    summary: Callable[[Sequence[dict]], dict] = lambda _: {}
    fails: Callable[[dict], bool] = lambda _: False

    def __post_init__(self) -> None:
        if self.measure.__module__ == "__main__":  # started as older records say: `python tests/bench/NAME.py`
            os.execv(sys.executable, [sys.executable, str(HERE), Path(sys.argv[0]).stem, *sys.argv[1:]])


# --- workloads --------------------------------------------------------------------------------------------------------


def geometry(name: str, atoms: int = 0) -> str:
    """Return a packaged cluster as XYZ, or only its first so many atoms."""
    text = (files("autotune.studies") / "workloads" / f"{name}.xyz").read_text()
    return "\n".join([str(atoms), "", *text.splitlines()[2 : 2 + atoms]]) + "\n" if atoms else text


def cluster(name: str, *, atoms: int = 0, program: str = "pyscf", bsse: str = "nocp", **expansion: Any) -> dict:
    """Return the fields of a ManyBodyInput of a packaged cluster, or of its first so many atoms."""
    from autotune.expansion.expansion import Expansion
    from autotune.expansion.readers import many_body_fields

    return many_body_fields(
        geometry(name, atoms), name=name, expansion=Expansion(program=program, bsse=(bsse,), **expansion)
    )


class Computation(NamedTuple):
    """A packaged cluster, or its first so many atoms, and what is computed of it."""

    geometry: str
    method: str
    basis: str = ""
    max_nbody: int | None = None
    bsse: str = "nocp"
    program: str = "pyscf"
    keywords: Mapping[str, Any] = MappingProxyType({})
    atoms: int = 0
    driver: str = "energy"

    @property
    def fields(self) -> dict:
        """Of the ManyBodyInput."""
        options = self._asdict()
        return cluster(options.pop("geometry"), **{**options, "keywords": dict(self.keywords)})


def offer_faulty_program() -> None:
    """Make `faulty`, which computes nothing and fails as told, a program here and in all processes started from here.

    What is measured with real programs only does without it: a further plugin takes time to load.
    """
    if str(DISTRIBUTIONS) not in sys.path:
        sys.path.insert(0, str(DISTRIBUTIONS))
        os.environ["PYTHONPATH"] = search_path(DISTRIBUTIONS)


# --- processes --------------------------------------------------------------------------------------------------------


def search_path(*folders: Path) -> str:
    """Return a value of PYTHONPATH: some folders before what it has now."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])


def autotune_command(*words: object) -> list[str]:
    """Return the command line that a user types, for this interpreter and from any folder."""
    return [sys.executable, "-P", "-m", "autotune", *map(str, words)]


class Folder(NamedTuple):
    """A folder in which the command `autotune run` has its input, its result, its record and its home.

    Attributes:
        path: Where.
        code: What the interpreter runs, where it is not the command itself.
    """

    path: Path
    code: str = "from autotune.cli.main import main; main()"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AUTOTUNE_HOME": str(self.path / "home")}

    def command(self, source: Path, *words: object) -> list[str]:
        outputs = ("-o", self.path / "result.json", "--record", self.path / "record.json")
        return [sys.executable, "-P", "-c", self.code, *map(str, ("run", source, *outputs, *words))]

    def start(self, source: Path, *words: object) -> subprocess.Popen[str]:
        """Start a run, whose standard error can be read."""
        pipe = {"stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.command(source, *words), env=self.environment, **pipe)

    def read(self, name: str) -> dict:
        """Return what the last run wrote as `result` or `record`."""
        return json.loads((self.path / f"{name}.json").read_text())


def run_command(
    command: Sequence[str], *, environment: Mapping[str, str] = os.environ, limit_s: float | None = None
) -> tuple[float, str]:
    """Run a command to its end, in an empty folder; return the seconds of the whole process and what it printed.

    Raises where it fails or takes longer than the limit; what it writes to standard error is seen here.
    """
    with tempfile.TemporaryDirectory() as folder:
        pipe = {"stdout": subprocess.PIPE, "text": True}
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, check=True, timeout=limit_s, **pipe)
        return time.perf_counter() - started, done.stdout


def call_in_process(
    function: Callable, *arguments: Any, environment: Mapping[str, str] = os.environ, limit_s: float | None = None
) -> Any:
    """Call a function of a benchmark in a fresh interpreter and return what it returns; both ways as JSON."""
    name = function.__module__
    code = f"import json, sys, {name}; print(json.dumps({name}.{function.__name__}(*json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    environment = {**environment, "PYTHONPATH": search_path(HERE, SUPPORT)}
    _, output = run_command(command, environment=environment, limit_s=limit_s)
    return json.loads(output.splitlines()[-1])


# --- sides against each other -----------------------------------------------------------------------------------------


def take_turns(
    sides: Mapping[str, Callable[[], Value]],
    *,
    repeats: int,
    seed: int = 0,
    skip: Callable[[str, Mapping[str, list[Value]]], bool] = lambda _, __: False,
) -> dict[str, list[Value]]:
    """Let each side run once a round, in random order, so that what else the machine does reaches all alike.

    Returns what each side returned, by round. `skip` is asked before each run, with what has been found so far.
    """
    found: dict[str, list[Value]] = {side: [] for side in sides}
    order = random.Random(seed)
    for number in range(repeats):
        for side in order.sample(list(sides), len(sides)):
            if not skip(side, found):
                found[side].append(sides[side]())
        last = {side: values[-1] for side, values in found.items() if len(values) > number}
        print(f"  {number + 1} of {repeats}:", *(f"{side} {value}" for side, value in last.items()), flush=True)
    return found


def interval(comparison: Any) -> list[float]:
    """Return the ends of the 95 % interval of a speed-up."""
    return [round(comparison.low, 4), round(comparison.high, 4)]
