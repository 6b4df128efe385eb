"""Pretends to be Windows as far as autotune can see: no `fcntl`, no `resource`, no `fork`, no affinity.

Only autotune's own modules miss what is taken away as a module; what they stand on needs it here. Import this before
autotune: `python -c "import other_system; ..."`, or `pytest -p other_system` with tests/support on the path.
"""

from __future__ import annotations

import builtins
import os
import signal
import sys

MODULES = ("fcntl", "resource", "grp", "pwd", "termios")
FUNCTIONS = (
    "fork",
    "forkpty",
    "register_at_fork",
    "killpg",
    "sched_getaffinity",
    "sched_setaffinity",
    "setsid",
    "WIFSIGNALED",
)
SIGNALS = ("SIGKILL", "SIGHUP")
OURS = ("autotune", "autotune_plugins")

_import = builtins.__import__


def _without(name, globals_=None, locals_=None, fromlist=(), level=0):
    importer = str((globals_ or {}).get("__name__", "")).partition(".")[0]
    if importer in OURS and level == 0 and name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _import(name, globals_, locals_, fromlist, level)


# What autotune stands on is loaded before, for it would miss these here.
import multiprocessing.connection  # noqa: E402, F401
import subprocess  # noqa: E402, F401
import tempfile  # noqa: E402, F401

import psutil  # noqa: E402, F401

assert not any(name.partition(".")[0] in OURS for name in sys.modules), "import this before autotune"
builtins.__import__ = _without
for _name in FUNCTIONS:
    if hasattr(os, _name):
        delattr(os, _name)
for _name in SIGNALS:
    if hasattr(signal, _name):
        delattr(signal, _name)
