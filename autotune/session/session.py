"""The library's front door: `run` for one input, `Session` for many with warm workers.

Rules: one path from input to result, the same for the command line: load, detect, find a tuning, compose, run,
assemble. Programs start to load in the background before the input is validated.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from autotune.base.errors import InputError, TaskError
from autotune.base.options import METRICS, GivenOptions, Options
from autotune.base.records import Lattice, RunRecord, TuningChoice
from autotune.base.types import Machine, Method
from autotune.expansion import workload
from autotune.expansion.workload import Workload
from autotune.journal.journal import Journal
from autotune.plugin.manager import Manager
from autotune.runtime.execution import Execution
from autotune.runtime.local import Local
from autotune.runtime.monitor import Snapshot
from autotune.session import known_checks, reductions, resume
from autotune.session.computation import Computation, Setting
from autotune.session.preparation import Preparation, input_of, options_of

if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult as AtomicResultV1
    from qcelemental.models.v2 import AtomicResult
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

    from autotune.expansion.crystal import Crystal
    from autotune.expansion.expansion import Expansion
    from autotune.expansion.inputs import NamedInput, NamedInputs
    from autotune.runtime.fleet import Fleet
    from autotune.session.lot import Outcome

_Answer = TypeVar("_Answer")
_log = logging.getLogger("autotune")


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

    def run_many(
        self,
        inputs: Iterable[object] | Mapping[str, object] | NamedInputs,
        *,
        expansion: Expansion | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
        keep: bool = True,
    ) -> list[Outcome]:
        """Compute many inputs as one run: one schedule over all their tasks, equal tasks once.

        An input that cannot be computed, or whose tasks fail, stops no other: its outcome has the error.

        Args:
            inputs: Paths of files with inputs or geometries, of folders of them, of XYZ files with several frames;
                texts of such files; `ManyBodyInput`s or their fields. A mapping gives them names; otherwise a file is
                called by its path without the ending, a frame by that and its number, and others `input-0001` by
                their place.
            expansion: What to compute for geometries.
            on_outcome: Called with what became of each input as soon as it is known.
            keep: Keep the outcomes, to return them; False where `on_outcome` takes them, for very many.

        Returns:
            The outcomes in the order of the inputs.

        Raises:
            InputError: There is no such path, or two inputs have one name; nothing was computed.
            ResourceError: The journal cannot be written.
        """
        from autotune.expansion.inputs import NamedInputs, name_inputs
        from autotune.session import many

        named = inputs if isinstance(inputs, NamedInputs) else name_inputs(inputs)
        many.check(named.inputs, expansion, self._options)
        outcomes: dict[str, Outcome] = {}

        def take(outcome: Outcome) -> None:
            if keep:
                outcomes[outcome.name] = outcome
            if on_outcome is not None:
                on_outcome(outcome)

        with self._alone():
            for note in named.notes:
                self._say(note)
            self._compute_many(named.inputs, expansion, take)
        return [outcomes[each.name] for each in named.inputs if each.name in outcomes]

    def run_crystal(
        self,
        crystal: str | Path | Crystal,
        *,
        expansion: Expansion,
        cutoffs_angstrom: Mapping[int, float],
        metric: str = METRICS[0],
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> Lattice:
        """Return the lattice energy of a molecular crystal within cutoffs.

        Each distinct n-mer is a many-body input of its own, which QCManyBody expands; all are one run. Components of
        one shape are computed once where the session has the option `reuse_equal_fragments`.

        Args:
            crystal: The path of a CIF, an extended XYZ file with a lattice, or a POSCAR; or what `read_crystal` made of
                one.
            expansion: Model chemistry and BSSE treatments, without `max_nbody`.
            cutoffs_angstrom: Of each level, the largest distance of two molecules of an n-mer, as `{2: 12.0, 3: 6.0}`.
            metric: What that is of: the `nearest` atoms, the `centres` of mass, or the `farthest` atoms.
            on_outcome: Called with what became of each n-mer as soon as it is known.

        Raises:
            InputError: The crystal, the expansion or a cutoff cannot be used.
            TaskError: N-mers failed; the others were computed.
            ResourceError: The journal cannot be written, or a library for crystals is missing.
        """
        from autotune.expansion.inputs import name_inputs
        from autotune.session import lattice_terms, many

        screens = ("terms", "around", "screen_distance", "screen_energy")
        if asked := [name for name in screens if getattr(self._options, name)]:
            raise InputError(
                f"option {asked[0]} leaves terms out, and a crystal's cutoffs say which there are; leave it out"
            )
        found = lattice_terms.prepare(crystal, expansion=expansion, cutoffs_angstrom=cutoffs_angstrom, metric=metric)
        inputs = name_inputs(found.inputs).inputs
        many.check(inputs, None, self._options)

        def take(outcome: Outcome) -> None:
            found.take(outcome)
            if on_outcome is not None:
                on_outcome(outcome)

        with self._alone():
            self._say(found.words)
            self._compute_many(inputs, None, take, alike=True)
        if (failure := many.sum_up(found.errors)) is not None:
            failure.add_note(self.kept)
            raise failure
        return found.add_up()

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
        with self._alone():
            return self._compute_alone(source, answer)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for other threads, and refuse what is called back within the block."""
        with self._lock:
            if self._computing:
                raise InputError("this session is computing; what it calls back cannot start another run with it")
            self._computing = True
            try:
                yield
            finally:
                self._computing = False

    def _compute_alone(self, source: object, answer: Callable[[Workload, Execution], _Answer]) -> _Answer:
        started = time.monotonic()
        setting = self._open_setting()
        self._load(source)
        work = source if isinstance(source, Workload) else workload.load(source)
        if not work.tasks:
            # Counterpoise up to 1-body: all is zero by definition, and upstream says so without computing.
            self.record = None
            return answer(work, Execution())
        if self._options.screen_energy is not None:
            return self._compute_screened(work, answer)
        lean = reductions.plan(work, self._options)
        computation = Computation(lean, setting, started=started)
        computation.prepare(understood=self._understood)
        self._understood = computation.words
        exact = lean.exactness()
        setting.tell(exact.before_words() if exact else "")

        def conclude(execution: Execution) -> tuple[_Answer | None, Sequence[str]]:
            from autotune.session import plausibility  # what only the end of a run needs

            if execution.failed:
                return None, ()
            filled = lean.fill_in(execution)
            late = lean.find_late(execution) if lean.contained else None
            result = reductions.note_what_is_left_out(answer(lean.whole, filled), lean.list_omitted(late))
            return result, plausibility.implausible(lean.whole.tasks, work.recipe, filled.values)

        result, implausible = computation.execute(conclude)
        off_hartree = exact.in_sum_hartree if exact else None
        self.record, self.kept = computation.record(result, implausible), computation.kept
        self.record = replace(self.record, sum_off_hartree=off_hartree)
        self._manager.run_done(self.record)
        computation.tell_after(implausible)
        setting.tell(exact.after_words() if exact and result is not None else "")
        if result is None:
            from autotune.session import run_record

            error = run_record.failure(computation.execution, computation.work)
            error.add_note(self.kept)
            raise error
        return result

    def _compute_screened(self, work: Workload, answer: Callable[[Workload, Execution], _Answer]) -> _Answer:
        """Return what `answer` makes of a workload that a cheap method computes first."""
        from autotune.session import energy_screen, many, run_record

        energy_screen.check(work, self._options)
        self.record, self.kept = None, ""
        setting = self._open_setting()
        if not self._options.resume:
            # The cheap method may take hours, and what the expensive one cannot compute is said before.
            setting.place.check(work, setting.place.plan(work))
        run = many.Run(setting, load=self._load)
        try:
            filled, omitted, words = energy_screen.compute(work, self._options, run.values_of)
            result = reductions.note_what_is_left_out(answer(work, filled), omitted, words)
        except TaskError as error:
            self.record, self.kept = run.record(), run.kept
            error.add_note(self.kept)
            raise
        found, self.kept = run.record(result), run.kept
        assert found is not None
        name = f"{run_record.workload_words(work)}, screened by {self._options.screen_method}"
        self.record = replace(found, workload=name, omitted=omitted, doubts=(*found.doubts, *words))
        run.tell_after()
        for line in words:
            self._say(line)
        return result

    def _compute_many(
        self,
        inputs: Sequence[NamedInput],
        expansion: Expansion | None,
        take: Callable[[Outcome], None],
        *,
        alike: bool = False,
    ) -> None:
        from autotune.session import many

        self.record, self.kept = None, ""
        run = many.Run(self._open_setting(), load=self._load)
        run.compute(inputs, expansion, assemble=self._assembled, take=take, alike=alike)
        self.record, self.kept = run.record(), run.kept
        run.tell_after()

    def _open_setting(self) -> Setting:
        """Return what computations have in common, once the journal is open."""
        if not self._journal_opened:
            self._journal, self._journal_opened = resume.open_journal(self._options, self._say), True
        return Setting(
            options=self._options,
            place=self._place,
            manager=self._manager,
            journal=self._journal,
            say=self._say,
            on_progress=self._on_progress,
            on_plan=self._on_plan,
            on_choice=self._on_choice,
            close=self.close,
        )

    def _load(self, source: object) -> None:
        """Start to load the programs of an input, unless a resume may need none of them."""
        methods, programs = _names_in(source)
        if not known_checks.are_likely(programs, self._options):
            self._place.load(programs, methods)

    def _assembled(self, work: Workload, done: Execution) -> ManyBodyResult | ManyBodyResultV1:
        result = work.assemble(done.values, done.results)
        left_out = work.left_out_bytes(done.values)
        if note := resume.left_out_note(left_out, self._journal, keeps_results=work.recipe.keep_results):
            self._say(note)
        return result


def _names_in(source: object) -> tuple[tuple[Method, ...], list[str]]:
    """Return methods and programs of a workload, or of an input that is not validated yet."""
    if isinstance(source, Workload):
        # All programs, also those that a part does not need: the next part may, and finds them loaded.
        return source.methods, sorted(set(source.recipe.programs.values()))
    methods = workload.methods_of(source)
    return methods, sorted({method.program for method in methods})


def run_many(
    inputs: Iterable[object] | Mapping[str, object],
    *,
    expansion: Expansion | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    keep: bool = True,
    **options: Unpack[GivenOptions],
) -> list[Outcome]:
    """Compute many inputs as one run and return what became of each, in their order; see `Session.run_many`.

    Args:
        inputs: Paths of files, of folders and of trajectories, texts, or inputs; a mapping gives them names.
        expansion: What to compute for geometries.
        on_outcome: Called with what became of each input as soon as it is known.
        keep: Keep the outcomes, to return them.
        options: What to decide instead of autotune; see `Options`.

    Raises:
        InputError: An option cannot be used, there is no such path, or two inputs have one name.
        ResourceError: The journal cannot be written, or an option asks for more than there is.
    """
    with Session(options_of("run_many", options)) as session:
        return session.run_many(inputs, expansion=expansion, on_outcome=on_outcome, keep=keep)


def run_crystal(
    crystal: str | Path | Crystal,
    *,
    expansion: Expansion,
    cutoffs_angstrom: Mapping[int, float],
    metric: str = METRICS[0],
    on_outcome: Callable[[Outcome], None] | None = None,
    **options: Unpack[GivenOptions],
) -> Lattice:
    """Return the lattice energy of a molecular crystal within cutoffs; see `Session.run_crystal`.

    Args:
        crystal: The path of a CIF, an extended XYZ file with a lattice, or a POSCAR; or what `read_crystal` returned.
        expansion: Model chemistry and BSSE treatments, without `max_nbody`.
        cutoffs_angstrom: Of each level, the largest distance of two molecules of an n-mer, as `{2: 12.0, 3: 6.0}`.
        metric: What that is of: the `nearest` atoms, the `centres` of mass, or the `farthest` atoms.
        on_outcome: Called with what became of each n-mer as soon as it is known.
        options: What to decide instead of autotune; see `Options`. Components of one shape are computed once here
            unless `reuse_equal_fragments` is False.

    Raises:
        InputError: The crystal, the expansion, a cutoff or an option cannot be used.
        TaskError: N-mers failed; the others were computed.
        ResourceError: The journal cannot be written, or a library for crystals is missing.
    """
    options.setdefault("reuse_equal_fragments", True)
    with Session(options_of("run_crystal", options)) as session:
        return session.run_crystal(
            crystal, expansion=expansion, cutoffs_angstrom=cutoffs_angstrom, metric=metric, on_outcome=on_outcome
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
