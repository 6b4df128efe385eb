"""The descriptors of standard input, output and error.

Rules: nothing else may get the numbers 0, 1 and 2. Where one is closed, the next file that is opened gets its number:
what a library prints would go into a journal, and child processes would lose what is passed to them.
"""

from __future__ import annotations

import os

_STANDARD = (0, 1, 2)


def occupy_standard() -> None:
    """Open those of the three that are closed, so that reading finds nothing and writing fails as before."""
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given: this one, for those below it are taken.
            os.open(os.devnull, os.O_RDONLY)
