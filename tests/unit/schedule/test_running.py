"""Claims about `autotune.schedule.running`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.types import Resources
from autotune.schedule.events import Start
from autotune.schedule.running import LATE_SHARE, Running


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.floats(0.0, 3.0), st.floats(0.1, 9.0), st.booleans()), min_size=1, max_size=20
    ),
    st.integers(1, 8),
    st.floats(0.0, 4.0),
    st.floats(0.0, 12.0),
)
def test_room_for_a_task_is_where_a_look_at_all_that_runs_finds_it(batches, width, memory_gib, now_s):
    running, budget_gib = Running(), 6.0
    for n, (wide, held_gib, ends_s, _) in enumerate(batches):
        running.begin(Start((n,), Resources(cores=wide, memory_gib=held_gib)), 0.0, ends_s)
    for n, (*_, ended) in enumerate(batches):
        if ended:
            running.end(n)
    left = [(wide, held_gib, ends_s) for wide, held_gib, ends_s, ended in batches if not ended]
    late = {ends_s: ends_s if now_s <= ends_s else now_s * (1 + LATE_SHARE) for *_, ends_s in left}
    assert running.slots == sum(wide for wide, *_ in left)
    assert running.left_core_s(now_s) == pytest.approx(sum(wide * (late[ends_s] - now_s) for wide, _, ends_s in left))
    room = running.room(Resources(cores=width, memory_gib=memory_gib), now_s, slots=0, budget_gib=budget_gib)
    order = sorted(left, key=lambda batch: late[batch[2]])
    ended = 0
    while ended < len(order) and (
        sum(wide for wide, *_ in order[:ended]) < width
        or sum(held_gib for _, held_gib, _ in order[ended:]) + memory_gib > budget_gib
    ):
        ended += 1
    assert room.at_s == pytest.approx(late[order[ended - 1][2]] if ended else now_s)
