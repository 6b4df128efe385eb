"""Many inputs as one run: one pool, one schedule over all their tasks, results as they finish.

Rules: inputs are read one after another and joined in lots; a lot is computed as one input would be. A fault of one
input is that input's outcome and stops no other. Values, journal and records are those of single runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autotune.base.errors import AutotuneError, InputError, TaskError
from autotune.base.records import RunRecord
from autotune.base.text import count, join_words
from autotune.base.types import Method
from autotune.expansion import joint, readers, workload
from autotune.expansion.inputs import NamedInput
from autotune.expansion.joint import Joint
from autotune.expansion.workload import Workload
from autotune.runtime import planning
from autotune.runtime.execution import Execution
from autotune.session import reductions
from autotune.session.computation import Computation, Setting, record
from autotune.session.lot import Delivery, Lot, Outcome, Part
from autotune.session.reductions import Omission

if TYPE_CHECKING:
    from autotune.base.options import Options
    from autotune.expansion.expansion import Expansion
    from autotune.runtime.fleet import Fleet
    from autotune.runtime.local import Local

# Of a lot: planning a thousand small inputs takes two seconds, in which nothing is computed.
MOST_INPUTS, MOST_TASKS = 2_000, 100_000
NAMED_INPUTS = 3  # of those that failed alike


def read(named: NamedInput, expansion: Expansion | None) -> Workload:
    """Return the workload of one input; raises InputError."""
    content = named.content
    if isinstance(content, InputError):
        raise content
    if not isinstance(content, str):
        return workload.load(content)
    stated = None
    if expansion is not None and not readers.says_what_to_compute(content, name=named.source):
        stated = expansion
    return workload.load(readers.many_body_fields(content, name=named.source, expansion=stated))


def check(inputs: Sequence[NamedInput], expansion: Expansion | None, options: Options) -> None:
    """Refuse options that are for one input, and an expansion for inputs that say themselves what to compute."""
    if options.reuse_densities:
        raise InputError("reuse_densities takes inputs one after another; leave it out, or call run for each")
    if options.screen_energy is not None:
        raise InputError("--screen-energy has two passes over one input; leave it out, or run each input by itself")
    if expansion is not None and not any(_is_geometry(named) for named in inputs):
        raise InputError(
            "these inputs say themselves what to compute; leave out the expansion (--program, --method and so on), or"
            " give a geometry"
        )


def _is_geometry(named: NamedInput) -> bool:
    if not isinstance(named.content, str):
        return isinstance(named.content, InputError)
    try:
        return not readers.says_what_to_compute(named.content, name=named.source)
    except InputError:
        return True  # who can tell


def chunks(
    inputs: Sequence[NamedInput],
    *,
    expansion: Expansion | None,
    options: Options,
    refuse: Callable[[Outcome], None],
    load: Callable[[Workload], None],
) -> Iterator[list[Part]]:
    """Yield inputs that were read, in chunks of what is planned at once.

    Args:
        inputs: All.
        expansion: For geometries.
        options: What tasks are left out.
        load: Called with each workload, before its tasks are reduced.
        refuse: Called with the outcome of each input that cannot be computed.
    """
    chunk: list[Part] = []
    tasks = 0
    for named in inputs:
        try:
            work = read(named, expansion)
            load(work)
            # Where there is nothing to compute, there is nothing to leave out.
            lean = reductions.plan(work, options) if work.tasks else Omission(whole=work, work=work, options=options)
            part = Part(name=named.name, lean=lean)
        except InputError as error:
            refuse(Outcome(name=named.name, error=error))
            continue
        chunk.append(part)
        tasks += len(part.lean.work.tasks)
        if len(chunk) >= MOST_INPUTS or tasks >= MOST_TASKS:
            yield chunk
            chunk, tasks = [], 0
    if chunk:
        yield chunk


def lots(parts: Sequence[Part], place: Local | Fleet, *, alike: bool = False) -> list[list[Part]]:
    """Return parts in groups that are computed together, each with the same bits as by itself.

    That is those of one kind, and of all methods for which a program would be set as it is for the lot: its tunables
    and its libraries' threads can change last digits.

    Args:
        parts: All that are planned.
        place: Where they are computed.
        alike: Programs may be set for all parts of a kind alike: they are parts of one calculation.

    Raises:
        InputError: An option cannot be used, or a tuning.
    """
    kinds: dict[tuple[object, ...], dict[tuple[Method, ...], list[Part]]] = {}
    for part in parts:
        work = part.lean.work
        # A program may be told how large the largest task is.
        kind = joint.kind(work) if alike else (*joint.kind(work), max(task.nbody for task in work.tasks))
        kinds.setdefault(kind, {}).setdefault(work.methods, []).append(part)
    found = []
    for by_methods in kinds.values():
        groups = list(by_methods.values())
        together = alike or (len(groups) > 1 and _agree(groups, place))
        found += [[part for of in groups for part in of]] if together else groups
    return found


def _agree(groups: Sequence[Sequence[Part]], place: Local | Fleet) -> bool:
    try:
        together = place.plan(Lot([part for parts in groups for part in parts]).work).policy
        policies = [place.plan(parts[0].lean.work).policy for parts in groups]
    except InputError:
        return False  # which of them is at fault is found where each is planned
    for parts, alone in zip(groups, policies, strict=True):
        programs = {method.program for method in parts[0].lean.work.methods}
        theirs = {name: value for name, value in together.tunables if name.partition(".")[0] in programs}
        if planning.environment(alone) != planning.environment(together) or dict(alone.tunables) != theirs:
            return False
    return True


class Run:
    """A run of many inputs.

    Args:
        setting: Of the session.
        load: Starts to load the programs of a workload.
    """

    def __init__(self, setting: Setting, *, load: Callable[[object], None]) -> None:
        said: set[str] = set()

        def say_once(line: str) -> None:
            # Lots, and inputs that are tried one by one, have the same to say.
            if line not in said:
                said.add(line)
                setting.say(line)

        self._setting, self._load = replace(setting, say=say_once), load
        self._started = time.monotonic()
        self._computations: list[Computation[Joint]] = []
        self._doubts: list[str] = []

    def compute(
        self,
        inputs: Sequence[NamedInput],
        expansion: Expansion | None,
        *,
        assemble: Callable[[Workload, Execution], Any],
        take: Callable[[Outcome], None],
        alike: bool = False,
    ) -> None:
        """Compute all inputs.

        Args:
            inputs: All.
            expansion: For geometries.
            assemble: Returns the result of a workload whose tasks are done.
            take: Called with each outcome.
            alike: As of `lots`.
        """
        loaded: set[tuple[Method, ...]] = set()

        def load(work: Workload) -> None:
            if work.methods not in loaded:
                loaded.add(work.methods)
                self._load(work)

        for chunk in chunks(inputs, expansion=expansion, options=self._setting.options, load=load, refuse=take):
            ready = []
            for part in chunk:
                if part.lean.whole.tasks:
                    ready.append(part)
                else:
                    # Counterpoise up to 1-body: all is zero by definition.
                    take(Outcome(name=part.name, result=assemble(part.lean.whole, Execution())))
            for parts in lots(ready, self._setting.place, alike=alike):
                self._compute_lot(parts, assemble=assemble, take=take, alike=alike)

    def values_of(self, name: str, lean: Omission) -> Execution:
        """Return the values of all tasks of one workload; raises the error that its outcome has."""
        outcomes: list[Outcome] = []
        self._load(lean.work)
        self._compute_lot([Part(name=name, lean=lean)], assemble=lambda _, done: done, take=outcomes.append)
        (outcome,) = outcomes
        if outcome.error is not None:
            raise outcome.error
        filled: Any = outcome.result
        assert isinstance(filled, Execution)
        return filled

    def _compute_lot(
        self,
        parts: Sequence[Part],
        *,
        assemble: Callable[[Workload, Execution], Any],
        take: Callable[[Outcome], None],
        alike: bool = False,
    ) -> None:
        """Compute parts together, or one by one where one of them cannot be computed; not parts of one calculation."""
        if self._setting.options.fail_fast and any(each.execution.failed for each in self._computations):
            for part in parts:
                take(Outcome(name=part.name, error=TaskError("it was not started after another input failed")))
            return
        first = sum(len(each.work.tasks) for each in self._computations)
        lot = Lot(parts, first)
        started = time.monotonic() if self._computations else self._started
        try:
            computation = Computation(lot, self._setting, started=started)
            computation.prepare(understood="")
            self._setting.tell(lot.exactness_words())
        except InputError as error:
            if len(parts) == 1 or alike:
                for part in parts:
                    take(Outcome(name=part.name, error=error))
                return
            # One of them may be at fault.
            half = len(parts) // 2
            for some in (parts[:half], parts[half:]):
                self._compute_lot(some, assemble=assemble, take=take)
            return
        self._computations.append(computation)
        delivery = Delivery(lot=lot, assemble=assemble, take=take)
        doubts = computation.execute(delivery.finish, meanwhile=delivery.look)
        self._doubts += doubts
        self._setting.manager.run_done(computation.record(doubts=doubts))

    def record(self, result: object = None) -> RunRecord | None:
        """Return the record of all that was computed, with the result of a single one; None where nothing was."""
        return record(self._computations, result, self._doubts) if self._computations else None

    @property
    def kept(self) -> str:
        """What to tell a user whose results are lost after all; empty where nothing is kept."""
        return self._computations[-1].kept if self._computations else ""

    def tell_after(self) -> None:
        """Say what a user should know of a run that is done."""
        for place, computation in enumerate(self._computations):
            computation.tell_after(() if place else self._doubts)


def sum_up(outcomes: Mapping[str, AutotuneError | None]) -> AutotuneError | None:
    """Return what to raise where inputs failed, by their names: a line for people; None where none did.

    It is an InputError where nothing else happened, so that a run of inputs none of which can be computed ends as that
    of one does.
    """
    errors = {name: error for name, error in outcomes.items() if error is not None}
    if not errors:
        return None
    first = next(iter(errors.values()))
    if len(outcomes) == 1:
        return first
    groups: dict[str, list[str]] = {}
    for name, error in errors.items():
        groups.setdefault(str(error), []).append(name)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))
    parts = [f"{_listed(names)}: {words}" for words, names in largest[:NAMED_INPUTS]]
    rest = sum(len(names) for _, names in largest[NAMED_INPUTS:])
    more = f"; and {count(rest, 'other input')}" if rest else ""
    of_input = len(errors) == len(outcomes) and all(isinstance(error, InputError) for error in errors.values())
    text = f"{len(errors):,} of {count(len(outcomes), 'input')} failed: {'; '.join(parts)}{more}"
    return InputError(text) if of_input else TaskError(text)


def _listed(names: Sequence[str]) -> str:
    left = len(names) - NAMED_INPUTS
    return join_words([*names[:NAMED_INPUTS], *([f"{left:,} more"] if left > 0 else [])])
