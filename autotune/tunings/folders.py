"""Where tunings are: a folder for each machine, in it a file for each family of methods of a program.

Rules: folders are looked through in order, this user's first, then the site's, then what came with autotune. Of one
machine and method the first folder's tuning counts, and the newest within it. Names of machines and programs may come
from somebody else's file: whatever they are, they name one file inside the folder.
"""

from __future__ import annotations

import glob
import importlib.util
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from autotune.base import json_files
from autotune.base.errors import InputError, ResourceError
from autotune.base.records import Tuning
from autotune.base.types import Machine, Method
from autotune.costs.terms import family
from autotune.tunings import tuning_file

_FILE_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,198}[a-z0-9_-])?")  # on every file system
_SIZES = re.compile(r"-\d+c-\d+g(?![a-z0-9])")  # where a machine's key says cores and memory


class Stored(NamedTuple):
    """A tuning and its file."""

    tuning: Tuning
    path: Path


def home() -> Path:
    """Return this user's folder of tunings."""
    return json_files.home() / "tunings"


def site() -> Path:
    """Return the folder of tunings for all users of this site."""
    import platformdirs

    return Path(platformdirs.site_data_dir("autotune", appauthor=False)) / "tunings"


def is_own(path: Path) -> bool:
    """Return whether a file is in this user's folder."""
    return any(path.is_relative_to(folder) for folder in _own())


def path_of(machine: Machine, method: Method, *, folder: Path | None = None) -> Path:
    """Return the file for the tunings of a machine and of a method's program and family, by default this user's."""
    return (folder or home()) / _name(machine.key) / f"{_name(method.program)}-{_words(family(method))}.json"


def everything() -> Iterator[tuple[Path, Tuning | str]]:
    """Yield every stored tuning, or what is wrong with its file, in the order of the folders."""
    for folder in _folders():
        for path in _files(folder, "*/*.json"):
            try:
                yield from ((path, tuning) for tuning in _read(path))
            except InputError as error:
                yield path, str(error)


def of_machine(key: str) -> tuple[list[Stored], list[str]]:
    """Return the tunings that count on a machine, one for each method, and what is wrong with files passed over."""
    return _counting(f"{_name(key)}/*.json")


def of_processor(machine: Machine) -> tuple[list[Stored], list[str]]:
    """Return as `of_machine`, of every machine with the same processor; what is wrong is said of this machine's alone.

    The processor is what a key says before the cores and memory that a job may use.
    """
    processor = _processor(machine.key)
    found, _ = _counting(f"{glob.escape(processor)}*/*.json")
    alike = [one for one in found if _processor(one.tuning.machine.key) == processor]
    return alike, of_machine(machine.key)[1]


def _processor(key: str) -> str:
    return _SIZES.split(key)[0]


def _counting(pattern: str) -> tuple[list[Stored], list[str]]:
    """Return the tunings that count of some files, one for each machine and method, and what is wrong with others."""
    counting: dict[tuning_file.Key, Stored] = {}
    wrong: list[str] = []
    for folder in _folders():
        here: list[Stored] = []
        for path in _files(folder, pattern):
            try:
                here += [Stored(tuning, path) for tuning in _read(path)]
            except InputError as error:
                wrong.append(str(error))
        here.sort(key=lambda one: tuning_file.times_s(one.tuning))
        counting = {tuning_file.key_of(one.tuning): one for one in here} | counting
    return list(counting.values()), wrong


def _read(path: Path) -> tuple[Tuning, ...]:
    """Return the tunings of a file in a machine's folder; raises InputError where it has those of another machine."""
    found = tuning_file.read(path)
    for tuning in found:
        if _name(tuning.machine.key) != path.parent.name:
            cure = "use `autotune tunings import`, which puts it where it belongs"
            raise InputError(f"{path} is of machine {tuning.machine.key}, not of the one its folder is for; {cure}")
    return found


def _folders() -> Iterator[Path]:
    yield from _own()
    yield site()
    packaged = importlib.util.find_spec("autotune.results")
    if packaged and packaged.submodule_search_locations:
        yield Path(packaged.submodule_search_locations[0]) / "tunings"


def _own() -> list[Path]:
    """Return this user's folder, or nothing where the user has no home."""
    try:
        return [home()]
    except ResourceError:
        return []


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(folder.glob(pattern)) if path.is_file()]


def _words(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9_]+", text.lower()))


def _name(text: str) -> str:
    """Return a name as a file name: itself where it can be one, else a readable one that no other name has."""
    if _FILE_NAME.fullmatch(text):
        return text
    return f"{_words(text)[:60] or 'unknown'}-{sha256(text.encode(errors='replace')).hexdigest()[:8]}"
