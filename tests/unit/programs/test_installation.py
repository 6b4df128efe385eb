"""Claims about `autotune.programs.installation`."""

from __future__ import annotations

import importlib.metadata
import os

from autotune.programs.installation import stamp


def test_a_distribution_is_told_by_its_version_and_what_is_missing_is_left_out():
    assert stamp(["numpy", "no-such-program"]) == f"numpy {importlib.metadata.version('numpy')}"
    assert stamp(["no-such-program"]) == stamp([]) == ""


def test_a_command_is_told_from_another_by_place_size_and_time(tmp_path, monkeypatch):
    stamps = []
    for folder, content, written in (("a", "1", 10), ("a", "10", 10), ("a", "10", 11), ("b", "10", 11)):
        command = tmp_path / folder / "some-program"
        command.parent.mkdir(exist_ok=True)
        command.write_text(content)
        command.chmod(0o755)
        os.utime(command, (written, written))
        monkeypatch.setenv("PATH", str(command.parent))
        stamps += [stamp(["some-program"])] * 2
        assert stamp(["some-program"]) == stamps[-1]
    assert len(set(stamps)) == 4
