"""The only reader and writer of autotune's files: tunings and run records.

Rules: files are JSON with `"schema": "autotune.<kind>/<n>"`, validated when read, replaced atomically when written.
Nothing in a file is ever executed. A file that cannot be used raises an `InputError` that names it; during look-up it
is passed over, and the answer says so.

Format history
    autotune.tuning/1, autotune.run/1 (2026-11)
    autotune.tuning/2: the law is seconds per operation of named terms; /1 is refused (2026-11)
    autotune.run/2: the policy has batches, learning, following the machine, most workers (2026-11)
    autotune.partial/1: components of a run of which some failed; written only (2026-11)
    autotune.run/3: tasks recalled from a journal, kinds of failures, growth and age of workers (2026-11)
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from autotune.errors import InputError, ResourceError, one_line, quoted
from autotune.records import RunRecord, Tuning
from autotune.types import Machine, Method

if TYPE_CHECKING:
    from pydantic import TypeAdapter

TUNING_SCHEMA = "autotune.tuning/2"
RUN_SCHEMA = "autotune.run/3"
PARTIAL_SCHEMA = "autotune.partial/1"
HOME_VARIABLE = "AUTOTUNE_HOME"
MAX_FILE_BYTES = 64 * 2**20


class Found(NamedTuple):
    """A tuning and how well it fits: `exact` or `near`, why, and where from; `tuning` is None for `default`."""

    tuning: Tuning | None
    match: str
    reason: str
    source: str


NOTHING = Found(None, "default", "nothing is known of the input", "")


def home() -> Path:
    """Return the folder of this user's tunings and searches: `$AUTOTUNE_HOME` or the platform's data folder."""
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("autotune", appauthor=False))


def check_writable(folder: Path) -> None:
    """Make a folder where it is missing; raise `ResourceError` where files cannot be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResourceError(f"folder {folder} cannot be written: {error.strerror}; set {HOME_VARIABLE}") from error


def tuning_path(machine: Machine, method: Method) -> Path:
    """Return where the tuning of a machine and method is stored in the user's folder."""
    return home() / "tunings" / machine.key / f"{slug(method)}.json"


def slug(method: Method) -> str:
    """Return a file name for a method: readable, and distinct where keywords differ."""
    words = [method.program, method.method, method.basis, method.driver]
    text = "-".join(re.sub(r"[^a-z0-9+*()]+", "", word.lower()) for word in words if word)
    text = text.replace("*", "s").replace("(", "-").replace(")", "").replace("+", "p")
    exact = json.dumps([*words, method.keywords])
    return f"{text}-{sha256(exact.encode()).hexdigest()[:8]}"


def save_tuning(tuning: Tuning, path: Path | None = None) -> Path:
    """Write a tuning and return where."""
    path = path or tuning_path(tuning.machine, tuning.method)
    write_json(path, {"schema": TUNING_SCHEMA, **_fields(tuning)})
    return path


def load_tuning(path: Path) -> Tuning:
    """Return the tuning in a file.

    Raises:
        InputError: The file is missing, too large, not JSON, of another kind or version, or a field is wrong.
    """
    fields = _read(path, TUNING_SCHEMA)
    tuning: Tuning = _validated(_adapter(Tuning), fields, path)
    return tuning


def save_run(run: RunRecord, path: Path) -> None:
    """Write a run record."""
    write_json(path, {"schema": RUN_SCHEMA, **_fields(run)})


def save_partial(done: Mapping[str, Mapping[str, object]], failed: Mapping[str, tuple[str, str]], path: Path) -> None:
    """Write what a run with failed tasks has computed: values and failures by QCManyBody label."""
    failures = {label: {"kind": kind, "message": message} for label, (kind, message) in failed.items()}
    write_json(path, {"schema": PARTIAL_SCHEMA, "done": dict(done), "failed": failures})


def load_run(path: Path) -> RunRecord:
    """Return the run record in a file; raises as `load_tuning`."""
    record: RunRecord = _validated(_adapter(RunRecord), _read(path, RUN_SCHEMA), path)
    return record


def find(machine: Machine, methods: Sequence[Method], *, largest_functions: int) -> Found:
    """Return the best tuning for a machine and the most expensive method first in `methods`.

    The ladder: this machine and method; this machine and the nearest method of the program; the default.
    """
    skipped: list[str] = []
    candidates: list[tuple[int, Tuning, Path]] = []
    method = methods[0]
    for path in _tuning_files(machine):
        try:
            tuning = load_tuning(path)
        except InputError as error:
            skipped.append(str(error))
            continue
        if tuning.machine.key == machine.key and tuning.method.program == method.program:
            candidates.append((_distance(tuning.method, method), tuning, path))
    note = f" (passed over: {'; '.join(skipped)})" if skipped else ""
    if not candidates:
        cure = f"run `autotune calibrate --program {method.program} --method {method.method} --basis '{method.basis}'`"
        return Found(None, "default", f"no tuning for {method.program} on this machine; {cure}{note}", "")
    distance, tuning, path = min(candidates, key=lambda candidate: candidate[0])
    if distance:
        return Found(tuning, "near", f"measured on this machine for {tuning.method}{note}", str(path))
    beyond = tuning.evidence.largest_functions
    if largest_functions > 2 * beyond:
        note += f"; tasks reach {largest_functions} basis functions, it was measured up to {beyond}"
    reason = f"measured on this machine for {tuning.method} on {tuning.created[:10]}{note}"
    return Found(tuning, "exact", reason, str(path))


def tunings() -> Iterator[tuple[Path, Tuning | str]]:
    """Yield every stored tuning, or what is wrong with its file, the user's folder first."""
    for folder in _folders():
        for path in sorted(folder.glob("*/*.json")):
            try:
                yield path, load_tuning(path)
            except InputError as error:
                yield path, str(error)


def _distance(stored: Method, wanted: Method) -> int:
    """Return how far two methods of one program are apart; 0 is the same."""
    if stored == wanted:
        return 0
    far = 8 * (stored.method != wanted.method) + 4 * (stored.keywords != wanted.keywords)
    return 1 + far + 2 * (stored.driver != wanted.driver) + (stored.basis != wanted.basis)


def _folders() -> Iterator[Path]:
    import importlib.util

    import platformdirs

    yield home() / "tunings"
    yield Path(platformdirs.site_data_dir("autotune", appauthor=False)) / "tunings"
    packaged = importlib.util.find_spec("autotune.results")
    if packaged and packaged.submodule_search_locations:
        yield Path(packaged.submodule_search_locations[0]) / "tunings"


def _tuning_files(machine: Machine) -> Iterator[Path]:
    for folder in _folders():
        yield from sorted((folder / machine.key).glob("*.json"))


def _fields(record: Any) -> dict[str, Any]:
    return dataclasses.asdict(record)


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _read(path: Path, schema: str) -> dict[str, Any]:
    kind = schema.partition("/")[0]
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB; this is not an {kind} file")
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({' '.join(str(error).split())}); restore or remove it") from error
    found = fields.get("schema") if isinstance(fields, dict) else None
    if found != schema:
        raise InputError(
            f"{path} has schema {quoted(found)}, expected {schema!r}; it is of another kind or a newer autotune"
        )
    del fields["schema"]
    return dict(fields)


def _validated(adapter: Any, fields: dict[str, Any], path: Path) -> Any:
    from pydantic import ValidationError

    try:
        return adapter.validate_python(fields)
    except ValidationError as error:
        fault = error.errors()[0]
        where = one_line(".".join(str(part) for part in fault["loc"]))
        raise InputError(f"{path}: field {where}: {one_line(fault['msg'])}; restore or remove the file") from error


def write_json(path: Path, fields: dict[str, Any]) -> None:
    """Replace a file by JSON at once; raises as `write_text`."""
    write_text(path, json.dumps(fields, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old or the new text, never half of one.

    Raises:
        ResourceError: The folder cannot be written or the disk is full; the old file is untouched.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
