"""The few errors a user can meet, each with the exit code of the command line.

Rules: a message is one line that names the thing at fault and the cure. Anything that is not an `AutotuneError`
is a defect of this project and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping


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
    """A program failed on one or more fragments.

    Attributes:
        done: Values of the tasks that were computed, by QCManyBody label: `energy`, `gradient`, `hessian`; energies
            only where arrays were so many that they are in the journal alone, which a note says.
        failed: Kind and message of those that were not, by QCManyBody label.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        done: Mapping[str, Mapping[str, object]] | None = None,
        failed: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.done, self.failed = dict(done or {}), dict(failed or {})
