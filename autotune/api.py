"""The library's front door: `run` for one input, `Session` for many with warm workers.

Rules: one path from input to result, the same for the command line: load, detect, find a tuning, compose, run,
assemble. Programs start to load in the background before the input is validated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from autotune import abilities, doubts, ending, machine, omitted, parts, planning, recall, workload
from autotune.entries import Entry
from autotune.errors import InputError
from autotune.execute import Executor
from autotune.execution import Care, Execution
from autotune.journal import Journal
from autotune.manager import Manager
from autotune.monitor import Snapshot
from autotune.options import Options
from autotune.pool import Pool
from autotune.records import RunRecord, TuningChoice
from autotune.types import Method, Policy
from autotune.worker import Checked
from autotune.workload import Workload

if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult as AtomicResultV1
    from qcelemental.models.v2 import AtomicResult
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

_Answer = TypeVar("_Answer")


class Session:
    """Keeps programs loaded and workers warm over several inputs; a context manager.

    Attributes:
        record: What the last run did; None before the first.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        on_progress: Callable[[Snapshot], None] | None = None,
        on_choice: Callable[[TuningChoice], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._options = options or Options()
        self._on_progress, self._on_choice = on_progress, on_choice
        self._say = on_notice or (lambda _: None)
        self._manager = Manager()
        self._pool: Pool | None = None
        self._programs: tuple[str, ...] = ()
        self._environment: dict[str, str] = {}
        self._journal: Journal | None = None
        self._journal_opened = False
        self.record: RunRecord | None = None
        # The whole machine's key: a tuning measured on all cores is still the nearest for fewer.
        limited = machine.detect(cores=self._options.cores, memory_gib=self._options.memory_gib)
        self.machine = replace(limited, key=machine.detect().key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; write what is left to the journal and close it."""
        self._close_pool()
        if self._journal is not None:
            self._journal.close()
        self._journal, self._journal_opened = None, False

    def preload(self, methods: Sequence[Method]) -> None:
        """Start to load the programs of an input that is still to be made, and do not wait for them."""
        self._load(sorted({method.program for method in methods}), tuple(methods))

    def run(self, many_body_input: object) -> ManyBodyResult | ManyBodyResultV1:
        """Return the result of a many-body input, in the schema version it came in.

        Args:
            many_body_input: A QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping.

        Raises:
            InputError: The input or an option cannot be used; nothing was computed.
            TaskError: A program failed on at least one fragment; the others were computed.
            ResourceError: The journal cannot be written.
        """
        return self._compute(many_body_input, lambda work, done: work.assemble(done.values, done.results))

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
        return self._compute(
            parts.part(whole, wanted), lambda work, done: parts.components(work, done.results, labels=wanted)
        )

    def _compute(self, source: object, answer: Callable[[Workload, Execution], _Answer]) -> _Answer:
        """Return what `answer` makes of an input's or a workload's finished tasks."""
        started = time.monotonic()
        if not self._journal_opened:
            self._journal, self._journal_opened = recall.opened(self._options, self._say), True
        methods, programs = _named_in(source)
        self._load(programs, methods)
        work = source if isinstance(source, Workload) else workload.load(source)
        if not work.tasks:
            # Counterpoise up to 1-body: all is zero by definition, and upstream says so without computing.
            self.record = None
            return answer(work, Execution())
        lean = omitted.plan(work, self._options)
        work = lean.work
        for found in lean.omitted():
            self._say(found.words)
        plan = planning.make(work, machine=self.machine, manager=self._manager, options=self._options)
        if self._on_choice:
            self._on_choice(plan.chosen)
        checked = self._checked(self._open_pool(programs, plan.policy), work, plan)
        plan.costs.one_core = abilities.on_one_core(checked.widths)
        self._tell(doubts.of_basis(work.methods, work.recipe.molecule.symbols))
        self._tell(doubts.of_version(plan, checked.versions))
        care = self._care(checked.versions, lean.hosts)
        known = recall.recalled(work, care, resume=self._options.resume)
        if self._options.resume:
            self._say(f"{len(known)} of {len(work.tasks)} tasks are in the journal and are not computed again")
        execution = self._execute(work, known, plan=plan, care=care, started=started)
        late = lean.late(execution)
        if late.tasks:
            self._say(omitted.late_words(late))
            also = recall.recalled(late, care, resume=self._options.resume)
            execution.add(self._execute(late, also, plan=plan, care=care, started=started))
            work, known = omitted.together(work, late), {**known, **also}
        with recall.noting_what_is_kept(care.journal, len(execution.values)):
            result = None if execution.failed else answer(lean.whole, lean.filled(execution))
            if care.journal is not None:
                care.journal.flush()
        self.record = ending.record(
            execution,
            plan=plan,
            machine=self.machine,
            work=work,
            recalled=len(known),
            wall_s=time.monotonic() - started,
            versions=checked.versions,
            result=result,
            omitted=lean.omitted(late),
        )
        self._manager.run_done(self.record)
        self._tell(doubts.of_times(plan, work.tasks, execution.records, cores=self.machine.cores))
        if result is None:
            error = ending.failure(execution, work)
            error.add_note(recall.kept_note(care.journal, len(execution.values)))
            raise error
        return result

    def _checked(self, pool: Pool, work: Workload, plan: planning.Plan) -> Checked:
        """Bring the workers to where they can start and return what one of them says of the programs; all is well."""
        try:
            pool.set_recipe(replace(work.recipe, rescue=self._options.rescue).to_json())
            if self._options.enforce_memory:
                pool.enforce(plan.budget_gib)
            pool.prepare(min(plan.policy.workers, len(work.tasks)))
            checked = pool.check()
        except BaseException:
            self.close()
            raise
        if checked.problems:
            raise InputError("; ".join(checked.problems))
        return checked

    def _tell(self, note: str) -> None:
        if note:
            self._say(note)

    def _care(self, versions: Mapping[str, str], hosts: Collection[str]) -> Care:
        options = self._options
        return Care(
            journal=self._journal,
            versions=versions,
            rescue=options.rescue,
            fail_fast=options.fail_fast,
            task_limit_s=options.task_limit_s,
            scratch_gib=options.scratch_gib,
            hosts=hosts,
        )

    def _execute(
        self, work: Workload, known: Mapping[str, Entry], *, plan: planning.Plan, care: Care, started: float
    ) -> Execution:
        """Run the tasks that are not known and return what came out, the known ones among it."""
        assert self._pool is not None
        executor = Executor(
            [task for task in work.tasks if task.key not in known],
            self._pool,
            plan=plan,
            machine=self.machine,
            manager=self._manager,
            care=care,
            started=started,
            on_progress=self._on_progress,
        )
        self._manager.run_started(work.tasks, plan.policy, self.machine)
        try:
            execution = executor.run()
        except BaseException as error:
            self.close()
            error.add_note(recall.kept_note(care.journal, len(executor.execution.values) + len(known)))
            raise
        execution.values.update((key, entry.values) for key, entry in known.items())
        execution.contained.update((key, entry.contained) for key, entry in known.items() if entry.contained)
        execution.results.update((key, entry.result) for key, entry in known.items() if entry.result is not None)
        return execution

    def _load(self, programs: Sequence[str], methods: tuple[Method, ...]) -> None:
        # Programs load while stored tunings are read; a tuning that wants another environment has them load again.
        for look_up in (False, True) if self._pool is None else (True,):
            policy = planning.guess(
                methods, machine=self.machine, manager=self._manager, options=self._options, look_up=look_up
            )
            self._open_pool(programs, policy)

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _open_pool(self, programs: Sequence[str], plan: Policy) -> Pool:
        environment = planning.environment(plan)
        if self._pool is not None and (self._environment != environment or not set(programs) <= set(self._programs)):
            self._close_pool()
        if self._pool is None:
            scratch = Path(self._options.scratch) if self._options.scratch else None
            self._pool = Pool(programs=programs, environment=environment, scratch=scratch)
            self._programs, self._environment = tuple(programs), environment
        return self._pool


def _named_in(source: object) -> tuple[tuple[Method, ...], list[str]]:
    """Return methods and programs of a workload, or of an input that is not validated yet."""
    if isinstance(source, Workload):
        # All programs, also those that a part does not need: the next part may, and finds them loaded.
        return source.methods, sorted(set(source.recipe.programs.values()))
    methods = workload.methods_of(source)
    return methods, sorted({method.program for method in methods})


def run(many_body_input: object, **options: Any) -> ManyBodyResult | ManyBodyResultV1:
    """Return the result of a many-body input, computed in parallel; see `Options` for what may be decided.

    Raises:
        InputError: The input or an option cannot be used; nothing was computed.
        TaskError: A program failed on at least one fragment.
    """
    known = Options.__dataclass_fields__
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise InputError(f"run() has no option {', '.join(unknown)}; it has {', '.join(known)}")
    with Session(Options(**options)) as session:
        return session.run(many_body_input)
