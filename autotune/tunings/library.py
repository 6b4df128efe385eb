"""The library of tunings: stored, shared, and found again by a ladder from best to default.

    exact    this machine, this method, sizes that were measured: strategies, parameters and times
    near     as many cores of this processor, the nearest method of the family, sizes that were measured: the same, but
             the times of this method alone
    model    this processor and program, but sizes beyond, another family or number of cores: no more than the times
    default  nothing was measured here

A job that may use a part of a node (affinity, Slurm, a control group) finds the tunings of the whole one, and the
other way round: what decides is the processor, then the method, then how far cores and memory are apart.

Rules: files are `tuning_file.py`'s, folders `folders.py`'s; `find` decides and changes nothing. A file that
cannot be used is passed over when one is looked for, and the answer says so.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from autotune.base.errors import InputError, ResourceError
from autotune.base.records import Evidence, Tuning
from autotune.base.text import count, one_line
from autotune.base.types import Machine, Method
from autotune.costs.terms import family
from autotune.tunings import folders, tuning_file

EXTRAPOLATION = 2  # so many times the largest size that was measured, predictions still hold
NAMED = 3  # files or tunings that a message names; more are counted
_CURE_OF_SIZES = "`autotune calibrate --workload INPUT` measures these, with the options of this run for a geometry"
_MAJOR_MINOR = re.compile(r"v?(\d+)(?:\.(\d+))?")


class Found(NamedTuple):
    """What was found.

    Attributes:
        tuning: What to use; None for none.
        match: A rung of the ladder; or `given` or `none`, where the user decided.
        reason: One sentence for the user.
        source: The file; empty for none.
    """

    tuning: Tuning | None
    match: str
    reason: str
    source: str


class Merged(NamedTuple):
    """A tuning to be merged into a file, and whether it was taken: it is newer than what was there."""

    tuning: Tuning
    path: Path
    taken: bool


NOTHING = Found(None, "default", "nothing is known of the input", "")


# --- files ------------------------------------------------------------------------------------------------------------


def save(tuning: Tuning, path: Path | None = None, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """Store a tuning among the others of a file, in place of the one of its machine and method; return where.

    Args:
        tuning: The tuning.
        path: The file; by default this user's for its machine and family.
        say: Called with one line where the file was damaged and is set aside.

    Raises:
        InputError: The file is of a newer autotune, or the tuning holds what no file may, such as NaN.
        ResourceError: The file cannot be written.
    """
    path = path or folders.path_of(tuning.machine, tuning.method)
    with tuning_file.change(path, say) as held:
        held[tuning_file.key_of(tuning)] = tuning
    return path


def load(path: Path) -> tuple[Tuning, ...]:
    """Return the tunings in a file or bundle.

    Raises:
        InputError: The file is missing, too large, not JSON, of another kind or version, or a field is wrong.
    """
    return tuning_file.read(path)


def export(tunings: Iterable[Tuning], path: Path) -> None:
    """Write tunings to one file, the newest of each machine and method.

    Raises:
        InputError: The file exists and is not one of tunings, which alone may be replaced.
        ResourceError: It cannot be written.
    """
    if path.exists():
        load(path)
    tuning_file.write(path, tuning_file.newest(tunings).values())


def remove(path: Path, method_text: str | None = None) -> tuple[Tuning, ...]:
    """Remove tunings from a file, all or those that a text names, and the file if none is left; return them.

    Raises:
        InputError: The file is not one of tunings; it is left alone.
        ResourceError: It cannot be written.
    """
    load(path)
    with tuning_file.change(path, lambda _: None) as held:
        gone = tuple(held.values()) if method_text is None else matching(held.values(), method_text)
        for tuning in gone:
            del held[tuning_file.key_of(tuning)]
    return gone


def merge(
    sources: Sequence[Path],
    into: Path | None = None,
    *,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Merged]:
    """Add tunings to a file where they are newer than those of their machine and method in it; return each's fate.

    Args:
        sources: Files and bundles; all are read before anything is written.
        into: The file; by default one for each machine and family.
        folder: Of these; by default this user's.
        say: Called with one line for each damaged file that is set aside.

    Raises:
        InputError: A source cannot be used, or the file is of a newer autotune.
        ResourceError: A file cannot be written; those before it were.
    """
    newest = tuning_file.newest(tuning for path in sources for tuning in load(path))
    by_path: dict[Path, list[Tuning]] = {}
    for tuning in newest.values():
        by_path.setdefault(into or folders.path_of(tuning.machine, tuning.method, folder=folder), []).append(tuning)
    merged: list[Merged] = []
    for path, tunings in by_path.items():
        with tuning_file.change(path, say) as held:
            for tuning in tunings:
                present = held.get(tuning_file.key_of(tuning))
                taken = present is None or tuning_file.times_s(tuning) > tuning_file.times_s(present)
                if taken:
                    held[tuning_file.key_of(tuning)] = tuning
                merged.append(Merged(tuning, path, taken))
    return merged


def install(sources: Sequence[Path], *, say: Callable[[str], None] = lambda _: None) -> list[Merged]:
    """Merge tunings into the site's folder, where all users may read and only its owner writes; as `merge`."""
    folder = folders.site()
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    merged = merge(sources, folder=folder, say=say)
    made = {path for _, path, taken in merged if taken}
    try:
        for path in [*made, *(path.parent for path in made), *(above for above in missing if above.exists())]:
            readable = path.stat().st_mode | (0o555 if path.is_dir() else 0o444)
            if readable != path.stat().st_mode:
                path.chmod(readable)
    except OSError as error:
        raise ResourceError(f"{folder} cannot be made readable for all users: {error.strerror}") from error
    return merged


# --- the ladder -------------------------------------------------------------------------------------------------------


def find(machine: Machine, methods: Sequence[Method], *, smallest_functions: int, largest_functions: int) -> Found:
    """Return the best tuning for a machine and a workload; see the ladder at the top.

    Args:
        machine: The machine.
        methods: Of the workload, the most expensive first, which decides.
        smallest_functions: Basis functions of the smallest task, to be mentioned; 0 where unknown.
        largest_functions: Of the largest task, which must be within what was measured; 0 where unknown.
    """
    method = methods[0]
    stored, wrong = folders.of_processor(machine)
    note = f" (passed over: {_list(wrong)})" if wrong else ""
    stored = [one for one in stored if one.tuning.method.program == method.program]
    cure = f"run `{calibration_of(method)}`"
    if not stored:
        return Found(None, "default", f"no tuning for {method.program} on this machine; {cure}{note}", "")

    def related(tuning: Tuning) -> bool:
        return family(tuning.method) == family(method)

    def serves(tuning: Tuning) -> bool:
        same = tuning.machine.cores == machine.cores
        return same and related(tuning) and not _beyond(tuning.evidence, largest_functions)

    def apart(tuning: Tuning) -> tuple[object, ...]:
        last = *_size_apart(tuning.machine, machine), *(-time for time in tuning_file.times_s(tuning))
        return not serves(tuning), not related(tuning), _distance(tuning.method, method), *last

    tuning, path = min(stored, key=lambda one: apart(one.tuning))
    if any(one.tuning.method == method and one.tuning.machine.key == machine.key for one in stored):
        cure = _CURE_OF_SIZES  # that very command was run
    else:
        cure = f"{cure} for better"
    if not serves(tuning):
        reason = _words_of_times(tuning, method, machine, largest_functions=largest_functions, cure=cure)
        return Found(replace(tuning, parameters={}), "model", reason + note, str(path))
    where, below = _measured_on(tuning.machine, machine), _below(tuning.evidence, smallest_functions)
    if tuning.method == method:
        match = "exact" if tuning.machine.key == machine.key else "near"
        reason = f"measured {where} for {method} on {tuning.created[:10]}{below}"
        return Found(tuning, match, reason + note, str(path))
    reason = f"measured {where} for {tuning.method}, the nearest to {method}; {cure}{below}"
    return Found(tuning, "near", reason + note, str(path))


def _words_of_times(tuning: Tuning, method: Method, machine: Machine, *, largest_functions: int, cure: str) -> str:
    """Return why no more than the times of a tuning are used."""
    where = _measured_on(tuning.machine, machine)
    use = "its times are used with the default parameters" if tuning.method == method else "the defaults are used"
    if family(tuning.method) != family(method):
        return f"measured {where} only for {tuning.method}, which is no relative of {method}: {use}; {cure}"
    if _beyond(tuning.evidence, largest_functions):
        sizes = f"{_sizes(tuning.evidence)} basis functions, but the largest task has {largest_functions}"
        return f"measured {where} only for {tuning.method}, {sizes}: {use}; {_CURE_OF_SIZES}"
    if tuning.machine.key == machine.key:
        cure = "a run on all cores uses the whole tuning"
    return f"measured {where} for {tuning.method}: {use}; {cure}"


def pick(tunings: Sequence[Tuning], methods: Sequence[Method], machine: Machine, *, source: str) -> Found:
    """Return the tuning of a file the user gave: that of the most expensive method, else the nearest of its program.

    Those of this machine come first; any will do.

    Raises:
        InputError: The file has none of the program; the message lists what it has.
    """
    for method in methods:
        fitting = [tuning for tuning in tunings if tuning.method.program == method.program]
        if fitting:
            best = min(fitting, key=lambda t: (_distance(t.method, method), t.machine.key != machine.key))
            nearest = "" if best.method == method else f"; the nearest to {method} in it is {best.method}"
            return Found(best, "given", f"given by the user{nearest}", source)
    has = _list([str(tuning.method) for tuning in tunings]) or "none"
    raise InputError(f"{source} has no tuning for {methods[0].program}; it has {has}")


def of_machine(machine: Machine) -> list[tuple[Tuning, Path]]:
    """Return the tunings that count on a machine, one for each method, with their files."""
    return [(one.tuning, one.path) for one in folders.of_machine(machine.key)[0]]


def of_processor(machine: Machine) -> list[tuple[Tuning, Path]]:
    """Return the tunings that count on a machine or on others of its processor, one for each method, with their files.

    It is the one of the nearest number of cores, then of the nearest memory.
    """
    stored = sorted(folders.of_processor(machine)[0], key=lambda one: _size_apart(one.tuning.machine, machine))
    nearest: dict[Method, tuple[Tuning, Path]] = {}
    for tuning, path in stored:
        nearest.setdefault(tuning.method, (tuning, path))
    return list(nearest.values())


def measured(machine: Machine, methods: Collection[Method]) -> dict[Method, Tuning]:
    """Return the tuning whose times count for each of some methods that was measured, as `of_processor` has it."""
    return {tuning.method: tuning for tuning, _ in of_processor(machine) if tuning.method in methods}


def matching(tunings: Iterable[Tuning], text: str) -> tuple[Tuning, ...]:
    """Return the tunings whose method a text names, by the strictest reading that names any; case does not matter.

    It is all of `str(method)`, or whole words of it, or parts of it.
    """
    wanted = text.lower().split()
    known = [(tuning, str(tuning.method).lower()) for tuning in tunings]
    readings = (
        [tuning for tuning, name in known if name.split() == wanted],
        [tuning for tuning, name in known if set(wanted) <= set(name.split())],
        [tuning for tuning, name in known if all(word in name for word in wanted)],
    )
    return tuple(next(filter(None, readings), []))


def calibration_of(method: Method) -> str:
    """Return the command that makes a tuning of a method."""
    # An empty basis set has to be said, too: else it is the study's.
    given = {"program": method.program, "method": method.method, "basis": method.basis}
    given |= {"driver": method.driver} if method.driver != "energy" else {}
    given |= {"keywords": method.keywords} if method.keywords != "{}" else {}
    return " ".join(["autotune calibrate", *(f"--{name} {shlex.quote(text)}" for name, text in given.items())])


def version_note(tuning: Tuning, program_version: str) -> str:
    """Return a sentence for the user where a program is of another version than was measured; empty where it is not.

    Major and minor number count. Where either version is not known, nothing is said.
    """
    found = [_MAJOR_MINOR.match(version) for version in (tuning.program_version, program_version)]
    if not all(found) or len({match.groups() for match in found if match}) == 1:
        return ""
    verify = f"autotune tunings verify {shlex.quote(str(tuning.method))}"
    return (
        f"the tuning was measured with {tuning.method.program} {tuning.program_version}, this is {program_version}:"
        f" something else may be faster by now; check it with `{verify}`"
    )


def _distance(stored: Method, wanted: Method) -> int:
    """Return how far two methods of one program are apart; 0 is the same."""
    if stored == wanted:
        return 0
    far = 8 * (stored.method != wanted.method) + 4 * (stored.keywords != wanted.keywords)
    return 1 + far + 2 * (stored.driver != wanted.driver) + (stored.basis != wanted.basis)


def _size_apart(stored: Machine, wanted: Machine) -> tuple[float, float]:
    """Return how far two machines of one processor are apart: the ratio of their cores, then of memory, as logarithms.

    Memory within its bin of the key is the same.
    """
    if stored.key == wanted.key:
        return 0.0, 0.0
    cores, memory = stored.cores / wanted.cores, stored.memory_gib / wanted.memory_gib
    return abs(math.log(cores)), abs(math.log(memory))


def _measured_on(stored: Machine, wanted: Machine) -> str:
    """Return on what a tuning was measured, in words."""
    if stored.key == wanted.key:
        fewer = (
            f" with {count(stored.cores, 'core')}, where this run has {wanted.cores},"
            if stored.cores != wanted.cores
            else ""
        )
        return f"on this machine{fewer}"
    of = (f"{count(one.cores, 'core')} and {one.memory_gib:.0f} GiB" for one in (stored, wanted))
    return "on this processor with {}, where this job has {},".format(*of)


def _beyond(evidence: Evidence, largest: int) -> bool:
    """Return whether a workload's largest task is of a size that predictions do not hold for."""
    known = largest and evidence.largest_functions
    return bool(known) and not evidence.smallest_functions <= largest <= EXTRAPOLATION * evidence.largest_functions


def _below(evidence: Evidence, smallest: int) -> str:
    """Return a remark on tasks smaller than any that was measured, which take little of the time."""
    if 0 < smallest < evidence.smallest_functions:
        return f"; the smallest task has {smallest} basis functions, measured were {_sizes(evidence)}"
    return ""


def _sizes(evidence: Evidence) -> str:
    return f"{evidence.smallest_functions} to {evidence.largest_functions}"


def _list(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - NAMED} more"] if len(texts) > NAMED else []
    return "; ".join([*(one_line(text) for text in texts[:NAMED]), *more])
