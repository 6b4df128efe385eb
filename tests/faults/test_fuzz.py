"""Whatever is in a file: its reader returns, or raises an AutotuneError of one line, in seconds, and writes nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
import damage


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
@settings(max_examples=300, deadline=5000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_damaged_files_are_read_or_refused_in_one_line(name, folder, random):
    reader = damage.reader(name)
    content = random.choice(reader.seeds)
    for _ in range(random.randrange(1, 4)):
        content = reader.damaged(content, random)
    note(repr(content[:3000]))
    damage.outcome(reader, content, folder)
