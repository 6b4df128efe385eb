"""Keeps a run within its memory and its scratch space: says when nothing more may start and which task must end.

Rules: pure; samples go in, verdicts come out. The ladder, first step first: tasks are admitted by the memory they are
predicted to need in nineteen cases of twenty (`scheduler.py`); when the machine or a control group runs short, or the
budget is nearly used, nothing more starts; when the budget would be exceeded before the next look, the task furthest
over its prediction is stopped, to run again with more memory, at last alone (`failures.py`). The same for scratch
space: the task that holds most of it is stopped when its budget is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

SLOW_S, FAST_S = 0.5, 0.04  # between looks
LOOK_SHARE = 0.01  # of a core's time that looks may take while memory is not short
FILL_GIB_S = 15.0  # of memory that a core can fill: NumPy's `ones` with huge pages, measured on an AMD EPYC
FAST_FROM = 0.5  # share of the budget in use from which looks are fast
FULL = 0.97  # share of the budget at which a task is stopped: looks come late on busy cores
NEARLY = 0.92  # share of the budget in use from which nothing more starts
STALLED = 0.1  # share of the time in which tasks waited for memory, from which nothing more starts
LOOKS_AHEAD = 2.0
LEAST_SCRATCH_GIB = 0.01  # stopping a task that holds less would free nothing


class Verdict(NamedTuple):
    """What to do: start nothing more for now; stop this task, for this reason, and whether that is its own fault."""

    pause: bool
    stop: int | None = None
    reason: str = ""
    blame: bool = True


class Guard:
    """Judges the samples of one run.

    Args:
        budget_gib: What all workers may hold together.
        cores: On which they run: so fast they can fill memory.

    Attributes:
        interval_s: Seconds to the next look.
    """

    def __init__(self, budget_gib: float, *, cores: int = 1) -> None:
        self.budget_gib = budget_gib
        self._fill_gib_s = FILL_GIB_S * cores
        self.interval_s = SLOW_S
        self._last: tuple[float, float] | None = None
        self._events: float | None = None

    def judge(
        self,
        now_s: float,
        *,
        resident_gib: float,
        by_task: Mapping[int, float],
        expected_gib: Mapping[int, float],
        look_s: float = SLOW_S * LOOK_SHARE,
        stalled: float = 0.0,
        limit_events: float = 0.0,
    ) -> Verdict:
        """Return what to do about a sample.

        Args:
            now_s: When it was taken, on any clock that does not go back.
            resident_gib: Of all workers.
            by_task: Of the worker and its children at each running task.
            expected_gib: Predicted for each running task.
            look_s: What the look itself took.
            stalled: Share of the time, 0 to 1, in which tasks wait for memory; see `pressure.py`.
            limit_events: How often a control group has met its limit since it exists.
        """
        growth = 0.0
        if self._last is not None and now_s > self._last[0]:
            growth = max(0.0, resident_gib - self._last[1]) / (now_s - self._last[0])
        self._last = (now_s, resident_gib)
        fast = resident_gib + growth * SLOW_S > FAST_FROM * self.budget_gib
        # While far more is left than could be filled before the next look, none is needed.
        safe_s = (self.budget_gib - resident_gib) / self._fill_gib_s / LOOKS_AHEAD
        self.interval_s = FAST_S if fast else min(SLOW_S, max(FAST_S, safe_s, look_s / LOOK_SHARE))
        met, self._events = self._events is not None and limit_events > self._events, limit_events
        if by_task and resident_gib + LOOKS_AHEAD * growth * self.interval_s > FULL * self.budget_gib:
            worst = max(by_task, key=lambda number: by_task[number] - expected_gib.get(number, 0.0))
            self._last = (now_s, resident_gib - by_task[worst])  # the next growth is of those that stay
            over = by_task[worst] > expected_gib.get(worst, 0.0)
            return Verdict(
                pause=True,
                stop=worst,
                blame=over or len(by_task) == 1,
                reason=f"held {by_task[worst]:.2f} GiB where {expected_gib.get(worst, 0.0):.2f} were predicted, and all"
                f" together were about to exceed the {self.budget_gib:.2f} GiB that may be used",
            )
        return Verdict(pause=resident_gib > NEARLY * self.budget_gib or stalled > STALLED or met)


def heaviest(held_gib: Mapping[int, float], *, budget_gib: float, free_gib: float) -> Verdict:
    """Return which task to stop so that scratch files stay within their budget, if any.

    Args:
        held_gib: Scratch space that each running task holds.
        budget_gib: What they may hold together.
        free_gib: What is left on the file system.
    """
    worst = max(held_gib, key=lambda number: held_gib[number], default=None)
    if worst is None or (sum(held_gib.values()) <= budget_gib and free_gib > 0) or held_gib[worst] < LEAST_SCRATCH_GIB:
        return Verdict(pause=False)
    reason = f"no space left on device: held {held_gib[worst]:.2f} GiB of the {budget_gib:.2f} GiB for scratch files"
    return Verdict(pause=True, stop=worst, reason=reason)
