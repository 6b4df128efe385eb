"""What a pool tells those who gave it tasks: how they ended, and what its processes use.

Rules: records only; `worker.Reply` is the other thing that may come back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from autotune.workers.messages import Reply


class Lost(NamedTuple):
    """A worker ended with its task unfinished; `kind` is `crash`, `memory`, `timeout`, or what `Pool.stop` was told."""

    number: int
    kind: str
    reason: str
    lost_s: float
    peak_gib: float

    def as_reply(self) -> Reply:
        """Return the reply that the task could not give."""
        return Reply(
            number=self.number,
            values=None,
            result=None,
            error_type=self.kind,
            error=self.reason,
            started=time.monotonic() - self.lost_s,
            wall_s=self.lost_s,
            cpu_s=0.0,
            peak_gib=self.peak_gib,
            resident_gib=0.0,
        )


class Returned(NamedTuple):
    """A task that its worker did not come to, because it ended with an earlier one of the same batch."""

    number: int


class Usage(NamedTuple):
    """What all workers and their children use together; shared pages count once per process.

    `cpu_s` is the CPU time of the living ones since their start; `by_task` is the resident memory of each worker that
    is at work, by the task it is at.
    """

    resident_gib: float
    cpu_s: float
    by_task: Mapping[int, float]


Outcome: TypeAlias = Reply | Lost | Returned
