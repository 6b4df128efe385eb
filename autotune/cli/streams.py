"""Standard output and standard error as a command finds them: open, closed, full, or with a reader that went away.

Rules: a command does its work and writes its files whatever becomes of its words. Output that was lost is an error at
the end; lost messages are not. Both streams are opened again above their descriptors, so that no library that prints
meets a fault.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

import click

from autotune.base import descriptors
from autotune.base.errors import ResourceError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Stream(io.FileIO):
    """A standard stream that takes everything, and keeps the first fault.

    Args:
        descriptor: 1 or 2.

    Attributes:
        fault: Why what was written is lost; None while nothing is.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.fault: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, and return how many bytes were taken: all of them where they cannot be written."""
        try:
            return super().write(data)
        except OSError as error:
            self.fault = self.fault or error
            return memoryview(data).nbytes


_output: _Stream | None = None


def secure() -> None:
    """Let this process print without faults, whatever its standard streams are."""
    global _output  # noqa: PLW0603 - a process has one standard output
    descriptors.occupy_standard()
    _output = _Stream(1)
    sys.stdout = _text(_output, like=sys.stdout, errors="strict")
    sys.stderr = _text(_Stream(2), like=sys.stderr, errors="backslashreplace")
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")


def deliver(text: str) -> None:
    """Print a result; raises ResourceError where it is lost, which is no fault where its reader went away."""
    click.echo(text)
    check()


def check() -> None:
    """Raise ResourceError where something that was printed on standard output is lost."""
    fault = _output.fault if _output is not None else None
    if fault is not None and not isinstance(fault, BrokenPipeError):
        raise ResourceError(f"standard output cannot be written: {fault.strerror}")


def _text(stream: _Stream, *, like: TextIO | None, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors=getattr(like, "errors", None) or errors,
        line_buffering=stream.isatty() or stream.fileno() == 2,  # noqa: PLR2004 - standard error's
    )
