"""The library's front door: `run` for one input, `Session` for many with warm workers.

Rules: one path from input to result, the same for the command line: load, detect, find a tuning, compose, run,
assemble. Programs start to load in the background before the input is validated. A note to the user is one sentence,
or an empty text where there is nothing to say.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from autotune.base.errors import InputError
from autotune.base.options import GivenOptions, Options
from autotune.base.records import RunRecord, TaskRecord, TuningChoice
from autotune.base.text import count
from autotune.base.types import Machine, Method, Policy, Task
from autotune.costs.basis import is_spherical
from autotune.expansion import workload
from autotune.expansion.summary import describe
from autotune.expansion.workload import Workload
from autotune.journal.journal import Journal
from autotune.plugin.manager import Manager
from autotune.programs.facts import facts_of
from autotune.runtime import planning
from autotune.runtime.execution import Care, Execution
from autotune.runtime.local import Local
from autotune.runtime.monitor import Snapshot
from autotune.session import known_checks, reductions, resume
from autotune.session.preparation import Preparation, input_of, options_of
from autotune.tunings import library

if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult as AtomicResultV1
    from qcelemental.models.v2 import AtomicResult
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

    from autotune.expansion.readers import Expansion
    from autotune.runtime.fleet import Fleet
    from autotune.workers.messages import Checked

_Answer = TypeVar("_Answer")
_log = logging.getLogger("autotune")

MANY_TASKS = 1000  # that nobody may have meant


class Session:
    """Keeps programs loaded and workers warm over several inputs; a context manager.

    Threads may share one: it computes one input at a time, and the others wait. `close` waits, too. What is called back
    during a run must not start another. A process that was forked needs a session of its own.

    Args:
        options: What to decide instead of autotune.
        on_progress: Called with a `Snapshot` about twice a second during a run, and at its end.
        on_plan: Called with what a run has planned, before programs and tasks are checked.
        on_choice: Called with the tuning that a run uses, and why, once the tasks are known to be possible.
        on_notice: Called with each line that a user should read; the logger `autotune` gets it, too, as information.

    Attributes:
        record: What the last run did; None before the first.
        kept: What to tell a user whose result is lost after all: where finished tasks are kept; empty for nowhere.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        on_progress: Callable[[Snapshot], None] | None = None,
        on_plan: Callable[[Preparation], None] | None = None,
        on_choice: Callable[[TuningChoice], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._options = options or Options()
        self._on_progress, self._on_plan, self._on_choice = on_progress, on_plan, on_choice
        self._on_notice = on_notice
        self._lock, self._computing = threading.RLock(), False
        self._manager = Manager()
        self._place = self._open_place()
        self._journal: Journal | None = None
        self._journal_opened = False
        self._understood = ""
        self.record: RunRecord | None = None
        self.kept = ""

    def _open_place(self) -> Local | Fleet:
        if self._options.here:
            return Local(self._options, manager=self._manager)
        from autotune.runtime.fleet import Fleet

        return Fleet(self._options, manager=self._manager, say=self._say)

    def _say(self, line: str) -> None:
        _log.info(line)
        if self._on_notice:
            self._on_notice(line)

    @property
    def machine(self) -> Machine:
        """What may be used; of several machines, all that were seen together."""
        return self._place.machine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; write what is left to the journal and close it."""
        with self._lock:
            self._place.close()
            if self._journal is not None:
                self._journal.close()
            self._journal, self._journal_opened = None, False

    def preload(self, methods: Sequence[Method]) -> None:
        """Start to load the programs of an input that is still to be made, and do not wait for them."""
        with self._lock:
            self._place.load(sorted({method.program for method in methods}), tuple(methods))

    def run(self, many_body_input: object, *, expansion: Expansion | None = None) -> ManyBodyResult | ManyBodyResultV1:
        """Return the result of a many-body input, in the schema version it came in.

        Args:
            many_body_input: A QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping; the path of a file
                with one or with a geometry; or the text of such a file.
            expansion: What to compute for a geometry.

        Raises:
            InputError: The input or an option cannot be used; nothing was computed.
            TaskError: A program failed on at least one fragment; the others were computed.
            ResourceError: The journal cannot be written.
        """
        return self._compute(input_of(many_body_input, expansion), self._assembled)

    def components(
        self, many_body_input: object, *, labels: Iterable[str] | None = None
    ) -> dict[str, AtomicResult | AtomicResultV1]:
        """Return the results of an expansion's components by label, in the schema version of the input.

        Args:
            many_body_input: As for `run`, or the `Workload` of one.
            labels: QCManyBody labels; only what these need is computed. All by default.

        Raises:
            InputError: As for `run`, or a label is none of this expansion's.
            TaskError: As for `run`.
            ResourceError: As for `run`.
        """
        given = many_body_input
        whole = given if isinstance(given, Workload) else workload.load(given)
        wanted = None if labels is None else tuple(labels)
        return self._compute(whole.subset(wanted), lambda work, done: work.components(done.results, labels=wanted))

    def _compute(self, source: object, answer: Callable[[Workload, Execution], _Answer]) -> _Answer:
        """Return what `answer` makes of an input's or a workload's finished tasks, once other threads are done."""
        with self._lock:
            if self._computing:
                raise InputError("this session is computing; what it calls back cannot start another run with it")
            self._computing = True
            try:
                return self._compute_alone(source, answer)
            finally:
                self._computing = False

    def _compute_alone(self, source: object, answer: Callable[[Workload, Execution], _Answer]) -> _Answer:
        started = time.monotonic()
        if not self._journal_opened:
            self._journal, self._journal_opened = resume.open_journal(self._options, self._say), True
        self._load(source)
        work = source if isinstance(source, Workload) else workload.load(source)
        if not work.tasks:
            # Counterpoise up to 1-body: all is zero by definition, and upstream says so without computing.
            self.record = None
            return answer(work, Execution())
        lean = reductions.plan(work, self._options)
        work = lean.work
        plan = self._place.plan(work)
        if self._on_plan:
            self._on_plan(Preparation(work=work, machine=self.machine, plan=plan, manager=self._manager))
        self._tell(
            *(found.words for found in lean.list_omitted()),
            _extent_note(work),
            _slots_note(self._options, plan, cores=self.machine.cores),
        )
        checked, care, execution = self._recall(work, plan, lean.hosts)
        self._tell_before(work, plan, checked)
        recalled = len(execution.values)
        if self._options.resume:
            self._say(f"{recalled} of {len(work.tasks)} tasks are in the journal and are not computed again")
        machine, nodes, late = self.machine, self._place.nodes, None

        def record(result: _Answer | None = None, implausible: Sequence[str] = ()) -> RunRecord:
            from autotune.session import run_record

            return run_record.record(
                execution,
                plan=plan,
                machine=machine,
                work=work,
                recalled=recalled,
                wall_s=time.monotonic() - started,
                versions=checked.versions,
                result=result,
                nodes=nodes,
                omitted=lean.list_omitted(late),
                doubts=(*checked.cautions, *implausible),
            )

        self._manager.run_started(work.tasks, plan.policy, machine)
        try:
            self._execute(work, execution, plan=plan, care=care, started=started)
            late = lean.find_late(execution)
            if late.tasks:
                work = reductions.join(work, late)
                recalled += self._execute_late(late, execution, plan=plan, care=care, started=started)
            with resume.note_what_is_kept(care.journal, len(execution.values)):
                filled = None if execution.failed else lean.fill_in(execution)
                result = None if filled is None else answer(lean.whole, filled)
                if care.journal is not None:
                    care.journal.flush()
        except BaseException as reason:
            self._manager.run_broke_off(record(), reason)
            raise
        from autotune.session import plausibility, run_record  # what only the end of a run needs

        implausible = () if filled is None else plausibility.implausible(lean.whole.tasks, work.recipe, filled.values)
        self.record = record(result, implausible)
        self.kept = resume.kept_note(care.journal, len(execution.values))
        self._manager.run_done(self.record)
        self._tell(
            *implausible,
            _fallback_note(execution.records),
            _times_note(plan, work.tasks, execution.records, cores=self.machine.cores),
        )
        if result is None:
            error = run_record.failure(execution, work)
            error.add_note(self.kept)
            raise error
        return result

    def _load(self, source: object) -> None:
        """Start to load the programs of an input, unless a resume may need none of them."""
        methods, programs = _names_in(source)
        if not known_checks.are_likely(programs, self._options):
            self._place.load(programs, methods)

    def _recall(self, work: Workload, plan: planning.Plan, hosts: Collection[str]) -> tuple[Checked, Care, Execution]:
        """Return what the programs say of a workload and what the journal has of it; if all, none is started."""
        options = self._options
        if options.resume and options.here and (known := known_checks.recall(work, options)):
            care = self._care(known.versions, plan.policy, hosts)
            execution = resume.recall(work, care, resume=True)
            if len(execution.values) == len(work.tasks):
                return known, care, execution
        checked = self._place.check(work, plan)
        if options.here and self._journal is not None:
            known_checks.keep(work, options, checked)
        care = self._care(checked.versions, plan.policy, hosts)
        return checked, care, resume.recall(work, care, resume=options.resume)

    def _assembled(self, work: Workload, done: Execution) -> ManyBodyResult | ManyBodyResultV1:
        result = work.assemble(done.values, done.results)
        left_out = work.left_out_bytes(done.values)
        self._tell(resume.left_out_note(left_out, self._journal, keeps_results=work.recipe.keep_results))
        return result

    def _tell_before(self, work: Workload, plan: planning.Plan, checked: Checked) -> None:
        """Say what will be computed, where that is not the same as in the run before, with which tuning, and doubts."""
        words = describe(work.recipe.molecule)
        if words != self._understood:
            self._say(words)
        self._understood = words
        # Not before: how to calibrate a method that does not exist is no advice.
        _log.info("tuning: %s - %s", plan.chosen.match, plan.chosen.reason)
        if self._on_choice:
            self._on_choice(plan.chosen)
        self._tell(
            _basis_note(work.methods, work.recipe.molecule.symbols),
            _version_note(plan, checked.versions),
            *checked.cautions,
        )

    def _tell(self, *notes: str) -> None:
        for note in filter(None, notes):
            self._say(note)

    def _care(self, versions: Mapping[str, str], policy: Policy, hosts: Collection[str]) -> Care:
        options = self._options
        return Care(
            journal=self._journal,
            versions=versions,
            ways=planning.ways(policy, versions, remember=options.remembers),
            rescue=options.rescue,
            fail_fast=options.fail_fast,
            task_limit_s=options.task_limit_s,
            scratch_gib=options.scratch_gib,
            hosts=hosts,
        )

    def _execute_late(
        self, late: Workload, execution: Execution, *, plan: planning.Plan, care: Care, started: float
    ) -> int:
        """Run the tasks that must be computed after all, and add what comes out; return how many the journal had."""
        self._say(reductions.late_words(late))
        also = resume.recall(late, care, resume=self._options.resume)
        recalled = len(also.values)
        try:
            self._execute(late, also, plan=plan, care=care, started=started)
        finally:
            execution.add(also)
        return recalled

    def _execute(
        self, work: Workload, execution: Execution, *, plan: planning.Plan, care: Care, started: float
    ) -> None:
        """Run the tasks whose values are not known and add what comes out."""
        try:
            self._place.execute(
                [task for task in work.tasks if task.key not in execution.values],
                work=work,
                plan=plan,
                care=care,
                execution=execution,
                started=started,
                on_progress=self._on_progress,
            )
        except BaseException as error:
            self.close()
            error.add_note(resume.kept_note(care.journal, len(execution.values)))
            raise


def _names_in(source: object) -> tuple[tuple[Method, ...], list[str]]:
    """Return methods and programs of a workload, or of an input that is not validated yet."""
    if isinstance(source, Workload):
        # All programs, also those that a part does not need: the next part may, and finds them loaded.
        return source.methods, sorted(set(source.recipe.programs.values()))
    methods = workload.methods_of(source)
    return methods, sorted({method.program for method in methods})


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


def run(
    many_body_input: object, *, expansion: Expansion | None = None, **options: Unpack[GivenOptions]
) -> ManyBodyResult | ManyBodyResultV1:
    """Return the result of a many-body input, computed in parallel, in the schema version it came in.

    Args:
        many_body_input: A QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping; the path of a file with
            one or with a geometry; or the text of such a file.
        expansion: What to compute for a geometry.
        options: What to decide instead of autotune; see `Options`.

    Raises:
        InputError: The input or an option cannot be used; nothing was computed.
        TaskError: A program failed on at least one fragment.
        ResourceError: The journal cannot be written, or an option asks for more than there is.
    """
    with Session(options_of("run", options)) as session:
        return session.run(many_body_input, expansion=expansion)
