"""How fast each seat is, learned from tasks of one size that ended on several seats.

Rules: pure, as the scheduler. Predictions play no part: they are wrong by the same factor on all seats, and change. The
logarithm of a task's time is that of its size less that of its seat's speed, and scatters; a speed wanders while time
goes on (random walk, Kalman 1960). Two surprises in a row are a change: the seat is learned anew.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace

WORTH_TELLING = 1.15  # times as fast as another seat; less changes no schedule by more than noise does
CERTAIN = 3.0  # standard deviations between two seats that are told apart
LEAST_SPREAD = 0.05  # of the logarithm of times of one size, where less was seen by chance

_FIRST_VARIANCE = 0.25  # of the logarithm of a speed before anything is known
_WANDER_PER_S = 1e-4  # variance: 3 % after ten seconds, a factor of 1.4 after twenty minutes
_SURPRISE = 3.0  # standard deviations


@dataclass(slots=True)
class _Seat:
    log_speed: float = 0.0
    variance: float = _FIRST_VARIANCE
    at_s: float = 0.0
    surprise: int = 0  # on which side the last one was, or 0

    def at(self, now_s: float) -> _Seat:
        variance = min(_FIRST_VARIANCE, self.variance + _WANDER_PER_S * max(0.0, now_s - self.at_s))
        return replace(self, variance=variance, at_s=now_s)


@dataclass(slots=True)
class _Size:
    log_s: float  # at speed 1
    variance: float


class Speeds:
    """What is known of the seats of a run."""

    def __init__(self) -> None:
        self._seats: dict[int, _Seat] = {}
        self._sizes: dict[Hashable, _Size] = {}

    def observe(self, seat: int, size: Hashable, seconds: float, *, spread: float, now_s: float) -> None:
        """Take in a task that took so long on a seat.

        Args:
            seat: Where.
            size: The same for tasks that are expected to take the same time.
            seconds: Its time on one core.
            spread: Standard deviation of the logarithm of the time of tasks of a size.
            now_s: The time.
        """
        known = self._seats.get(seat)
        if known is None:
            # A worker's first task takes longer than all that follow.
            self._seats[seat] = _Seat(at_s=now_s)
            return
        known = self._seats[seat] = known.at(now_s)
        log_s, scatter = math.log(max(seconds, 1e-9)), max(spread, LEAST_SPREAD) ** 2
        of_size = self._sizes.get(size)
        if of_size is None:
            self._sizes[size] = _Size(log_s + known.log_speed, known.variance + scatter)
            return
        off = of_size.log_s - log_s - known.log_speed
        variance = known.variance + of_size.variance + scatter
        side = int(math.copysign(1, off)) if off * off > _SURPRISE**2 * variance else 0
        if side and side != known.surprise:
            known.surprise = side  # a single one may be a task that did not converge well
            return
        if side:
            variance += _FIRST_VARIANCE - known.variance
            known.variance = _FIRST_VARIANCE
        known.surprise = 0
        known.log_speed += known.variance / variance * off
        of_size.log_s -= of_size.variance / variance * off
        known.variance *= 1.0 - known.variance / variance
        of_size.variance *= 1.0 - of_size.variance / variance

    def found(self, seats: int, *, now_s: float | None = None) -> tuple[float, ...]:
        """Return the speed of each of so many seats, 1 for the fastest; empty while all may be alike.

        A seat that cannot be told from the fastest is taken to be as fast: so is a slow one of which nothing was heard
        for long.

        Args:
            seats: How many.
            now_s: The time; that of what was heard last by default.
        """
        if now_s is None:
            now_s = max((seat.at_s for seat in self._seats.values()), default=0.0)
        known = {number: seat.at(now_s) for number, seat in self._seats.items() if seat.variance < _FIRST_VARIANCE}
        if not known:
            return ()
        fastest = max(known.values(), key=lambda seat: seat.log_speed)
        slower = {number: seat for number, seat in known.items() if _is_slower(seat, fastest)}
        if not slower:
            return ()
        alike = [seat for number, seat in known.items() if number not in slower]
        weight = sum(1.0 / seat.variance for seat in alike)
        log_one = sum(seat.log_speed / seat.variance for seat in alike) / weight
        return tuple(
            math.exp(min(0.0, slower[number].log_speed - log_one)) if number in slower else 1.0
            for number in range(seats)
        )


def _is_slower(seat: _Seat, fastest: _Seat) -> bool:
    behind = fastest.log_speed - seat.log_speed
    return behind > math.log(WORTH_TELLING) and behind > CERTAIN * math.sqrt(seat.variance + fastest.variance)
