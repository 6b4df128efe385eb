"""What the scheduler is told and what it answers; see `scheduler.py`.

Rules: plain records of the conversation between whoever drives a scheduler and the scheduler; no behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from autotune.base.types import Estimate, Policy, Resources


class Finished(NamedTuple):
    """Event: a task is done."""

    number: int


class Failed(NamedTuple):
    """Event: an attempt failed, or never began.

    `again` asks for another attempt, `alone` for one with the whole machine, after all others that may start. A
    `suspect` may have taken its worker with it: it is not put into a batch with others any more.
    """

    number: int
    again: bool
    alone: bool = False
    suspect: bool = False


class Learned(NamedTuple):
    """Event: predictions changed; waiting tasks are ranked again."""

    estimates: Mapping[int, Estimate]


class Adapted(NamedTuple):
    """Event: the policy changed in the middle of the run, or what tasks may hold together did."""

    policy: Policy
    budget: Resources


class Paused(NamedTuple):
    """Event: nothing more is to start while something runs, or (`on` false) the pause is over."""

    on: bool


class Sped(NamedTuple):
    """Event: the speeds of the seats are these, or (empty) all seats are alike."""

    speeds: tuple[float, ...]


class Dropped(NamedTuple):
    """Event: what waits is not to be started any more; what runs goes on to its end."""


class Place(NamedTuple):
    """A place on a GPU: which device, and which of the places on it; a worker of its own has each."""

    device: int
    slot: int


class Start(NamedTuple):
    """Decision: give tasks, to be run one after another, to one worker now.

    Its memory is what the tasks are expected to hold; infinite where they are to have the whole machine. Tasks that go
    `together` are computed in one start of their program. The `seat` is the worker's: nothing else is there; with a
    `place` on a GPU it is that.
    """

    numbers: tuple[int, ...]
    resources: Resources
    together: bool = False
    seat: int = 0
    place: Place | None = None


Event = Finished | Failed | Learned | Adapted | Sped | Paused | Dropped
