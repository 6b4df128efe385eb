"""One start of a program with the input of many tasks: what it has written when it ends, however it ends."""

from __future__ import annotations

import contextlib
import math
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qcengine.util import disk_files, popen, temporary_directory


class Written(NamedTuple):
    """What a program has written: on its two streams, and to files by name, None where there is none."""

    stdout: str
    stderr: str
    files: dict[str, str | None]


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
    return Written(program["stdout"], program["stderr"], files)
