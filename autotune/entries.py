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

from autotune.component import PROPERTIES

TABLE = (
    "CREATE TABLE tasks (key TEXT NOT NULL, version TEXT NOT NULL, rescue TEXT NOT NULL, used REAL NOT NULL,"
    " body TEXT NOT NULL, result TEXT, digest BLOB NOT NULL, PRIMARY KEY (key, version, rescue))"
)
COLUMNS = "key, version, rescue, body, result, digest"
MOST_MISSED = 10_000  # rows that are not there, one after another, where the last one's number is unknown
MOST_PROBED = 1_000_000  # rows asked for one by one between the bad pages of a damaged file


class Entry(NamedTuple):
    """A finished task.

    `key` is the task's; `version` names the program and its version; `rescue` is the JSON of the keywords that a second
    attempt had instead of its own, or empty; `values` are energy, gradient and Hessian as far as computed; `result` is
    the AtomicResult's JSON where the input keeps component results.
    """

    key: str
    version: str
    rescue: str
    values: Mapping[str, Any]
    result: str | None

    def to_row(self) -> tuple[str, str, str, str, str | None, bytes]:
        """Return the values of `COLUMNS`."""
        body = json.dumps(dict(self.values))
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
    if not isinstance(values, dict) or not values or not values.keys() <= set(PROPERTIES):
        return None
    return Entry(key, version, rescue, values, result)


def lossy(text: bytes) -> str:
    """Return a text of a file that may be damaged; what is no UTF-8 becomes something that no digest fits."""
    return text.decode(errors="replace")


def salvaged(path: Path) -> Iterator[Entry]:
    """Yield what can be read of a damaged file: from both ends up to the first bad page, then row by row between."""
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
        first = last = 0
        for number, row in _rows(connection, "ORDER BY rowid ASC"):
            first = number
            yield from filter(None, [from_row(row)])
        for number, row in _rows(connection, f"WHERE rowid > {first} ORDER BY rowid DESC"):
            last = number
            yield from filter(None, [from_row(row)])
        missed = 0
        for number in range(first + 1, min(last or first + MOST_PROBED, first + MOST_PROBED)):
            found = [from_row(row) for _, row in _rows(connection, f"WHERE rowid = {number}")]
            yield from filter(None, found)
            missed = 0 if found else missed + 1
            if not last and missed > MOST_MISSED:
                return


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Return whether `tasks` is our table: reading from a view or a virtual table may run anything."""
    with contextlib.suppress(sqlite3.Error, UnicodeError):
        return connection.execute("SELECT sql FROM sqlite_master WHERE name = 'tasks'").fetchall() == [(TABLE,)]
    return False


def _rows(connection: sqlite3.Connection, which: str) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield row numbers and rows until one cannot be read."""
    with contextlib.suppress(sqlite3.Error, UnicodeError):
        for number, *row in connection.execute(f"SELECT rowid, {COLUMNS} FROM tasks {which}"):  # noqa: S608 - ours
            yield number, row


def _digest(key: str, version: str, rescue: str, body: str, result: str | None) -> bytes:
    parts = json.dumps([key, version, rescue, body, result])
    return sha256(parts.encode()).digest()
