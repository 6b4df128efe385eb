"""The hooks of autotune, in the order in which a run reaches them.

Rules: hooks discover and notify; behaviour is in the objects they return. A plugin is a module (or object) named by an
entry point in the group `autotune`; it marks its functions with `hookimpl` and takes only the arguments it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pluggy

from autotune.base.types import Context, Estimate, Machine, Parameter, Policy, Task
from autotune.plugin.facts import ProgramFacts

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from autotune.base.records import RunRecord, TaskRecord

PROJECT = "autotune"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Progress(Protocol):
    """What is known in the middle of a run; read-only.

    `busy_cores` and `idle_cores` are means of the last seconds: cores that the tasks' processes used, and cores that
    nobody used. Cores that are neither were taken by other processes.
    """

    @property
    def done(self) -> int:
        """Tasks finished."""
        ...

    @property
    def total(self) -> int:
        """Tasks of the workload."""
        ...

    @property
    def running(self) -> int:
        """Workers that are at work."""
        ...

    @property
    def cores(self) -> int:
        """Usable cores."""
        ...

    @property
    def cores_in_use(self) -> int:
        """Sum of the widths of running tasks."""
        ...

    @property
    def busy_cores(self) -> float:
        """CPU seconds a second that the tasks used."""
        ...

    @property
    def idle_cores(self) -> float:
        """Usable cores without any work."""
        ...

    @property
    def settled_s(self) -> float:
        """Seconds since the policy last changed, or since the first task started."""
        ...

    @property
    def composed(self) -> Policy:
        """The policy as the strategies' `apply` made it for this machine."""
        ...


class Strategy(Protocol):
    """One family of decisions: owns some fields of the policy and a search space for them.

    Derive from it; only `name`, `defaults`, `space` and `apply` must be there.
    """

    @property
    def name(self) -> str:
        """Name by which tunings and the command line choose it; also the namespace of its parameters."""
        ...

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """Return a value for each parameter of `space`: what is used before anything was measured."""
        ...

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Return the static search space: parameter name to Optuna distribution."""
        ...

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Return the policy with this strategy's fields set from its parameters; pure."""
        ...

    def adapt(self, policy: Policy, progress: Progress) -> Policy:
        """Return the policy to go on with in the middle of a run; pure. Unless overridden, nothing changes.

        Called about twice a second with the policy in force, which may have been adapted before.
        """
        del progress
        return policy


class Backend(NamedTuple):
    """Several machines: an executor that runs functions of this package on them, one call a node at a time.

    `executor` is theirs, `nodes` says how many calls run at once, `close` ends what was started for it at once.
    """

    executor: Executor
    nodes: int
    close: Callable[[], None]


@hookspec
def autotune_strategies() -> Sequence[Strategy]:  # type: ignore[empty-body]
    """Return strategies; called once, at load."""


@hookspec
def autotune_backends() -> Mapping[str, Callable[[Path | None], Backend]]:  # type: ignore[empty-body]
    """Return backends, name to a function that starts one; called once a session, and only where it names a backend.

    The function takes the file that the user gave as its configuration, or None.
    """


@hookspec
def autotune_register_programs() -> None:
    """Register QCEngine harnesses; called once in each process before its first task."""


@hookspec
def autotune_program_facts() -> Sequence[ProgramFacts]:  # type: ignore[empty-body]
    """Return what is to be known of programs beside their harnesses; called once, at load."""


@hookspec(firstresult=True)
def autotune_estimate(task: Task, machine: Machine) -> Estimate | None:
    """Return what a task costs, or None to leave it to the next plugin and at last to the default model."""


@hookspec
def autotune_run_started(workload: Sequence[Task], policy: Policy, machine: Machine) -> None:
    """Notice that a run starts; called once a run, after all was checked and before its first task starts.

    `workload` has also the tasks that the journal knows already. Where `reuse_contained` finds no energy to take, tasks
    are added later; these are told by `autotune_task_done` alone. A run that has nothing to compute, or is refused,
    does not start. Of many inputs it is called for each lot that is computed together, and of a screen by energy for
    each pass.
    """


@hookspec
def autotune_task_done(task: Task, record: TaskRecord) -> None:
    """Notice that a task finished or finally failed; called once for each task that was computed.

    Not called for tasks that were taken from the journal, nor for those that were still running or waiting when the run
    broke off.
    """


@hookspec
def autotune_run_done(run: RunRecord) -> None:
    """Notice that a run ended; called once for each call of `autotune_run_started`, however the run ends.

    Of a run with failed tasks, and of one that was interrupted or could not go on, the record has the tasks that ended
    and no energy.
    """


@hookspec
def autotune_report_sections(runs: Sequence[RunRecord], changes: Sequence[object]) -> tuple[str, str] | None:
    """Return a section of a report as (title, markdown), or None for none; called once for each report.

    `runs` are the runs that the report is on; `changes` has a `regression.Row` for each work that several of them did:
    how the later ones compare with the first.
    """
