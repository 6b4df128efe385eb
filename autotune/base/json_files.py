"""The only reader and writer of autotune's JSON files: run records here, tunings through `tuning_file.py`.

Rules: files are JSON with `"schema": "autotune.<kind>/<n>"`, validated when read, replaced atomically when written.
Nothing in a file is ever executed. A file that cannot be used raises an `InputError` that names it and the field.

Format history
    autotune.tuning/1, autotune.run/1 (2026-11)
    autotune.tuning/2: the law is seconds per operation of named terms; /1 is refused (2026-11)
    autotune.run/2: the policy has batches, learning, following the machine, most workers (2026-11)
    autotune.partial/1: components of a run of which some failed; written only (2026-11)
    autotune.run/3: tasks recalled from a journal, kinds of failures, growth and age of workers (2026-11)
    autotune.run/4: the policy says whether programs stay loaded (2026-11)
    autotune.run/5: what was computed, its digest and its energy, for comparisons (2026-11); later also what options
        left out, what was understood of the input and what speaks against the numbers, which older readers skip
    autotune.tunings/1: all tunings of a machine and a family of methods, their trials and pairs; autotune.tuning/2 is
        refused (2026-11)
    autotune.checks/1: what programs said of inputs; a cache (2026-11)
    autotune.tunings-bundle/1: several of these in one file (2026-11)
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base import garbage
from autotune.base.errors import InputError, ResourceError
from autotune.base.records import RunRecord
from autotune.base.text import one_line, quote

if TYPE_CHECKING:
    from pydantic import TypeAdapter

RUN_SCHEMA = "autotune.run/5"
PARTIAL_SCHEMA = "autotune.partial/1"
HOME_VARIABLE = "AUTOTUNE_HOME"
MAX_FILE_BYTES = 64 * 2**20
MAX_RUN_BYTES = 2 * 2**30  # 350 bytes a task
# What is to be done about files of kinds that are no longer read.
_RETIRED = {"autotune.tuning": "run `autotune calibrate` again"}
_DATABASE = b"SQLite format 3\0"
_RESULT = re.compile(r"qcschema_many_?body_?result")  # of QCSchema 2 and 1
_SCHEMA_FORM = re.compile(r"(?P<kind>[a-z][a-z.-]{0,60})/(?P<number>[0-9]{1,6})")


class NewerFileError(InputError):
    """A file is of a newer autotune: it can neither be read nor replaced."""


def home() -> Path:
    """Return the folder of this user's tunings, searches and journal: `$AUTOTUNE_HOME` or the platform's data folder.

    Raises:
        ResourceError: There is none, for this user has no home, as in some containers.
    """
    given = os.environ.get(HOME_VARIABLE)
    return Path(given) if given else _of_user("user_data_dir", HOME_VARIABLE)


def cache_folder() -> Path:
    """Return this user's folder of files that can be made again; raises as `home`."""
    return _of_user("user_cache_dir", "XDG_CACHE_HOME")


def _of_user(kind: str, variable: str) -> Path:
    import platformdirs

    try:
        folder = Path(getattr(platformdirs, kind)("autotune", appauthor=False))
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # what an older platformdirs returns
        raise ResourceError(
            f"there is no folder for this user's files: HOME is not set, and user {os.getuid()} is not known to the"
            f" system; set {variable}"
        )
    return folder


def check_writable(folder: Path, *, cure: str = f"; set {HOME_VARIABLE}") -> None:
    """Make a folder where it is missing; raise `ResourceError` with a cure where files cannot be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResourceError(f"folder {folder} cannot be written: {error.strerror}{cure}") from error


@garbage.search_seldom()
def save_run(run: RunRecord, path: Path) -> None:
    """Write a run record, a line for each task; piece by piece, for a run of a hundred thousand has 50 MB of it."""
    write_text(path, _run_pieces(run))


def _run_pieces(run: RunRecord) -> Iterator[str]:
    from pydantic_core import to_json

    fields = {"schema": RUN_SCHEMA, **fields_of(dataclasses.replace(run, task_records=()))}
    del fields["task_records"]
    yield json.dumps(fields, indent=1).removesuffix("\n}") + ',\n "task_records": ['
    for number, task in enumerate(run.task_records):
        # Four times as fast as json, which takes a quarter of a second for 43,744 tasks.
        yield (",\n  " if number else "\n  ") + to_json(task, inf_nan_mode="constants").decode()
    yield "\n ]\n}\n"


def save_partial(done: Mapping[str, Mapping[str, object]], failed: Mapping[str, tuple[str, str]], path: Path) -> None:
    """Write what a run with failed tasks has computed: values and failures by QCManyBody label."""
    failures = {label: {"kind": kind, "message": message} for label, (kind, message) in failed.items()}
    write_json(path, {"schema": PARTIAL_SCHEMA, "done": dict(done), "failed": failures})


def load_run(path: Path) -> RunRecord:
    """Return the run record in a file; raises as `read_json` and `validate`."""
    _, fields = read_json(path, RUN_SCHEMA, most=MAX_RUN_BYTES)
    record: RunRecord = validate(RunRecord, fields, path)
    return record


def fields_of(record: Any) -> dict[str, Any]:
    """Return a record as JSON objects, lists, texts and numbers."""
    return dataclasses.asdict(record)


def read_json(path: Path, *schemas: str, most: int = MAX_FILE_BYTES) -> tuple[str, dict[str, Any]]:
    """Return which of these schemas a file of so many bytes at most has, and its other fields, not yet validated.

    Raises:
        NewerFileError: The file is of one of these kinds, of a newer version.
        InputError: The file cannot be read, is too large, not JSON, or has another schema.
    """
    content = read_bytes(path, most=most, kind="a file of autotune")
    if content.startswith(_DATABASE):
        raise InputError(f"{path} is a database, as a journal of tasks is, not {' or '.join(map(repr, schemas))}")
    try:
        fields = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not valid JSON ({one_line(error)}), so not {' or '.join(schemas)}; give another file, or"
            " restore this one"
        ) from error
    found = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(fields, dict) and _RESULT.fullmatch(str(fields.get("schema_name"))):
        raise InputError(f"{path} is a ManyBodyResult, not {schemas[0]!r}; `autotune show {path}` prints its energies")
    if found not in schemas:
        raise _of_another_schema(path, found, schemas)
    del fields["schema"]
    return str(found), dict(fields)


def json_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object (a hook of `json.loads`); ValueError for a field given twice: Python takes the last."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {quote(twice)} is given twice in one object")
    return fields


def read_bytes(path: Path, *, most: int, kind: str, cure: str = "") -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        most: Bytes that such a file may have.
        kind: What it should be, for the message about one that is larger.
        cure: For the message about one that cannot be read.

    Raises:
        InputError: It cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}{cure}") from error
    if len(content) > most:
        raise InputError(f"{path} is larger than {most // 2**20} MiB; this is not {kind}")
    return content


def _of_another_schema(path: Path, found: object, expected: Sequence[str]) -> InputError:
    numbers = {kind: int(number) for kind, _, number in (schema.partition("/") for schema in expected)}
    known = _SCHEMA_FORM.fullmatch(found) if isinstance(found, str) else None
    text = f"{path} has schema {quote(found)}, expected {' or '.join(map(repr, expected))}"
    if known and known["kind"] in _RETIRED:
        return InputError(f"{text}; it is of an older autotune: {_RETIRED[known['kind']]}")
    if known and int(known["number"]) > numbers.get(known["kind"], sys.maxsize):
        return NewerFileError(f"{text}; it is of a newer autotune: update autotune")
    return InputError(f"{text}; it is of another kind or of an older autotune")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def validate(kind: type, fields: Mapping[str, object], path: Path, *, within: str = "") -> Any:
    """Return a record of a kind, made of the fields of a file.

    Args:
        kind: The record's class.
        fields: What was read.
        path: The file, to be named where a field is wrong.
        within: Where in the file the fields are, such as `tunings.0.`.

    Raises:
        InputError: A field is wrong.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(fields)
    except ValidationError as error:
        raise InputError(f"{path}: {fault_of(error, within=within)}; restore or remove the file") from error


def fault_of(error: Any, *, within: str = "") -> str:
    """Return in one line the first field that a validator refused, and why.

    Args:
        error: Pydantic's, of version 1 or 2.
        within: Where in a file the fields are, such as `tunings.0.`.
    """
    fault = error.errors()[0]
    return f"field {one_line(within + '.'.join(map(str, fault['loc'])))}: {one_line(fault['msg'])}"


def write_json(path: Path, fields: dict[str, Any]) -> None:
    """Replace a file by JSON at once; raises as `write_text`."""
    write_text(path, json.dumps(fields, indent=1) + "\n")


def write_text(path: Path, text: str | Iterable[str], *, durable: bool = True) -> None:
    """Replace a file at once by a text, or by pieces of one: a reader sees the old or the new, never half of one.

    A link stays a link, and its target is replaced; what is no file, a pipe or a device, is written to. A new file may
    be read by whom the user's umask lets, as other programs' files.

    Args:
        path: The file.
        text: What it is to hold.
        durable: Wait until the disk has it, which takes a millisecond; not for files by the thousand that can be made
            again.

    Raises:
        ResourceError: The folder cannot be written or the disk is full; the old file is untouched.
    """
    pieces = [text] if isinstance(text, str) else text
    temporary: Path | None = None
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
            return
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        with temporary.open("x", encoding="utf-8") as file:
            file.writelines(pieces)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
