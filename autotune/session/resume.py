"""A run and its journal: which file it is, which tasks it has already, what to tell the user of what is kept there.

Rules: `journal.py` knows files and rows, this room knows options and workloads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from autotune.base import garbage
from autotune.base.errors import ResourceError
from autotune.base.options import Options
from autotune.journal.journal import Journal
from autotune.journal.journal_file import default_path
from autotune.journal.values import Values
from autotune.runtime.execution import Care, Execution
from autotune.runtime.planning import Work

TASKS_AT_ONCE = 50  # as they come from the journal they take four times the memory of an array


def open_journal(options: Options, say: Callable[[str], None]) -> Journal | None:
    """Return the journal that the options ask for.

    A default journal that cannot be written is done without, and that is said; one that was asked for is not.

    Raises:
        InputError: The file is not a journal, or one of a newer autotune.
        ResourceError: A journal that was asked for cannot be written.
    """
    if options.journal == "none":
        return None
    if options.journal != "auto":
        path = Path(options.journal)
        if not path.absolute().parent.is_dir():
            raise ResourceError(f"{path} cannot be written: there is no folder {path.parent}")
        return Journal(path, say=say)
    try:
        return Journal(default_path(), say=say)
    except ResourceError as error:
        if options.resume:
            raise
        say(f"finished tasks are kept in memory only: {error}")
        return None


@garbage.search_seldom()
def recall(work: Work, care: Care, *, resume: bool) -> Execution:
    """Return a run's beginning: what the journal has of a workload's tasks; nothing unless asked to resume.

    Results of another version of the program do not count, nor those without an AtomicResult where the input keeps
    them.
    """
    found = Execution(values=Values(care.journal))
    if not resume or care.journal is None:
        return found
    for start in range(0, len(work.tasks), TASKS_AT_ONCE):
        tasks = work.tasks[start : start + TASKS_AT_ONCE]
        keys = [task.key for task in tasks]
        known = care.journal.recall(keys, results=work.recipe.keep_results, rescue=care.rescue_text)
        for task in tasks:
            entry = known.get((task.key, care.version(task.method.program)))
            if entry is not None:
                found.take(entry)
    return found


def kept_note(journal: Journal | None, finished: int) -> str:
    """Return what to tell a user whose run ended early; empty where nothing is kept."""
    if journal is None or not finished:
        return ""
    tasks = "1 finished task is" if finished == 1 else f"{finished} finished tasks are"
    return f"{tasks} kept in {journal.path}; the same command with --resume goes on from there"


def left_out_note(nbytes: int, journal: Journal | None, *, keeps_results: bool) -> str:
    """Return what to tell a user whose result leaves arrays out that would take so much; empty for nothing."""
    if not nbytes:
        return ""
    where = (["cluster_results"] if keeps_results else []) + ([str(journal.path)] if journal is not None else [])
    kept = f"they are in {' and in '.join(where)}" if where else "protocol cluster_results=all or a journal keeps them"
    return (
        "cluster_properties has energies only: gradients and Hessians of all components, each in the shape of the whole"
        f" cluster, would take {nbytes / 2**30:,.1f} GiB; {kept}"
    )


@contextlib.contextmanager
def note_what_is_kept(kept: Journal | None, count: int) -> Iterator[None]:
    """Add `kept_note` to whatever ends the block, Ctrl-C included; not where the journal itself is at fault."""
    try:
        yield
    except ResourceError:
        raise
    except BaseException as error:
        error.add_note(kept_note(kept, count))
        raise
