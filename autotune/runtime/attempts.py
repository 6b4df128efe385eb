"""Attempts at the tasks of a run: what each is given, how often it has failed, how the next one differs.

Rules: knows orders and replies, not who carries them out; what is done about a failure is decided in `failures.py`.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from autotune.base.records import TaskRecord, task_record
from autotune.base.types import Resources, Task
from autotune.journal.entries import Entry
from autotune.machine import gpus
from autotune.runtime import failures
from autotune.runtime.execution import Care
from autotune.runtime.expectations import Expectations
from autotune.schedule.events import Start
from autotune.workers.messages import Order, Reply, Together

# Of the time limit of a task that a start with several may take; then the one that it is at is computed by itself, with
# the whole limit. The rest is for ending the program and reading what it has finished.
_START_SHARE = 0.5


class Attempts:
    """Attempts at the tasks of one run.

    Args:
        tasks: Of the run.
        expected: What they are expected to cost, and are granted.
        care: What to do about faults.
        started: CLOCK_MONOTONIC second from which the run's times count.
    """

    def __init__(self, tasks: Sequence[Task], *, expected: Expectations, care: Care, started: float) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._expected, self._care, self._started = expected, care, started
        self._given: dict[int, Resources] = {}
        self._seats: dict[int, tuple[int, float]] = {}
        self._made: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        self._alone: set[int] = set()
        self._rescued: set[int] = set()

    def orders(self, start: Start, *, speed: float = 1.0) -> list[Order]:
        """Return what to tell a worker, which is so fast, about tasks that start now."""
        orders, width, seat = [], start.resources.cores, (start.seat, speed)
        environment = () if start.place is None else gpus.environment_of(start.place.device, os.environ)
        for number in start.numbers:
            task = self._tasks[number]
            self._made[number] += 1
            self._seats[number] = seat
            grant_gib = self._expected.grant_gib(number, width, alone=number in self._alone)
            resources = self._given[number] = Resources(cores=width, memory_gib=grant_gib, gpus=start.resources.gpus)
            together = self._together(number, start) if start.together else None
            rescued = number in self._rescued
            orders.append(Order(number, task.level, task.real, task.basis, resources, rescued, together, environment))
        return orders

    def _together(self, number: int, start: Start) -> Together:
        expected, limit_s = self._expected.of[number], self._care.task_limit_s
        part_s = expected.next_s(start.resources.cores) + expected.start_s / len(start.numbers)
        return Together(part_s, math.inf if limit_s is None else _START_SHARE * limit_s)

    def width(self, number: int) -> int:
        """Return the cores that a task was given."""
        return self._given[number].cores

    def seat(self, number: int) -> tuple[int, float]:
        """Return the seat of a task, and how fast that was known to be."""
        return self._seats[number]

    def returned(self, number: int) -> None:
        """Take note of a task that came back without having been at fault: the attempt does not count."""
        self._made[number] -= 1

    def answer(self, reply: Reply, kind: str) -> failures.Answer:
        """Return what to do about a failed attempt."""
        number = reply.number
        self._failures[number] += 1
        if kind == "memory" and number in self._alone:
            return failures.FAIL
        answer = failures.answer(kind, self._failures[number], can_rescue=bool(self._care.rescue))
        if answer.alone:
            self._alone.add(number)
        if answer.rescue:
            self._rescued.add(number)
        return answer

    def entry(self, reply: Reply) -> Entry:
        """Return what the journal keeps of a task that is done."""
        assert reply.values is not None
        task, rescued = self._tasks[reply.number], reply.number in self._rescued
        rescue, version = self._care.rescue_text if rescued else "", self._care.version(task.method.program)
        # A second attempt has other keywords than the task that would take the energy.
        contained = reply.contained if task.key in self._care.hosts and not rescued else None
        return Entry(task.key, version, rescue, reply.values, reply.result, contained)

    def record(self, reply: Reply, kind: str) -> TaskRecord:
        """Return the record of a task that ended, with the kind of its failure or an empty text; asked once."""
        number = reply.number
        given, (_, speed) = self._given.pop(number), self._seats.pop(number)
        record = task_record(
            self._tasks[number],
            self._expected.of[number],
            given,
            started_s=reply.started - self._started,
            wall_s=reply.wall_s,
            cpu_s=reply.cpu_s,
            peak_gib=reply.peak_gib,
            attempts=self._made[number],
            error_type=kind,
            error=reply.error,
        )
        return replace(
            record,
            sharers=reply.sharers,
            fallback=reply.fallback,
            speed=speed,
            predicted_s=record.predicted_s / speed,
        )
