"""A run and its journal: which file it is, which tasks it has already, what to tell the user when a run ends early.

Rules: `journal.py` knows files and rows, this room knows options and workloads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from autotune.entries import Entry
from autotune.errors import ResourceError
from autotune.execution import Care
from autotune.journal import Journal
from autotune.journal_file import default_path
from autotune.options import Options
from autotune.workload import Workload


def opened(options: Options, say: Callable[[str], None]) -> Journal | None:
    """Return the journal that the options ask for.

    A default journal that cannot be written is done without, and that is said; one that was asked for is not.

    Raises:
        InputError: The file is not a journal, or one of a newer autotune.
        ResourceError: A journal that was asked for cannot be written.
    """
    if options.journal == "none":
        return None
    if options.journal != "auto":
        return Journal(Path(options.journal), say=say)
    try:
        return Journal(default_path(), say=say)
    except ResourceError as error:
        if options.resume:
            raise
        say(f"finished tasks are kept in memory only: {error}")
        return None


def recalled(work: Workload, care: Care, *, resume: bool) -> dict[str, Entry]:
    """Return what the journal has of a workload's tasks, by task key; nothing unless asked to resume.

    Results of another version of the program do not count, nor those without an AtomicResult where the input keeps
    them.
    """
    if not resume or care.journal is None:
        return {}
    keys = [task.key for task in work.tasks]
    known = care.journal.recall(keys, results=work.recipe.keep_results, rescue=care.rescue_text)
    wanted = {task.key: care.version(task.method.program) for task in work.tasks}
    return {key: known[key, version] for key, version in wanted.items() if (key, version) in known}


def kept_note(journal: Journal | None, finished: int) -> str:
    """Return what to tell a user whose run ended early; empty where nothing is kept."""
    if journal is None or not finished:
        return ""
    tasks = "1 finished task is" if finished == 1 else f"{finished} finished tasks are"
    return f"{tasks} kept in {journal.path}; the same command with --resume goes on from there"


@contextlib.contextmanager
def noting_what_is_kept(kept: Journal | None, count: int) -> Iterator[None]:
    """Add `kept_note` to whatever ends the block, Ctrl-C included; not where the journal itself is at fault."""
    try:
        yield
    except ResourceError:
        raise
    except BaseException as error:
        error.add_note(kept_note(kept, count))
        raise
