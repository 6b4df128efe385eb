"""Seats: where a worker sits, and how fast it is there. On cores that are not alike, who would end a task first?

Rules: pure, as the scheduler, which asks. A speed is relative to the costs: a task that is predicted to take a second
takes two where it is 0.5. Where all are alike the lowest idle one takes what starts, and nothing else is decided here.

A task goes to the seat that would end it first, be it busy now (earliest completion; of uniform machines, the longest
task first, at most 1.67 times the shortest schedule: Friesen 1987, and far nearer with many tasks). What goes to a busy
seat is kept for it while the shorter ones behind are looked at.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from autotune.schedule.running import LATE_SHARE

_ALIKE = 0.02  # speeds that differ by less are the same: no schedule is better for it


class Seats:
    """The seats of a run, and when each is expected to be free.

    Args:
        speeds: Of each seat; empty where all are alike, and then there are as many as are taken at once.

    Attributes:
        even: All are alike.
    """

    def __init__(self, speeds: Sequence[float] = ()) -> None:
        self._busy: dict[int, tuple[float, float]] = {}  # from when until about when
        self._ever = 0  # how many seats were taken
        self._left: list[int] = []  # of these the idle ones, the lowest first; kept up where all are alike
        self.adapt(speeds)

    def adapt(self, speeds: Sequence[float]) -> None:
        """Follow what was learned of the seats' speeds; those at work go on to when they were expected to end."""
        self._speeds = tuple(speeds)
        self.even = not speeds or max(speeds) <= (1.0 + _ALIKE) * min(speeds)
        self._mean = sum(speeds) / len(speeds) if speeds else 1.0
        self._left = [seat for seat in range(self._ever) if seat not in self._busy]

    def speed_of(self, seat: int) -> float:
        """Return the speed of a seat; the mean of all where they are alike, and which is taken is not noted."""
        return self._mean if self.even else self._speeds[seat]

    def left_s(self, now_s: float, waiting_s: float) -> float:
        """Return how long all seats together take at least for what they are at and for so much more work."""
        speeds = self._speeds
        at_work_s = sum([(free_s - now_s) * speeds[seat] for seat, free_s in enumerate(self.free_s(now_s))])
        return (at_work_s + waiting_s) / sum(self._speeds)

    def take(self, seat: int, now_s: float, ends_s: float) -> None:
        """Note that a seat is at work from now until about then."""
        self._busy[seat] = (now_s, ends_s)
        if self._left and self._left[0] == seat:
            heapq.heappop(self._left)
        self._ever = max(self._ever, seat + 1)

    def leave(self, seat: int) -> None:
        """Note that a seat is free."""
        del self._busy[seat]
        if self.even:
            heapq.heappush(self._left, seat)

    def lowest_idle(self) -> int:
        """Return the lowest seat that is free now where all are alike; there is always one more."""
        return self._left[0] if self._left else self._ever

    def fastest_idle(self) -> int | None:
        """Return the fastest seat that is free now; None where all are at work, or alike."""
        idle = [seat for seat in range(len(self._speeds)) if seat not in self._busy]
        return max(idle, key=lambda seat: (self._speeds[seat], -seat), default=None)

    def is_idle(self, seat: int) -> bool:
        """Return whether a seat is free now."""
        return seat not in self._busy

    def free_s(self, now_s: float) -> list[float]:
        """Return when each seat is expected to be free; one that is late as `running.py` has it."""
        found = [now_s] * len(self._speeds)
        for seat, (began_s, ends_s) in self._busy.items():
            if seat < len(found):  # there are fewer workers now than there were
                found[seat] = ends_s if ends_s > now_s else now_s + LATE_SHARE * (now_s - began_s)
        return found


class Deal:
    """One decision: tasks are offered in their order until an idle seat takes one.

    Args:
        seats: The seats.
        now_s: The time.
        within_s: So long all that is left takes at least: a task that an idle seat ends within it holds nobody up.
    """

    def __init__(self, seats: Seats, now_s: float, *, within_s: float) -> None:
        self._seats, self._now_s, self._within_s = seats, now_s, within_s
        self._idle = None if seats.even else seats.fastest_idle()
        self._free_s: list[float] | None = None

    def seat_for(self, seconds: float) -> int | None:
        """Return the idle seat that takes a task of so many seconds, or None where a busy one would end it sooner."""
        if self._seats.even:
            return 0
        if self._idle is None:
            return None
        if self._free_s is None and seconds / self._seats.speed_of(self._idle) <= self._within_s:
            return self._idle
        # From here on the longer ones count that were left for others.
        free_s = self._free_s = self._free_s or self._seats.free_s(self._now_s)
        ends_s = [(free + seconds / self._seats.speed_of(seat), seat) for seat, free in enumerate(free_s)]
        end_s, seat = min(ends_s)
        if free_s[seat] <= self._now_s and self._seats.is_idle(seat):
            return seat
        free_s[seat] = end_s
        return None
