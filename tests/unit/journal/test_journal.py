"""Claims about the journal, its file and its entries."""

from __future__ import annotations

import errno
import fcntl
import json
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.base.errors import InputError, ResourceError
from autotune.journal import journal_file
from autotune.journal.entries import TABLE, Entry
from autotune.journal.journal import Journal
from autotune.machine import detection

DAY_S = 86400.0
PAGE = 4096
VERSION = "pyscf 2.14"
RESCUE = '{"max_cycle": 200}'


def entry(key="k", *, version=VERSION, rescue="", energy=-76.02, result=None, **more):
    return Entry(key, version, rescue, {"energy": energy, **more}, result)


def entries(count, prefix="k"):
    """Return entries whose values tell which they are."""
    return [entry(f"{prefix}{n:04}", energy=-76.0 - n, gradient=[[n / 7.0, 0.0, -n / 3.0]]) for n in range(count)]


def write(path, made, say=lambda _: None):
    with Journal(path, say=say) as journal:
        for one in made:
            journal.record(one)
        journal.flush()


def read(path, keys=("k",), *, results=False, rescue="", say=lambda _: None):
    with Journal(path, say=say) as journal:
        return journal.recall(list(keys), results=results, rescue=rescue)


def keys_of(made):
    return [one.key for one in made]


def by_key(made):
    return {(one.key, one.version): one for one in made}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def said():
    """What was said about a file, in lines."""
    return []


class Peer:
    """Another process: evaluates each line it is sent and answers with one."""

    CODE = """
import os, sys
from pathlib import Path
from autotune.journal.entries import Entry
from autotune.journal.journal import Journal
def entries(count, prefix):
    return [Entry(f"{prefix}{n:04}", "pyscf 2.14", "", {"energy": -float(n)}, None) for n in range(count)]
def write(path, made, every=1, die=False):
    with Journal(Path(path)) as journal:
        for n, one in enumerate(made, start=1):
            journal.record(one)
            if n % every == 0:
                journal.flush()
        if die:
            os.kill(os.getpid(), 9)
def read(path, keys):
    with Journal(Path(path)) as journal:
        return len(journal.recall(keys, results=False))
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""

    def __init__(self):
        command = [sys.executable, "-c", self.CODE]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, line):
        print(line, file=self.process.stdin, flush=True)

    def answer(self):
        return self.process.stdout.readline().strip()

    def ask(self, line):
        self.send(line)
        return self.answer()


@pytest.fixture
def peers():
    """Two other processes."""
    made = [Peer(), Peer()]
    yield made
    for peer in made:
        peer.process.communicate(timeout=60)


# --- what is recorded is found again ---------------------------------------------------------------------------------


def test_what_was_recorded_is_recalled_from_the_file_as_it_was(path):
    made = [
        entry("a", gradient=[[0.1, -0.2, 0.3]], hessian=[[1.0, 2.0], [2.0, 4.0]], result='{"success": true}'),
        entry("b", version="psi4 1.9"),
    ]
    write(path, made)
    assert read(path, ["a", "b", "c"]) == by_key(made)


finite = st.floats(allow_nan=False, allow_infinity=False)
values_of = st.fixed_dictionaries(
    {"energy": finite}, optional={"gradient": st.lists(st.lists(finite, min_size=3, max_size=3), max_size=4)}
)


@given(st.lists(values_of, min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_numbers_come_back_bit_by_bit(values):
    made = [Entry(f"k{number}", VERSION, "", each, None) for number, each in enumerate(values)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        write(path, made)
        found = read(path, keys_of(made))
    assert [repr(found[one.key, VERSION].values) for one in made] == [repr(one.values) for one in made]


@given(st.text(), st.text(), st.text(), st.one_of(st.none(), st.text()))
@settings(max_examples=50, deadline=None)
def test_texts_come_back_whatever_they_hold(key, version, rescue, result):
    one = entry(key, version=version, rescue=rescue, result=result)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        write(path, [one])
        assert read(path, [key], rescue=rescue) == by_key([one])


def test_more_keys_can_be_asked_for_than_fit_in_one_question(path):
    made = entries(1300)
    write(path, made)
    assert read(path, [*keys_of(made), "unknown"]) == by_key(made)


def test_what_no_one_recorded_is_not_known(path):
    assert read(path, ["k"]) == {}
    assert read(path, []) == {}


def test_of_two_entries_for_one_task_the_later_counts(path):
    write(path, [entry(energy=-1.0), entry(energy=-2.0)])
    write(path, [entry(energy=-3.0)])
    assert read(path) == by_key([entry(energy=-3.0)])


def test_results_of_two_versions_of_a_program_are_kept_apart(path):
    made = [entry(version="pyscf 2.13", energy=-1.0), entry(version="pyscf 2.14", energy=-2.0)]
    write(path, made)
    assert read(path) == by_key(made)


def test_what_was_computed_with_other_keywords_is_known_only_to_who_would_use_the_same(path):
    rescued = entry(rescue=RESCUE)
    write(path, [rescued])
    assert read(path) == {}
    assert read(path, rescue='{"max_cycle": 300}') == {}
    assert read(path, rescue=RESCUE) == by_key([rescued])


@pytest.mark.parametrize("order", [1, -1])
def test_a_tasks_own_result_counts_more_than_one_with_other_keywords(path, order):
    own, rescued = entry(energy=-1.0), entry(energy=-2.0, rescue=RESCUE)
    write(path, [own, rescued][::order])
    assert read(path, rescue=RESCUE) == by_key([own])
    assert read(path) == by_key([own])


def test_where_whole_results_are_wanted_only_entries_with_one_will_do(path):
    bare, whole = entry("a"), entry("b", result="{}")
    write(path, [bare, whole])
    assert read(path, ["a", "b"], results=True) == by_key([whole])
    assert read(path, ["a", "b"], results=False) == by_key([bare, whole])


# --- durability ------------------------------------------------------------------------------------------------------


def test_what_was_flushed_outlives_a_process_that_is_killed_at_once(path, peers):
    killed, other = peers
    killed.send(f"write({str(path)!r}, entries(300, 'k'), every=300, die=True)")
    assert killed.process.wait(timeout=60) == -signal.SIGKILL
    assert other.ask(f"read({str(path)!r}, {keys_of(entries(300))!r})") == "300"


def test_closing_writes_what_was_not_flushed_and_may_be_done_twice(path):
    journal = Journal(path)
    journal.record(entry())
    journal.close()
    journal.close()
    assert read(path) == by_key([entry()])


def test_what_was_flushed_is_known_at_once_to_this_process_and_to_others(path, peers):
    with Journal(path) as journal:
        journal.record(entry("k0000"))
        journal.flush()
        assert journal.recall(["k0000"], results=False) == by_key([entry("k0000")])
        assert peers[0].ask(f"read({str(path)!r}, ['k0000'])") == "1"


def test_two_runs_on_one_journal_lose_nothing(path, peers):
    for peer, prefix in zip(peers, "ab", strict=True):
        peer.send(f"write({str(path)!r}, entries(200, {prefix!r}), every=7)")
    with Journal(path) as journal:
        for one in entries(50, "c"):
            journal.record(one)
        journal.flush()
    assert [peer.answer() for peer in peers] == ["None", "None"]
    keys = [f"{prefix}{n:04}" for prefix, count in (("a", 200), ("b", 200), ("c", 50)) for n in range(count)]
    assert len(read(path, keys)) == 450


def test_two_runs_that_find_no_journal_at_the_same_time_make_one(tmp_path, peers):
    for attempt in range(20):
        path = tmp_path / f"journal-{attempt}"
        for peer, prefix in zip(peers, "ab", strict=True):
            peer.send(f"write({str(path)!r}, entries(1, {prefix!r}))")
        assert [peer.answer() for peer in peers] == ["None", "None"]
        assert len(read(path, ["a0000", "b0000"])) == 2


def test_a_journal_that_one_process_opened_twice_and_closed_once_still_keeps_what_is_flushed(path, peers):
    """Closing any descriptor of a file drops all POSIX locks of the process on it (sqlite.org/howtocorrupt.html)."""
    with Journal(path) as first:
        first.record(entry("a"))
        first.flush()
        Journal(path).close()
        assert peers[0].ask(f"read({str(path)!r}, ['a'])") == "1"
        first.record(entry("b"))
        first.flush()
        assert peers[1].ask(f"read({str(path)!r}, ['a', 'b'])") == "2"


FULL = """
import resource, signal, sys
from pathlib import Path
from autotune.journal.entries import Entry
from autotune.base.errors import ResourceError
from autotune.journal.journal import Journal
path = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(path)
journal.record(Entry("first", "v", "", {"energy": -1.0}, None))
journal.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    for n in range(100):
        journal.record(Entry(f"more {n}", "v", "", {"energy": -1.0}, "x" * 10_000))
    journal.flush()
except ResourceError as error:
    print(error)
journal.close()
"""


def test_a_full_disk_is_said_with_the_cure_and_what_was_written_before_is_kept(path):
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith(f"the journal {path} cannot be written (")
    assert done.stdout.endswith(
        "what it holds is kept: free space or give another --journal FILE, then go on with --resume\n"
    )
    assert read(path, ["first"]).keys() == {("first", "v")}


def test_whoever_records_after_a_failed_write_is_told_and_closing_raises_nothing(path):
    journal = Journal(path)
    journal.record(entry(energy=object()))
    with pytest.raises(ResourceError, match="cannot be written"):
        journal.flush()
    with pytest.raises(ResourceError, match="cannot be written"):
        journal.record(entry())
    journal.close()


@pytest.mark.parametrize("how", ["close", "flush"])
def test_what_could_not_be_written_is_written_where_there_is_room_again(path, monkeypatch, how):
    full = [True]

    def insert(connection, entries):
        if full[0]:
            raise sqlite3.OperationalError("database or disk is full")
        journal_file.insert(connection, entries)

    monkeypatch.setattr("autotune.journal.journal.insert", insert)
    journal = Journal(path)
    journal.record(entry("early"))
    with pytest.raises(ResourceError, match="cannot be written"):
        journal.flush()
    full[0] = False
    if how == "flush":
        journal.flush()
        journal.record(entry("later"))
    journal.close()
    kept = {("early", VERSION), ("later", VERSION)} if how == "flush" else {("early", VERSION)}
    assert read(path, ["early", "later"]).keys() == kept


def test_a_journal_that_another_process_keeps_locked_is_not_taken_for_damaged(path, monkeypatch, said):
    write(path, [entry()])
    monkeypatch.setattr(journal_file, "BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResourceError, match="locked"):
            Journal(path, say=said.append)
    assert said == []
    assert read(path) == by_key([entry()])


# --- the file --------------------------------------------------------------------------------------------------------


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_journal_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "journal"
    with Journal(path) as journal:
        journal.record(entry())
        journal.flush()
        assert rights(path.parent) == 0o700
        assert {rights(file) for file in path.parent.iterdir()} == {0o600}


def test_the_usual_place_is_in_the_users_folder(tmp_path):
    assert journal_file.default_path() == tmp_path / "home" / "journal.sqlite3"


def use(path, **days_ago):
    """Set how many days ago entries were used last."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for key, days in days_ago.items():
            connection.execute("UPDATE tasks SET used = ? WHERE key = ?", [time.time() - days * DAY_S, key])


def test_what_was_not_used_for_thirty_days_is_forgotten(path):
    write(path, [entry("old"), entry("new")])
    use(path, old=31, new=29)
    assert read(path, ["old", "new"]) == by_key([entry("new")])


def test_what_is_recalled_counts_as_used(path):
    write(path, [entry("old"), entry("other")])
    use(path, old=29, other=29)
    assert read(path, ["old"]) == by_key([entry("old")])
    with closing(sqlite3.connect(path)) as connection:
        used = dict(connection.execute("SELECT key, used FROM tasks").fetchall())
    assert used["old"] > time.time() - DAY_S / 2
    assert used["other"] < time.time() - 28 * DAY_S


@pytest.mark.parametrize("name", ["file/journal", "file/below/journal", "folder", "/proc/autotune/journal"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(ResourceError) as caught:
        Journal(path)
    assert str(caught.value).startswith(f"the journal {path} cannot be written (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "mode"), [("nfs4", "truncate"), ("lustre", "truncate"), ("ext4", "wal")])
def test_on_a_network_file_system_the_older_log_is_used(path, monkeypatch, kind, mode):
    mounts = [detection.Mount("ext4", "rw", "/", "/"), detection.Mount(kind, "rw", "/", str(path.parent.resolve()))]
    monkeypatch.setattr(detection, "mounts", lambda: mounts)
    write(path, [entry()])
    with closing(journal_file.JournalFile(path, print)) as file, closing(file.connect()) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert read(path) == by_key([entry()])


@pytest.mark.parametrize(
    ("kind", "option", "said_of"),
    [
        ("nfs", "nolock", "nolock"),
        ("nfs", "local_lock=all", "local_lock=all"),
        ("lustre", "localflock", "localflock"),
        ("cifs", "nobrl", "nobrl"),
        ("beegfs", "", "beegfs"),
        ("nfs", "local_lock=none", ""),
        ("lustre", "flock", ""),
    ],
)
def test_where_locks_hold_on_one_machine_only_that_is_said(path, monkeypatch, kind, option, said_of):
    mount = detection.Mount(kind, f"rw,vers=3,{option},addr=10.0.0.1", "/", str(path.parent.resolve()))
    monkeypatch.setattr(detection, "mounts", lambda: [detection.Mount("ext4", "rw", "/", "/"), mount])
    said = []
    Journal(path, say=said.append).close()
    assert len(said) == bool(said_of)
    assert all(f"this machine only ({said_of})" in line and f"the journal {path}" in line for line in said)


@pytest.mark.parametrize("lock", ["flock", "lockf"])
def test_a_file_system_without_locks_is_refused(path, monkeypatch, lock):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, lock, refuse)
    with pytest.raises(ResourceError, match=r"has no locks \(No locks available\).*give a --journal FILE"):
        Journal(path)
    assert not path.exists()


# --- files that are not ours -----------------------------------------------------------------------------------------


def other_database(path, *, mode="DELETE"):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, todo TEXT)")
        connection.execute("INSERT INTO tasks (todo) VALUES ('keep this')")


def marked_database(path):
    other_database(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA application_id = 1234")
        connection.execute("PRAGMA user_version = 1")


FOREIGN = {
    "text": lambda path: path.write_text("Dear diary,\n" * 1000),
    "one letter": lambda path: path.write_text("x"),
    "JSON": lambda path: path.write_text(json.dumps({"schema": "autotune.run/5"})),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "SQLite": other_database,
    "SQLite with a log": lambda path: other_database(path, mode="WAL"),
    "SQLite of another program": marked_database,
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(path, said, make):
    make(path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        Journal(path, say=said.append)
    assert str(caught.value) == f"{path} is not a journal of autotune; give another --journal FILE"
    assert path.read_bytes() == before
    assert said == []


def test_a_journal_of_a_newer_autotune_is_refused_and_left_as_it_is(path, said):
    write(path, [entry()])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE tasks ADD COLUMN host TEXT")
        connection.execute(f"PRAGMA user_version = {journal_file.FORMAT + 1}")
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        Journal(path, say=said.append)
    assert str(caught.value) == f"the journal {path} is of a newer autotune; give another --journal FILE"
    assert path.read_bytes() == before
    assert said == []


HOSTILE = {
    "trigger": ["CREATE TRIGGER t AFTER INSERT ON tasks BEGIN INSERT INTO traces VALUES (1); END"],
    "trigger on reading": ["CREATE TRIGGER t AFTER UPDATE ON tasks BEGIN INSERT INTO traces VALUES (1); END"],
    "view": [
        "ALTER TABLE tasks RENAME TO hidden",
        "CREATE VIEW tasks AS SELECT * FROM hidden",
        "CREATE TRIGGER t INSTEAD OF INSERT ON tasks BEGIN INSERT INTO traces VALUES (1); END",
    ],
    "other table": ["DROP TABLE tasks", TABLE.replace(" NOT NULL", "")],
}


@pytest.mark.parametrize("statements", HOSTILE.values(), ids=HOSTILE)
def test_nothing_that_stands_in_a_file_is_run(path, said, statements):
    write(path, [entry()])
    use(path, k=2)  # so that reading would write
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in ["CREATE TABLE traces (x)", *statements]:
            connection.execute(statement)
    with Journal(path, say=said.append) as journal:
        journal.recall(["k"], results=False)
        journal.record(entry("new"))
        journal.flush()
        assert journal.recall(["new"], results=False) == by_key([entry("new")])
    assert len(said) == 1
    for file in path.parent.glob("journal*"):
        if file.suffix == ".lock":
            continue
        with closing(sqlite3.connect(file)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            assert "traces" not in names or connection.execute("SELECT count(*) FROM traces").fetchone() == (0,)
            assert file != path or "traces" not in names


def test_an_entry_that_was_changed_by_hand_is_no_entry(path):
    write(path, [entry("a"), entry("b")])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("""UPDATE tasks SET body = '{"energy": -99.0}' WHERE key = 'a'""")
        connection.execute("UPDATE tasks SET key = 'c' WHERE key = 'b'")
    assert read(path, ["a", "b", "c"]) == {}


# --- damage ----------------------------------------------------------------------------------------------------------

KNOWN = entries(400)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a journal that holds `KNOWN`."""
    path = tmp_path_factory.mktemp("sound") / "journal"
    write(path, KNOWN)
    assert not path.with_name("journal-wal").exists()
    return path.read_bytes()


def leaves(content):
    """Return where the pages begin that hold entries: leaves of tables, but the first page's schema."""
    return [at for at in range(PAGE, len(content), PAGE) if content[at] == 13]


def set_aside(path):
    """Return the damaged files beside a journal, without their logs."""
    return [file for file in path.parent.glob("*.damaged-*") if not file.name.endswith(("-wal", "-shm"))]


def truncate(content, chance):
    return content[: chance.randrange(1, len(content))]


def flip(content, chance):
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 1, 10, 100])):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def scratch(content, chance):
    """Overwrite a stretch, up to some pages, with zeros, ones or noise."""
    at, length = chance.randrange(len(content)), chance.choice([1, 30, 512, PAGE, 4 * PAGE])
    noise = chance.choice([bytes(length), b"\xff" * length, chance.randbytes(length)])
    return (content[:at] + noise + content[at + length :])[: len(content)]


def mix(content, chance):
    """Write one page in another's place, as a file system that lost the order of writes does."""
    source, target = (PAGE * chance.randrange(len(content) // PAGE) for _ in range(2))
    return content[:target] + content[source : source + PAGE] + content[target + PAGE :]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("damage", [truncate, flip, scratch, mix])
def test_a_damaged_journal_never_gives_a_wrong_value_and_is_set_aside(path, said, sound, damage, seed):
    content = damage(sound, random.Random(seed))
    path.write_bytes(content)
    whole_head = content[:100] == sound[:100]
    try:
        with Journal(path, say=said.append) as journal:
            found = journal.recall(keys_of(KNOWN), results=False)
            journal.record(entry("new"))
            journal.flush()
    except InputError:
        assert not whole_head, "a journal was taken for somebody else's file"
        assert path.read_bytes() == content
        return
    assert found.items() <= by_key(KNOWN).items()
    assert read(path, ["new"]) == by_key([entry("new")])
    assert read(path, keys_of(KNOWN)).items() <= by_key(KNOWN).items()
    assert len(said) == len(set_aside(path))


def test_a_damaged_journal_is_renamed_and_what_can_be_read_is_carried_over_and_said(path, said, sound):
    content = bytearray(sound)
    content[leaves(sound)[5]] = 0
    path.write_bytes(content)
    found = read(path, keys_of(KNOWN), say=said.append)
    (aside,) = set_aside(path)
    assert aside.read_bytes() == content
    assert len(found) > 0.8 * len(KNOWN)
    (line,) = said
    assert line == (
        f"the journal {path} was damaged (database disk image is malformed); it is set aside as {aside.name}, and the"
        f" {len(found)} tasks that could be read of it are kept"
    )
    assert rights(path) == 0o600


@pytest.mark.parametrize("which", [0, 1, 7, -2, -1])
def test_one_bad_page_costs_only_its_own_entries(path, said, sound, which):
    at, number = leaves(sound)[which], len(leaves(sound))
    path.write_bytes(sound[:at] + b"\xff" * PAGE + sound[at + PAGE :])
    found = read(path, keys_of(KNOWN), say=said.append)
    assert len(KNOWN) * (1 - 2 / number) <= len(found) < len(KNOWN)
    assert found.items() <= by_key(KNOWN).items()
    assert len(said) == 1


@pytest.mark.parametrize(("first", "second"), [(0, 7), (3, 9), (0, -1), (7, -1)])
def test_two_bad_pages_cost_only_their_own_entries(path, sound, first, second):
    content, number = sound, len(leaves(sound))
    for which in (first, second):
        at = leaves(sound)[which]
        content = content[:at] + b"\xff" * PAGE + content[at + PAGE :]
    path.write_bytes(content)
    found = read(path, keys_of(KNOWN))
    assert len(found) >= len(KNOWN) * (1 - 3 / number)


def test_the_first_half_of_a_torn_journal_is_kept(path, said, sound):
    path.write_bytes(sound[: len(sound) // 2])
    assert len(read(path, keys_of(KNOWN), say=said.append)) > len(KNOWN) * 0.35
    assert len(said) == 1


def test_a_bad_index_costs_no_entry(path, sound):
    """The index of keys is rebuilt from the table."""
    content = bytearray(sound)
    for at in range(PAGE, len(content), PAGE):
        if content[at] in (2, 10):
            content[at : at + PAGE] = b"\xff" * PAGE
    path.write_bytes(content)
    assert read(path, keys_of(KNOWN)) == by_key(KNOWN)


def last_page(content, index):
    """Return where the last page of an index begins, by the pointers to the rightmost pages."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "copy").write_bytes(content)
        with closing(sqlite3.connect(Path(folder) / "copy")) as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [index]).fetchone()
    while content[(page - 1) * PAGE] == 2:
        page = int.from_bytes(content[(page - 1) * PAGE + 8 : (page - 1) * PAGE + 12], "big")
    return (page - 1) * PAGE


def test_damage_that_only_writing_meets_is_mended_too(path, said, sound):
    at = last_page(sound, "by_use")
    path.write_bytes(sound[:at] + b"\xff" * PAGE + sound[at + PAGE :])
    write(path, [entry("new")], say=said.append)
    assert read(path, ["new", *keys_of(KNOWN)]) == by_key([entry("new"), *KNOWN])
    assert len(said) == 1


def test_an_entry_that_is_no_text_any_more_costs_no_other(path, sound):
    content = bytearray(sound)
    at = content.index(b'{"energy": -276.0')
    content[at + 3] = 0xFF
    path.write_bytes(content)
    assert read(path, keys_of(KNOWN)) == by_key([one for one in KNOWN if one.key != "k0200"])


def test_what_is_recorded_after_a_journal_was_mended_in_mid_run_goes_into_the_new_one(path, said, sound):
    path.write_bytes(sound)
    with Journal(path, say=said.append) as journal:
        journal.record(entry("before"))
        journal.flush()
        with path.open("r+b") as file:
            file.seek(leaves(sound)[5])
            file.write(b"\xff" * PAGE)
        journal.recall(keys_of(KNOWN), results=False)
        assert len(said) == 1
        journal.record(entry("after"))
        journal.flush()
    assert read(path, ["before", "after"]) == by_key([entry("before"), entry("after")])


def test_journals_set_aside_within_one_second_are_all_kept(path, sound):
    for _ in range(3):
        path.write_bytes(sound[: len(sound) // 2])
        read(path)
    assert len(set_aside(path)) == 3


def test_two_runs_that_find_a_journal_damaged_at_the_same_time_mend_it_once(path, sound, peers):
    at = leaves(sound)[5]
    for _ in range(10):
        path.write_bytes(sound[:at] + b"\xff" * PAGE + sound[at + PAGE :])
        for peer in peers:
            peer.send(f"read({str(path)!r}, {keys_of(KNOWN)!r})")
        assert [answer for answer in [peer.answer() for peer in peers] if not answer.isdigit()] == []
        (aside,) = set_aside(path)
        aside.unlink()
        assert len(read(path, keys_of(KNOWN))) > 0.8 * len(KNOWN)


def test_a_journal_of_which_the_head_is_lost_is_refused_but_at_the_usual_place_set_aside(path, said, sound):
    lost = bytes(100) + sound[100:]
    path.write_bytes(lost)
    with pytest.raises(InputError, match="is not a journal of autotune"):
        Journal(path)
    assert path.read_bytes() == lost
    usual = journal_file.default_path()
    usual.parent.mkdir()
    usual.write_bytes(lost)
    write(usual, [entry()], say=said.append)
    assert len(said) == 1
    assert [aside.read_bytes() for aside in set_aside(usual)] == [lost]
    assert read(usual) == by_key([entry()])


def test_a_log_that_was_torn_by_a_power_cut_costs_only_its_last_entries(path, peers):
    killed = peers[0]
    killed.send(f"write({str(path)!r}, entries(60, 'k'), die=True)")
    killed.process.wait(timeout=60)
    log = path.with_name(f"{path.name}-wal")
    content = log.read_bytes()
    log.write_bytes(content[: len(content) * 2 // 3])
    found = read(path, [f"k{n:04}" for n in range(60)])
    assert 20 < len(found) < 60
    assert sorted(found) == [(f"k{n:04}", VERSION) for n in range(len(found))]
