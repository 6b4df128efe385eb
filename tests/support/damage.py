"""What reads a user's files, real files for each reader, and what can happen to a file.

Rules: whatever is in a file, its reader returns or raises an `AutotuneError` of one printable line. Structure is
damaged as well as bytes: bytes alone would find little but the errors of the JSON parser. All chance comes from the
`random` that is given, so that hypothesis (`faults/test_fuzz.py`) and atheris (`bench/fuzz.py`) can steer it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import sqlite3
import tempfile
import time
import tomllib
import zlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from tuning_factory import make_tuning

from autotune.base import json_files
from autotune.base.errors import AutotuneError
from autotune.base.records import Gap, RunRecord, TaskRecord, TuningChoice
from autotune.base.types import Policy, Task, TaskSize
from autotune.calibration import studies
from autotune.costs import cost_law
from autotune.expansion import fragments, readers, workload
from autotune.expansion.expansion import Expansion, parse_keywords
from autotune.journal import entries, journal
from autotune.journal.entries import Entry
from autotune.tunings import library, tuning_file

MOST_MESSAGE = 1000  # characters; more is no line that anybody reads
PARSERS_ERRORS = (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeError, RecursionError)


class Reader(NamedTuple):
    """A reader, real files for it, how its files are damaged, and how it is called with a file's content."""

    name: str
    seeds: tuple[bytes, ...]
    damaged: Callable
    read: Callable


def outcome(reader, content, folder):
    """Read a file's content in a folder; return `accepted`, `refused` (by the reader) or `unparsed`.

    Raises what the reader raises where that is not allowed, and AssertionError for a message that is not one line.
    """
    try:
        reader.read(content, folder)
    except AutotuneError as error:
        message = str(error)
        assert message.isprintable(), f"not one printable line: {message[:300]!r}"
        assert 0 < len(message) <= MOST_MESSAGE, f"not a short line: {message[:300]!r}"
        cause = error.__cause__
        return "unparsed" if isinstance(cause, PARSERS_ERRORS) or type(cause) is ValueError else "refused"
    return "accepted"


# --- damage ----------------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, 2, 3, 7, -1, 255, 2**31, 2**63, -(2**64), 10**9, 10**30, 10**400, -(10**4300 - 1))
NUMBERS += (0.5, -0.0, 5e-324, 1.7e308, -1e6, math.nan, math.inf, -math.inf)
TEXTS = ("", " ", "0", "1", "2", "-1", "1000000000", "nan", "null", "supersystem", "(auto)", "cp", "vmfc", "gradient")
TEXTS += ("\0", "a\nb", "\x1b[31m", "\u2028", "\ud800", "é\u0301\u202e\U0001d518", "x" * 9999, "x\n" * 999, "%s{0}")
TEXTS += ("../../etc/passwd", "/dev/null", "y" * 300 + ".xyz", "He", "Gh(He)", "@He", "6-31g*", "0s", "9" * 400 + "h")
SCALARS = (*NUMBERS, *TEXTS, True, False, None)
DEPTHS = (60, 200, 300, 600, 900, 960, 980, 3000, 30_000)
_RAW = re.compile(r'"@raw (\d+)@"')


# Texts that stand for themselves in JSON and that no tree prints.
RAWS = ["1" * 5000, "-1e99999", "1e-99999", "-", "[", "}", '"\\ud800"', '{"a":1,"a":[2]}']
RAWS += [depth * "[" + depth * "]" for depth in DEPTHS] + [depth * '{"a":' + "1" + depth * "}" for depth in DEPTHS]


INSERTED = (b"\0", b"\n", b'"', b"{", b"[", b"\xff", b"\xef\xbb\xbf", b"9" * 30, b"e", b"-", b",", b":")


def damaged_bytes(content, random):
    """Return bytes with some flipped, cut out, inserted, repeated or set to one value."""
    where = random.randrange(len(content) + 1)
    length = min(random.choice((1, 1, 2, 4, 16, 100, 1000)), len(content) - where)
    kind = random.choice(("flip", "flip", "cut", "end", "insert", "repeat", "fill"))
    if kind == "flip" and length:
        return content[:where] + bytes([content[where] ^ (1 << random.randrange(8))]) + content[where + 1 :]
    if kind == "end":
        return content[:where]
    part = {
        "cut": b"",
        "flip": b"\0",
        "repeat": content[where : where + length] * random.choice((2, 3, 50)),
        "fill": bytes([random.choice((0, 1, 0x20, 0x7F, 0xC3, 0xFF))]) * length,
        "insert": random.choice(INSERTED),
    }[kind]
    return content[:where] + part + content[where + (0 if kind == "insert" else length) :]


def damaged_tree(tree, random):
    """Change one place of a JSON tree, the shallow ones more often; return the tree."""
    root = [tree]
    container, key = _place(root, random)
    kind = random.choice(("value", "value", "value", "value", "delete", "double", "swap", "rename"))
    if kind == "value":
        container[key] = _changed(container[key], random)
    elif kind == "swap":
        other, at = _place(root, random)
        container[key] = json.loads(json.dumps(other[at]))
    elif isinstance(container, dict):
        value = container[key]
        if kind != "double":
            del container[key]
        if kind != "delete":
            container[random.choice((*TEXTS, "schema", f"{key} ", key.upper()))] = value
    elif kind == "double":
        container[key:key] = [container[key]] * random.choice((1, 1, 2, 30, 1000))
    elif container is not root:
        del container[key]
    return root[0]


def _changed(value, random):
    kind = random.choice(("scalar", "scalar", "nest", "tweak", "tweak", "tweak"))
    if random.random() < 0.05:
        return f"@raw {random.randrange(len(RAWS))}@"
    if kind == "nest":
        return random.choice(([value], {"a": value}, [], {}, [value] * 3, {"0": value, "1": value}))
    if kind == "tweak" and isinstance(value, str):
        at = random.randrange(len(value) + 1)
        return random.choice((value[:at], value[at:], value + value, value.upper(), f"{value[:at]} {value[at:]}"))
    if kind == "tweak" and isinstance(value, (int, float)):
        return random.choice((-value, value + 1, value - 1, str(value), value * 2, not value))
    return random.choice(SCALARS)


def _place(root, random):
    container, key = root, 0
    while isinstance(container[key], (dict, list)) and container[key] and random.random() < 0.85:
        container = container[key]
        key = random.choice(list(container)) if isinstance(container, dict) else random.randrange(len(container))
    return container, key


def dumped(tree):
    return _RAW.sub(lambda found: RAWS[int(found[1]) % len(RAWS)], json.dumps(tree))


def dumped_toml(tree):
    """Return TOML text of a tree, whose tables are all written in place."""
    text = "".join(f"{_toml(name)} = {_toml(value)}\n" for name, value in tree.items())
    return _RAW.sub(lambda found: RAWS[int(found[1]) % len(RAWS)].replace('"a":', "a="), text)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value is None:
        return '""'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _structured(parse, dump):
    """Return a function that damages a text's structure, or its bytes where it has none."""

    def damage(content, random):
        if random.random() < 0.1:
            return damaged_bytes(content, random)
        try:
            tree = damaged_tree(parse(content.decode()), random)
            return dump(tree).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError, AttributeError, OverflowError):
            return damaged_bytes(content, random)

    return damage


damaged_json = _structured(json.loads, dumped)
damaged_toml = _structured(tomllib.loads, dumped_toml)

_ON_LINES = "O h Na 8 0 99999 -1 3 Xx Gh 1.5 -0.7D+00 1e400 nan inf x 2e-5 1e6 1000000.1 200001"
XYZ_WORDS = (*_ON_LINES.split(), "")
XYZ_WORDS += ("1" * 300, "1" * 60_000 + "z", "\u0661", "\u2028", "\0", "\ufeff")
BOX = 'Lattice="9 0 0 0 9 0 0 0 9" pbc="T T F" Properties=species:S:1:pos:R:3'
COMMENTS = ('{"fragments": [1, 1], "charges": [0, 0]}', '{"fragments": [1, 1], "charges": [1, -1]}', "[" * 30_000)
COMMENTS += ('{"fragments": [1, 1], "charges": [NaN, 0]}', '{"fragments": {"a": 1}}', '{"fragments": []}', "\x1b[2J")
COMMENTS += (f'{{"fragments": [1, 1], "charges": [-{"9" * 4300}, 0]}}', '{"fragments": [2]}', "Properties=pos:R:3")
COMMENTS += ("0 1", "0 1 0 1 0 1", "charge=1 multiplicity=2", "charge_a=0 charge_b=1 selection_a=1 selection_b=2")
COMMENTS += ("bohr", BOX, 'Lattice="1e-9 0 0 0 9 0 0 0 9"')
COMMENTS += ('{"charges": [0, 0], "multiplicities": [3, 1], "units": "bohr"}', "units=bohr spin=1")
COMMENTS += ('Properties="pos:R:3:Z:I:1"',)


def damaged_xyz(content, random):
    """Return an XYZ file with a line or a word of it replaced, deleted, doubled, moved."""
    if random.random() < 0.25:
        return damaged_bytes(content, random)
    lines = content.decode("utf-8", "replace").split("\n")
    at = random.randrange(len(lines))
    words = lines[at].split(" ")
    word = random.randrange(len(words))
    kind = random.choice(("word", "word", "delete", "double", "swap", "comment", "json", "count", "frame"))
    if kind == "word":
        words[word] = random.choice(XYZ_WORDS)
        lines[at] = " ".join(words)
    elif kind == "delete":
        del lines[at]
    elif kind == "double":
        lines[at:at] = [lines[at]] * random.choice((1, 2, 100))
    elif kind == "swap":
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "comment":
        lines[1:2] = [random.choice(COMMENTS)]
    elif kind == "json" and len(lines) > 1:
        lines[1] = damaged_json(lines[1].encode("utf-8", "replace"), random).decode("utf-8", "replace")
    elif kind == "count":
        lines[0] = str(len(lines) - 2)
    else:
        lines += lines
    return "\n".join(lines).encode()


PDB_WORDS = ("", " ", "CA", "Cl", "D", "Xx", "1+", "2-", "x", "A", "-1", "9.5", "nan", "1e9", "99999", "\0", "\u0661")
PDB_LINES = ("CRYST1    9.000    9.000    9.000  90.00  90.00  90.00 P 1", "CRYST1", "CONECT    1    2    3")
PDB_LINES += (
    "CONECT   99",
    "END",
    "ENDMDL",
    "MODEL        2",
    "TER",
    "ATOM",
    "REMARK \x1b[2J",
    "CONECT" + "    1" * 30_000,
)


def damaged_pdb(content, random):
    """Return a PDB file with columns of a line overwritten, or a line of it deleted, doubled, moved, shifted, added."""
    if random.random() < 0.25:
        return damaged_bytes(content, random)
    lines = content.decode("utf-8", "replace").split("\n")
    at, column = random.randrange(len(lines)), random.choice((0, 6, 12, 16, 17, 21, 30, 38, 46, 72, 76, 78))
    kind = random.choice(("columns", "columns", "columns", "delete", "double", "swap", "shift", "add"))
    if kind == "columns":
        word = random.choice(PDB_WORDS)
        lines[at] = f"{lines[at][:column]}{word}{lines[at][column + max(1, len(word)) :]}"
    elif kind == "shift":
        before, behind = lines[at][:column], lines[at][column:]
        lines[at] = before + random.choice((" " + behind, behind[1:]))
    elif kind == "swap":
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at : at + (kind == "delete")] = {
            "delete": [],
            "double": [lines[at]] * random.choice((1, 2, 100)),
            "add": [random.choice(PDB_LINES)],
        }[kind]
    return "\n".join(lines).encode()


def pdb_files():
    """Return PDB files: helium atoms in a cell, ions with charges, hydrogen with bonds and no elements."""
    line = "HETATM{0:>5} {1:<4} {1:>3} A{0:>4}    {2:8.3f}   0.000   0.000  1.00  0.00          {3:>2}{4:>2}\n".format
    helium = "".join(line(number, "HE", 3.0 * number, "He", "") for number in (1, 2, 3))
    ions = line(1, "NA", 0.0, "Na", "1+") + line(2, "CL", 2.8, "Cl", "1-")
    hydrogen = "".join(line(number, " H", x, "", "") for number, x in enumerate((0.0, 0.7, 9.0, 9.7), start=1))
    bonds = "CONECT    1    2\nCONECT    3    4\nEND\n"
    return tuple(text.encode() for text in (f"{PDB_LINES[0]}\n{helium}END\n", ions, hydrogen + bonds))


_IN_OPTIONS = ", ; | : = - x +1 -1 1 2 3 9 0 999999 1000000 1-3 4-9 3x3 1:2 a=1 b=true { } [ null NaN"
OPTION_WORDS = (*_IN_OPTIONS.split(), "")
OPTION_WORDS += (" ", "\t", "\n", '"', "\u2212", "\u0661", "\x1b[1m", "\udcff", "1" * 5000, " " * 9999, "x" * 9999)
OPTION_WORDS += ("a=" + "[" * 3000, '{"a":' * 3000, "a=" + "1" * 5000)


def damaged_option(content, random):
    """Return the text of an option with a word of it replaced, deleted, doubled or moved."""
    words = re.findall(r"\w+|\W", content.decode("utf-8", "surrogateescape")) or [""]
    at = random.randrange(len(words))
    kind = random.choice(("replace", "insert", "insert", "delete", "double", "swap", "bytes"))
    if kind == "bytes":
        return damaged_bytes(content, random)
    if kind == "swap":
        other = random.randrange(len(words))
        words[at], words[other] = words[other], words[at]
    elif kind == "double":
        words[at:at] = [words[at]] * random.choice((1, 2, 100))
    else:
        inserted = [] if kind == "delete" else [random.choice(OPTION_WORDS)]
        words[at : at + (kind != "insert")] = inserted
    return "".join(words).encode("utf-8", "surrogateescape")


# --- the journal -----------------------------------------------------------------------------------------------------

FORGED = "f" * 40
RESCUE = '{"level_shift": 0.3}'
FORGED_BODIES = ("", "{}", "[]", "null", "\ud800", '{"energy": NaN}', '{"energy": "x"}', '{"x": 1}', '{"energy": [')
FORGED_BODIES += tuple('{"energy": ' + text + "}" for text in ("1" * 5000, "[" * 900 + "]" * 900, "[" * 30_000))
STATEMENTS = (
    "UPDATE tasks SET body = CAST(X'7bfffe' AS TEXT) WHERE rowid % 3 = 0",
    "UPDATE tasks SET key = CAST(X'ff' || key AS TEXT) WHERE rowid = 2",
    "UPDATE tasks SET version = CAST(X'c3' AS TEXT) WHERE rowid = 4",
    "UPDATE tasks SET body = zeroblob(100) WHERE rowid < 5",
    "UPDATE tasks SET body = body || ' ' WHERE rowid < 9",
    "UPDATE tasks SET digest = 'text' WHERE rowid > 3",
    "UPDATE tasks SET digest = zeroblob(32)",
    "UPDATE tasks SET result = X'00ff' WHERE rowid = 1",
    "UPDATE tasks SET result = 7",
    "UPDATE tasks SET used = 0 WHERE rowid < 3",
    "UPDATE tasks SET used = 'x'",
    "UPDATE tasks SET used = 9e999",
    "UPDATE tasks SET rowid = 9223372036854775807 WHERE rowid = 3",
    "UPDATE tasks SET rowid = -5 WHERE rowid = 3",
    "UPDATE tasks SET rescue = key",
    "DELETE FROM tasks WHERE rowid % 2",
    "DROP TABLE tasks",
    "DROP INDEX by_use",
    "CREATE TABLE more (x)",
    "CREATE TRIGGER t AFTER UPDATE ON tasks BEGIN DELETE FROM tasks; END",
    "CREATE VIEW v AS SELECT * FROM tasks",
    "ALTER TABLE tasks RENAME TO other",
    "ALTER TABLE tasks RENAME TO other; CREATE VIEW tasks AS SELECT * FROM other",
    "ALTER TABLE tasks ADD COLUMN more",
    "PRAGMA user_version = 2",
    "PRAGMA user_version = -1",
    "PRAGMA user_version = 0",
    "PRAGMA application_id = 0",
    "PRAGMA application_id = 0; PRAGMA user_version = 0",
    "PRAGMA application_id = 0; PRAGMA user_version = 0; DROP TABLE tasks",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = rootpage + 1",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 999999 WHERE name = 'tasks'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET name = X'ff' WHERE name = 'tasks'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = sql || ' ' WHERE name = 'tasks'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE VIEW tasks AS SELECT 1' WHERE name = 'tasks'",
    "PRAGMA writable_schema = ON; DELETE FROM sqlite_master",
)


def recorded():
    numbers = [0.1 * number for number in range(60)]
    return [
        Entry(
            key=f"{number:040x}",
            version="pyscf 2.14.0",
            rescue=RESCUE if number % 5 == 0 else "",
            values={"energy": -1.5 - number, **({"gradient": numbers} if number % 3 == 0 else {})},
            result="r" * 3000 if number % 7 == 0 else None,
        )
        for number in range(16)
    ]


def packed(main, log=b""):
    """Return one content of a journal's file and its write-ahead log."""
    return len(main).to_bytes(4, "little") + main + log


def unpacked(content):
    """Return the file and the log that `packed` made one of."""
    length, rest = int.from_bytes(content[:4], "little"), content[4:]
    return rest[:length], rest[length:]


def journals():
    """Return real journals: closed, with small pages, and as a killed run leaves one, with a log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite3"
        with journal.Journal(path) as made:
            for entry in recorded():
                made.record(entry)
            made.flush()
            killed = packed(path.read_bytes(), Path(f"{path}-wal").read_bytes())
        closed = packed(path.read_bytes())
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM")
        return closed, packed(path.read_bytes()), killed


def damaged_journal(content, random):
    """Return a journal with bytes, pages, rows or the schema changed, or its log."""
    main, log = unpacked(content)
    kind = random.choice(("bytes", "header", "page", "cell", "sql", "sql", "forge", "log", "packing"))
    if kind == "packing":
        return damaged_bytes(content, random)
    if kind == "log" and log:
        return packed(main, damaged_bytes(log, random))
    if kind in ("sql", "forge") and len(main) > 100:
        return packed(_by_sql(main, random, forge=kind == "forge"), log)
    if kind == "header":
        return packed(damaged_bytes(main[:100], random) + main[100:], log)
    if kind in ("page", "cell"):
        size = max(512, int.from_bytes(main[16:18], "big"))
        pages = [main[start : start + size] for start in range(0, len(main), size)] or [b""]
        at, other = random.randrange(len(pages)), random.randrange(len(pages))
        head = random.choice((12, 40, 200))
        pages[at] = {
            "page": random.choice((b"\0" * size, pages[other], pages[at][::-1], b"\xff" * size)),
            "cell": damaged_bytes(pages[at][:head], random) + pages[at][head:],
        }[kind]
        return packed(b"".join(pages), log)
    return packed(damaged_bytes(main, random), log)


def _by_sql(main, random, *, forge):
    """Return a database after a statement, or damaged where it is none."""
    statement = random.choice(STATEMENTS)
    body, result = random.choice(FORGED_BODIES), random.choice((None, "{}", "x" * 5000))
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            connection.deserialize(main[:18] + b"\1\1" + main[20:])  # a log cannot be had in memory
            if forge:
                digest = entries._digest(FORGED, "1", "", body, result)
                row = (FORGED, "1", "", body, result, digest, time.time())
                connection.execute(f"INSERT INTO tasks ({entries.COLUMNS}, used) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            else:
                connection.executescript(statement)
            return connection.serialize()
        except (sqlite3.Error, UnicodeError, OverflowError, MemoryError):
            return damaged_bytes(main, random)


def read_journal(content, folder):
    """Open a journal, recall everything, and check that it was recorded so."""
    for file in folder.iterdir():
        file.unlink()
    main, log = unpacked(content)
    path = folder / "journal.sqlite3"
    path.write_bytes(main)
    if log:
        Path(f"{path}-wal").write_bytes(log)
    # The user's own journal is mended whatever it holds, another file only where it bears the mark.
    os.environ[json_files.HOME_VARIABLE] = str(folder if zlib.crc32(content) % 2 else folder.parent / "other")
    known = {(entry.key, entry.version, entry.rescue): entry for entry in recorded()}
    keys = [*dict.fromkeys(key for key, *_ in known), FORGED]
    with journal.Journal(path) as opened:
        found = opened.recall(keys, results=False, rescue=RESCUE)
        assert all(entry.result is not None for entry in opened.recall(keys, results=True).values())
    for entry in found.values():
        exact = known.get((entry.key, entry.version, entry.rescue))
        assert entry.key == FORGED or entry == exact, f"recalled what was not recorded: {entry!r:.200}"
    return found


# --- readers ---------------------------------------------------------------------------------------------------------


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def read_fields(content, folder):
    text, name = readers.read_text(str(written(folder, "input.json", content)))
    return readers.many_body_fields(text, name=name, expansion=None)


def read_workload(content, folder):
    fields = read_fields(content, folder)
    workload.methods_of(fields)
    return workload.load(fields)


def reader_of_geometries(name):

    def read(content, folder):
        text, of = readers.read_text(str(written(folder, name, content)))
        return readers.many_body_fields(text, name=of, expansion=Expansion(program="pyscf", method="hf"))

    return read


def read_run(content, folder):
    return json_files.load_run(written(folder, "record.json", content))


def read_tunings(content, folder):
    """Load tunings, do with them what a run does, and check that they are read again as they are written."""
    found = library.load(written(folder, "record.json", content))
    for one in found:
        estimate = cost_law.Costs({one.method: one.law}).estimate(task_of(one.method))
        assert estimate.alone_s >= 0.0
        assert math.isfinite(estimate.wall_s(2))
    kept = list(tuning_file.newest(found).values())
    library.export(kept, folder / "again.json")
    assert {(one.method, *one.parameters) for one in library.load(folder / "again.json")} == {
        (one.method, *one.parameters) for one in kept
    }
    return found


def task_of(method):
    size = TaskSize(atoms=6, ghost_atoms=0, electrons=20, functions=38)
    return Task(number=0, key="k", level="l", real=(1,), basis=(1,), labels=("a",), method=method, size=size)


def read_study(content, folder):
    if not (folder / "own.xyz").exists():
        written(folder, "own.xyz", helium_xyz(2).encode())
    found = studies.load(str(written(folder, "study.toml", content)))
    return [
        studies.fields_of(found, rung, method)
        for rung in (found.search[0], found.confirm[-1])
        for method in found.methods[:2]
    ]


def text_of(content):
    """Return what Python makes of an argument of a command."""
    return content.decode("utf-8", "surrogateescape")


def read_charges(content, _):
    given = []
    for label in ("charge", "multiplicity"):
        with contextlib.suppress(AutotuneError):
            given.append(fragments.parse_charges(text_of(content), 3, label=label))
    return given or fragments.parse_charges(text_of(content), 3)


def helium_xyz(atoms):
    """Return an XYZ file of helium atoms in a row: the cheapest fragments there are."""
    return "\n".join([str(atoms), "", *(f"He 0.0 0.0 {3.0 * atom:.1f}" for atom in range(atoms))]) + "\n"


def many_body_inputs():
    """Return ManyBodyInputs of tiny fragments, in both schema versions, with one level and several."""
    from qcmanybody.models import v2

    def made(atoms, **expansion):
        given = Expansion(program="pyscf", method="hf", basis="sto-3g", **expansion)
        return readers.many_body_fields(helium_xyz(atoms), name="he", expansion=given)

    plain, counterpoise, levels = made(2), made(3, bsse=("cp", "nocp"), max_nbody=2), made(3)
    chemistry = levels["specification"]["specification"].pop("(auto)")
    by_level = {"1": "high", "2": "low", "supersystem": "s"}
    levels["specification"]["keywords"] = {"bsse_type": ["nocp"], "levels": by_level}
    levels["specification"]["specification"] = {level: dict(chemistry) for level in by_level.values()}
    ions = made(2, charges="1:1,2:-1", multiplicities="2,2", driver="gradient", keywords={"conv_tol": 1e-9})
    ions["molecule"]["molecular_charge"] = 0
    both = [v2.ManyBodyInput(**ions), v2.ManyBodyInput(**counterpoise)]
    texts = [json.dumps(fields) for fields in (plain, counterpoise, levels, ions)]
    return tuple(
        text.encode() for text in (*texts, both[0].model_dump_json(), *(model.convert_v(1).json() for model in both))
    )


def tuning(**changes):
    given = {"hybrid.share": 0.5, "adaptive-workers.workers": 2, "hybrid.on": True, "hybrid.name": "a"}
    return make_tuning(strategies=("adaptive-workers", "hybrid"), parameters=given, **changes)


def run_record():
    """Return a run record with something in every field."""
    of, task = tuning(), {"nbody": 1, "attempts": 1, "started_s": 0.1, "wall_s": 0.5, "cpu_s": 0.4, "width": 1}
    memory = {"grant_gib": 1.0, "peak_gib": 0.2, "predicted_s": 0.6}
    return RunRecord(
        created="2026-11-26T00:00:00+00:00",
        workload="H2O 1-body, pyscf hf/sto-3g energy",
        content="0123456789abcdef",
        energy_hartree=-74.96,
        wall_s=2.0,
        tasks=2,
        recalled=0,
        attempts=3,
        lower_bound_s=1.0,
        efficiency=0.5,
        gap=Gap(startup=0.5),
        cpu_utilisation=0.7,
        peak_memory_gib=0.5,
        memory_budget_gib=3.0,
        policy=Policy(),
        tuning=TuningChoice(match="exact", reason="r", source="s", strategies=("a",), parameters={"a.b": 1}),
        versions=of.versions,
        machine=of.machine,
        methods=(of.method,),
        task_records=(
            TaskRecord(number=0, label="a", status="done", **task, **memory),
            TaskRecord(number=1, label="b", status="failed", error_type="crashed", error="e", **task, **memory),
        ),
    )


def records():
    """Return the files that are written for tunings, those of a family and a bundle, and for a run."""
    of_family = (tuning(), tuning(basis="sto-3g", verdict="same", verified="2026-11-26T00:00:00+00:00"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        tunings = []
        for held in (of_family, (*of_family, tuning(method="ccsd(t)", keywords={"conv_tol": 1e-9}))):
            library.export(held, path)
            tunings.append(path.read_bytes())
        json_files.save_run(run_record(), path)
        return {"tuning": tuple(tunings), "run": (path.read_bytes(),)}


OWN_STUDY = """schema = "autotune.study/1"
budget = "1.5m"
method = {program = "pyscf", method = "hf", basis = "sto-3g", keywords = {conv_tol = 1e-9}}
search = [{geometry = "water2", bsse = ["cp", "nocp"]}]
confirm = [{geometry = "own.xyz", max_nbody = 2}]
"""
KEYWORDS = (b"conv_tol=1e-9,max_cycle=50", b'{"conv_tol": 1e-9, "a": {"b": [1, true, null]}}', b"grid=fine,x=[1]")
FRAGMENTS = (b"3x3", b"3,3,3", b"2x4,1", b"1-3;4-6;7,8,9", b"1,2|3-9")


def packaged(name):
    return (files("autotune.studies") / name).read_bytes()


def xyz_files():
    """Return XYZ files: packaged clusters of molecules and ions, helium with and without comments of each kind."""
    stated, boxed = (helium_xyz(2).replace("\n\n", f"\n{comment}\n").encode() for comment in (COMMENTS[0], BOX))
    water, ions = (packaged(f"workloads/{name}.xyz") for name in ("water2", "sodium_chloride_water6"))
    return water, stated, helium_xyz(3).encode(), ions, boxed


def read_keywords(content, _):
    return parse_keywords(text_of(content))


def read_fragments(content, _):
    return fragments.parse_fragments(text_of(content), 9)


# How to make files, how they are damaged, and what reads them.
READERS = {
    "tuning": (lambda: records()["tuning"], damaged_json, read_tunings),
    "run": (lambda: records()["run"], damaged_json, read_run),
    "study": (lambda: (OWN_STUDY.encode(), packaged("quick.toml")), damaged_toml, read_study),
    "many-body JSON": (many_body_inputs, damaged_json, read_fields),
    "workload": (many_body_inputs, damaged_json, read_workload),
    "xyz": (xyz_files, damaged_xyz, reader_of_geometries("input.xyz")),
    "pdb": (pdb_files, damaged_pdb, reader_of_geometries("input.pdb")),
    "keywords": (lambda: KEYWORDS, damaged_option, read_keywords),
    "fragments": (lambda: FRAGMENTS, damaged_option, read_fragments),
    "charges": (lambda: (b"1:+1,2:-1", b"+1,-1,0", b"3:2", b"1,1,2"), damaged_option, read_charges),
    "journal": (journals, damaged_journal, read_journal),
}
NAMES = tuple(READERS)


@functools.cache
def reader(name):
    seeds, damaged, read = READERS[name]
    return Reader(name, seeds(), damaged, read)
