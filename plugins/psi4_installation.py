"""Finds Psi4: its executable, the Python it runs on, its modules and its version, without starting it.

Psi4 may live in another environment than ours (conda, a distribution's package), so it is never imported here. The
executable is a Python script: its first line names the Python, `psi4 --psiapi-path` names the folder of its modules,
and `metadata.py` there names the version.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

SCHEMA_FROM = (1, 4)  # from which Psi4 speaks QCSchema through `psi4.schema_wrapper`
_ANSWER_LIMIT_S = 60.0  # of a command that only prints: file systems of clusters are slow at first touch


class Installation(NamedTuple):
    """Where Psi4 is, and which; `folder` holds the package `psi4`."""

    executable: str
    python: str
    folder: str
    version: str

    @property
    def speaks_schema(self) -> bool:
        """Whether it has the interface of Psi4 1.4 and later."""
        return self.at_least(*SCHEMA_FROM)

    def at_least(self, major: int, minor: int) -> bool:
        """Return whether it is of this version or a later one; an unknown version is taken for the latest."""
        numbers = re.match(r"(\d+)\.(\d+)", self.version)
        return numbers is None or (int(numbers[1]), int(numbers[2])) >= (major, minor)


def executable() -> str | None:
    """Return the `psi4` in PATH if it is a Python script, as it should be; starts nothing."""
    found = shutil.which("psi4")
    return found if found and _python(Path(found)) else None


@cache
def find() -> Installation | None:
    """Return the installation that `psi4` in PATH belongs to; None where there is none that can be used.

    Asks the executable where its modules are, which takes some 50 ms, once a process.
    """
    path = executable()
    python = path and _python(Path(path))
    folder = path and _module_folder(path)
    if not (path and python and folder):
        return None
    return Installation(path, python, folder, _version(Path(folder)) or _output_of([path, "--version"]).strip())


def _python(executable: Path) -> str | None:
    """Return the Python that a script is run by; None where the file is no Python script."""
    with executable.open("rb") as file:
        lines = file.read(4096).decode(errors="replace").splitlines()
    if len(lines) > 1 and lines[1].startswith("'''exec'"):
        # Conda's way around a limit on the length of first lines: '''exec' /long/path/python "$0" "$@"
        return shutil.which(shlex.split(lines[1])[1])
    words = lines[0].removeprefix("#!").split() if lines and lines[0].startswith("#!") else []
    words = [word for word in words if not word.startswith("-") and Path(word).name != "env"]
    return shutil.which(words[0]) if words and "python" in Path(words[0]).name else None


def _module_folder(executable: str) -> str | None:
    """Return the folder of Psi4's modules: what `--psiapi-path` puts first into PYTHONPATH."""
    found = re.search(r"PYTHONPATH=([^:\n]+)", _output_of([executable, "--psiapi-path"]))
    return found[1] if found and (Path(found[1]) / "psi4").is_dir() else None


def _version(folder: Path) -> str:
    try:
        text = (folder / "psi4" / "metadata.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found[1] if found else ""


def _output_of(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_ANSWER_LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
