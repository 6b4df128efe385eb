"""A file of tunings: read and checked, and changed under a lock so that nobody's change is lost.

Rules: a file holds the tunings of one machine and one family of methods of one program; a bundle holds several such
files. What is read is data: numbers are finite, texts printable, names cannot lead out of a folder, and nothing is
executed. Nothing is written that would not be read again. A damaged file is renamed before another takes its place, a
newer autotune's is never replaced.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from autotune.base import json_files, locks
from autotune.base.errors import InputError, ResourceError
from autotune.base.records import Tuning
from autotune.base.text import one_line
from autotune.base.types import Machine, Method
from autotune.costs.terms import family
from autotune.tunings.checks import faults, value_faults

TUNINGS_SCHEMA = "autotune.tunings/1"
BUNDLE_SCHEMA = "autotune.tunings-bundle/1"
Key: TypeAlias = tuple[str, Method]  # a machine's key and a method


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """What is in a file, field by field; the tunings are without the machine."""

    machine: Machine
    family: str
    tunings: list[dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bundle:
    """What is in a bundle."""

    files: list[_Form]


def key_of(tuning: Tuning) -> Key:
    """Return what a library has one tuning for: the machine's key and the method."""
    return tuning.machine.key, tuning.method


def newest(tunings: Iterable[Tuning]) -> dict[Key, Tuning]:
    """Return the newest tuning for each machine and method; see `times_s`."""
    return {key_of(tuning): tuning for tuning in sorted(tunings, key=times_s)}


def times_s(tuning: Tuning) -> tuple[float, float]:
    """Return when a tuning was created and verified, in seconds since 1970, to be compared; -inf where it says no time.

    Later is newer; of two that were created at once the one that was verified last.
    """
    return _seconds(tuning.created), _seconds(tuning.verified)


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return -math.inf


def read(path: Path) -> tuple[Tuning, ...]:
    """Return the tunings in a file or bundle, in its order.

    Raises:
        NewerFileError: It is of a newer autotune.
        InputError: It is missing, too large, not JSON, of another kind, or a field is wrong; names file, field, cure.
    """
    return _parse(*json_files.read_json(path, TUNINGS_SCHEMA, BUNDLE_SCHEMA), path)


def check_storable(path: Path) -> None:
    """Raise NewerFileError where nothing could be stored; a file that is damaged would be set aside."""
    if not os.path.lexists(path):
        return
    try:
        read(path)
    except json_files.NewerFileError:
        raise
    except InputError:
        return


def write(path: Path, tunings: Iterable[Tuning]) -> None:
    """Replace a file at once by these tunings.

    Raises:
        InputError: A tuning holds what no file may.
        ResourceError: It cannot be written; the old file is untouched.
    """
    fields = fields_of(tunings)
    # Through JSON, because what is checked must be what a reader will see.
    read_back = json.loads(json.dumps(fields))
    _parse(read_back.pop("schema"), read_back, path)
    json_files.write_json(path, fields)


def fields_of(tunings: Iterable[Tuning]) -> dict[str, object]:
    """Return what is in a file of these tunings: a bundle, if they are of several machines or families."""
    groups: dict[tuple[str, str, str], list[Tuning]] = {}
    for tuning in sorted(tunings, key=lambda tuning: str(tuning.method)):
        groups.setdefault((tuning.machine.key, tuning.method.program, family(tuning.method)), []).append(tuning)
    forms = [_form(group) for _, group in sorted(groups.items())]
    if len(forms) == 1:
        return {"schema": TUNINGS_SCHEMA, **forms[0]}
    return {"schema": BUNDLE_SCHEMA, "files": forms}


@contextlib.contextmanager
def change(path: Path, say: Callable[[str], None]) -> Iterator[dict[Key, Tuning]]:
    """Give what a file holds to be changed; it is locked meanwhile, and written at the end if anything was changed.

    Args:
        path: The file; an empty one is removed.
        say: Called with one line where it was damaged; it is then set aside.

    Raises:
        NewerFileError: It is of a newer autotune.
        InputError: A tuning holds what no file may.
        ResourceError: It cannot be read, locked or written.
    """
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(locks.hold(Path(f"{path}.lock"), wait=True, keep=False))
        except OSError as error:
            raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
        damage = ""
        held: dict[Key, Tuning] = {}
        try:
            held = newest(read(path)) if os.path.lexists(path) else {}
        except json_files.NewerFileError:
            raise
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                raise ResourceError(str(error)) from error
            damage = str(error)
        before = dict(held)
        yield held
        if held == before:
            return
        try:
            if damage:
                say(f"{damage}; it is set aside as {_set_aside(path).name}")
            if not held:
                path.unlink()
        except OSError as error:
            raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
        if held:
            write(path, held.values())


def _form(tunings: list[Tuning]) -> dict[str, object]:
    # They agree on all of the machine that its key is made of, and the newest knows the rest best.
    latest = max(tunings, key=times_s)
    entries = [json_files.fields_of(tuning) for tuning in tunings]
    for entry in entries:
        del entry["machine"]
    machine = json_files.fields_of(latest.machine)
    return {"machine": machine, "family": family(latest.method), "tunings": entries}


def _parse(schema: str, fields: dict[str, object], path: Path) -> tuple[Tuning, ...]:
    for field, text in value_faults(fields):
        raise _refusal(path, field, text)
    if schema == TUNINGS_SCHEMA:
        return _of_form(json_files.validate(_Form, fields, path), "", path)
    bundle: _Bundle = json_files.validate(_Bundle, fields, path)
    found = (_of_form(form, f"files.{number}.", path) for number, form in enumerate(bundle.files))
    return tuple(itertools.chain.from_iterable(found))


def _of_form(form: _Form, within: str, path: Path) -> tuple[Tuning, ...]:
    tunings: list[Tuning] = []
    for number, entry in enumerate(form.tunings):
        place = f"{within}tunings.{number}."
        tuning: Tuning = json_files.validate(Tuning, {**entry, "machine": form.machine}, path, within=place)
        for field, text in faults(tuning):
            raise _refusal(path, f"{place}{field}", text)
        if (found := family(tuning.method)) != form.family:
            raise _refusal(path, f"{within}family", f"is {form.family!r}, but {tuning.method} is of the family {found}")
        if tunings and tuning.method.program != tunings[0].method.program:
            raise _refusal(path, f"{place}method.program", f"is another than that of {tunings[0].method}")
        tunings.append(tuning)
    return tuple(tunings)


def _refusal(path: Path, field: str, text: str) -> InputError:
    return InputError(f"{path}: field {one_line(field)}: {one_line(text)}; restore or remove the file")


def _set_aside(path: Path) -> Path:
    """Rename a file to a name that is free, and return it."""
    names = itertools.chain([f"{path}.damaged"], (f"{path}.damaged-{n}" for n in itertools.count(2)))
    aside = next(Path(name) for name in names if not os.path.lexists(name))
    path.replace(aside)
    return aside
