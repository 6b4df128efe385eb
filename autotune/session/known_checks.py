"""What programs said of the last inputs, so that a run of which the journal has everything starts none of them.

Rules: an answer is known again only for the same input, options, autotune and installations. The file is a cache: where
it cannot be read or written, programs are asked.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Any

from autotune.base import json_files
from autotune.base.errors import AutotuneError
from autotune.base.options import Options
from autotune.base.versions import library_versions
from autotune.programs.facts import facts_of
from autotune.programs.installation import stamp
from autotune.runtime.planning import Work
from autotune.workers.messages import Checked
from autotune.workers.preflight import question

SCHEMA = "autotune.checks/1"
MOST_ANSWERS = 100


def are_likely(programs: Collection[str], options: Options) -> bool:
    """Return whether a run with these programs may need none of them: it resumes, and they were asked before."""
    return options.resume and options.here and any(set(programs) == {*of["versions"]} for of in _answers().values())


def recall(work: Work, options: Options) -> Checked | None:
    """Return what the programs of a workload said of it before, or None where they have to be asked."""
    fields = _answers().get(_key(work, options))
    with contextlib.suppress(AutotuneError):
        return None if fields is None else json_files.validate(Checked, fields, _path())
    return None


def keep(work: Work, options: Options, checked: Checked) -> None:
    """Note what the programs of a workload said of it; the oldest answers are forgotten."""
    key = _key(work, options)
    if not key:
        return
    answers = _answers()
    answers.pop(key, None)
    answers = dict([*answers.items(), (key, checked._asdict())][-MOST_ANSWERS:])
    with contextlib.suppress(AutotuneError):
        json_files.write_json(_path(), {"schema": SCHEMA, "answers": answers})


def _path() -> Path:
    return json_files.cache_folder() / "checks.json"


def _answers() -> dict[str, dict[str, Any]]:
    """Return all answers, the oldest first."""
    try:
        _, fields = json_files.read_json(_path(), SCHEMA)
        return {key: {"versions": {}, **answer} for key, answer in fields["answers"].items()}
    except (AutotuneError, KeyError, TypeError, AttributeError):
        return {}


def _key(work: Work, options: Options) -> str:
    """Return what an answer depends on, in short; empty where an installation cannot be told from another."""
    programs = sorted(set(work.recipe.programs.values()))
    stamps = [stamp(facts_of(program).installed_as) for program in programs]
    if not all(stamps):
        return ""
    asked = question(work.tasks, work.recipe).components
    parts = [library_versions(), stamps, work.recipe.to_json(), dict(options.rescue), asked]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
