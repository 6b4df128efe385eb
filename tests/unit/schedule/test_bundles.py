"""Which tasks go to a node next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autotune.schedule import bundles
from autotune.schedule.bundles import Dealer


def costs(*seconds):
    return dict(enumerate(map(float, seconds)))


def all_bundles(dealer):
    dealt = []
    while bundle := dealer.deal():
        dealt.append(bundle)
    return dealt


@given(
    st.lists(st.floats(0.001, 1e4), min_size=1, max_size=400),
    st.integers(1, 50),
    st.integers(1, 64),
    st.booleans(),
)
def test_every_task_is_dealt_once_and_the_largest_first(seconds, nodes, cores, measured):
    dealer = Dealer(costs(*seconds), nodes=nodes, cores=cores, measured=measured)
    dealt = [number for bundle in all_bundles(dealer) for number in bundle]
    assert sorted(dealt) == list(range(len(seconds)))
    assert [seconds[number] for number in dealt] == sorted(seconds, reverse=True)
    assert dealer.waiting == 0


def test_bundles_shrink_towards_the_end():
    dealer = Dealer(costs(*[1.0] * 20_000), nodes=4, cores=10, measured=True)
    sizes = [len(bundle) for bundle in all_bundles(dealer)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 2500  # what is left over two rounds of four nodes, in core-seconds
    assert sizes[-2] == bundles.LEAST_S * 10


def test_no_bundle_takes_a_node_longer_than_one_can_afford_to_lose_and_the_first_is_small_if_nothing_is_measured():
    dealer = Dealer(costs(*[1.0] * 100_000), nodes=2, cores=10)
    assert len(dealer.deal()) == bundles.FIRST_S * 10
    dealer.learn(costs(*[1.0] * 100_000))
    assert len(dealer.deal()) == bundles.MOST_S * 10


def test_equal_tasks_are_dealt_in_whole_rounds_of_a_node():
    dealer = Dealer(costs(*[7.0] * 1000), nodes=3, cores=16, measured=True)
    assert {len(bundle) % 16 for bundle in all_bundles(dealer)[:-1]} == {0}


def test_a_lost_bundle_comes_back_in_halves_before_anything_else():
    dealer = Dealer(costs(*[5.0] * 100), nodes=2, cores=1, measured=True)
    bundle = dealer.deal()
    assert dealer.lost(bundle) == ()
    assert dealer.waiting == 100
    first, second = dealer.deal(), dealer.deal()
    assert sorted(first + second) == sorted(bundle)
    assert abs(len(first) - len(second)) <= 1


def test_a_task_that_takes_its_node_with_it_gives_up_alone_and_the_others_are_done():
    poison, done, gone = 37, [], []
    dealer = Dealer(costs(*[5.0] * 100), nodes=2, cores=1, measured=True)
    while bundle := dealer.deal():
        if poison in bundle:
            gone += dealer.lost(bundle)
        else:
            done += bundle
    assert gone == [poison]
    assert sorted([*done, *gone]) == list(range(100))


def test_predictions_that_change_change_the_order():
    dealer = Dealer(costs(1.0, 2.0, 3.0), nodes=1, cores=1)
    dealer.learn({0: 9.0})
    assert dealer.deal()[0] == 0


def test_what_is_dropped_is_not_dealt_nor_what_is_lost_after_that():
    dealer = Dealer(costs(*[9.0] * 10), nodes=2, cores=1)
    bundle = dealer.deal()
    dealer.drop()
    assert dealer.waiting == 0
    assert dealer.lost(bundle) == ()
    assert dealer.deal() == ()
