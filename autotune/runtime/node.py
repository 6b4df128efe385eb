"""What runs on a node of several: bundles of tasks, one after another, by this machine's own plan.

Rules: called by name through somebody else's executor, in a process that may run other things; what is sent is plain
records. Each node detects its own hardware and loads the tuning for it. The processes of a node stay warm from one
bundle to the next and end with the process that called them.
"""

from __future__ import annotations

import atexit
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from autotune.base.errors import ResourceError
from autotune.base.options import Options
from autotune.base.types import Machine, Method, Task
from autotune.base.versions import own_version
from autotune.expansion.component import Recipe
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.runtime.execution import Care, Execution
from autotune.runtime.local import Local
from autotune.runtime.planning import Plan
from autotune.workers.messages import Checked

IDLE_S = 120.0  # after which a node without bundles ends its workers; an executor may go on to live for days

_here: _Here | None = None
_rest: threading.Timer | None = None
_lock = threading.Lock()  # an executor may give a node several bundles at a time; each is for all of its cores


class Bundle(NamedTuple):
    """Tasks for a node.

    `recipe` (JSON) is what they are built from, `options` what the user decided, `version` ours, `most_nbody` the
    fragments of the run's largest task; `hosts` are keys of tasks whose contained energies are wanted.
    """

    recipe: str
    tasks: tuple[Task, ...]
    options: Options
    version: str
    most_nbody: int
    hosts: frozenset[str] = frozenset()


class Seen(NamedTuple):
    """What a node says of itself before it computes."""

    host: str
    machine: Machine
    checked: Checked


class Computed(NamedTuple):
    """What became of a bundle; starts in the records count from `began_s`, seconds of the epoch."""

    seen: Seen
    execution: Execution
    began_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Portion:
    """The tasks of a bundle as a workload."""

    recipe: Recipe
    tasks: tuple[Task, ...]

    @property
    def methods(self) -> tuple[Method, ...]:
        """Model chemistries of the tasks."""
        return tuple(dict.fromkeys(task.method for task in self.tasks))


@dataclass(slots=True)
class _Here:
    """What this process has: a place for bundles with these options, and the recipe of the last one."""

    options: Options
    place: Local
    recipe: str = ""


def look(bundle: Bundle) -> Seen:
    """Return what this machine is and what its programs say of a bundle's recipe; nothing is computed.

    Raises:
        InputError: The tasks cannot run here: a program is missing, say.
        ResourceError: This machine has another version of autotune, or cannot run workers.
    """
    with _at_work():
        return _ready(bundle)[3]


def compute(bundle: Bundle) -> Computed:
    """Return what becomes of a bundle of tasks on this machine; raises as `look` does."""
    with _at_work():
        began_s, started = time.time(), time.monotonic()
        here, work, plan, seen = _ready(bundle)
        execution = Execution()
        care = Care(
            versions=seen.checked.versions,
            ways=planning.ways(plan.policy, seen.checked.versions, remember=bundle.options.remembers),
            rescue=bundle.options.rescue,
            fail_fast=bundle.options.fail_fast,
            task_limit_s=bundle.options.task_limit_s,
            scratch_gib=bundle.options.scratch_gib,
            hosts=bundle.hosts,
        )
        try:
            here.execute(bundle.tasks, work=work, plan=plan, care=care, execution=execution, started=started)
        except BaseException:
            here.close()
            raise
        return Computed(seen=seen, execution=execution, began_s=began_s, wall_s=time.monotonic() - started)


@contextlib.contextmanager
def _at_work() -> Iterator[None]:
    """Let one bundle at a time work; with none for a while, end the workers."""
    global _rest  # noqa: PLW0603 - one for one process
    with _lock:
        if _rest is not None:
            _rest.cancel()
        try:
            yield
        finally:
            _rest = threading.Timer(IDLE_S, _end)
            _rest.daemon = True
            _rest.start()


def _end() -> None:
    """End this process's workers; the next bundle starts them again."""
    with _lock:
        if _here is not None:
            _here.place.close()


def _ready(bundle: Bundle) -> tuple[Local, Portion, Plan, Seen]:
    """Return this process's place, with workers that know the bundle's recipe, the plan, and what to say of it."""
    host = socket.gethostname()
    if bundle.version != own_version():
        raise ResourceError(
            f"{host} has autotune {own_version()}, not {bundle.version}; install one version on all nodes"
        )
    recipe = Recipe.from_json(bundle.recipe)
    here, work = _at(bundle.options), Portion(recipe, bundle.tasks)
    place = here.place
    place.load(sorted(set(recipe.programs.values())), work.methods)
    plan = place.plan(work)
    # Bundles of one recipe are parts of one run: what its workers have found for each other serves the next ones.
    goes_on, here.recipe = bundle.recipe == here.recipe, bundle.recipe
    checked = place.check(work, plan, most_nbody=bundle.most_nbody, goes_on=goes_on)
    return place, work, plan, Seen(host=host, machine=place.machine, checked=checked)


def _at(options: Options) -> _Here:
    """Return what this process has for bundles with these options."""
    global _here  # noqa: PLW0603 - one set of workers for one process, whoever calls
    if _here is not None and _here.options != options:
        _here.place.close()
        _here = None
    if _here is None:
        _here = _Here(options, Local(options, manager=Manager()))
    return _here


atexit.register(_end)
