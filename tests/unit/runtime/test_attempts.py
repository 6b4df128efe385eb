"""What workers are told of tasks that share a start of their program, and what a run records of them."""

from __future__ import annotations

import math

import pytest

from autotune.base.types import Estimate, Resources
from autotune.expansion import workload
from autotune.runtime.attempts import Attempts
from autotune.runtime.execution import Care
from autotune.schedule.events import Start
from autotune.workers.messages import Reply

EXPECTED = {
    0: Estimate(alone_s=3.0, parallel=0.0, memory_gib=0.1, start_s=1.0),
    1: Estimate(alone_s=2.0, parallel=0.0, memory_gib=0.1, start_s=1.0),
}


class Expected:
    """Estimates as they are written here, and a grant."""

    of = EXPECTED

    def grant_gib(self, number, width, *, alone):
        del number, width, alone
        return 1.0


def attempts(work, **care):
    return Attempts(work.tasks, expected=Expected(), care=Care(**care), started=0.0)


@pytest.fixture
def work(cluster):
    return workload.load(cluster("water2"))


def start(*, together):
    return Start((0, 1), Resources(cores=1, memory_gib=0.1), together=together)


def test_the_parts_of_tasks_that_share_a_start_add_up_to_what_it_is_expected_to_take(work):
    first, second = attempts(work).orders(start(together=True))
    assert (first.together.part_s, second.together.part_s) == (2.5, 1.5)
    assert first.together.part_s + second.together.part_s == EXPECTED[0].wall_s(1) + EXPECTED[1].next_s(1)
    assert first.together.limit_s == math.inf


def test_a_shared_start_may_take_half_of_what_a_task_may(work):
    orders = attempts(work, task_limit_s=20.0).orders(start(together=True))
    assert [order.together.limit_s for order in orders] == [10.0, 10.0]


def test_tasks_that_do_not_share_a_start_are_not_told_of_any(work):
    assert [order.together for order in attempts(work).orders(start(together=False))] == [None, None]


def test_a_record_says_how_many_shared_its_start(work):
    made = attempts(work)
    made.orders(start(together=True))
    assert made.record(Reply(0, 1.0, 1.0, values={"energy": 0.0}, sharers=2), "").sharers == 2
