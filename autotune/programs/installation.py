"""Which installation of a program this machine has, told without starting it."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable
from pathlib import Path


def stamp(names: Iterable[str]) -> str:
    """Return a text that changes with the installation; empty where nothing of these names is found.

    Args:
        names: Of Python distributions and of commands; those that are missing are no part of the text.
    """
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if command := shutil.which(name):
                path = Path(command).resolve()
                status = path.stat()
                found.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return "; ".join(found)
