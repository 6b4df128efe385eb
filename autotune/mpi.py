"""How programs that are MPI programs get their ranks: the launcher that is here, and what it is told.

Rules: asks the launcher once a process what it is; nothing is started but that. Ranks are not bound to cores: several
tasks run side by side, and bound ones would all take the first cores. Open MPI refuses root, which containers often
are, and more ranks than cores, unless it is told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

_ANSWER_LIMIT_S = 30.0
# In containers, reading another process's memory is often forbidden; Open MPI then says so at length for each rank.
ENVIRONMENT = {"OMPI_MCA_btl_vader_single_copy_mechanism": "none"}


@cache
def launcher() -> str:
    """Return QCEngine's `mpiexec_command` for this machine; empty where there is none that answers."""
    path = shutil.which("mpirun") or shutil.which("mpiexec")
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):  # it would not start ranks either
        return ""
    if "Open MPI" in done.stdout or "OpenRTE" in done.stdout:
        root = " --allow-run-as-root" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        return f"{path}{root} --bind-to none --oversubscribe -n {{total_ranks}}"
    if "HYDRA" in done.stdout or "Intel" in done.stdout:  # MPICH and its relatives
        return f"{path} -bind-to none -n {{total_ranks}}"
    return f"{path} -n {{total_ranks}}"
