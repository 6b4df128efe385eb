"""One finished task as the journal keeps it: to a row and back, also from a file that is damaged.

Rules: a row that does not bear its own digest, or holds anything but what a task computes, is no entry. Nothing that is
read is executed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from autotune.expansion.component import ENERGIES, PROPERTIES

TABLE = (
    "CREATE TABLE tasks (key TEXT NOT NULL, version TEXT NOT NULL, rescue TEXT NOT NULL, used REAL NOT NULL,"
    " body TEXT NOT NULL, result TEXT, digest BLOB NOT NULL, PRIMARY KEY (key, version, rescue))"
)
CONTAINED = "contained"  # in a body, beside the values
COLUMNS = "key, version, rescue, body, result, digest"
LAST_ROW = 2**63 - 1
FAULTS = (sqlite3.Error, MemoryError, UnicodeError)  # what SQLite's Python side raises on a bad file


class Entry(NamedTuple):
    """A finished task.

    `key` is the task's; `version` names the program and its version; `rescue` is the JSON of the keywords that a second
    attempt had instead of its own, or empty; `values` are energy, gradient and Hessian as far as computed, the last two
    as arrays or nested lists (read from a file: lists); `result` is the AtomicResult's JSON where the input keeps
    component results; `contained` are energies (Eh) of lower methods by property, where a run wanted them.
    """

    key: str
    version: str
    rescue: str
    values: Mapping[str, Any]
    result: str | None
    contained: Mapping[str, float] | None = None

    def to_row(self) -> tuple[str, str, str, str, str | None, bytes]:
        """Return the values of `COLUMNS`."""
        values = {**self.values, CONTAINED: dict(self.contained)} if self.contained else dict(self.values)
        # An array's own lists: json prints each float64 so that the same one is read back.
        body = json.dumps(values, default=lambda array: array.tolist())
        digest = _digest(self.key, self.version, self.rescue, body, self.result)
        return self.key, self.version, self.rescue, body, self.result, digest


def from_row(row: Sequence[Any]) -> Entry | None:
    """Return the entry in a row, or None where the row is not what was written."""
    key, version, rescue, body, result, digest = row
    texts = (key, version, rescue, body)
    if not all(isinstance(text, str) for text in texts) or not (result is None or isinstance(result, str)):
        return None
    try:
        if digest != _digest(key, version, rescue, body, result):
            return None
        values = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    contained = values.pop(CONTAINED, None)
    if not values or not values.keys() <= set(PROPERTIES) or not _are_energies(contained):
        return None
    return Entry(key, version, rescue, values, result, contained)


def _are_energies(contained: object) -> bool:
    """Return whether these are energies that a calculation can contain, or none."""
    if contained is None:
        return True
    return isinstance(contained, dict) and all(
        name in ENERGIES and isinstance(value, float) for name, value in contained.items()
    )


def lossy(text: bytes) -> str:
    """Return a text of a file that may be damaged; what is no UTF-8 becomes something that no digest fits."""
    return text.decode(errors="replace")


def salvage(path: Path) -> Iterator[Entry]:
    """Yield what can be read of a damaged file: the rows up to one that cannot be read, and on behind it."""
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.text_factory = lossy
    except sqlite3.Error:
        return
    with contextlib.closing(connection):
        with contextlib.suppress(sqlite3.Error):
            # Else SQLite refuses a file that is shorter than its header says.
            connection.execute("PRAGMA writable_schema = ON")
        if not _is_ours(connection):
            return
        start: int | None = 1
        while start is not None:
            bad = start
            try:
                for number, *row in _rows(connection, start):
                    if number < bad:
                        break  # a page that is there twice: without this, a few pages could hold rows without end
                    bad = number + 1
                    yield from filter(None, [from_row(row)])
                else:
                    return
            except FAULTS:
                pass
            start = _behind(connection, bad)


def _behind(connection: sqlite3.Connection, bad: int) -> int | None:
    """Return the number of a row close behind those that cannot be read from `bad` on, or None; some 200 look-ups."""
    step = 0
    while not _is_readable(connection, min(bad + step, LAST_ROW)):
        if bad + step >= LAST_ROW:
            return None
        step += 1 + step // 4  # in smaller steps than these: what lies between two bad pages is found, too
    low, high = bad, min(bad + step, LAST_ROW)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_readable(connection, middle) else (middle, high)
    return high


def _is_readable(connection: sqlite3.Connection, start: int) -> bool:
    """Return whether the first row from a number on can be read, and is one of those asked for."""
    try:
        row = next(_rows(connection, start), None)
    except FAULTS:
        return False
    return row is None or row[0] >= start


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Return whether `tasks` is our table: reading from a view or a virtual table may run anything."""
    with contextlib.suppress(*FAULTS):
        return connection.execute("SELECT sql FROM sqlite_master WHERE name = 'tasks'").fetchall() == [(TABLE,)]
    return False


def _rows(connection: sqlite3.Connection, start: int) -> Iterator[Sequence[Any]]:
    """Yield number and columns of the rows from a number on; raises one of `FAULTS` where one cannot be read."""
    with contextlib.closing(connection.cursor()) as cursor:
        yield from cursor.execute(f"SELECT rowid, {COLUMNS} FROM tasks WHERE rowid >= {start} ORDER BY rowid")  # noqa: S608


def _digest(key: str, version: str, rescue: str, body: str, result: str | None) -> bytes:
    parts = json.dumps([key, version, rescue, body, result])
    return sha256(parts.encode()).digest()
