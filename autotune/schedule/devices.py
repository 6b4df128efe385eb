"""GPUs: which device, and which place on it, a task gets.

Rules: pure, as the scheduler, which asks. A task has one device; several share one where the tunable `per_gpu` of their
program says so, each with its own place, which is one worker's: what a process holds on a device it keeps to its end.
Memory of a device is admitted as that of the machine is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autotune.schedule.events import Place

_ROUNDING = 1e-9  # of a sum of shares


class _Taken(NamedTuple):
    share: float
    memory_gib: float


class Devices:
    """The GPUs of a machine.

    Args:
        memory_gib: Of each; infinite where it is not known.
    """

    def __init__(self, memory_gib: Sequence[float]) -> None:
        self._memory_gib = tuple(memory_gib)
        self._taken: list[dict[int, _Taken]] = [{} for _ in memory_gib]  # by place

    def room_for(self, share: float, memory_gib: float) -> Place | None:
        """Return where a task can go that takes so much of a device: the one with most left; None where it must wait.

        One that needs more memory than any device has gets one for itself.
        """
        best: tuple[float, int] | None = None
        for device, taken in enumerate(self._taken):
            used = sum(each.share for each in taken.values())
            used_gib = sum(each.memory_gib for each in taken.values())
            fits = used + share <= 1.0 + _ROUNDING and used_gib + memory_gib <= self._memory_gib[device]
            if (fits or not taken) and (best is None or used < best[0]):
                best = used, device
        if best is None:
            return None
        _, device = best
        taken = self._taken[device]
        return Place(device, next(slot for slot in range(len(taken) + 1) if slot not in taken))

    def take(self, place: Place, share: float, memory_gib: float) -> None:
        """Note that a task is at work there."""
        self._taken[place.device][place.slot] = _Taken(share, memory_gib)

    def leave(self, place: Place) -> None:
        """Note that it is not any more."""
        del self._taken[place.device][place.slot]
