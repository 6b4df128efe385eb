"""A memory limit that the kernel enforces on all workers together: a control group of their own.

Rules: optional, and only where a control group is delegated to the user (root in a container, or
`systemd-run --user --scope -p Delegate=yes autotune run ...`). A worker that meets the limit is killed by the kernel
before anything else on the machine suffers, and its task is repeated with more memory. Version 2 allows limits only on
groups whose parent holds no process itself, so this process moves into a group of its own, if it is the only one there,
and back when the workers have ended. What a run that was killed left there, the next one removes.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

from autotune.base.errors import ResourceError
from autotune.machine.detection import ROOT, cgroup_folders

_CURE = "leave out --enforce-memory, or run under `systemd-run --user --scope -p Delegate=yes`"


class Enclosure:
    """A control group below this process's own, with a memory limit.

    Args:
        limit_gib: What the processes in it may hold together.
        root: Folder that holds `proc` and `sys`.

    Raises:
        ResourceError: There is no control group here that this user may divide.
    """

    def __init__(self, limit_gib: float, *, root: Path = ROOT) -> None:
        version, parent = next(iter(cgroup_folders("memory", root)), ("", root))
        if not version:
            raise ResourceError(f"memory cannot be enforced: there is no control group for memory here; {_CURE}")
        self._limit_file = "memory.max" if version == "cgroup v2" else "memory.limit_in_bytes"
        self._parent, self._aside, self.folder = parent, parent / f"autotune-{os.getpid()}-parent", parent
        _remove_leftovers(parent)
        try:
            if version == "cgroup v2":
                self._step_aside()
            self.folder = Path(tempfile.mkdtemp(prefix=f"autotune-{os.getpid()}-workers-", dir=parent))
            self.limit(limit_gib)
        except OSError as error:
            self.close()
            raise ResourceError(
                f"memory cannot be enforced: control group {parent} is not ours to divide ({error.strerror}); {_CURE}"
            ) from error

    def limit(self, limit_gib: float) -> None:
        """Set the limit again."""
        (self.folder / self._limit_file).write_text(str(int(limit_gib * 2**30)), encoding="ascii")

    def take(self, pids: list[int]) -> None:
        """Move processes in; those they start are in it, too."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (self.folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def close(self) -> None:
        """Remove the group, whose processes must have ended, and bring this process back to where it was."""
        if self.folder != self._parent:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        if self._aside.exists():
            with contextlib.suppress(OSError):
                (self._parent / "cgroup.subtree_control").write_text("-memory", encoding="ascii")
                for pid in (self._aside / "cgroup.procs").read_text(encoding="ascii").split():
                    (self._parent / "cgroup.procs").write_text(pid, encoding="ascii")
                self._aside.rmdir()

    def _step_aside(self) -> None:
        """Leave a version 2 group, if this process is the only one in it, and let its children have memory limits."""
        processes = (self._parent / "cgroup.procs").read_text(encoding="ascii").split()
        if "memory" not in (self._parent / "cgroup.subtree_control").read_text(encoding="ascii").split():
            if processes and processes != [str(os.getpid())]:
                raise OSError(0, "other processes are in it")
            self._aside.mkdir(exist_ok=True)
            (self._aside / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            (self._parent / "cgroup.subtree_control").write_text("+memory", encoding="ascii")


def _remove_leftovers(parent: Path) -> None:
    """Remove the groups of runs that have ended; the kernel keeps those that hold processes."""
    import psutil

    for group in parent.glob("autotune-*"):
        owner = re.match(r"autotune-(\d+)-(?:parent|workers-)", group.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            with contextlib.suppress(OSError):
                group.rmdir()
