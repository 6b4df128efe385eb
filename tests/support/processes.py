"""What runs below a process, for tests that nothing is left running."""

from __future__ import annotations

import contextlib

import psutil


def below(pid=None):
    """Return the living processes below one, by default this one; what ends meanwhile is not among them."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found
