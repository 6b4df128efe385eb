"""The journal: every finished task, durable, found again by its content.

Rules: one file for all runs of a user, keyed by what a result depends on, the program's version included, so a second
input that shares tasks finds them, too. Several processes may use one file. Writing is done by one thread, what
finished within a tenth of a second in one commit, because a commit waits for the disk (some milliseconds) and the
loop that feeds the workers must not; `flush` returns when all is durable. `journal_file.py` knows the file,
`entries.py` its rows.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from autotune.base.errors import AutotuneError, ResourceError
from autotune.journal.entries import COLUMNS, FAULTS, Entry, from_row
from autotune.journal.journal_file import JournalFile, insert, is_damage, mark_used

ENTRIES_A_COMMIT = 4096
GATHER_S = 0.1  # a commit costs as much processor time as a tiny task, so several share one
KEYS_A_QUERY = 500
_Found = TypeVar("_Found")


class Journal:
    """One journal file, open; a context manager.

    Args:
        path: The file; it and its folder are made where they are missing.
        say: Called with one line where something of note happened to the file.

    Raises:
        InputError: The file is not a journal, or one of a newer autotune.
        ResourceError: It cannot be written.
    """

    def __init__(self, path: Path, *, say: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self._pending: queue.SimpleQueue[Entry | threading.Event | None] = queue.SimpleQueue()
        self._hurry = threading.Event()  # somebody waits for what is pending
        self._failure: Exception | None = None
        self._writer: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None  # the writer's own
        self._using = threading.Lock()  # the file: whoever finds it damaged mends it
        self._file = JournalFile(path, say)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recall(self, keys: Sequence[str], *, results: bool, rescue: str = "") -> dict[tuple[str, str], Entry]:
        """Return what is known of these keys, by key and version.

        Args:
            keys: Of tasks.
            results: Only entries that keep a whole AtomicResult will do.
            rescue: Keywords with which a second attempt may have been made; entries with others are left out.

        Raises:
            ResourceError: The file cannot be read.
        """
        found = self._read_or_mend(lambda: self._read(keys, rescue))
        return {(e.key, e.version): e for e in found if e.result is not None or not results}

    def read_back(self, key: str, *, version: str, rescue: str) -> Entry:
        """Return an entry that was recorded or recalled before.

        Where two runs have computed the same task, it may be the other's, which is as good.

        Raises:
            ResourceError: The file cannot be read or written, or has lost the entry.
        """
        found = self._read_or_mend(lambda: self._one(key, version, rescue))
        if found is None:
            self.flush()  # it may not be written yet
            found = self._read_or_mend(lambda: self._one(key, version, rescue))
        if found is None:
            raise ResourceError(f"the journal {self.path} has lost a finished task; --resume computes it again")
        return found

    def record(self, entry: Entry) -> None:
        """Take an entry to be written soon; see `flush`.

        Raises:
            ResourceError: An earlier one could not be written.
        """
        self._check()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="autotune-journal", daemon=True)
            self._writer.start()
        self._pending.put(entry)

    def flush(self) -> None:
        """Return when all that was recorded is durable; raises as `record`."""
        if self._writer is not None:
            written = threading.Event()
            self._pending.put(written)
            self._hurry.set()
            written.wait()
            self._hurry.clear()
        self._check()

    def close(self) -> None:
        """Write what is left and close; safe to call twice, raises nothing."""
        if self._writer is not None:
            self._pending.put(None)
            self._hurry.set()
            self._writer.join()
            self._hurry.clear()
            self._writer = None
        self._file.close()

    def _check(self) -> None:
        if isinstance(self._failure, AutotuneError):
            raise self._failure
        if self._failure is not None:
            raise self._file.unwritable(self._failure) from self._failure

    def _write_all(self) -> None:
        """Write entries until told to stop."""
        stop = False
        unwritten: list[Entry] = []
        while not stop:
            taken = self._gather()
            unwritten += [item for item in taken if isinstance(item, Entry)]
            # After a failure only where somebody waits for it: a disk that was full may have room again by then.
            asked = any(not isinstance(item, Entry) for item in taken)
            try:
                if unwritten and (asked or self._failure is None):
                    with self._using:
                        self._insert(unwritten)
                    unwritten, self._failure = [], None
            except Exception as error:  # noqa: BLE001 - whoever records or flushes next is told
                self._failure = error
            for item in taken:
                if isinstance(item, threading.Event):
                    item.set()
            stop = None in taken
        self._disconnect()

    def _gather(self) -> list[Entry | threading.Event | None]:
        """Return what came in, a moment after its first, or at once where somebody waits for it."""
        taken = [self._pending.get()]
        # Asleep, not at the queue, which would wake this thread for every entry.
        self._hurry.wait(GATHER_S)
        with contextlib.suppress(queue.Empty):
            while len(taken) < ENTRIES_A_COMMIT:
                taken.append(self._pending.get_nowait())
        return taken

    def _insert(self, entries: Sequence[Entry]) -> None:
        try:
            self._connection = self._connection or self._file.connect()
            insert(self._connection, entries)
        except FAULTS as error:
            if not is_damage(error):
                raise
            self._disconnect()
            self._file.mend(error)
            self._connection = self._file.connect()
            insert(self._connection, entries)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read_or_mend(self, read: Callable[[], _Found]) -> _Found:
        """Return what is read, if need be after mending the file."""
        with self._using:
            try:
                return read()
            except FAULTS as error:
                if not is_damage(error):
                    raise self._file.unwritable(error) from error
                self._disconnect()
                self._file.mend(error)
                return read()

    def _one(self, key: str, version: str, rescue: str) -> Entry | None:
        question = f"SELECT {COLUMNS} FROM tasks WHERE key = ? AND version = ? AND rescue = ?"  # noqa: S608
        row = self._file.connection.execute(question, [key, version, rescue]).fetchone()
        return None if row is None else from_row(row)

    def _read(self, keys: Sequence[str], rescue: str) -> list[Entry]:
        found = []
        for start in range(0, len(keys), KEYS_A_QUERY):
            part = keys[start : start + KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            # A task's own result comes last, so that it is the one that counts.
            question = f"SELECT {COLUMNS} FROM tasks WHERE key IN ({marks}) AND rescue IN ('', ?) ORDER BY rescue DESC"  # noqa: S608
            rows = self._file.connection.execute(question, [*part, rescue]).fetchall()
            entries = [entry for row in rows if (entry := from_row(row)) is not None]
            found += entries
        mark_used(self._file.connection, [entry.key for entry in found])
        return found
