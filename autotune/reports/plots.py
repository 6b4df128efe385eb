"""Pictures, drawn with matplotlib without a display: the frame of each, and a schedule.

Rules: whatever a record says is drawn, however odd; only the file (its ending, its folder) can be wrong. Colours can be
told apart by the colour-blind, and no meaning hangs on colour alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autotune.base.errors import InputError, ResourceError
from autotune.base.records import TaskRecord

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2")


def schedule(records: Sequence[TaskRecord], *, cores: int, title: str, path: Path) -> None:
    """Draw who ran where and when: one row a core, one colour an n-body level.

    Raises:
        InputError: Matplotlib is not installed or does not know the file's ending.
        ResourceError: The file cannot be written.
    """
    with figure(size=(9, min(1.5 + 0.3 * cores, 12))) as drawn:
        from matplotlib.patches import Patch

        axes = drawn.subplots()
        free = [0.0] * cores
        for record in sorted(records, key=lambda record: record.started_s):
            # Rows that fell free first; an oversubscribed task is drawn over the one that frees its row next.
            rows = sorted(range(cores), key=lambda row: free[row])[: record.width]
            colour = COLOURS[(record.nbody - 1) % len(COLOURS)]
            for row in rows:
                axes.broken_barh(
                    [(record.started_s, record.wall_s)], (row + 0.05, 0.9), facecolors=colour, edgecolor="white", lw=0.3
                )
                free[row] = record.started_s + record.wall_s
        levels = sorted({record.nbody for record in records})
        axes.legend(
            handles=[Patch(color=COLOURS[(n - 1) % len(COLOURS)], label=f"{n}-body") for n in levels],
            loc="upper right",
            ncols=len(levels),
        )
        axes.set(
            xlabel="seconds",
            ylabel="core",
            title=title,
            ylim=(0, cores * 1.12),
            yticks=range(0, cores + 1, max(1, cores // 8)),
        )
        save(drawn, path, 120)


def check(path: Path) -> None:
    """Raise what drawing to a file would raise for want of matplotlib, of a known ending or of a folder."""
    with figure(size=(1, 1)) as drawn:
        known = drawn.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise InputError(f"{path} cannot be drawn: its ending must be one of {', '.join(sorted(known))}")
    if not path.parent.is_dir():
        raise ResourceError(f"{path} cannot be written: there is no folder {path.parent}")


@contextmanager
def figure(*, size: tuple[float, float]) -> Iterator[Any]:
    """Give a figure of a size in inches to draw on; raises InputError without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise InputError("pictures need matplotlib; install qc-autotune[plots]") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = plt.figure(figsize=size, layout="constrained")
    try:
        # A $ in a name is no formula.
        with mpl.rc_context({"text.parse_math": False}):
            yield drawn
    finally:
        plt.close(drawn)


def save(drawn: Any, path: Path, dpi: int) -> None:
    """Replace a file by a figure at once.

    Raises:
        InputError: Matplotlib does not know the file's ending.
        ResourceError: The file cannot be written; the old one is untouched.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            whole = Path(folder) / path.name
            drawn.savefig(whole, dpi=dpi)
            whole.replace(path)
    except ValueError as error:
        raise InputError(f"{path} cannot be drawn: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
