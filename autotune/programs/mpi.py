"""How programs that are MPI programs get their ranks: the launcher that is here, and what it is told.

Rules: asks the launcher once a process what it is; nothing is started but that. Ranks are not bound to cores: several
tasks run side by side, and bound ones would all take the first cores. Open MPI refuses root, which containers often
are, and more ranks than cores, unless it is told. A program of one rank is started without a launcher; left alone, its
Open MPI then starts a daemon and looks for networks: a water molecule's HF/6-31G* takes NWChem 0.5 s, 0.15 s without.
Its session files are in one place for all processes of a user; several that start and end at once fall over each
other's (measured: 3 of 400 with four at a time, none of 1200 with a place for each). What the user has set stays.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

_ANSWER_LIMIT_S = 30.0
# In containers, reading another process's memory is often forbidden; Open MPI then says so at length for each rank.
_ALWAYS = {"OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
# For one rank: no daemon, no networks; it only ever speaks to itself.
_ALONE = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}
_PLACES = ("OMPI_MCA_orte_tmpdir_base", "PRTE_MCA_prte_tmpdir_base")  # of Open MPI 4, and 5
_LONGEST_PLACE = 60  # characters: sockets below it must not have names of more than 107
_USERS = frozenset(name for name in (*_ALWAYS, *_ALONE, *_PLACES) if name in os.environ)


def set_environment(ranks: int, *, folder: str) -> None:
    """Set what programs that this process starts are to find, for so many ranks, with a folder of their own."""
    wanted = {**_ALWAYS, **(_ALONE if ranks == 1 else {})}
    if ranks == 1 or len(folder) <= _LONGEST_PLACE:
        wanted |= dict.fromkeys(_PLACES, folder)
    for name in {*_ALWAYS, *_ALONE, *_PLACES} - _USERS:
        if name in wanted:
            os.environ[name] = wanted[name]
        else:
            os.environ.pop(name, None)


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
