"""What the tasks of a run computed, by task key: energies in memory, arrays there or in the journal.

Rules: energies always stay in memory. Gradients and Hessians stay, as arrays of float64, until together they reach a
limit; what comes after that is left to the journal, where it is anyway, and read back whenever it is asked for. Without
a journal everything stays. The journal keeps every bit of a number, so it makes no difference where one was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from autotune.journal.entries import Entry
from autotune.journal.journal import Journal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEMORY_BYTES = 64 * 2**20  # of arrays that are in the journal, too


class Values(Mapping[str, "TaskValues"]):
    """The values of finished tasks by task key, in the order in which they came.

    Args:
        journal: Has every entry that is kept here, or will have it when it is flushed; None without one.

    Attributes:
        whole: Whether all arrays are in memory.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._tasks: dict[str, TaskValues] = {}
        self._room_bytes = MEMORY_BYTES
        self.whole = True

    def __getitem__(self, key: str) -> TaskValues:
        return self._tasks[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def keep(self, entry: Entry) -> None:
        """Keep the values of a finished task; its arrays may be nested lists, as they come from the journal."""
        import numpy as np

        held: dict[str, float | NDArray[np.float64] | None] = {}
        for name, value in entry.values.items():
            if name == "energy":
                held[name] = value
                continue
            array = np.asarray(value, dtype=np.float64)
            if self._journal is not None and array.nbytes > self._room_bytes:
                held[name], self.whole = None, False
            else:
                held[name] = array
                self._room_bytes -= array.nbytes
        self._tasks[entry.key] = TaskValues(held, (entry.key, entry.version, entry.rescue), self._journal)

    def of(self, keys: Iterable[str]) -> Values:
        """Return the values of some tasks, as far as they are here."""
        found = Values(self._journal)
        found._tasks = {key: self._tasks[key] for key in keys if key in self._tasks}
        found.whole = self.whole
        return found

    def add(self, later: Values) -> None:
        """Take in the values of other tasks of the same run."""
        self._tasks.update(later._tasks)
        self.whole &= later.whole


class TaskValues(Mapping[str, "float | NDArray[np.float64]"]):
    """The values of one task: `energy` (Eh), `gradient` (Eh/a0, shape (natom, 3)), `hessian` (Eh/a0²).

    Asking for an array that is not in memory reads it from the journal, each time again.

    Attributes:
        where: Key, version and rescue keywords of its entry.

    Raises:
        ResourceError: The journal cannot be read, or has lost it.
    """

    __slots__ = ("_held", "_journal", "where")

    def __init__(
        self,
        held: Mapping[str, float | NDArray[np.float64] | None],
        where: tuple[str, str, str],
        journal: Journal | None,
    ) -> None:
        self._held, self.where, self._journal = held, where, journal

    def __getitem__(self, name: str) -> float | NDArray[np.float64]:
        import numpy as np

        value = self._held[name]
        if value is not None:
            return value
        assert self._journal is not None
        key, version, rescue = self.where
        return np.asarray(self._journal.read_back(key, version=version, rescue=rescue).values[name], dtype=np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def as_json(self, *, arrays: bool) -> dict[str, Any]:
        """Return the values as JSON has them: arrays as nested lists, or left out."""
        found = {name: self[name] for name in self if arrays or name == "energy"}
        return {name: value if isinstance(value, float) else value.tolist() for name, value in found.items()}
