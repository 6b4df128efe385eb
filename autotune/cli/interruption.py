"""Signals that end a command: Ctrl-C, SIGTERM of a batch system, a hang-up.

Rules: each is a KeyboardInterrupt in the main thread, which everything on the way out knows. Python may lose one, where
it comes while a callback of somebody else's library runs; so it is kept here, and raised again at the next step. Where
it comes while a class is made, Python 3.11 makes another error of it.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_BY_SHELLS = 128  # plus the signal's number is the exit status, as shells say it
_caught: list[int] = []


def listen() -> None:
    """Catch the signals; one that is ignored, as a hang-up under nohup, stays ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _catch)
    sys.unraisablehook = _leave_out


def _leave_out(fault: UnraisableHookArgs) -> None:
    """Print what could not be raised, but for a signal that came while a library cleaned up: `check` raises it."""
    if not (_caught and isinstance(fault.exc_value, KeyboardInterrupt)):
        sys.__unraisablehook__(fault)


def _catch(number: int, _: FrameType | None) -> None:
    again = bool(_caught)
    _caught.append(number)
    # Slurm sends SIGTERM to the step and to the job: the second one must not disturb what the first has begun to end.
    if not again or number == signal.SIGINT:
        raise KeyboardInterrupt


def check(*_: object) -> None:
    """Raise KeyboardInterrupt where a signal was caught; takes what callbacks are given."""
    if _caught:
        raise KeyboardInterrupt


def status() -> int:
    """Return the exit status of what a signal ended: 130 for Ctrl-C, 143 for SIGTERM; 0 where none was caught."""
    return _BY_SHELLS + _caught[0] if _caught else 0


def words() -> str:
    """Return what ended the command."""
    name = signal.Signals(_caught[0]).name if _caught else "SIGINT"
    return "interrupted" if name == "SIGINT" else f"ended by {name}"
