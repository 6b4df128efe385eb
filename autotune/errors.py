"""The few errors a user can meet, each with the exit code of the command line.

Rules: a message is one line that names the thing at fault and the cure. Anything that is not an `AutotuneError`
is a defect of this project and keeps its traceback.
"""

from __future__ import annotations


class AutotuneError(Exception):
    """Base of all expected errors."""

    exit_code = 1


class InputError(AutotuneError):
    """Something the user gave cannot be used: a file, an option, a method, a geometry."""

    exit_code = 2


class ResourceError(AutotuneError):
    """The machine cannot do what was asked: memory, cores, disk, a missing program's licence."""

    exit_code = 2


class TaskError(AutotuneError):
    """A program failed on one or more fragments."""

    exit_code = 1
