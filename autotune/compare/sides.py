"""BASE and HEAD as a user names them, compared: files of records, a history, or what is run in turn here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from autotune.compare import history, regression, samples, side_by_side
from autotune.compare.history import Trace
from autotune.compare.judgement import Noise
from autotune.compare.regression import Regression
from autotune.compare.samples import Sample
from autotune.machine import detection, readiness


class Answer(NamedTuple):
    """What was found: of two sides, and of each workload of a history; None or nothing where it was not asked for."""

    found: Regression | None
    traces: tuple[Trace, ...]


def regress(
    base: str | None,
    head: str | None,
    *,
    earlier: str | None = None,
    workloads: Sequence[Sequence[str]] = (),
    pairs: int | None = None,
    threshold: float = 0.05,
    confidence: float = regression.CONFIDENCE,
    noise: float | None = None,
    any_machine: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Answer:
    """Return whether HEAD is slower than BASE, workload by workload.

    Args:
        base: A file or a folder of records, tunings or benchmarks; or what `side_by_side.contender` takes. None where
            the last level of a history takes its place.
        head: Likewise; None for a history alone.
        earlier: A folder of records over time.
        workloads: To be run by both sides in turn, each as the words of an `autotune run`; none to read files.
        pairs: Runs of each side; by default as many as it takes.
        threshold: Relative change that does not matter.
        confidence: Of all verdicts together.
        noise: Run-to-run scatter of equal runs; by default what calibrations of the samples' machine saw.
        any_machine: Compare times although the machines differ.
        say: Called with one line for each step and each file that is passed over.

    Raises:
        InputError: A side cannot be used.
        ResourceError: A run fails.
    """
    traces = history.traces(samples.read(Path(earlier), say=say)) if earlier else ()
    if head is None:
        return Answer(None, traces)
    if workloads:
        assert base is not None
        contenders = side_by_side.contender(base), side_by_side.contender(head)
        readiness.check(detection.detect(), force=True, say=say)
        sides = side_by_side.measure(
            contenders, workloads, pairs=pairs, threshold=threshold, confidence=confidence, say=say
        )
    elif earlier:
        newest = samples.read(Path(head), say=say)
        sides = history.levels(traces, newest), newest
    else:
        assert base is not None
        sides = samples.read(Path(base), say=say), samples.read(Path(head), say=say)
    found = regression.judge(
        *sides,
        names=(earlier or base or "", head),
        confidence=confidence,
        threshold=threshold,
        noise=None if workloads else _noise(noise, (*sides[0], *sides[1])),
        paired=bool(workloads),
        any_machine=any_machine,
    )
    return Answer(found, traces)


def _noise(given: float | None, measured: Sequence[Sample]) -> Noise | None:
    """Return the scatter of equal runs: as given, or what calibrations of the samples' machine saw."""
    if given is not None:
        return Noise(cv=given, freedom=float("inf")) if given else None
    machines = {sample.machine for sample in measured}
    return samples.known_noise(machines.pop()) if len(machines) == 1 else None
