"""One computation of a session: planned, checked, taken from the journal where it can be, executed, recorded.

Rules: the one way from tasks to values, for one input and for many together. What is computed and how it is concluded
comes from above; where, from `runtime`. A note to the user is one sentence, or an empty text where there is nothing to
say.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from autotune.base.options import Options
from autotune.base.records import Omitted, RunRecord, TaskRecord, TuningChoice
from autotune.base.text import count
from autotune.base.types import Method, Policy, Task
from autotune.costs.basis import is_spherical
from autotune.expansion.workload import Workload
from autotune.journal.journal import Journal
from autotune.plugin.manager import Manager
from autotune.programs.facts import facts_of
from autotune.runtime import planning
from autotune.runtime.execution import Care, Execution
from autotune.runtime.local import Local
from autotune.runtime.monitor import Snapshot
from autotune.session import known_checks, reductions, resume
from autotune.session.preparation import Preparation
from autotune.tunings import library

if TYPE_CHECKING:
    from autotune.expansion.joint import Joint
    from autotune.runtime.fleet import Fleet
    from autotune.workers.messages import Checked

MANY_TASKS = 1000  # that nobody may have meant

_Answer = TypeVar("_Answer")
_Work = TypeVar("_Work", bound="Workload | Joint")
_log = logging.getLogger("autotune")


class Lean(Protocol[_Work]):
    """What is left to compute once the options have left tasks out; see `reductions.Omission`."""

    @property
    def work(self) -> _Work:
        """The tasks to be computed."""
        ...

    @property
    def hosts(self) -> frozenset[str]:
        """Keys of the tasks whose contained energies are wanted."""
        ...

    def find_late(self, execution: Execution) -> _Work:
        """Return the tasks that must be computed after all."""
        ...

    def join(self, late: _Work) -> _Work:
        """Return all tasks that were computed, the late ones with them."""
        ...

    def list_omitted(self, late: _Work | None = None) -> tuple[Omitted, ...]:
        """Return what is left out; less the tasks that were computed after all."""
        ...

    def describe(self) -> str:
        """Return what is computed, in words."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the computations of a session have in common.

    Attributes:
        options: What the user decided.
        place: Where tasks run.
        manager: The plugins.
        journal: Where finished tasks are kept, or None.
        say: Called with each line that a user should read.
        on_progress: As of `Session`.
        on_plan: As of `Session`.
        on_choice: As of `Session`.
        close: Called where a computation breaks off: ends the workers, and writes what is left to the journal.
    """

    options: Options
    place: Local | Fleet
    manager: Manager
    journal: Journal | None
    say: Callable[[str], None]
    on_progress: Callable[[Snapshot], None] | None
    on_plan: Callable[[Preparation], None] | None
    on_choice: Callable[[TuningChoice], None] | None
    close: Callable[[], None]

    def tell(self, *notes: str) -> None:
        """Say what is not empty."""
        for note in filter(None, notes):
            self.say(note)


class Computation(Generic[_Work]):
    """The tasks of one input, or of many, on their way.

    Args:
        lean: What is to be computed.
        setting: Of the session.
        started: CLOCK_MONOTONIC second from which its times count.

    Attributes:
        work: What is to be computed.
        plan: How.
        machine: Where; of several machines, all together.
        nodes: How many machines.
        started: CLOCK_MONOTONIC second from which its times count.
        checked: What the programs say of it.
        execution: What came out so far.
        recalled: Tasks that the journal had.
        words: What is computed, in words.

    Raises:
        InputError: It cannot be planned; see `planning.make`.
    """

    def __init__(self, lean: Lean[_Work], setting: Setting, *, started: float) -> None:
        self._lean, self._setting, self.started = lean, setting, started
        self.work = lean.work
        self.plan = setting.place.plan(self.work)
        self.execution = Execution()
        self.machine, self.nodes = setting.place.machine, setting.place.nodes
        self.recalled, self.words = 0, ""
        self._late: _Work | None = None

    def prepare(self, *, understood: str) -> None:
        """Say what will be done, check that it can be, and take from the journal what it has.

        Args:
            understood: What was said of the computation before this one, which is not said again.

        Raises:
            InputError: A task cannot run; nothing was computed.
            ResourceError: The journal cannot be read.
        """
        setting, work, plan = self._setting, self.work, self.plan
        options, machine = setting.options, self.machine
        if setting.on_plan:
            setting.on_plan(Preparation(work=work, machine=machine, plan=plan, manager=setting.manager))
        setting.tell(
            *(found.words for found in self._lean.list_omitted()),
            _extent_note(work) if isinstance(work, Workload) else "",
            _slots_note(options, plan, cores=machine.cores),
        )
        self.checked, self._care, self.execution = self._recall()
        self.words = self._lean.describe()
        setting.tell(self.words if self.words != understood else "")
        # Not before: how to calibrate a method that does not exist is no advice.
        _log.info("tuning: %s - %s", plan.chosen.match, plan.chosen.reason)
        if setting.on_choice:
            setting.on_choice(plan.chosen)
        setting.tell(
            _basis_note(work.methods, work.recipe.molecule.symbols),
            _version_note(plan, self.checked.versions),
            *self.checked.cautions,
        )
        self.recalled = len(self.execution.values)
        if options.resume:
            setting.say(f"{self.recalled} of {len(work.tasks)} tasks are in the journal and are not computed again")

    def execute(
        self, conclude: Callable[[Execution], _Answer], *, meanwhile: Callable[[Execution], None] | None = None
    ) -> _Answer:
        """Run the tasks whose values are not known, and return what `conclude` makes of what came out.

        Args:
            conclude: Called at the end, also where tasks failed.
            meanwhile: Called about twice a second with what came out so far.

        Raises:
            InputError: A task that must be computed after all cannot run.
            ResourceError: The journal cannot be written.
        """
        setting, lean, care = self._setting, self._lean, self._care
        setting.manager.run_started(self.work.tasks, self.plan.policy, self.machine)
        try:
            self._execute(self.work, self.execution, meanwhile)
            late = self._late = lean.find_late(self.execution)
            if late.tasks:
                self.work = lean.join(late)
                self._execute_late(late, meanwhile)
            with resume.note_what_is_kept(care.journal, len(self.execution.values)):
                answer = conclude(self.execution)
                if care.journal is not None:
                    care.journal.flush()
        except BaseException as reason:
            setting.manager.run_broke_off(self.record(), reason)
            raise
        return answer

    def record(self, result: object = None, doubts: Sequence[str] = ()) -> RunRecord:
        """Return the record of what happened; see `record`."""
        return record([self], result, doubts)

    def tell_after(self, doubts: Sequence[str]) -> None:
        """Say what a user should know of a computation that is done, `doubts` first."""
        records = self.execution.records
        self._setting.tell(
            *doubts,
            _fallback_note(records),
            _times_note(self.plan, self.work.tasks, records, cores=self._setting.place.machine.cores),
        )

    @property
    def omitted(self) -> tuple[Omitted, ...]:
        """What options left out, less the tasks that were computed after all."""
        return self._lean.list_omitted(self._late)

    @property
    def kept(self) -> str:
        """What to tell a user whose result is lost after all; empty where nothing is kept."""
        return resume.kept_note(self._care.journal, len(self.execution.values))

    def _recall(self) -> tuple[Checked, Care, Execution]:
        """Return what the programs say of the tasks and what the journal has of them; if all, none is started."""
        setting, work, options = self._setting, self.work, self._setting.options
        if options.resume and options.here and (known := known_checks.recall(work, options)):
            care = self._care_of(known.versions, self.plan.policy, self._lean.hosts)
            execution = resume.recall(work, care, resume=True)
            if len(execution.values) == len(work.tasks):
                return known, care, execution
        checked = setting.place.check(work, self.plan)
        if options.here and setting.journal is not None:
            known_checks.keep(work, options, checked)
        care = self._care_of(checked.versions, self.plan.policy, self._lean.hosts)
        return checked, care, resume.recall(work, care, resume=options.resume)

    def _care_of(self, versions: Mapping[str, str], policy: Policy, hosts: Collection[str]) -> Care:
        options = self._setting.options
        return Care(
            journal=self._setting.journal,
            versions=versions,
            ways=planning.ways(policy, versions, remember=options.remembers),
            rescue=options.rescue,
            fail_fast=options.fail_fast,
            task_limit_s=options.task_limit_s,
            scratch_gib=options.scratch_gib,
            hosts=hosts,
        )

    def _execute_late(self, late: _Work, meanwhile: Callable[[Execution], None] | None) -> None:
        """Run the tasks that must be computed after all, and add what comes out."""
        self._setting.say(reductions.late_words(len(late.tasks)))
        also = resume.recall(late, self._care, resume=self._setting.options.resume)
        self.recalled += len(also.values)
        try:
            self._execute(late, also, None)
        finally:
            self.execution.add(also)
        if meanwhile is not None:
            meanwhile(self.execution)

    def _execute(self, work: _Work, execution: Execution, meanwhile: Callable[[Execution], None] | None) -> None:
        on_progress = self._setting.on_progress

        def show(snapshot: Snapshot) -> None:
            if meanwhile is not None:
                meanwhile(execution)
            if on_progress is not None:
                on_progress(snapshot)

        try:
            self._setting.place.execute(
                [task for task in work.tasks if task.key not in execution.values],
                work=work,
                plan=self.plan,
                care=self._care,
                execution=execution,
                started=self.started,
                on_progress=on_progress if meanwhile is None else show,
            )
        except BaseException as error:
            self._setting.close()
            error.add_note(resume.kept_note(self._care.journal, len(execution.values)))
            raise


def record(computations: Sequence[Computation[Any]], result: object = None, doubts: Sequence[str] = ()) -> RunRecord:
    """Return the record of what happened in a run.

    Args:
        computations: Of the run, one after another; of several, each is of a `Joint`, and the plan is that of the one
            that takes most of the time.
        result: The many-body result, if there is one.
        doubts: What was found against the numbers, beside what programs said before.
    """
    from autotune.session import run_record

    first, *others = computations
    execution, work, understood = first.execution, first.work, [first.words]
    # That which takes most of the time is what a reader wants to know of.
    main = max(computations, key=lambda each: sum(done.wall_s * done.width for done in each.execution.records))
    if others:
        execution, joined = Execution(), [each.work for each in computations]
        for each in computations:
            after_s = each.started - first.started
            own = [replace(done, started_s=done.started_s + after_s) for done in each.execution.records]
            execution.add(replace(each.execution, records=own))
        tasks = tuple(task for each in joined for task in each.tasks)
        work = replace(first.work, inputs=sum(each.inputs for each in joined), tasks=tasks)
        understood += [each.words for each in others]
    found = run_record.record(
        execution,
        plan=main.plan,
        machine=first.machine,
        work=work,
        recalled=sum(each.recalled for each in computations),
        wall_s=time.monotonic() - first.started,
        versions={name: of for each in computations for name, of in each.checked.versions.items()},
        result=result,
        nodes=first.nodes,
        omitted=tuple(found for each in computations for found in each.omitted),
        doubts=tuple(dict.fromkeys([*(words for each in computations for words in each.checked.cautions), *doubts])),
    )
    return replace(found, understood="; ".join(dict.fromkeys(understood)))


def _extent_note(work: Workload) -> str:
    """Return what to say where nobody asked for so many tasks: a left-out `max_nbody` means all levels."""
    if work.keywords.max_nbody is not None or work.keywords.levels or len(work.tasks) <= MANY_TASKS:
        return ""
    fragments = len(work.recipe.molecule.fragments)
    return (
        f"max_nbody is not given, so all levels up to {fragments}-body are computed: {count(len(work.tasks), 'task')};"
        " give --max-nbody 3, say, for fewer (`autotune estimate` tells what they take)"
    )


def _slots_note(options: Options, plan: planning.Plan, *, cores: int) -> str:
    """Return what to say where the user asks for more threads than there are cores."""
    workers, width = plan.policy.at_once, plan.policy.width
    # More workers of one thread than cores are no mistake: where a program waits for its own start, they are faster.
    if options.workers is None or width == 1 or workers * width <= cores or not options.here:
        return ""
    return (
        f"{workers} workers with {width} threads each are {workers * width} threads on {count(cores, 'core')}, which"
        f" mostly takes longer: give --workers {max(1, cores // width)}, or --threads 1"
    )


def _version_note(plan: planning.Plan, versions: Mapping[str, str]) -> str:
    """Return what to say before a run, with these versions of the programs."""
    tuning = plan.tuning
    return library.version_note(tuning, versions.get(tuning.method.program, "")) if tuning else ""


def _basis_note(methods: Iterable[Method], symbols: Iterable[str]) -> str:
    """Return what to say where a program will take a basis set otherwise than it was made; upstream does so, too."""
    for method in methods:
        facts = facts_of(method.program)
        keyword = facts.spherical_keyword
        told = {name.lower() for name in json.loads(method.keywords)}
        if keyword and not told & {keyword, facts.cartesian_keyword} and is_spherical(method.basis, symbols):
            return (
                f"{method.program} takes {method.basis} as Cartesian, although it is spherical and other programs"
                f" take it so: add the keyword {keyword}=true to agree with them"
            )
    return ""


def _times_note(plan: planning.Plan, tasks: Sequence[Task], records: Sequence[TaskRecord], *, cores: int) -> str:
    """Return what to say after a run; only a tuning that was measured for it is held against it."""
    if plan.tuning is None or plan.chosen.match != "exact":
        return ""
    from autotune.costs import drift

    return drift.note(plan.tuning, tasks, records, workers=plan.policy.workers, cores=cores)


def _fallback_note(records: Sequence[TaskRecord]) -> str:
    """Return what to say after a run in which programs did without one of their tunables."""
    fell_back = [record for record in records if record.fallback]
    if not fell_back:
        return ""
    first = fell_back[0]
    return (
        f"{len(fell_back)} of {count(len(records), 'task')} started as with --no-program-tuning, {first.label} first:"
        f" {first.fallback}"
    )
