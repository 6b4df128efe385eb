"""The times of one side of a comparison, read from run records, tunings or pytest-benchmark's files.

Rules: a sample is a process's whole run. The rounds that pytest-benchmark times within one process share that process's
luck, so a file counts as one sample for each benchmark, its median round; several files give several samples. Nothing
is compared here. A folder gives all files in it that are of a known kind, oldest first; of those that cannot be used
each is said.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autotune.base import json_files
from autotune.base.errors import InputError
from autotune.base.records import RunRecord, Tuning
from autotune.base.text import finite, one_line
from autotune.compare import judgement
from autotune.tunings import folders, library

DIGEST_LETTERS = 8  # of a content, to tell works of one name apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured time.

    Attributes:
        workload: What was measured; samples of one name are repeats.
        content: Digest of what was computed; empty where the file does not say.
        wall_s: Seconds.
        energy_hartree: What came out, None where there is none.
        machine: Where; equal for machines whose times can be compared.
        created: When, ISO 8601.
        source: The file.
    """

    workload: str
    content: str = ""
    wall_s: float
    energy_hartree: float | None = None
    machine: str
    created: str
    source: str


def read(path: Path, *, say: Callable[[str], None] = lambda _: None) -> tuple[Sample, ...]:
    """Return the samples in a file, or in all files of a folder, oldest first, each measurement once.

    Args:
        path: The file, or the folder.
        say: Called with a line for each file of a folder that should count and cannot.

    Raises:
        InputError: There is no such file, it is of no known kind, or the folder has none that is.
    """
    if not path.is_dir():
        return _of_file(path)
    found: list[Sample] = []
    faults: list[str] = []
    for file in sorted(path.rglob("*.json")):
        try:
            found += _of_file(file)
        except UnknownKindError:
            continue
        except InputError as error:
            faults.append(str(error))
            say(f"left out: {error}")
    if not found:
        why = f" ({faults[0]})" if faults else ""
        raise InputError(f"{path} has no run record, tuning or pytest-benchmark file{why}")
    return tuple(sorted(_without_copies(found, say), key=lambda sample: sample.created))


def _without_copies(found: Iterable[Sample], say: Callable[[str], None]) -> list[Sample]:
    """Return samples without those that an earlier file has as well: a copy of a measurement is no repeat of it.

    Times are stored with all their digits, so no two runs that ended in the same second have the same by chance.
    """
    sources: dict[Sample, str] = {}
    copies: dict[str, str] = {}
    kept = []
    for sample in found:
        first = sources.setdefault(replace(sample, source=""), sample.source)
        if first == sample.source:
            kept.append(sample)
        else:
            copies.setdefault(sample.source, first)
    for copy, first in copies.items():
        say(f"left out: {copy} has measurements of {first}; a copy is no repeat")
    return kept


class UnknownKindError(InputError):
    """A JSON file is none that times are read from."""


def from_run(record: RunRecord, *, source: str) -> Sample:
    """Return the sample of a run; InputError where its time says nothing."""
    if record.recalled:
        raise InputError(
            f"{source} took {record.recalled} tasks from a journal, so its time says nothing; run it again"
        )
    if any(task.status != "done" for task in record.task_records):
        raise InputError(f"{source} is of a run that failed, so its time says nothing")
    if not finite(record.wall_s):
        raise InputError(f"{source} has the time {record.wall_s} s, which is none; run it again")
    return Sample(
        workload=record.workload,
        content=record.content,
        wall_s=record.wall_s,
        energy_hartree=record.energy_hartree,
        machine=record.machine.key,
        created=record.created,
        source=source,
    )


def known_noise(machine: str) -> judgement.Noise | None:
    """Return the scatter of equal runs that calibrations saw on a machine, given by its key; None without any."""
    evidence = [stored.tuning.evidence for stored in folders.of_machine(machine)[0]]
    return judgement.pooled_noise(
        [[wall_s for wall_s in walls if finite(wall_s)] for e in evidence for walls in e.noise_s]
    )


def mean_s(samples: Sequence[Sample]) -> float:
    """Return the geometric mean of the times of one sample or more."""
    return math.exp(statistics.fmean(math.log(sample.wall_s) for sample in samples))


def by_workload(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Return samples by workload, in the order of appearance."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.workload, []).append(sample)
    return groups


def tell_apart(*sides: Sequence[Sample]) -> tuple[list[Sample], ...]:
    """Return the samples of each side; where one name stands for several works, each has its digest in its name.

    A name under which the sides have no work in common stays as it is: there is nothing that could be told apart.
    """
    works: list[dict[str, set[str]]] = [{} for _ in sides]
    for of_side, side in zip(works, sides, strict=True):
        for sample in side:
            of_side.setdefault(sample.workload, set()).add(sample.content)

    def named(sample: Sample) -> Sample:
        having = [of_side[sample.workload] for of_side in works if sample.workload in of_side]
        if len(set.union(*having)) == 1 or not set.intersection(*having):
            return sample
        return replace(sample, workload=f"{sample.workload} [{sample.content[:DIGEST_LETTERS]}]")

    return tuple([named(sample) for sample in side] for side in sides)


# --- kinds of files ---------------------------------------------------------------------------------------------------


def _of_file(path: Path) -> tuple[Sample, ...]:
    fields = _read(path)
    if "benchmarks" in fields and "machine_info" in fields:
        return tuple(_of_benchmarks(fields, source=str(path)))
    schema = str(fields.get("schema", ""))
    if schema.startswith("autotune.run/"):
        return (from_run(json_files.load_run(path), source=str(path)),)
    if schema.startswith("autotune.tunings"):
        return tuple(sample for tuning in library.load(path) for sample in _of_tuning(tuning, source=str(path)))
    raise UnknownKindError(
        f"{path} is neither a run record (autotune run --record), a tuning nor a pytest-benchmark file"
    )


def _read(path: Path) -> dict[str, Any]:
    """Return the fields of a JSON file; none where it holds something else."""
    try:
        fields = json.loads(
            json_files.read_bytes(
                path, most=json_files.MAX_RUN_BYTES, kind="a record", cure="; check the path"
            ).decode()
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({one_line(error)})") from error
    return fields if isinstance(fields, dict) else {}


def _of_tuning(tuning: Tuning, *, source: str) -> Iterator[Sample]:
    """Yield what a calibration measured: the default on the workloads of the search, both sides of each pair."""
    evidence = tuning.evidence
    times: list[tuple[str, Sequence[float]]] = [
        *zip((f"{name}, default" for name in evidence.search_workloads), evidence.noise_s, strict=False),
        *((f"{pair.workload}, default", [pair.default_s]) for pair in evidence.pairs),
        *((f"{pair.workload}, tuned", [pair.tuned_s]) for pair in evidence.pairs),
    ]
    for name, walls in times:
        for wall_s in walls:
            if not finite(wall_s):
                raise InputError(
                    f"{source} has the time {wall_s} s of {one_line(name)}, which is none; calibrate again"
                )
            yield Sample(
                workload=f"{tuning.method}: {name}",
                wall_s=wall_s,
                machine=tuning.machine.key,
                created=tuning.created,
                source=source,
            )


def _of_benchmarks(fields: Mapping[str, Any], *, source: str) -> Iterator[Sample]:
    try:
        machine = _benchmark_machine(fields["machine_info"])
        for benchmark in fields["benchmarks"]:
            if not finite(median_s := float(benchmark["stats"]["median"])):
                raise InputError(f"{source}: the median of {one_line(benchmark['fullname'])} is no time")
            yield Sample(
                workload=str(benchmark["fullname"]),
                wall_s=median_s,
                machine=machine,
                created=str(fields.get("datetime", "")),
                source=source,
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{source} is not as pytest-benchmark writes it: {one_line(repr(error))}") from error


def _benchmark_machine(info: Mapping[str, Any]) -> str:
    cpu = info.get("cpu") or {}
    return (
        f"{info.get('system', '')} {cpu.get('brand_raw', '')} {cpu.get('count', '')} {info.get('python_version', '')}"
    )
