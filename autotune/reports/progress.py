"""Progress of a run for people: a live line on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Self, TextIO

from autotune.base.text import count, duration
from autotune.runtime.monitor import Snapshot

if TYPE_CHECKING:
    from rich.live import Live

SHORTEST_BAR, LONGEST_BAR = 10, 24  # columns
PLAIN_EVERY_S = 30.0
PLAIN_PARTS = 5  # at least so many plain lines over a run, however short


class Progress:
    """Shows snapshots; a context manager.

    Args:
        stream: Where to write; standard error by default.
        terminal: Whether to redraw one line; by default, whether `stream` is a terminal.
    """

    def __init__(self, stream: TextIO | None = None, *, terminal: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty() if terminal is None else terminal
        self._live: Live | None = None
        self._last_s = 0.0
        self._last_part = 0
        self._gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show one snapshot, or leave it out where the last plain line is recent."""
        if self._gone:
            return
        try:
            self._show(snapshot)
        except OSError:  # whoever read it went away; the run goes on
            self._gone = True

    def _show(self, snapshot: Snapshot) -> None:
        if self._terminal:
            self._draw(snapshot)
            return
        part = PLAIN_PARTS * snapshot.done // max(snapshot.total, 1)
        if part < self._last_part:  # another lot of tasks
            self._last_part, self._last_s = 0, snapshot.elapsed_s
        if part > self._last_part or snapshot.elapsed_s - self._last_s >= PLAIN_EVERY_S:
            self._last_s, self._last_part = snapshot.elapsed_s, part
            print(line(snapshot), file=self._stream, flush=True)

    def _draw(self, snapshot: Snapshot) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(
                console=Console(file=self._stream, force_terminal=True), transient=True, refresh_per_second=4
            )
            self._live.start()
        columns = self._live.console.width
        words = line(snapshot, columns=columns - SHORTEST_BAR - 1)
        width = max(0, min(LONGEST_BAR, columns - len(words) - 1))
        filled = width * snapshot.done // max(snapshot.total, 1)
        bar = ("━" * filled, "green"), ("━" * (width - filled), "bright_black")
        self._live.update(Text.assemble(*bar, f" {words}", no_wrap=True, overflow="ellipsis"))


def line(snapshot: Snapshot, *, columns: float = math.inf) -> str:
    """Return a snapshot in words; where they do not fit, without what lies between the first and the last."""
    if snapshot.nodes:
        nodes, cores = count(snapshot.nodes, "node"), count(snapshot.cores, "core")
        at_work = [f"{count(snapshot.running, 'bundle')} out to {nodes} with {cores}"]
    else:
        at_work = [
            f"{snapshot.running} running on {snapshot.cores_in_use} of {snapshot.cores} cores",
            f"{snapshot.resident_gib:.1f} of {snapshot.budget_gib:.1f} GiB",
        ]
    parts = [f"{snapshot.done}/{snapshot.total} tasks", *at_work, f"{duration(snapshot.elapsed_s)} elapsed"]
    if snapshot.eta_s is not None:
        parts.append(f"{duration(snapshot.eta_s)} left")
    while len(parts) > 2 and len(", ".join(parts)) > columns:  # noqa: PLR2004 - the first and the last stay
        del parts[-2]
    return ", ".join(parts)
