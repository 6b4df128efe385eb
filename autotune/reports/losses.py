"""Where a run's time went, in words: what the bound stands for, and each loss between it and the wall time.

Rules: pure; a sentence says only what the record shows. Seconds are of the whole run, as in `Gap`: core-seconds over
cores. Numbers that are not finite count as nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

from autotune.base.records import Gap, RunRecord, TaskRecord
from autotune.base.text import count, percent, seconds
from autotune.expansion.labels import mer
from autotune.reports.sentences import task_name
from autotune.reports.timeline import MOST_S
from autotune.schedule import bounds

WORTH_SAYING = 0.005  # of the wall time
_SAME = 1e-6
_SLACK = 1e-3
_WHOLE = 0.05  # mean numbers of cores so near to a whole one are said as that


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A part of a run's time.

    Attributes:
        name: In a word or two.
        time_s: Seconds of the whole run.
        share: Of the wall time.
        sentence: What happened in it.
        useful: Tasks that counted were computed in it.
    """

    name: str
    time_s: float
    share: float
    sentence: str
    useful: bool = False


def losses(run: RunRecord) -> tuple[Loss, ...]:
    """Return where a run's time went: the useful part first, then the losses worth saying, the largest first."""
    wall_s = _amount(run.wall_s)
    if not wall_s:
        return ()
    gap = Gap(**{each.name: min(wall_s, _amount(getattr(run.gap, each.name))) for each in fields(Gap)})
    lost = [
        ("start-up", gap.startup, "no task ran yet: imports, planning, first processes"),
        ("tail", gap.tail, _tail_words(run, gap)),
        ("waiting for memory", gap.memory, "was idle because tasks waited for memory"),
        ("failed attempts", gap.retries, "went to attempts that failed"),
        ("between tasks", gap.scheduler, "was idle between tasks although work was ready"),
        ("assembly", gap.assembly, "all tasks were done: the many-body sums and the result"),
    ]
    computing_s = max(0.0, wall_s - sum(time_s for _, time_s, _ in lost))
    wide_s = min(_wide_s(run, computing_s), computing_s)
    lost.append(
        ("price of wide tasks", wide_s, "was the price of giving tasks several cores, which do not divide all of it")
    )
    useful = Loss(
        name="computing",
        time_s=computing_s - wide_s,
        share=(computing_s - wide_s) / wall_s,
        sentence=f"{percent((computing_s - wide_s) / wall_s)} of the cores' time was spent on computing tasks.",
        useful=True,
    )
    said = [
        Loss(name=name, time_s=time_s, share=time_s / wall_s, sentence=_sentence(name, time_s, wall_s, words))
        for name, time_s, words in sorted(lost, key=lambda each: -each[1])
        if time_s >= WORTH_SAYING * wall_s
    ]
    return useful, *said


def _sentence(name: str, time_s: float, wall_s: float, words: str) -> str:
    share = percent(time_s / wall_s)
    if name == "tail":
        return words
    of = "time" if name in ("start-up", "assembly") else "cores' time"
    return f"{share} of the {of} ({seconds(time_s)}) {words}."


def bound_words(run: RunRecord) -> str:
    """Return what the lower bound is and what sets it; empty where the record has none."""
    bound_s, wall_s = _amount(run.lower_bound_s), _amount(run.wall_s)
    if not bound_s or not wall_s:
        return ""
    if bound_s > wall_s * (1.0 + _SLACK):
        return (
            f"The bound, {seconds(bound_s)}, is above the wall time, {seconds(wall_s)}: it counts each task's peak"
            " memory for all of its time, and tasks hold less most of the time."
        )
    return (
        f"No schedule of these measured task times can end before {seconds(bound_s)}: {_decides(run)}."
        f" The run took {seconds(wall_s)}, so it reached {percent(min(1.0, bound_s / wall_s))} of what is possible."
    )


def is_bound_by_one_task(run: RunRecord) -> bool:
    """Return whether the longest task alone sets the bound, so that no schedule could do anything about it."""
    longest_s = max((record.wall_s for record in _done(run)), default=0.0)
    return bool(longest_s) and math.isclose(longest_s, run.lower_bound_s, rel_tol=_SAME)


def last_tasks(run: RunRecord) -> list[TaskRecord]:
    """Return the tasks that were at work when the last one had started, the one that ended last at the end."""
    done = _done(run)
    last_start_s = max((record.started_s for record in done), default=0.0)
    ending = [record for record in done if record.started_s + record.wall_s > last_start_s]
    return sorted(ending, key=lambda record: record.started_s + record.wall_s)


def _decides(run: RunRecord) -> str:
    done = _done(run)
    if is_bound_by_one_task(run):
        longest = max(done, key=lambda record: record.wall_s)
        return f"the longest task, {task_name(longest)}, takes as long by itself"
    budget_gib = run.memory_budget_gib
    if 0.0 < budget_gib < math.inf:
        alone_s = sum(record.wall_s for record in done if record.peak_gib > budget_gib / 2)
        held_s = sum(record.peak_gib * record.wall_s for record in done) / budget_gib
        if math.isclose(alone_s, run.lower_bound_s, rel_tol=_SAME):
            return "tasks that need more than half of the memory budget run one after another"
        if math.isclose(held_s, run.lower_bound_s, rel_tol=_SAME):
            return "the tasks' memory fills the budget for as long"
    return "all cores would have to work from the first moment to the last"


def _tail_words(run: RunRecord, gap: Gap) -> str:
    """Return who waited for whom at the end, and how long."""
    ending, cores = last_tasks(run), run.machine.cores
    if not ending or not gap.tail:
        return "At the end cores were idle because no task was left to start."
    last_start_s = max(record.started_s for record in ending)
    idle = list(_idle(ending, cores=cores, start_s=last_start_s))
    idle_s = sum(finish - begin for begin, finish, _ in idle)
    if not idle_s:
        return f"{percent(gap.tail / run.wall_s)} of the cores' time they were idle because no task was left to start."
    mean = sum((finish - begin) * free for begin, finish, free in idle) / idle_s
    waited_for = [record for record in ending if record.started_s + record.wall_s > idle[0][0]]
    last = waited_for[-1]
    whom = f"the last {mer(last.nbody)}"
    if len(waited_for) > 1:
        whom = f"the last {count(len(waited_for), 'task')}, most of all for {task_name(last)}"
    return f"{percent(idle_s / run.wall_s)} of the time ({seconds(idle_s)}) {_cores(mean, cores)} waited for {whom}."


def _cores(mean: float, cores: int) -> str:
    whole = round(mean)
    if whole and abs(mean - whole) < _WHOLE:
        return "one core" if whole == 1 else f"{whole} of {count(cores, 'core')}"
    return f"{mean:.1f} of {count(cores, 'core')}, on average,"


def _idle(records: list[TaskRecord], *, cores: int, start_s: float) -> Iterator[tuple[float, float, int]]:
    """Yield the times after a start, up to the last end, in which cores have no task: from, to, how many."""
    # By ends, as nothing starts any more.
    busy, at = sum(record.width for record in records), start_s
    for record in records:
        end_s = record.started_s + record.wall_s
        if busy < cores and end_s > at:
            yield at, end_s, cores - busy
        at, busy = max(at, end_s), busy - record.width


def _wide_s(run: RunRecord, computing_s: float) -> float:
    """Return what wide tasks cost more than narrow ones, where the record shows it."""
    done = _done(run)
    slots = max(run.machine.cores, run.nodes * run.policy.core_slots)
    if slots > run.machine.cores or all(record.width == 1 for record in done):
        return 0.0
    # The bound's area counts each task as narrow as it can be; other bounds say nothing of it.
    others_s = bounds.lower_bound_s(
        done,
        cores=slots,
        memory_gib=run.nodes * run.memory_budget_gib or math.inf,
        narrow_s=dict.fromkeys((record.number for record in done), 0.0),
    )
    return max(0.0, computing_s - run.lower_bound_s) if run.lower_bound_s > others_s * (1.0 + _SAME) else 0.0


def _done(run: RunRecord) -> list[TaskRecord]:
    """Return the finished tasks with numbers that can be used."""
    return [
        record
        for record in run.task_records
        if record.status == "done"
        and all(0.0 <= number <= MOST_S for number in (record.started_s, record.wall_s, record.peak_gib))
    ]


def _amount(value: float) -> float:
    return value if 0.0 < value < math.inf else 0.0
