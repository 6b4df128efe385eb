"""Claims about `autotune.base.garbage`."""

from __future__ import annotations

import gc
import threading

import pytest

from autotune.base import garbage


@pytest.fixture(autouse=True)
def thresholds():
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield
    gc.set_threshold(*before)


def test_the_search_is_seldom_within_a_block_and_as_before_after_it_also_where_it_fails():
    @garbage.search_seldom()
    def failing():
        assert gc.get_threshold() == garbage.SELDOM
        assert gc.isenabled()
        with garbage.search_seldom():
            assert gc.get_threshold() == garbage.SELDOM
        assert gc.get_threshold() == garbage.SELDOM
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        failing()
    assert gc.get_threshold() == (701, 11, 12)


def test_blocks_of_threads_may_end_in_any_order():
    inside, may_end = threading.Event(), threading.Event()

    def first():
        with garbage.search_seldom():
            inside.set()
            may_end.wait()

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with garbage.search_seldom():
        may_end.set()
        thread.join()
        assert gc.get_threshold() == garbage.SELDOM
    assert gc.get_threshold() == (701, 11, 12)
