"""The inputs that a user names together: files, folders of them, the frames of a trajectory; each by its own name.

Rules: reads texts; what they mean is `readers.py`'s. A name is made of the path as it was given, so that the same
command gives the same names. A path that is not there is refused; a file that cannot be read is a fault of that input.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.base.errors import InputError
from autotune.base.text import count, join_words
from autotune.expansion import readers

ENDINGS = (".json", ".xyz", ".extxyz", ".pdb", ".ent", ".psi4")  # of the files that are taken from a folder
NAMED_FILES = 3  # of those that are left aside
_DIGITS = 4  # at least, in the number of a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInput:
    """One input of several.

    Attributes:
        name: By which its result is found.
        content: The text of a file; or what else `Session.run` takes; or why it cannot be read.
        source: What messages call a text.
        path: Of the file, where there is one.
    """

    name: str
    content: object
    source: str = ""
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInputs:
    """Inputs in the order in which they were named.

    Attributes:
        inputs: Each with a name of its own.
        notes: Sentences for the user: what was left aside.
    """

    inputs: tuple[NamedInput, ...]
    notes: tuple[str, ...]


def are_several(paths: Sequence[str]) -> bool:
    """Return whether paths stand for several inputs: there are more than one, or it is a folder or a trajectory."""
    if len(paths) != 1 or paths[0] == "-":
        return len(paths) > 1
    path = Path(paths[0])
    if path.is_dir():
        return True
    if not path.is_file():
        return False  # a pipe can be read once
    try:
        text, source = readers.read_text(paths[0])
        return len(readers.split_frames(text, name=source)) > 1
    except InputError:
        return False


def name_inputs(sources: Iterable[object] | Mapping[str, object]) -> NamedInputs:
    """Return the inputs that some sources are.

    Args:
        sources: Paths of files, of folders, and of XYZ files with several frames; texts of files; QCManyBody inputs or
            their fields. What has no path is called `input-0001` by its place, or as a mapping calls it. One path is
            one source.

    Raises:
        InputError: There is no such path, a folder has no input, or two inputs have one name.
    """
    found: list[NamedInput] = []
    notes: list[str] = []
    if isinstance(sources, str | Path):
        sources = [sources]
    named = sources.items() if isinstance(sources, Mapping) else ((None, source) for source in sources)
    for place, (name, source) in enumerate(named, start=1):
        if isinstance(source, str | Path) and not _is_text(source):
            path = Path(source)
            if path.is_dir():
                files, note = _files_of(path)
                notes += [note] if note else []
            else:
                files = [path]
            for file in files:
                called = _name_of(file, given=path)
                if name is not None:
                    called = f"{name}/{file.stem}" if path.is_dir() else str(name)
                found += _inputs_of_file(file, called)
        else:
            called = _numbered("input", place) if name is None else str(name)
            found.append(NamedInput(name=called, content=source, source="the text"))
    _check_names(found)
    return NamedInputs(inputs=tuple(found), notes=tuple(notes))


def _is_text(source: str | Path) -> bool:
    """Return whether a source is the text of a file: it has several lines, or is JSON."""
    return isinstance(source, str) and ("\n" in source or source.lstrip()[:1] in ("{", "["))


def _files_of(folder: Path) -> tuple[list[Path], str]:
    """Return the files of a folder that may be inputs, and what to say of the others."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read: {error.strerror}") from error
    taken = [path for path in files if path.suffix.lower() in ENDINGS]
    if not taken:
        raise InputError(f"folder {folder} has no input; the files in it that are taken end in {', '.join(ENDINGS)}")
    aside = [path.name for path in files if path not in set(taken)]
    if not aside:
        return taken, ""
    verb, of, s = ("is", "its", "") if len(aside) == 1 else ("are", "their", "s")
    names = [*aside[:NAMED_FILES], *(["others"] if len(aside) > NAMED_FILES else [])]
    return taken, f"{folder}: {count(len(taken), 'input')}; {join_words(names)} {verb} left aside by {of} ending{s}"


def _inputs_of_file(path: Path, name: str) -> Iterator[NamedInput]:
    if str(path) == "-":
        raise InputError("standard input cannot be one of several inputs; name files")
    if not path.exists():
        raise InputError(f"{path} cannot be read: no such file; check the path")
    try:
        text, source = readers.read_text(str(path))
        frames = readers.split_frames(text, name=source)
    except InputError as error:
        yield NamedInput(name=name, content=error, path=path)
        return
    if len(frames) == 1:
        yield NamedInput(name=name, content=text, source=source, path=path)
        return
    digits = max(_DIGITS, len(str(len(frames))))
    for number, frame in enumerate(frames, start=1):
        yield NamedInput(
            name=_numbered(name, number, digits=digits),
            content=frame,
            source=f"{source}, frame {number:,}",
            path=path,
        )


def _numbered(name: str, number: int, *, digits: int = _DIGITS) -> str:
    return f"{name}-{number:0{digits}}"


def _name_of(path: Path, *, given: Path) -> str:
    """Return a path as it was given, without its ending and what leads out of a folder; of an absolute one the end."""
    shown = path.relative_to(given.parent) if given.is_absolute() else path
    name = "/".join(part for part in shown.with_suffix("").parts if part not in ("..", ".")) or path.name
    return os.fsencode(name).decode("utf-8", "replace")  # JSON has no other letters


def _check_names(found: Iterable[NamedInput]) -> None:
    sources: dict[str, str] = {}
    for each in found:
        if each.name in sources:
            both = [text for text in (sources[each.name], each.source) if text]
            where = f" ({' and '.join(both)})" if both else ""
            raise InputError(f"two inputs would be {each.name!r}{where}; rename one, or give paths from above")
        sources[each.name] = each.source
