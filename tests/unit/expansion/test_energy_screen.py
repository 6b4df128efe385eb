"""A screen by a cheap method: what is left out and said, what is refused, and the estimate of its error."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.expansion import workload
from autotune.expansion.cheap_terms import CheapTerms
from autotune.expansion.screen_error import FEWEST, Computed, largest_error
from autotune.session import preparation

OPTIONS = {"journal": "none", "threads": 1}
EXACT = 1e-11  # Eh; sums of the same numbers in another order


@pytest.mark.programs("pyscf", "tblite")
def test_together_with_a_distance_far_terms_are_zero_in_both_passes(cluster):
    options = {**OPTIONS, "screen_energy": 0.1, "screen_method": "tblite gfn2-xtb", "screen_distance": 2.5}
    result = autotune.run(cluster("water6", max_nbody=2), **options)
    far = [term for term in autotune.tabulate_terms(result).terms if term.distance_angstrom > 2.5]
    assert far
    assert all(abs(term.contribution_hartree) < EXACT for term in far)
    assert result.extras["autotune"]["omitted"][0].startswith(f"--screen-distance 2.5: {len(far)} of 15 components are")


@pytest.mark.programs("pyscf", "tblite")
def test_both_passes_are_resumed(cluster):
    options = {"threads": 1, "screen_energy": 0.5, "screen_method": "tblite gfn2-xtb"}
    first = autotune.run(cluster("water4", max_nbody=2), **options)
    with autotune.Session(autotune.Options(**options, resume=True)) as session:
        second = session.run(cluster("water4", max_nbody=2))
        assert session.record.recalled == session.record.tasks
    assert second.model_dump_json() == first.model_dump_json()


def test_what_is_significant_has_all_that_lies_below_it():
    cheap = object.__new__(CheapTerms)
    cheap.of = {
        ((1, 2, 3), True): -2.0,
        ((1, 2), True): 0.1,
        ((2, 3), False): 0.1,
        ((1, 4), True): 1.5,
        ((3, 4), True): 0.9,
    }
    assert cheap.significant(1.0) == {(1, 2, 3), (1, 2), (1, 3), (2, 3), (1, 4)}
    assert cheap.significant(10.0) == frozenset()
    assert cheap.term((2, 3), own=False) == 0.1
    assert cheap.term((3, 4), own=False) == 0.9  # by a method that has nothing to correct


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bsse": ("vmfc",)}, "--screen-energy: not with vmfc, in which a component is part of several terms"),
        ({"driver": "gradient"}, "--screen-energy: only energies can be had without computing, not driver gradient"),
        ({"levels": {1: "mp2/sto-3g", 2: "hf/sto-3g"}, "method": "", "basis": ""}, "--screen-energy: not with several"),
    ],
)
def test_what_a_screen_by_energy_is_not_defined_for_is_refused(cluster, changes, words):
    with pytest.raises(InputError, match=f"^{words}"):
        autotune.run(cluster("water4", **changes), **OPTIONS, screen_energy=0.1, screen_method="hf/sto-3g")


def test_options_that_cannot_be_meant_are_refused(cluster):
    for given_one in ({"screen_energy": 1.0}, {"screen_method": "hf/sto-3g"}):
        with pytest.raises(InputError, match=r"^options screen_energy and screen_method go together"):
            autotune.Options(**given_one)
    both = autotune.Options(screen_energy=1.0, screen_method="hf/sto-3g")
    with pytest.raises(InputError, match=r"^--screen-energy: what it leaves out is known when the cheap method has"):
        preparation.prepare(workload.load(cluster("water2")), both)
    with pytest.raises(InputError, match=r"^--screen-energy has two passes over one input"):
        autotune.run_many([cluster("water2")], screen_energy=1.0, screen_method="hf/sto-3g")
    with pytest.raises(InputError, match=r"names no method; write METHOD/BASIS"):
        autotune.run(cluster("water2"), **OPTIONS, screen_energy=1.0, screen_method="tblite /x")


@pytest.mark.programs("pyscf", "tblite")
def test_what_a_method_cannot_compute_is_said_before_the_other_has_computed(cluster):
    keywords = {"screen_energy": 1.0, "screen_method": "faulty raise", **OPTIONS}
    with pytest.raises(InputError, match="nosuch"):
        autotune.run(cluster("water4", basis="nosuch", max_nbody=2), **keywords)
    with pytest.raises(TaskError, match=r"^--screen-method faulty raise: 4 of 4 tasks failed") as failed:
        autotune.run(cluster("water4", max_nbody=1), **keywords)
    assert failed.value.done == failed.value.failed == {}
    with pytest.raises(InputError, match=r"^--screen-method tblite nonsense: .*tblite has no method 'nonsense'"):
        autotune.run(cluster("water2"), **{**keywords, "screen_method": "tblite nonsense"})


# --- the estimate ----------------------------------------------------------------------------------------------------

ENERGIES = st.floats(1e-7, 1e-3)


def test_where_nothing_is_left_out_there_is_no_error_and_from_few_terms_none_is_told():
    few = [Computed(1e-3, 1.1e-3)] * (FEWEST - 1)
    assert largest_error(few, [], threshold=1e-4) == 0.0
    assert largest_error(few, [1e-5], threshold=1e-4) is None


@given(
    st.lists(ENERGIES, min_size=FEWEST, max_size=60), st.lists(ENERGIES, min_size=1, max_size=60), st.floats(-0.5, 0.5)
)
def test_a_systematic_difference_is_within_the_estimate(kept, left, share):
    """Where methods differ by the same share of each term, small terms differ by less than is expected."""
    threshold = min(kept)
    left = [min(energy, threshold) for energy in left]
    computed = [Computed(energy, energy * (1.0 + share)) for energy in kept]
    error = largest_error(computed, left, threshold=threshold)
    assert error is not None
    assert abs(math.fsum(share * energy for energy in left)) <= error * (1.0 + 1e-9) + 1e-15


@given(st.lists(ENERGIES, min_size=FEWEST, max_size=40), st.lists(ENERGIES, min_size=1, max_size=40))
def test_methods_that_agree_leave_no_error_and_signs_do_not_matter(kept, left):
    assert largest_error([Computed(e, e) for e in kept], left, threshold=1e-5) == 0.0
    differing = [Computed(e, e + 1e-6 * (1 + place % 3)) for place, e in enumerate(kept)]
    turned = [Computed(-each.cheap, -each.expensive) for each in differing]
    one = largest_error(differing, left, threshold=1e-5)
    assert one == pytest.approx(largest_error(turned, [-energy for energy in left], threshold=1e-5))
