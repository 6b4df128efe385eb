"""Whether nodes are alike: what `autotune doctor --json` says on each, compared.

Rules: a node is what decides times and results there: processor, cores, memory and what limits them, and the versions
of what computes. What is so for a moment, such as load, makes no node another one; it is told beside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autotune.base import json_files
from autotune.base.errors import InputError

SCHEMA = "autotune.doctor/1"
_MACHINE = ("cpu_model", "architecture", "vector", "cores", "cores_limited_by", "gpus", "numa_nodes")
SAME_SHARE = 0.02  # of memory and caches


class Kind(NamedTuple):
    """Nodes that are alike.

    Attributes:
        nodes: Their names.
        key: Of their tunings.
        differences: What the commonest kind has and what they have, by name; empty for that kind itself. Their key is
            among them where they take other tunings.
    """

    nodes: tuple[str, ...]
    key: str
    differences: dict[str, tuple[object, object]]


class Likeness(NamedTuple):
    """What came out.

    Attributes:
        kinds: The commonest first.
        warnings: Of each node that has some, in words.
    """

    kinds: tuple[Kind, ...]
    warnings: dict[str, tuple[str, ...]]


def compare(paths: Sequence[Path]) -> Likeness:
    """Compare what `autotune doctor --json` wrote on nodes, a file for each.

    Raises:
        InputError: A file cannot be read or is no such output.
    """
    reports = [_read(path) for path in paths]
    facts = [_facts(path, report) for path, report in zip(paths, reports, strict=True)]
    hosts = [str(report.get("host")) for report in reports]
    stems = [path.stem for path in paths]
    names = next((each for each in (hosts, stems) if len({*each}) == len(each)), [*map(str, paths)])
    groups: list[list[int]] = []
    for number, fact in enumerate(facts):
        group = next((group for group in groups if not _differences(facts[group[0]], fact)), None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    ordered = sorted(groups, key=len, reverse=True)
    usual = facts[ordered[0][0]]
    kinds = tuple(
        Kind(
            nodes=tuple(names[number] for number in group),
            key=str(facts[group[0]]["key"]),
            differences=_differences(usual, facts[group[0]]),
        )
        for group in ordered
    )
    warnings = dict(zip(names, map(_warnings, paths, reports), strict=True))
    return Likeness(kinds, {name: texts for name, texts in warnings.items() if texts})


def _read(path: Path) -> dict[str, Any]:
    return json_files.read_json(path, SCHEMA)[1]


def _facts(path: Path, report: Mapping[str, Any]) -> dict[str, object]:
    try:
        return dict(_named_facts(report))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_whole(path) from error


def _named_facts(report: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    machine = report["machine"]
    yield from ((name.replace("_", " "), machine[name]) for name in _MACHINE)
    yield "MiB of last-level cache", float(machine["l3_mib"])
    yield "key", machine["key"]
    yield "GiB of memory", float(machine["memory_gib"])
    yield "autotune", report["autotune"]
    for program in report["programs"]:
        yield program["name"], program["version"] if program["found"] else "not found"


def _differences(usual: Mapping[str, object], other: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    names = dict.fromkeys([*usual, *other])
    pairs = {name: (usual.get(name, "not found"), other.get(name, "not found")) for name in names}
    return {name: (here, there) for name, (here, there) in pairs.items() if not _alike(here, there)}


def _alike(here: object, there: object) -> bool:
    # Of equal memory a kernel keeps a little more or less for itself.
    if isinstance(here, float) and isinstance(there, float):
        return math.isclose(here, there, rel_tol=SAME_SHARE)
    return here == there


def _warnings(path: Path, report: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return tuple(f"{one['topic']}: {one['text']}" for one in report["findings"] if one["severity"] != "ok")
    except (KeyError, TypeError) as error:
        raise _not_whole(path) from error


def _not_whole(path: Path) -> InputError:
    return InputError(f"{path} is not whole; write it anew with `autotune doctor --json`")
