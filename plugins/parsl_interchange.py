"""Parsl's interchange, which ends with the process that started it, and takes that one's jobs out of Slurm's queue.

As Parsl starts it, an interchange outlives a process that is killed, and its nodes wait for work until their time is
over. Rules: a process of its own, in the place of Parsl's `interchange.py`, whose configuration it reads and hands on.
Nodes that have lost their interchange end by themselves within two minutes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import runpy
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

LOOK_S = 1.0
CANCEL_S = 60.0


def main() -> None:
    """Run the interchange of the configuration on standard input until it ends or the parent process does."""
    parent, content = os.getppid(), sys.stdin.buffer.read()
    # By a process that this user has started a moment ago.
    scripts = Path(pickle.loads(content)["logdir"]).parent / "submit_scripts"  # noqa: S301
    threading.Thread(target=_end_with, args=(parent, scripts), daemon=True).start()
    logging.raiseExceptions = False  # a full disk costs lines of its log, not pages on this standard error
    interchange = shutil.which("interchange.py")
    assert interchange is not None, "Parsl's own command was found when it was started"
    sys.stdin = cast("Any", SimpleNamespace(buffer=io.BytesIO(content)))
    runpy.run_path(interchange, run_name="__main__")


def _end_with(parent: int, scripts: Path) -> None:
    """Wait until a process is not this one's parent any more, cancel what it has submitted, and end."""
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    cancel_jobs(scripts)
    os._exit(0)


def cancel_jobs(scripts: Path) -> None:
    """Take the jobs of all scripts in a folder out of Slurm's queue, by their names, which are those of the scripts."""
    if not scripts.is_dir():
        return
    for script in sorted(scripts.iterdir()):
        with contextlib.suppress(OSError, UnicodeDecodeError, subprocess.SubprocessError):
            if script.suffix not in (".stdout", ".stderr") and "#SBATCH" in script.read_text():
                command = ["scancel", "--quiet", f"--name={script.name}"]
                subprocess.run(command, timeout=CANCEL_S, check=False, capture_output=True)


if __name__ == "__main__":
    main()
