"""The file under a journal: made, checked, opened, and set aside where it is damaged.

Rules: an SQLite file that bears our mark and exactly our table is a journal; what is in it is data, no trigger or view
is ever run. A damaged journal is renamed, never deleted, and what can still be read of it is carried over. A file that
does not bear our mark is somebody else's and is not even opened by SQLite, which would change it.

Whoever has a journal open holds a shared lock on `FILE.lock`; making and mending need an exclusive one, so a file that
is in use is never renamed under its users (SQLite does not survive that). `base/locks.py` cannot share a lock. A new
journal is made under another name and renamed when it is whole. On network file systems, where SQLite's write-ahead
log must not be used (sqlite.org/wal.html), its older rollback journal is. Where a file system has no locks, two runs
would spoil the file, so it is refused; where locks hold on one machine only, that is said.

Format history
    1: table `tasks` (2026-11)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from autotune.base import json_files
from autotune.base.errors import InputError, ResourceError
from autotune.base.locks import NO_LOCKS
from autotune.journal.entries import COLUMNS, FAULTS, TABLE, Entry, lossy, salvage
from autotune.machine import detection

APPLICATION_ID = 0x61747430
FORMAT = 1
BUSY_S = 60.0  # another run may be at work on the file
LET_GO_S = 5.0  # until other runs that find the file damaged have closed it
KEPT_S = 30 * 86400.0  # what was not used for so long is removed
MOST_ROW_BYTES = 2**30
# 40 MB. Keys are scattered, so a commit changes as many pages as it has rows; the fewer times they are copied over and
# waited for, the more of them are changed again before: 1.4 times less processor time a row at a million rows.
PAGES_A_CHECKPOINT = 10_000
# sqlite.org/fileformat2.html, section 1.3
_HEADER_BYTES, _MAGIC, _FORMAT_AT, _MARK_AT = 100, b"SQLite format 3\0", slice(60, 64), slice(68, 72)
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "afs", "9p"})
# nfs(5), mount.lustre(8), ocfs2, mount.cifs(8): locks that other machines do not see
_LOCAL_LOCKS = frozenset(
    {"nolock", "local_lock=all", "local_lock=flock", "local_lock=posix", "localflock", "localflocks", "nobrl"}
)
_LOCAL_KINDS = frozenset({"beegfs", "fuse.sshfs"})  # unless its administrator has made them global, which nobody sees
_SCHEMA = {"tasks": TABLE, "by_use": "CREATE INDEX by_use ON tasks (used)"}
# SQLITE_ERROR (a table is not as it should be), _CORRUPT, _TOOBIG, _FORMAT, _NOTADB
_DAMAGE = frozenset({1, 11, 18, 24, 26})

DAY_S = 86400.0


def default_path() -> Path:
    """Return the journal of this user."""
    return json_files.home() / "journal.sqlite3"


class JournalFile:
    """A journal's file, locked and open.

    Args:
        path: The file; it and its folder are made where they are missing.
        say: Called with one line where it was damaged.

    Attributes:
        connection: For one thread at a time; see `connect`.

    Raises:
        InputError: The file is not a journal, or one of a newer autotune.
        ResourceError: It cannot be written, is damaged while another run uses it, or lies where there are no locks.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path, self._say = path, say
        self._lock: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_locks()
            self._lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
            if self._change_lock(exclusively=True):
                self._make_or_check()
            self._change_lock(exclusively=False)
            self.connection = self._open()
        except (OSError, *FAULTS) as error:
            self.close()
            raise self.unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def connect(self) -> sqlite3.Connection:
        """Return another connection, for another thread."""
        return _connect(self.path)

    def mend(self, damage: Exception) -> None:
        """Set the file aside, because of an error that says that it is damaged, and open what takes its place.

        All connections from `connect` must have been closed. Where another run has mended the file meanwhile, only the
        new one is opened.

        Raises:
            ResourceError: Another run uses the file, or nothing can be written.
        """
        self.connection.close()
        try:
            # Others that have found the same let go of it, too.
            deadline = time.monotonic() + LET_GO_S
            while not self._is_replaced() and not self._change_lock(exclusively=True):
                if time.monotonic() > deadline:
                    self._change_lock(exclusively=False)
                    raise self.unwritable(f"{damage}; another run is using it, so it cannot be mended now")
                time.sleep(0.05)
            if not self._is_replaced():
                self._set_aside(damage)
            self._change_lock(exclusively=False)
            self.connection = self._open()
        except (OSError, *FAULTS) as error:
            raise self.unwritable(error) from error

    def _is_replaced(self) -> bool:
        try:
            return self._inode != self.path.stat().st_ino
        except FileNotFoundError:  # another run is at it
            return False

    def close(self) -> None:
        """Close and unlock; safe to call twice."""
        if hasattr(self, "connection"):
            self.connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def unwritable(self, why: Exception | str) -> ResourceError:
        """Return what to raise where a journal cannot be written."""
        reason = (isinstance(why, OSError) and why.strerror) or str(why)
        return ResourceError(
            f"the journal {self.path} cannot be written ({reason}); what it holds is kept:"
            " free space or give another --journal FILE, then go on with --resume"
        )

    def _change_lock(self, *, exclusively: bool) -> bool:
        """Change the lock and return whether it was to be had; an exclusive one is not waited for."""
        assert self._lock is not None
        try:
            import fcntl
        except ImportError:
            return True
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusively else fcntl.LOCK_SH)
        except BlockingIOError:
            return False
        return True

    def _check_locks(self) -> None:
        """Refuse a file system without the locks that we or SQLite need; without them SQLite waits in vain."""
        try:
            import fcntl
        except ImportError:
            return
        # On a file of its own: others may be at the lock at this moment.
        with tempfile.TemporaryFile(dir=self.path.parent) as probe:
            try:
                fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.lockf(probe, fcntl.LOCK_UN)
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                raise ResourceError(
                    f"the journal {self.path} cannot be used, because its file system has no locks ({error.strerror})"
                    " and two runs at once would spoil it; give a --journal FILE on a local disk, or --journal none"
                ) from error
        if local := _local_locks(self.path):
            self._say(
                f"locks on {self.path.parent} may hold on this machine only ({local}): while this runs, no other"
                f" machine may use the journal {self.path}"
            )

    def _make_or_check(self) -> None:
        """Make the journal where it is missing, mend it where it is damaged; nobody else has it open."""
        header = b""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if not header:
            self._make([])
            return
        mark, version = (int.from_bytes(header[at], "big") for at in (_MARK_AT, _FORMAT_AT))
        marked = header.startswith(_MAGIC) and mark == APPLICATION_ID
        if marked and version > FORMAT:
            raise InputError(f"the journal {self.path} is of a newer autotune; give another --journal FILE")
        if not marked:
            if self.path != default_path():
                raise InputError(f"{self.path} is not a journal of autotune; give another --journal FILE")
            self._set_aside(sqlite3.DatabaseError("it does not begin as a journal does"))
            return
        try:
            with contextlib.closing(_connect(self.path)) as connection:
                found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
                if found != _SCHEMA:
                    raise sqlite3.DatabaseError("its tables are not those of a journal")
                connection.execute("DELETE FROM tasks WHERE used < ?", [time.time() - KEPT_S])
        except FAULTS as error:
            if not is_damage(error):
                raise
            self._set_aside(error)

    def _make(self, entries: list[Entry]) -> None:
        """Put a new journal in place, whole from the first moment; mkstemp gives it to its user alone."""
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        os.close(handle)
        try:
            with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
                for statement in _SCHEMA.values():
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                insert(connection, entries)
                # Here, because two who set it on one file at the same time lock each other out, without waiting.
                connection.execute(f"PRAGMA journal_mode = {_log_mode(self.path)}")
            Path(name).replace(self.path)
        except BaseException:
            for suffix in ("-wal", "-shm", "-journal", ""):
                Path(f"{name}{suffix}").unlink(missing_ok=True)
            raise

    def _set_aside(self, damage: Exception) -> None:
        stem = f"{self.path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        aside = next(Path(f"{stem}-{n}") for n in itertools.count(1) if not os.path.lexists(f"{stem}-{n}"))
        # The log belongs to the file: rows that are only there are read, too.
        for suffix in ("-wal", "-shm", "-journal", ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{aside}{suffix}")
        entries = list(salvage(aside))
        self._make(entries)
        self._say(
            f"the journal {self.path} was damaged ({damage}); it is set aside as {aside.name}, and the {len(entries)}"
            " tasks that could be read of it are kept"
        )

    def _open(self) -> sqlite3.Connection:
        self._inode = self.path.stat().st_ino
        return _connect(self.path)


def mark_used(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Note that entries were of use today; where the file cannot be written, only that is lost."""
    now = time.time()
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(
                "UPDATE tasks SET used = ? WHERE key = ? AND used < ?", [(now, key, now - DAY_S) for key in keys]
            )
        finally:
            connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Write entries in one transaction, in place of those with the same key, version and rescue keywords."""
    now = time.time()
    rows = [(*entry.to_row(), now) for entry in entries]
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(f"INSERT OR REPLACE INTO tasks ({COLUMNS}, used) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_damage(error: Exception) -> bool:
    """Return whether an error means that the file is damaged, not that the disk is full or the file in use."""
    return (getattr(error, "sqlite_errorcode", None) or 1) & 0xFF in _DAMAGE


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_ROW_BYTES)
        connection.text_factory = lossy
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA journal_mode = {_log_mode(path)}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_A_CHECKPOINT}")
    except BaseException:
        connection.close()
        raise
    return connection


def _log_mode(path: Path) -> str:
    return "TRUNCATE" if _on_network(path) else "WAL"


def _on_network(path: Path) -> bool:
    """Return whether a file lies on a network file system."""
    mount = _mount(path)
    return mount is not None and mount.kind in _NETWORK


def _local_locks(path: Path) -> str:
    """Return what says that locks of a file are not seen by other machines; empty where nothing does."""
    mount = _mount(path)
    if mount is None:
        return ""
    return min(_LOCAL_LOCKS.intersection(mount.options.split(",")), default=mount.kind * (mount.kind in _LOCAL_KINDS))


def _mount(path: Path) -> detection.Mount | None:
    """Return the file system that a file lies on, by the longest mount point above it."""
    where = path.resolve()
    above = [mount for mount in detection.mounts() if where.is_relative_to(mount.point)]
    return max(above, key=lambda mount: len(mount.point), default=None)
