"""Inputs that are computed together: their tasks as those of one, and each one's result as soon as it can be had.

Rules: pure, but for what an outcome is handed to; nothing is started here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autotune.base.errors import AutotuneError, TaskError
from autotune.base.records import Omitted, TaskRecord
from autotune.base.text import count
from autotune.expansion import joint
from autotune.expansion.joint import Joint
from autotune.expansion.summary import describe
from autotune.expansion.workload import Workload
from autotune.runtime.execution import Execution
from autotune.session import reductions
from autotune.session.reductions import Omission

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

NAMED_KINDS = 3  # of inputs, and of doubts, that are told
_EQUAL = ("reuse_equal_monomers", "reuse_equal_fragments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one input of many.

    Attributes:
        name: The input's.
        result: In the schema version of the input; None where there is none.
        error: Why there is none.
    """

    name: str
    result: ManyBodyResult | ManyBodyResultV1 | None = None
    error: AutotuneError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One input of a lot.

    Attributes:
        name: Its own.
        lean: What is computed of it.
    """

    name: str
    lean: Omission


@dataclass(frozen=True)  # without slots: the tasks are joined when they are first asked for
class Lot:
    """Parts that are computed together; what is to be computed, as `computation.Lean` has it.

    Attributes:
        parts: Of one kind, at least one.
        first: Number of the first task.
    """

    parts: Sequence[Part]
    first: int = 0

    @cached_property
    def _all(self) -> Joint:
        """The tasks that the parts want."""
        return joint.join({part.name: part.lean.work for part in self.parts}, first=self.first)

    @cached_property
    def equal(self) -> dict[str, str]:
        """By key of a task that takes the energy of one of another part, that one's key."""
        if len(self.parts) == 1:
            return {}  # a part knows its own
        tasks = (task for task in self._all.tasks if task.key not in self.hosts)
        return reductions.find_equal(tasks, self._all.recipe, self.parts[0].lean.options)

    @cached_property
    def work(self) -> Joint:
        """The tasks to be computed."""
        if not self.equal:
            return self._all
        tasks = (task for task in self._all.tasks if task.key not in self.equal)
        numbered = tuple(replace(task, number=number) for number, task in enumerate(tasks, start=self.first))
        return replace(self._all, tasks=numbered)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Keys of the tasks whose contained energies are wanted."""
        return frozenset().union(*(part.lean.hosts for part in self.parts))

    def find_late(self, execution: Execution) -> Joint:
        """Return the tasks that must be computed after all."""
        late = {part.name: part.lean.find_late(execution) for part in self.parts}
        if not any(work.tasks for work in late.values()):
            return replace(self.work, tasks=())
        first = self.work.tasks[0].number + len(self.work.tasks)
        return replace(joint.join(late, first=first), recipe=self.work.recipe)

    def join(self, late: Joint) -> Joint:
        """Return all tasks that were computed, the late ones with them."""
        return replace(self.work, tasks=(*self.work.tasks, *late.tasks))

    def list_omitted(self, late: Joint | None = None) -> tuple[Omitted, ...]:
        """Return what is left out of all parts; less the tasks that were computed after all."""
        found: dict[str, Omitted] = {}
        for part in self.parts:
            for each in part.lean.list_omitted():
                before = found.get(each.option)
                tasks, of = each.tasks + (before.tasks if before else 0), each.of + (before.of if before else 0)
                found[each.option] = replace(each, tasks=tasks, of=of)
        for option, each in found.items() if self.parts[1:] else ():
            tasks = each.tasks + (len(self.equal) if option in _EQUAL else 0)
            head = each.words.partition(":")[0]
            words = f"{head}: {tasks:,} of {each.of:,} tasks of {count(len(self.parts), 'input')} are not computed"
            found[option] = replace(each, tasks=tasks, words=words)
        if late and late.tasks and (contained := found.get("reuse_contained")):
            found["reuse_contained"] = replace(contained, tasks=contained.tasks - len(late.tasks))
        return tuple(found.values())

    def exactness_words(self) -> str:
        """Return what to say of the sum that multiplies errors most; empty where none does by much."""
        found = {part.name: exact for part in self.parts if (exact := part.lean.exactness()) is not None}
        if not found:
            return ""
        worst = max(found, key=lambda name: found[name].per_energy_hartree)
        words = found[worst].before_words()
        return f"{worst}: {words}" if words and self.parts[1:] else words

    def describe(self) -> str:
        """Return what is computed, in words: the kinds of inputs, the most frequent first."""
        if len(self.parts) == 1:
            return self.parts[0].lean.describe()
        kinds = Counter(describe(part.lean.work.recipe.molecule) for part in self.parts)
        named = [f"{times:,} × ({words})" for words, times in kinds.most_common(NAMED_KINDS)]
        if len(kinds) > len(named):
            named.append(count(len(kinds) - len(named), "other kind"))
        distinct = count(len(self.work.tasks), "distinct task")
        return f"{count(len(self.parts), 'input')} with {distinct}: {' | '.join(named)}"


@dataclass(kw_only=True)
class Delivery:
    """Hands out what became of each part of a lot as soon as all its tasks have ended.

    Args:
        lot: The lot.
        assemble: Returns the result of a workload whose tasks are done.
        take: Called with each outcome.

    Attributes:
        doubts: Sentences about results that cannot be right.
    """

    lot: Lot
    assemble: Callable[[Workload, Execution], Any]
    take: Callable[[Outcome], None]
    doubts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Note what each part waits for."""
        # By label, which late tasks have, too.
        self._keys = {
            joint.label(part.name, task.labels[0]): task.key
            for part in self.lot.parts
            for task in part.lean.whole.tasks
        }
        self._waiting: dict[str, list[int]] = {}
        self._left: dict[int, int] = {}
        for place, part in enumerate(self.lot.parts):
            keys = {self.lot.equal.get(task.key, task.key) for task in part.lean.work.tasks}
            self._left[place] = len(keys)
            for key in keys:
                self._waiting.setdefault(key, []).append(place)
        self._records: dict[str, TaskRecord] = {}
        self._read = 0
        self._begun = False

    def look(self, execution: Execution) -> None:
        """Hand out the parts whose tasks have all ended since the last look, unless some must be computed after all."""
        if not self._begun:
            self._begun = True
            for key in list(execution.values):
                self._end(key, execution)
        while self._read < len(execution.records):
            record = execution.records[self._read]
            self._read += 1
            key = self._keys[record.label]
            self._records[key] = record
            self._end(key, execution)

    def finish(self, execution: Execution) -> Sequence[str]:
        """Hand out all other parts, and return the doubts about all."""
        self.look(execution)
        for place in list(self._left):
            self._hand_out(place, execution)
        return tuple(self.doubts)

    def _end(self, key: str, execution: Execution) -> None:
        for place in self._waiting.pop(key, ()):
            self._left[place] -= 1
            if not self._left[place] and not self.lot.parts[place].lean.find_late(execution).tasks:
                self._hand_out(place, execution)

    def _hand_out(self, place: int, execution: Execution) -> None:
        from autotune.session import plausibility, run_record  # what only the end of an input needs

        del self._left[place]
        part = self.lot.parts[place]
        own, lean = self._own(part, execution), part.lean
        late = lean.find_late(own)
        work = lean.join(late) if late.tasks else lean.work
        left = sum(task.key not in own.values for task in work.tasks)
        if own.failed or left:
            error = (
                run_record.failure(own, work)
                if own.failed
                else TaskError(
                    f"{left} of {count(len(work.tasks), 'task')} were not started after another input failed"
                )
            )
            self.take(Outcome(name=part.name, error=error))
            return
        filled = lean.fill_in(own)
        found = plausibility.implausible(lean.whole.tasks, lean.whole.recipe, filled.values)
        if len(self.doubts) < NAMED_KINDS:
            self.doubts += [f"{part.name}: {words}" for words in found]
        result = reductions.note_what_is_left_out(self.assemble(lean.whole, filled), lean.list_omitted(late))
        self.take(Outcome(name=part.name, result=result))

    def _own(self, part: Part, execution: Execution) -> Execution:
        """Return what came out of a part's tasks, by their own numbers and labels."""
        tasks, equal = {task.key: task for task in part.lean.whole.tasks}, self.lot.equal
        values = execution.values.of(tasks)
        for key in tasks.keys() & equal.keys():
            if equal[key] in execution.values:
                values.keep(reductions.given(key, execution.values[equal[key]]["energy"]))
        return Execution(
            values=values,
            contained={key: execution.contained[key] for key in tasks.keys() & execution.contained.keys()},
            results={key: execution.results[key] for key in tasks.keys() & execution.results.keys()},
            records=[
                replace(self._records[host], number=task.number, label=task.labels[0])
                for key, task in tasks.items()
                if (host := equal.get(key, key)) in self._records
            ],
        )
