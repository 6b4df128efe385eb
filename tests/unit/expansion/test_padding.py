"""Claims about the arrays that are added without their zeros: `autotune.expansion.padding`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qcmanybody.utils import resize_gradient, resize_hessian

from autotune.expansion.padding import Frame, Padded, plain

SIZES = {1: 2, 2: 1, 3: 3, 4: 1}
ATOMS = {1: slice(0, 2), 2: slice(2, 3), 3: slice(3, 6), 4: slice(6, 7)}
FRAME = Frame(atoms=ATOMS, natom=7)
PADDED = {"gradient": FRAME.gradient, "hessian": FRAME.hessian}
UPSTREAMS = {"gradient": resize_gradient, "hessian": resize_hessian}
KINDS = pytest.mark.parametrize("kind", PADDED)


def block(kind, basis, seed=0):
    """Return random numbers of many sizes, some of them 0.0 and -0.0."""
    natom = sum(SIZES[fragment] for fragment in basis)
    random = np.random.default_rng([seed, *basis])
    shape = (natom, 3) if kind == "gradient" else (3 * natom, 3 * natom)
    numbers = random.normal(size=shape) * 10.0 ** random.integers(-12, 4, size=shape)
    return np.where(random.random(shape) < 0.2, random.choice([0.0, -0.0], size=shape), numbers)


def both(kind, basis, seed=0):
    one = block(kind, basis, seed)
    return PADDED[kind](one, basis), UPSTREAMS[kind](one, basis, SIZES, ATOMS)


def assert_same_bits(ours, upstreams):
    assert type(ours) is np.ndarray
    assert ours.shape == upstreams.shape
    assert ours.tobytes() == upstreams.tobytes()


terms = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.sets(st.sampled_from(list(SIZES)), min_size=1), st.integers(0, 9)),
    min_size=1,
)


@KINDS
@given(terms)
@settings(max_examples=100, deadline=None)
def test_a_sum_has_every_bit_of_the_sum_of_dense_arrays(kind, terms):
    pairs = [(sign, *both(kind, sorted(basis), seed)) for sign, basis, seed in terms]
    ours = sum(sign * padded for sign, padded, _ in pairs)
    assert_same_bits(plain(ours), sum(sign * dense for sign, _, dense in pairs))


@KINDS
def test_a_negative_zero_that_is_added_to_nothing_is_a_zero(kind):
    zeros = -0.0 * np.abs(block(kind, (2,)))
    for sign in (1, -1):
        ours, upstreams = PADDED[kind](zeros, (2,)), UPSTREAMS[kind](zeros, (2,), SIZES, ATOMS)
        assert_same_bits(plain(sum([sign * ours])), sum([sign * upstreams]))
        assert not np.signbit(plain(sum([sign * ours]))).any()


OPERATIONS = {
    "taking away from": lambda a, whole: a - whole,
    "being taken away": lambda a, whole: whole - a,
    "adding an array": lambda a, whole: a + whole,
    "being added": lambda a, whole: whole + a,
    "adding in place": lambda a, whole: np.add(whole.copy(), a, out=whole),
    "multiplying": lambda a, _: 3 * a,
    "the other sign": lambda a, _: -1 * (-1 * a) - (-1 * a),
    "a factor behind it": lambda a, _: a * -1,
    "dividing": lambda a, _: a / 2.0,
    "copying": lambda a, _: np.copy(a),
    "its own copy": lambda a, _: a.copy(),
    "two in one": lambda a, whole: np.concatenate([a, whole]),
    "a part": lambda a, _: a[1:5, ::2],
    "nested lists": lambda a, _: np.array(a.tolist()),
    "its sum": lambda a, _: np.array(np.sum(a, axis=0)),
    "counting": lambda a, _: np.array(np.count_nonzero(a)),
    "a sum with another": lambda a, _: np.copy(sum([a, 1 * a])),
    "a sum less another": lambda a, _: sum([a, a]) - a,
    "a sum times a number": lambda a, _: 2 * 1 * sum([a, a]),
    "a sum into an array": lambda a, whole: np.subtract(whole, sum([a, a]), out=whole),
}


@KINDS
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_else_is_done_is_done_with_the_dense_array(kind, name):
    padded, dense = both(kind, (1, 3))
    whole = both(kind, (1, 2, 3, 4))[1]
    assert_same_bits(OPERATIONS[name](padded, whole.copy()), OPERATIONS[name](dense, whole.copy()))


@KINDS
def test_addition_leaves_an_array_of_others_as_it_is_and_in_place_reaches_the_array_itself(kind):
    (padded, dense), whole = both(kind, (2, 4)), both(kind, (1, 2, 3, 4))[1]
    before, expected = whole.copy(), whole + dense
    assert (whole + padded != before).any()
    assert_same_bits(whole, before)
    same = whole
    same += padded
    assert same is whole
    assert_same_bits(whole, expected)


@KINDS
def test_the_whole_shape_takes_no_memory_and_what_takes_that_itself_finds_no_zeros_but_what_is_seen(kind):
    padded, dense = both(kind, (2,))
    assert padded.shape == dense.shape
    assert isinstance(padded, np.ndarray)
    assert padded.base.nbytes == 8
    assert np.isnan(np.asarray(padded)).all()
    assert np.isnan(np.array(padded)).all()
    with pytest.raises(TypeError, match=r"has no elements of its own"):
        padded.reshape(-1)


def test_a_block_is_fetched_only_when_it_is_added():
    bases, fetched = [(1, 2), (3, 4)], []

    def fetch(basis):
        fetched.append(basis)
        return block("hessian", basis)

    signed = [-1 * FRAME.hessian(lambda basis=basis: fetch(basis), basis) for basis in bases]
    assert fetched == []
    found = plain(sum(signed))
    assert fetched == bases
    assert_same_bits(found, sum(-1 * both("hessian", basis)[1] for basis in bases))


def test_fragments_that_follow_each_other_are_added_as_one():
    assert FRAME.places((1, 2, 3), per_atom=1) == [(slice(0, 6), slice(0, 6))]
    assert FRAME.places((1, 3, 4), per_atom=3) == [(slice(0, 6), slice(0, 6)), (slice(9, 21), slice(6, 18))]


def test_a_single_atoms_hessian_is_not_taken_for_a_gradient():
    frame = Frame(atoms={1: slice(0, 1)}, natom=1)
    one = np.arange(9.0).reshape(3, 3)
    assert_same_bits(frame.hessian(one, (1,)).dense(), one)
    assert isinstance(frame.gradient(one[:1], (1,)), Padded)
    assert_same_bits(frame.gradient(one[:1], (1,)).dense(), one[:1])
