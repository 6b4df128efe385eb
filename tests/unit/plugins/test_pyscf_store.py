"""The folder in which workers share arrays: whole or not there, bounded, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pyscf")

from autotune_plugins.pyscf_store import Store

ARRAY = np.linspace(-1, 1, 600).reshape(20, 30)
BIG = 1e6


@pytest.mark.parametrize("array", [ARRAY, ARRAY[:, 0], ARRAY.T, np.zeros((4, 0)), np.array([np.nan])])
def test_an_array_comes_back_as_it_was(tmp_path, array):
    Store(tmp_path / "new", most_bytes=BIG).keep("key", array)
    found = Store(tmp_path / "new", most_bytes=BIG).find("key")
    assert found.shape == array.shape
    assert found.tobytes() == np.ascontiguousarray(array).tobytes()


def test_what_is_not_there_is_not_found_nor_stored_where_no_folder_can_be(tmp_path):
    assert Store(tmp_path, most_bytes=BIG).find("key") is None
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "folder", most_bytes=BIG)
    store.keep("key", ARRAY)
    assert store.find("key") is None


def test_what_a_reader_writes_stays_with_him(tmp_path):
    store = Store(tmp_path, most_bytes=BIG)
    store.keep("key", ARRAY)
    store.find("key")[:] = 7
    assert (store.find("key") == ARRAY).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:100],
        lambda _: b"",
        lambda _: b"\xff" * 6000,
        lambda whole: whole[:-3] + b"\x00\x01\x02",
        lambda whole: b"[1]".ljust(511) + b"\n" + whole[512:],
        lambda whole: b'{"shape": [-3], "crc": 0}'.ljust(511) + b"\n" + whole[512:],
    ],
)
def test_a_damaged_file_is_not_there(tmp_path, damage):
    path = tmp_path / "key"
    Store(tmp_path, most_bytes=BIG).keep(path.name, ARRAY)
    whole = path.read_bytes()
    path.unlink()  # a file of another number, as another process would leave it
    path.write_bytes(damage(whole))
    assert Store(tmp_path, most_bytes=BIG).find("key") is None


def test_the_folder_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path):
    most = 10 * (ARRAY.nbytes + 512)
    store = Store(tmp_path, most_bytes=most)
    for number in range(40):
        store.keep(f"{number}", ARRAY)
        os.utime(tmp_path / f"{number}", ns=(number, number))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= most
    assert store.find("39") is not None
    assert store.find("0") is None


def test_what_is_larger_than_the_folder_may_be_is_not_stored(tmp_path):
    Store(tmp_path, most_bytes=ARRAY.nbytes).keep("key", ARRAY)
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
import numpy as np
from autotune.plugin.manager import Manager
Manager()
from autotune_plugins.pyscf_store import Store

array, number = np.arange(1000.0), int(sys.argv[2])
store = Store(Path(sys.argv[1]), most_bytes=30 * array.nbytes)
for turn in range(60):
    store.keep(f"{turn % 12}", array + turn % 12)
    found = store.find(f"{(turn + number) % 12}")
    assert found is None or (found == array + (turn + number) % 12).all()
"""


def test_several_that_write_and_remove_at_once_find_whole_arrays_only(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(number)]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
