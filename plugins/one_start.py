"""One start of a program with the input of many tasks: what it has written when it ends, however it ends."""

from __future__ import annotations

import contextlib
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from qcengine.exceptions import QCEngineException
from qcengine.util import disk_files, popen, temporary_directory

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput
    from qcengine.config import TaskConfig


class Written(NamedTuple):
    """What a program has written: on its two streams, and to files by name, None where there is none."""

    stdout: str
    stderr: str
    files: dict[str, str | None]


def jobs(
    build_input: Callable[[AtomicInput, TaskConfig], dict[str, Any]], inputs: Sequence[AtomicInput], config: TaskConfig
) -> list[dict[str, Any]]:
    """Return the jobs that a harness makes of some inputs, up to the first of which it can make none."""
    made = []
    for each in inputs:
        try:
            made.append(build_input(each, config))
        except QCEngineException:
            break
    return made


def run(job: Mapping[str, Any], outfiles: Sequence[str], *, limit_s: float) -> Written:
    """Return what a program has written, which is ended after some time.

    Args:
        job: As QCEngine's harnesses describe it: `command`, `infiles`, `scratch_directory`, perhaps `environment`.
        outfiles: Files to read.
        limit_s: Seconds it may take; infinity for no limit.
    """
    with (
        temporary_directory(parent=job["scratch_directory"]) as folder,
        disk_files(job["infiles"], dict.fromkeys(outfiles), cwd=folder) as files,
        popen(job["command"], popen_kwargs={"cwd": folder, "env": job.get("environment")}) as program,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        program["proc"].wait(timeout=None if limit_s == math.inf else limit_s)
    program["proc"].wait()  # one that ignored Ctrl-C, as below nohup, was killed and nobody waited for it
    return Written(program["stdout"], program["stderr"], files)
