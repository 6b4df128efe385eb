"""Measures two installations or two tunings against each other on this machine: in turn, in random order, repeated.

Rules: a run is a whole process, `autotune run` as a user types it, without a journal. One run of each side comes first
and is not counted: files are read from disk then. How many pairs are run follows from the scatter of a few first ones,
which are not counted either: a test that counted them would take its own stopping for steadiness.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autotune.base.errors import InputError
from autotune.base.text import one_line
from autotune.compare import judgement
from autotune.compare.regression import CONFIDENCE
from autotune.compare.samples import Sample
from autotune.tunings import library

PILOT_PAIRS, LEAST_PAIRS, MOST_PAIRS = 5, 5, 40
_ANSWER_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One side: which Python runs `autotune`, and the tuning that it is told; empty leaves that to the run."""

    name: str
    python: str
    tuning: str = ""

    def command(self, workload: Sequence[str], *, answer: Path) -> list[str]:
        """Return the command of one run of a workload: an input and its options."""
        told = ["--tuning", self.tuning] if self.tuning else []
        files = ["-o", str(answer), "--quiet", "--journal", "none"]
        return [self.python, "-P", "-m", "autotune", "run", *workload, *files, *told]


def contender(text: str) -> Contender:
    """Return what a user means by one side.

    Args:
        text: `none` (the defaults), `auto` (what is stored), a tuning file, a Python interpreter, or the folder of a
            virtual environment.

    Raises:
        InputError: It is none of these, or has no autotune.
    """
    path = Path(text)
    if text in ("none", "auto"):
        return Contender(name=text, python=sys.executable, tuning=text)
    if path.is_dir():
        python = next((path / p for p in ("bin/python", "Scripts/python.exe") if (path / p).exists()), None)
        if python is None:
            raise InputError(f"{text} is no virtual environment: it has no bin/python")
        return _installation(text, python)
    if not path.is_file():
        raise InputError(f"{text} is neither a tuning file, a Python, a virtual environment, `none` nor `auto`")
    if path.suffix == ".json":
        library.load(path)
        return Contender(name=text, python=sys.executable, tuning=str(path.absolute()))
    return _installation(text, path)


def measure(
    sides: tuple[Contender, Contender],
    workloads: Sequence[Sequence[str]],
    *,
    pairs: int | None = None,
    threshold: float = 0.05,
    confidence: float = CONFIDENCE,
    say: Callable[[str], None] = lambda _: None,
    seed: int = 0,
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return the samples of both sides; those of one workload were measured in turn, in this order.

    Args:
        sides: What is compared.
        workloads: Of each, the arguments of `autotune run`.
        pairs: Of each workload; where it is left out, as many as say of equal sides that they are the same, 5 to 40,
            after a pilot of 5.
        threshold: Change that does not matter.
        confidence: With which the samples will be compared.
        say: Called with one line for each pair.
        seed: Of the order.

    Raises:
        InputError: A side cannot run a workload.
    """
    order = random.Random(seed)  # noqa: S311 - no secret
    for workload in workloads:
        for side in sides:
            _run(side, workload)
    counts = [pairs or PILOT_PAIRS] * len(workloads)
    if pairs is None:
        pilot = _in_turn(sides, workloads, counts, order=order, what="pilot pair", say=say)
        counts = [_pairs_wanted(base, head, threshold, confidence) for base, head in zip(*pilot, strict=True)]
    base, head = _in_turn(sides, workloads, counts, order=order, what="pair", say=say)
    return tuple(sample for of in base for sample in of), tuple(sample for of in head for sample in of)


def _in_turn(
    sides: tuple[Contender, Contender],
    workloads: Sequence[Sequence[str]],
    counts: Sequence[int],
    *,
    order: random.Random,
    what: str,
    say: Callable[[str], None],
) -> tuple[list[list[Sample]], list[list[Sample]]]:
    """Return so many samples of each workload, of both sides."""
    base: list[list[Sample]] = [[] for _ in workloads]
    head: list[list[Sample]] = [[] for _ in workloads]
    while due := [number for number, count in enumerate(counts) if len(base[number]) < count]:
        for number in order.sample(due, len(due)):
            for which in order.sample((0, 1), 2):
                (base, head)[which][number].append(_run(sides[which], workloads[number]))
            last = f"{base[number][-1].wall_s:.2f} s against {head[number][-1].wall_s:.2f} s"
            say(f"{what} {len(base[number])} of {counts[number]}, {base[number][-1].workload}: {last}")
    return base, head


def _pairs_wanted(
    base: Sequence[Sample], head: Sequence[Sample], threshold: float, confidence: float = CONFIDENCE
) -> int:
    """Return how many pairs find equal sides the same in nine of ten cases; they show twice the threshold."""
    ratios = [math.log(b.wall_s / h.wall_s) for b, h in zip(base, head, strict=True)]
    cv = statistics.stdev(ratios) / math.sqrt(2.0)
    change = max(math.log1p(threshold), 10 * judgement.MIN_CHANGE)
    needed = judgement.pairs_needed(min(cv, 1.0), change, power=0.95, alpha=1.0 - confidence, pilot=len(ratios))
    return min(max(needed, LEAST_PAIRS), MOST_PAIRS)


def _run(side: Contender, workload: Sequence[str]) -> Sample:
    """Return the sample of one run: the time of the whole process, and its energy.

    Both sides get the same input, so their work is the same; that one of them reads it otherwise shows in the energy.
    """
    name = " ".join([Path(workload[0]).stem, *workload[1:]])
    with tempfile.TemporaryDirectory(prefix="autotune-duet-") as folder:
        answer = Path(folder) / "result.json"
        started = time.perf_counter()
        done = subprocess.run(
            side.command(workload, answer=answer), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        wall_s = time.perf_counter() - started
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise InputError(f"{side.name} cannot run {workload[0]}: {one_line(said[-1] if said else done.returncode)}")
        energy = json.loads(answer.read_text())["properties"].get("return_energy")
    return Sample(
        workload=name,
        content=name,
        wall_s=wall_s,
        energy_hartree=None if energy is None else float(energy),
        machine="here",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=side.name,
    )


def _installation(name: str, python: Path) -> Contender:
    if not os.access(python, os.X_OK):
        raise InputError(f"{name} is not a program that may be run")
    # Not resolved: a virtual environment is known by the place of its link to Python.
    path = str(python.absolute())
    try:
        done = subprocess.run(
            [path, "-P", "-m", "autotune", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{name} cannot be run as a Python: {one_line(error)}") from error
    if done.returncode:
        raise InputError(f"{name} has no autotune: `{path} -m autotune --version` fails; install it there")
    return Contender(name=name, python=path)
