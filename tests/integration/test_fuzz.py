"""Whatever is in a file: its reader returns, or raises an AutotuneError of one line, in seconds, and writes nowhere."""

from __future__ import annotations

import functools
import json
import random as chance

import damage
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from autotune.base.errors import AutotuneError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder for files, whose neighbours are the working and the home folder, and stay empty."""
    given_, elsewhere = tmp_path / "given", tmp_path / "elsewhere"
    given_.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    yield given_
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "given"]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", damage.NAMES)
def test_real_files_are_accepted(name, folder):
    reader = damage.reader(name)
    assert [damage.outcome(reader, seed, folder) for seed in reader.seeds] == ["accepted"] * len(reader.seeds)


# The suite tries the same files each time; bench/fuzz.py looks for new ones.
@pytest.mark.parametrize("name", damage.NAMES)
@settings(max_examples=200, deadline=5000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_damaged_files_are_read_or_refused_in_one_line(name, folder, random):
    reader = damage.reader(name)
    content = random.choice(reader.seeds)
    for _ in range(random.randrange(1, 4)):
        content = reader.damaged(content, random)
    note(repr(content[:3000]))
    damage.outcome(reader, content, folder)


# --- what once went wrong --------------------------------------------------------------------------------------------


def in_study(old, new):
    assert old in damage.OWN_STUDY
    return damage.OWN_STUDY.replace(old, new).encode()


def in_tree(name, *path, to, seed=0):
    """Return a reader's JSON file with one value replaced; bytes stand for themselves."""
    tree = json.loads(damage.reader(name).seeds[seed])
    *outer, last = path
    inner = tree
    for key in outer:
        inner = inner[key]
    inner[last] = "@here@" if isinstance(to, bytes) else to
    return json.dumps(tree).encode().replace(b'"@here@"', to if isinstance(to, bytes) else b"")


in_tuning = functools.partial(in_tree, "tuning")
in_input = functools.partial(in_tree, "workload")


def crowd(**keywords):
    """Return an input of forty fragments."""
    given = damage.Expansion(program="pyscf", method="hf")
    fields = damage.readers.many_body_fields(damage.helium_xyz(40), name="he", expansion=given)
    fields["specification"]["keywords"] = {"bsse_type": ["nocp"], **keywords}
    return json.dumps(fields).encode()


OF_METHOD = ("tunings", 0, "method", "keywords")
BSSE = ("specification", "keywords", "bsse_type")
HUGE = b"1" * 400
MANY_NINES = b"-" + b"9" * 4300
DEEP = 900 * "[" + 900 * "]"
ONCE_WRONG = [
    ("study", lambda: in_study("conv_tol = 1e-9", "a = " + "[" * 3000), "is not valid TOML"),
    ("study", lambda: in_study("1e-9", "1" * 5000), "is not valid TOML"),
    ("study", lambda: b"a" + b".a" * 30_000 + b" = 1", "is larger than 32 KiB"),
    ("study", lambda: in_study("own.xyz", "a\\u0000b"), "names geometry 'a"),  # no file has such a name
    ("study", lambda: in_study("own.xyz", "y" * 300), "names geometry 'yyy"),  # nor may have this one
    ("study", lambda: in_study("1.5m", "9" * 400 + "h"), "is not a duration"),
    (
        "study",
        lambda: b"trials = %b\n" % MANY_NINES + damage.OWN_STUDY.encode(),
        "field trials: Input should be greater",
    ),
    ("tuning", lambda: in_tuning("tunings", 0, "parameters", "a\nb", to=None), "0.parameters: has a name"),
    ("tuning", lambda: in_tuning("machine", "cores", to=HUGE), "machine.cores: is too large"),
    ("tuning", lambda: in_tuning(*OF_METHOD, to="[["), "method.keywords: is not the"),
    ("tuning", lambda: in_tuning(*OF_METHOD, to=f'{{"a":{DEEP}}}'), "is not the text"),
    ("tuning", lambda: in_tuning("tunings", 0, "law", "seconds", to={"start": 0.0}), "says that tasks take no time"),
    ("tuning", lambda: in_tuning("machine", to=DEEP.encode()), "nested too deeply"),
    ("tuning", lambda: in_tuning("schema", to=["x" * 999] * 999), "has schema"),
    ("many-body JSON", lambda: in_input("molecule", "id", to=b"1" * 5000), "is not valid JSON"),
    ("keywords", lambda: b"a=" + b"[" * 3000, "is not understood"),
    ("keywords", lambda: b'{"a":' * 3000, "is not understood"),
    ("keywords", lambda: b"x" * 100_000, "is not understood"),
    ("xyz", lambda: b"1\n\nHe 0 0 " + b"1" * 60_000 + b"z", "is not a finite number"),
    ("xyz", lambda: b'1\n{"fragments": [1], "charges": [%b]}\nHe 0 0 0' % MANY_NINES, '"charges" in line 2'),
    ("workload", lambda: in_input(*BSSE, to=[1]), "is not valid"),
    ("workload", lambda: crowd(levels={"1000000000": "(auto)"}), "1000000000-body level"),  # beyond memory
    ("workload", crowd, "up to 6-body the expansion of 40 fragments has"),
    ("workload", lambda: in_input("molecule", "molecular_charge", to=HUGE), "wrong kind"),
    ("workload", lambda: in_input("molecule", "geometry", 0, to=HUGE), "not a list of numbers"),
    ("workload", lambda: in_input("molecule", "geometry", 0, to=1e200), "above 1e+07 bohr"),
    # It is validated by its own account.
    ("workload", lambda: in_input("molecule", "symbols", 0, to="Je", seed=4), "is not valid: NotAnElementError: Je"),
    ("workload", lambda: in_input("schema_version", to={"molecule": [{"x" * 99: "y" * 99}] * 9}), "is not known"),
]


@pytest.mark.timeout(5)
@pytest.mark.parametrize(("name", "content", "message"), ONCE_WRONG)
def test_what_once_ended_in_a_traceback_a_long_message_or_never_is_refused(name, content, message, folder):
    with pytest.raises(AutotuneError) as caught:
        damage.reader(name).read(content(), folder)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= damage.MOST_MESSAGE


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tasks SET version = CAST(X'c3' AS TEXT) WHERE rowid = 4",  # no UTF-8 in a row
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET name = X'ff' WHERE name = 'tasks'",  # nor in a message
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = rootpage + 1",  # indices unlike the table
    ],
)
def test_a_journal_that_cannot_be_decoded_is_read_without_what_is_wrong(statement, folder, monkeypatch):
    monkeypatch.setattr(damage, "STATEMENTS", [statement])
    main, log = damage.unpacked(damage.reader("journal").seeds[0])
    changed = damage._by_sql(main, chance.Random(0), forge=False)
    assert changed != main
    damage.read_journal(damage.packed(changed, log), folder)


@pytest.mark.timeout(5)
def test_a_damaged_journal_with_the_greatest_row_number_is_salvaged_in_seconds(folder, monkeypatch):
    monkeypatch.setattr(damage, "STATEMENTS", ["UPDATE tasks SET rowid = 9223372036854775807 WHERE rowid = 16"])
    main, log = damage.unpacked(damage.reader("journal").seeds[1])
    changed = damage._by_sql(main, chance.Random(0), forge=False)
    pages = [changed[start : start + 512] for start in range(0, len(changed), 512)]
    leaves = [number for number, page in enumerate(pages) if page[0] == 0x0D and number]
    pages[leaves[len(leaves) // 2]] = bytes(512)
    assert len(damage.read_journal(damage.packed(b"".join(pages), log), folder)) >= 12
