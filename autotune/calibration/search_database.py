"""Optuna's database of this user's searches: a new search, or the one that was interrupted.

Rules: one SQLite file, which `optuna-dashboard` opens. A search is taken up again when it was of the same question
(machine, method, study, strategies, versions), did not end, and is not older than a day: machines change.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from autotune.base import json_files, locks
from autotune.base.errors import ResourceError
from autotune.base.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

FRESH_S = 86400.0


def database() -> Path:
    """Return the file."""
    return json_files.home() / "searches" / "searches.sqlite3"


def open_search(question: Mapping[str, Any], *, title: str, seed: int) -> optuna.Study:
    """Return the search for a question: the interrupted one, else a new one.

    Args:
        question: All that makes the answer; JSON values.
        title: For people; begins its name.
        seed: Of Optuna's sampler.

    Raises:
        ResourceError: The database cannot be written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    digest = sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()[:8]
    json_files.check_writable(database().parent)
    with storage_errors():
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{database()}")
        except RuntimeError as error:  # of another version of Optuna
            raise ResourceError(f"{database()} cannot be used ({one_line(error)}); move it away") from error
        stem, now = f"{title} {digest}", time.time()
        known = [name.rpartition(" ") for name in optuna.get_all_study_names(storage)]
        begun_s = sorted(int(begun) for of, _, begun in known if of == stem and begun.isdigit())
        # One that ended within this very second keeps its name.
        name = f"{stem} {max(int(now), begun_s[-1] + 1 if begun_s else 0)}"
        for begun in begun_s:
            if now - begun < FRESH_S:
                interrupted = optuna.load_study(study_name=f"{stem} {begun}", storage=storage)
                if not interrupted.user_attrs.get("ended"):
                    name = interrupted.study_name
        return optuna.create_study(
            storage=storage,
            study_name=name,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6, multivariate=True),
        )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the right to calibrate with this folder: two at once would measure each other.

    Raises:
        ResourceError: Another process has it, or the folder cannot be written.
    """
    folder = database().parent
    json_files.check_writable(folder)
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(locks.hold(folder / "calibrating.lock", wait=False, keep=True))
        except BlockingIOError as error:
            raise ResourceError(f"another calibration is running with {folder}; wait until it has ended") from error
        yield


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Say in one line that the search's database cannot be written."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).splitlines()[0]
        raise ResourceError(
            f"the search in {database().parent} cannot be written ({reason});"
            f" free space or set {json_files.HOME_VARIABLE}"
        ) from error
