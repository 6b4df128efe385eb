"""Where `autotune run` puts the results of many inputs: a folder, a file of JSON Lines, or standard output."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

import click

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

    from autotune.expansion.inputs import NamedInput
    from autotune.session.lot import Outcome

LINES = ".jsonl"


def json_of(result: ManyBodyResult | ManyBodyResultV1) -> str:
    """Return a result as JSON, in its schema version."""
    # QCSchema v1 models are pydantic v1.
    text: str = result.json() if getattr(result, "schema_version", 2) == 1 else result.model_dump_json()
    return text


def check(
    output: str | None, others: Sequence[str | None], *, sources: Sequence[str], inputs: Sequence[NamedInput]
) -> None:
    """Raise `InputError` for targets that cannot take many results, or would replace what the run reads or writes.

    Args:
        output: Where results go.
        others: The other files that are written.
        sources: What the command was given.
        inputs: The inputs that these are.

    Raises:
        ResourceError: A folder of results cannot be written.
    """
    lines = output is not None and Path(output).suffix.lower() == LINES
    options.check_targets(
        (output if lines else None, *others), [*sources, *(each.path for each in inputs if each.path)]
    )
    if output is None or lines:
        return
    path = Path(output)
    if path.exists() and not path.is_dir():
        raise InputError(f"{output} is a file; give the results of several inputs a folder, or a name in {LINES}")
    if path.suffix.lower() == ".json":
        raise InputError(f"{output} holds one result; give those of several inputs a folder, or a name in {LINES}")
    if any(Path(source).is_dir() and Path(source).resolve() == path.resolve() for source in sources):
        raise InputError(f"{output} is the folder of the inputs; name another one for the results")
    read = {each.path.resolve() for each in inputs if each.path}
    written = {Path(other).resolve() for other in others if other}
    for each in inputs:
        place = (path / f"{each.name}.json").resolve()
        if place in read:
            raise InputError(f"{path / each.name}.json is an input; name another folder for the results")
        if place in written:
            raise InputError(f"{path / each.name}.json is named for two different things; give each its own file")
    from autotune.base import json_files

    json_files.check_writable(path, cure="")


class Target:
    """Takes outcomes as they come; a context manager.

    Args:
        output: A folder, which gets a file for each input, by its name; a file of JSON Lines; None for JSON Lines on
            standard output.
        silent: Put nothing on standard output.
    """

    def __init__(self, output: str | None, *, silent: bool) -> None:
        self._output, self._silent = output, silent
        self._lines: TextIO | None = None
        self._refused: list[str] = []  # until there is a result: a file of an earlier run is not replaced by nothing
        self._open = contextlib.ExitStack()
        self._is_folder = output is not None and Path(output).suffix.lower() != LINES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is None and self._output is not None and not Path(self._output).exists():
            for line in self._refused:
                self._write(line)
        self._open.close()

    def take(self, outcome: Outcome) -> None:
        """Put an outcome where it belongs; raises ResourceError where that cannot be written."""
        if self._is_folder:
            self._file(outcome)
        elif self._output is not None:
            self._refused.append(_line(outcome))
            if outcome.result is not None or self._lines is not None:
                for line in self._refused:
                    self._write(line)
                self._refused.clear()
        elif not self._silent:
            click.echo(_line(outcome))  # where it is lost, the run goes on, and that is said at its end

    def _file(self, outcome: Outcome) -> None:
        from autotune.base import json_files

        path = Path(str(self._output)) / f"{outcome.name}.json"
        partial = path.with_name(f"{path.name}.partial")
        if outcome.result is not None:
            json_files.write_text(path, json_of(outcome.result) + "\n", durable=False)
            partial.unlink(missing_ok=True)
            return
        if path.exists():
            click.echo(f"autotune: {path} is of an earlier run, not of this one", err=True)
        if isinstance(outcome.error, TaskError) and outcome.error.failed:
            json_files.save_partial(outcome.error.done, outcome.error.failed, partial)

    def _write(self, line: str) -> None:
        try:
            if self._lines is None:
                self._lines = self._open.enter_context(Path(str(self._output)).open("w", encoding="utf-8"))  # noqa: SIM115 - closed with it
            self._lines.write(line + "\n")
            self._lines.flush()
        except OSError as error:
            raise ResourceError(f"{self._output} cannot be written: {error.strerror}") from error


def _line(outcome: Outcome) -> str:
    name = json.dumps(outcome.name)
    if outcome.result is not None:
        return f'{{"name": {name}, "result": {json_of(outcome.result)}}}'
    error = {"kind": type(outcome.error).__name__, "message": str(outcome.error)}
    return f'{{"name": {name}, "error": {json.dumps(error)}}}'
