"""Claims about the journal, its file and its entries."""

from __future__ import annotations

import errno
import fcntl
import json
import random
import resource
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


@pytest.fixture(scope="module")
def made():
    peers = []
    yield peers
    for peer in peers:
        peer.process.communicate(timeout=60)


@pytest.fixture
def peers(made):
    """Two other processes, which live as long as none kills them."""
    living = [peer for peer in made if peer.process.poll() is None]
    made += (new := [Peer() for _ in range(2 - len(living))])
    return living + new


# --- what is recorded is found again ---------------------------------------------------------------------------------


finite = st.floats(allow_nan=False, allow_infinity=False)
values_of = st.fixed_dictionaries(
    {"energy": finite}, optional={"gradient": st.lists(st.lists(finite, min_size=3, max_size=3), max_size=4)}
)


@given(st.builds(Entry, st.text(), st.text(), st.text(), values_of, st.one_of(st.none(), st.text()), st.none()))
@settings(max_examples=60, deadline=None)
def test_texts_come_back_whatever_they_hold_and_numbers_bit_by_bit(made):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        write(path, [made])
        assert repr(read(path, [made.key], rescue=made.rescue)) == repr(by_key([made]))


def test_more_keys_can_be_asked_for_than_fit_in_one_question(path):
    made = entries(1300)
    write(path, made)
    assert read(path, [*keys_of(made), "unknown"]) == by_key(made)


OTHER_VERSION, OWN, LATER = entry(version="pyscf 2.13"), entry(energy=-1.0), entry(energy=-2.0)
RESCUED, WHOLE = entry(energy=-3.0, rescue=RESCUE), entry(energy=-4.0, result="{}")
ANSWERS = {
    "nothing was recorded": ([], {}, []),
    "another task was": ([[entry("l")]], {}, []),
    "the later of one run counts": ([[OWN, LATER]], {}, [LATER]),
    "the later of two runs counts": ([[LATER], [OWN]], {}, [OWN]),
    "versions of a program are kept apart": ([[OWN, OTHER_VERSION]], {}, [OWN, OTHER_VERSION]),
    "other keywords are not asked for": ([[RESCUED]], {}, []),
    "still other keywords are": ([[RESCUED]], {"rescue": '{"max_cycle": 300}'}, []),
    "the same keywords are": ([[RESCUED]], {"rescue": RESCUE}, [RESCUED]),
    "own results count more": ([[RESCUED, OWN]], {"rescue": RESCUE}, [OWN]),
    "own results count more in any order": ([[OWN, RESCUED]], {"rescue": RESCUE}, [OWN]),
    "own results alone are asked for": ([[OWN, RESCUED]], {}, [OWN]),
    "whole results are wanted": ([[OTHER_VERSION, WHOLE]], {"results": True}, [WHOLE]),
    "whole results are not needed": ([[OTHER_VERSION, WHOLE]], {}, [OTHER_VERSION, WHOLE]),
}


@pytest.mark.parametrize(("runs", "asked", "found"), ANSWERS.values(), ids=ANSWERS)
def test_of_what_was_recorded_is_recalled_what_serves_who_asks(path, runs, asked, found):
    for made in runs:
        write(path, made)
    assert read(path, **asked) == by_key(found)


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


def test_what_is_flushed_is_known_at_once_here_and_elsewhere_also_where_a_second_opening_was_closed(path, peers):
    """Closing any descriptor of a file drops all POSIX locks of the process on it (sqlite.org/howtocorrupt.html)."""
    with Journal(path) as first:
        for keys, peer in zip((["a"], ["a", "b"]), peers, strict=True):
            first.record(entry(keys[-1]))
            first.flush()
            assert first.recall(keys, results=False) == by_key(map(entry, keys))
            Journal(path).close()
            assert peer.ask(f"read({str(path)!r}, {keys})") == str(len(keys))


def test_a_full_disk_is_said_with_the_cure_and_what_was_written_before_is_kept(path):
    write(path, [entry("first")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = Journal(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        for number in range(100):
            journal.record(entry(f"more {number}", result="x" * 10_000))
        with pytest.raises(ResourceError) as caught:
            journal.flush()
        journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"the journal {path} cannot be written (")
    cure = "free space or give another --journal FILE, then go on with --resume"
    assert str(caught.value).endswith(f"what it holds is kept: {cure}")
    assert read(path, ["first"]) == by_key([entry("first")])


def test_whoever_records_after_a_failed_write_is_told_and_closing_raises_nothing(path):
    with Journal(path) as journal:
        journal.record(entry(energy=object()))
        for do in (journal.flush, lambda: journal.record(entry())):
            with pytest.raises(ResourceError, match="cannot be written"):
                do()


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


def test_a_journal_is_its_owners_alone_and_usually_in_the_users_folder(tmp_path):
    path = journal_file.default_path()
    assert path == tmp_path / "home" / "journal.sqlite3"
    with Journal(path) as journal:
        journal.record(entry())
        journal.flush()
        assert rights(path.parent) == 0o700
        assert {rights(file) for file in path.parent.iterdir()} == {0o600}


def sql(path, *statements):
    """Do what is said to a database; return the rows that the last statement gives."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def use(path, **days_ago):
    """Set how many days ago entries were used last."""
    for key, days in days_ago.items():
        sql(path, f"UPDATE tasks SET used = {time.time() - days * DAY_S} WHERE key = '{key}'")


def test_what_was_not_used_for_thirty_days_is_forgotten_and_what_is_recalled_counts_as_used(path):
    write(path, map(entry, ("old", "asked", "other")))
    use(path, old=31, asked=29, other=29)
    assert read(path, ["old", "asked"]) == by_key([entry("asked")])
    used = dict(sql(path, "SELECT key, used FROM tasks"))
    assert used.keys() == {"asked", "other"}
    assert used["asked"] > time.time() - DAY_S / 2
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


@pytest.mark.parametrize(
    ("kind", "option", "mode", "said_of"),
    [
        ("ext4", "noatime", "wal", ""),
        ("nfs4", "local_lock=none", "truncate", ""),
        ("nfs", "nolock", "truncate", "nolock"),
        ("nfs", "local_lock=all", "truncate", "local_lock=all"),
        ("lustre", "flock", "truncate", ""),
        ("lustre", "localflock", "truncate", "localflock"),
        ("cifs", "nobrl", "truncate", "nobrl"),
        ("beegfs", "", "truncate", "beegfs"),
    ],
)
def test_on_a_network_file_system_the_older_log_is_used_and_locks_of_one_machine_are_said(
    path, monkeypatch, said, kind, option, mode, said_of
):
    mount = detection.Mount(kind, f"rw,vers=3,{option},addr=10.0.0.1", "/", str(path.parent.resolve()))
    monkeypatch.setattr(detection, "mounts", lambda: [detection.Mount("ext4", "rw", "/", "/"), mount])
    write(path, [entry()], say=said.append)
    assert len(said) == bool(said_of)
    assert all(f"this machine only ({said_of})" in line and f"the journal {path}" in line for line in said)
    with closing(journal_file.JournalFile(path, print)) as file, closing(file.connect()) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert read(path) == by_key([entry()])


@pytest.mark.parametrize("lock", ["flock", "lockf"])
def test_a_file_system_without_locks_is_refused(path, monkeypatch, lock):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, lock, refuse)
    with pytest.raises(ResourceError, match=r"has no locks \(No locks available\).*give a --journal FILE"):
        Journal(path)
    assert not path.exists()


# --- files that are not ours -----------------------------------------------------------------------------------------


def other_database(path, *statements):
    sql(path, *statements, "CREATE TABLE tasks (todo TEXT)", "INSERT INTO tasks (todo) VALUES ('keep this')")


def newer_journal(path):
    write(path, [entry()])
    sql(path, "ALTER TABLE tasks ADD COLUMN host TEXT", f"PRAGMA user_version = {journal_file.FORMAT + 1}")


FOREIGN = {
    "text": lambda path: path.write_text("Dear diary,\n" * 1000),
    "one letter": lambda path: path.write_text("x"),
    "JSON": lambda path: path.write_text(json.dumps({"schema": "autotune.run/5"})),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "SQLite": other_database,
    "SQLite with a log": lambda path: other_database(path, "PRAGMA journal_mode = WAL"),
    "SQLite of another program": lambda path: other_database(
        path, "PRAGMA application_id = 1234", "PRAGMA user_version = 1"
    ),
    "newer": newer_journal,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_somebody_else_or_of_a_newer_autotune_is_refused_and_left_as_it_is(path, said, kind):
    FOREIGN[kind](path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        Journal(path, say=said.append)
    what = f"the journal {path} is of a newer autotune" if kind == "newer" else f"{path} is not a journal of autotune"
    assert str(caught.value) == f"{what}; give another --journal FILE"
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
    sql(path, "CREATE TABLE traces (x)", *statements)
    with Journal(path, say=said.append) as journal:
        journal.recall(["k"], results=False)
        journal.record(entry("new"))
        journal.flush()
        assert journal.recall(["new"], results=False) == by_key([entry("new")])
    assert len(said) == 1
    assert ("traces",) not in sql(path, "SELECT name FROM sqlite_master")
    (aside,) = set_aside(path)
    assert sql(aside, "SELECT count(*) FROM traces") == [(0,)]


def test_an_entry_that_was_changed_by_hand_is_no_entry(path):
    write(path, [entry("a"), entry("b")])
    changes = (
        """UPDATE tasks SET body = '{"energy": -99.0}' WHERE key = 'a'""",
        "UPDATE tasks SET key = 'c' WHERE key = 'b'",
    )
    sql(path, *changes)
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


def spoilt(content, *places):
    """Return the content with pages overwritten."""
    for at in places:
        content = content[:at] + b"\xff" * PAGE + content[at + PAGE :]
    return content


@pytest.mark.parametrize("which", [(0,), (1,), (7,), (-2,), (-1,), (0, 7), (3, 9), (0, -1), (7, -1)])
def test_a_journal_with_bad_pages_is_renamed_and_all_but_their_entries_carried_over_and_said(path, said, sound, which):
    pages = leaves(sound)
    content = spoilt(sound, *(pages[each] for each in which))
    path.write_bytes(content)
    found = read(path, keys_of(KNOWN), say=said.append)
    assert len(KNOWN) * (1 - (1 + len(which)) / len(pages)) <= len(found) < len(KNOWN)
    assert found.items() <= by_key(KNOWN).items()
    (aside,) = set_aside(path)
    assert aside.read_bytes() == content
    (line,) = said
    assert line == (
        f"the journal {path} was damaged (database disk image is malformed); it is set aside as {aside.name}, and the"
        f" {len(found)} tasks that could be read of it are kept"
    )
    assert rights(path) == 0o600


def test_the_first_half_of_a_torn_journal_is_kept(path, said, sound):
    path.write_bytes(sound[: len(sound) // 2])
    assert len(read(path, keys_of(KNOWN), say=said.append)) > len(KNOWN) * 0.35
    assert len(said) == 1


def test_a_bad_index_costs_no_entry(path, sound):
    """The index of keys is rebuilt from the table."""
    path.write_bytes(spoilt(sound, *(at for at in range(PAGE, len(sound), PAGE) if sound[at] in (2, 10))))
    assert read(path, keys_of(KNOWN)) == by_key(KNOWN)


def last_page(content, index):
    """Return where the last page of an index begins, by the pointers to the rightmost pages."""
    with TemporaryDirectory() as folder:
        (copy := Path(folder) / "copy").write_bytes(content)
        [(page,)] = sql(copy, f"SELECT rootpage FROM sqlite_master WHERE name = '{index}'")
    while content[(page - 1) * PAGE] == 2:
        page = int.from_bytes(content[(page - 1) * PAGE + 8 : (page - 1) * PAGE + 12], "big")
    return (page - 1) * PAGE


def test_damage_that_only_writing_meets_is_mended_too(path, said, sound):
    path.write_bytes(spoilt(sound, last_page(sound, "by_use")))
    write(path, [entry("new")], say=said.append)
    assert read(path, ["new", *keys_of(KNOWN)]) == by_key([entry("new"), *KNOWN])
    assert len(said) == 1


def test_an_entry_that_is_no_text_any_more_costs_no_other(path, sound):
    path.write_bytes(sound.replace(b'{"energy": -276.0', b'{"\xffnergy": -276.0'))
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
    for _ in range(10):
        path.write_bytes(spoilt(sound, leaves(sound)[5]))
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
