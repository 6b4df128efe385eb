"""Claims about `autotune.compare.judgement`."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.errors import InputError
from autotune.compare.judgement import (
    Noise,
    compare_groups,
    compare_pairs,
    compare_strata,
    holm,
    pairs_needed,
    pooled_noise,
    t_p_value,
    t_quantile,
)

times = st.floats(1e-6, 1e6)
sides = st.lists(st.tuples(times, times), max_size=8).map(lambda pairs: ([a for a, _ in pairs], [b for _, b in pairs]))


def samples(rng, n, *, cv=0.0266, factor=1.0):
    return [10.0 * factor * math.exp(rng.gauss(0.0, cv)) for _ in range(n)]


def fraction(repeats, event):
    return sum(event() for _ in range(repeats)) / repeats


# Student's t


@pytest.mark.parametrize(
    ("p", "freedom", "table"),
    [(0.975, 1, 12.7062), (0.975, 10, 2.2281), (0.9995, 3, 12.924), (0.025, 7, -2.3646), (0.975, 1e9, 1.96)],
)
def test_quantiles_agree_with_printed_tables(p, freedom, table):
    assert t_quantile(p, freedom) == pytest.approx(table, abs=5e-5)


@given(st.floats(1e-12, 1 - 1e-12), st.floats(1.0, 2e5))
def test_the_p_value_of_a_quantile_is_its_tail(p, freedom):
    assert t_p_value(t_quantile(p, freedom), freedom) == pytest.approx(2 * min(p, 1 - p), rel=1e-6)


@pytest.mark.parametrize(("p", "freedom"), [(0.0, 3), (1.0, 3), (math.nan, 3), (0.5, 0), (0.5, math.nan)])
def test_quantiles_outside_their_range_are_refused(p, freedom):
    with pytest.raises(InputError, match="no Student t quantile"):
        t_quantile(p, freedom)


# Paired comparison


def test_the_interval_is_that_of_students_t_on_log_ratios():
    found = compare_pairs([math.exp(0.1), math.exp(0.2), math.exp(0.3)], [1.0, 1.0, 1.0])
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert (found.speedup, found.n) == (pytest.approx(math.exp(0.2)), 3)
    assert (found.low, found.high) == pytest.approx((math.exp(0.2 - half), math.exp(0.2 + half)))


RISEN = [1.03, 1.04, 1.05, 1.06, 1.09, 1.02]


@pytest.mark.parametrize(
    ("baseline", "candidate", "threshold", "verdict"),
    [
        (RISEN, [1.0] * 6, 0.0, "faster"),
        (RISEN, [1.0] * 6, 0.06, "cannot tell"),
        (RISEN, [1.0] * 6, 0.10, "same"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.0, "cannot tell"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.01, "same"),
        ([0.1 + 0.2] * 9, [0.3] * 9, 0.0, "cannot tell"),  # rounding errors are no difference
    ],
)
def test_a_difference_must_be_significant_and_past_the_threshold_and_equal_be_within_it(
    baseline, candidate, threshold, verdict
):
    assert compare_pairs(baseline, candidate, threshold=threshold).verdict == verdict


@pytest.mark.parametrize("compare", [compare_pairs, compare_groups])
@pytest.mark.parametrize(("baseline", "candidate", "speedup"), [([], [], 1.0), ([2.0], [1.0], 2.0)])
def test_fewer_than_two_runs_a_side_cannot_tell(compare, baseline, candidate, speedup):
    found = compare(baseline, candidate, threshold=1.0)
    assert (found.verdict, found.low, found.high, found.p_value) == ("cannot tell", 0.0, math.inf, 1.0)
    assert (found.speedup, found.detectable, found.n) == (speedup, math.inf, len(baseline))


@pytest.mark.parametrize("time", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("compare", [compare_pairs, compare_groups])
def test_a_time_that_is_not_positive_is_refused(compare, time):
    with pytest.raises(InputError, match=r"^candidate time .* s is not a positive number; drop failed runs"):
        compare([1.0, 1.0], [1.0, time])


@pytest.mark.parametrize(
    "options", [{"confidence": 1.0}, {"confidence": 0.0}, {"threshold": -0.1}, {"threshold": math.nan}]
)
def test_confidence_and_threshold_outside_their_range_are_refused(options):
    with pytest.raises(InputError, match=r"^confidence .* must lie within 0 and 1, threshold"):
        compare_pairs([1.0, 2.0], [1.0, 2.0], **options)


@given(sides, st.sampled_from([0.5, 0.95, 0.998]), st.sampled_from([0.0, 0.05, 1.0]))
def test_swapping_the_sides_mirrors_everything(both, confidence, threshold):
    mirror = {"faster": "slower", "slower": "faster", "same": "same", "cannot tell": "cannot tell"}
    for compare in (compare_pairs, compare_groups):
        there = compare(both[0], both[1], confidence=confidence, threshold=threshold)
        back = compare(both[1], both[0], confidence=confidence, threshold=threshold)
        assert back.verdict == mirror[there.verdict]
        assert back.speedup == pytest.approx(1.0 / there.speedup)
        assert (back.detectable, back.p_value) == pytest.approx((there.detectable, there.p_value))


@given(sides, st.sampled_from([0.0, 0.05, 1.0]))
def test_verdict_interval_and_p_value_never_contradict_each_other(both, threshold):
    for compare in (compare_pairs, compare_groups):
        found = compare(*both, threshold=threshold)
        assert found.low <= found.speedup <= found.high
        assert 0.0 <= found.p_value <= 1.0
        if found.verdict == "faster":
            assert found.low > 1.0
            assert found.p_value < 0.05 + 1e-9
        if found.verdict == "slower":
            assert found.high < 1.0
        if found.verdict == "same":
            assert 1.0 / (1.0 + threshold) - 1e-9 <= found.low <= found.high <= 1.0 + threshold + 1e-9


@given(st.lists(times, min_size=2, max_size=8), st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(baseline, unit):
    candidate = baseline[::-1]
    there = compare_pairs(baseline, candidate)
    scaled = compare_pairs([unit * time for time in baseline], [unit * time for time in candidate])
    assert scaled.speedup == pytest.approx(there.speedup)
    assert scaled.low == pytest.approx(there.low, rel=1e-6)


# By simulation, with fixed seeds. 2000 repetitions of a 5 % event scatter by 0.5 %.


@pytest.mark.parametrize("compare", [compare_pairs, compare_groups])
@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_interval_holds_the_true_speedup_as_often_as_it_says_so_equal_sides_rarely_look_different(compare, n):
    rng = random.Random(n)

    def holds():
        found = compare(samples(rng, n, factor=1.1), samples(rng, n))
        return found.low <= 1.1 <= found.high

    assert 0.935 < fraction(2000, holds) < (0.985 if compare is compare_groups else 0.965)


few_pairs = st.lists(st.tuples(st.floats(0.1, 10.0), st.floats(0.1, 10.0)), min_size=1, max_size=6)


def by_workload(groups, **options):
    return compare_strata(
        [[a for a, _ in group] for group in groups], [[b for _, b in group] for group in groups], **options
    )


@given(st.lists(few_pairs, min_size=1, max_size=4), st.integers(2, 5))
def test_workloads_count_alike_however_many_pairs_they_have(groups, more):
    many = [groups[0] * more, *groups[1:]]
    assert by_workload(many).speedup == pytest.approx(by_workload(groups).speedup)
    mean = math.prod(by_workload([group]).speedup for group in groups) ** (1 / len(groups))
    assert by_workload(groups).speedup == pytest.approx(mean)


def test_scatter_between_workloads_is_no_error():
    rng = random.Random(3)
    ones = [[(rng.lognormvariate(0.0, 0.02), rng.lognormvariate(0.0, 0.02)) for _ in range(3)] for _ in range(3)]
    apart = [[(gain * a, b) for a, b in group] for gain, group in zip((1.1, 2.0, 4.0), ones, strict=True)]
    alike, found = by_workload(ones), by_workload(apart)
    assert found.high / found.low == pytest.approx(alike.high / alike.low)
    assert found.detectable == pytest.approx(alike.detectable)
    assert found.verdict == "faster"
    flat = [pair for group in apart for pair in group]
    mixed = compare_pairs([a for a, _ in flat], [b for _, b in flat])
    assert mixed.high / mixed.low > 1.5 * found.high / found.low


def test_the_interval_over_workloads_holds_the_true_speedup_as_often_as_it_says():
    rng = random.Random(8)

    def holds():
        groups = [
            [(gain * rng.lognormvariate(0.0, 0.03), rng.lognormvariate(0.0, 0.03)) for _ in range(count)]
            for gain, count in ((1.0, 2), (1.5, 3), (1.2, 2))
        ]
        found = by_workload(groups)
        return found.low <= (1.5 * 1.2) ** (1 / 3) <= found.high

    assert fraction(2000, holds) == pytest.approx(0.95, abs=0.02)


def test_single_pairs_of_several_workloads_cannot_tell():
    found = by_workload([[(2.0, 1.0)], [(2.0, 1.0)], [(2.0, 1.0)]])
    assert (found.speedup, found.low, found.high) == (pytest.approx(2.0), 0.0, math.inf)
    assert (found.verdict, found.detectable, found.n) == ("cannot tell", math.inf, 3)


@pytest.mark.parametrize("groups", [[], [[]], [[], []]])
def test_no_pairs_of_any_workload_cannot_tell(groups):
    found = by_workload(groups)
    assert (found.speedup, found.verdict, found.n) == (1.0, "cannot tell", 0)


def test_a_workload_without_pairs_does_not_count():
    group = [(2.0, 1.0), (2.1, 1.0)]
    assert by_workload([group, []]) == by_workload([group])


def test_one_pair_beside_others_counts_and_adds_to_the_error():
    one, other = [(2.0, 1.0), (2.1, 1.0), (2.2, 1.0)], [(1.0, 1.0)]
    found, alone = by_workload([one, other]), by_workload([one])
    assert found.speedup == pytest.approx(math.sqrt(alone.speedup))
    assert found.n == 4
    assert 0.0 < found.low < found.high < math.inf


def test_sides_of_a_workload_that_differ_in_length_are_no_pairs():
    with pytest.raises(InputError, match="2 baseline and 1 candidate times are no pairs"):
        compare_strata([[1.0], [1.0, 2.0]], [[1.0], [1.0]])


def test_pairing_removes_noise_that_both_sides_share():
    rng = random.Random(3)
    weather = samples(rng, 8, cv=0.3)
    baseline = [1.05 * w * math.exp(rng.gauss(0, 0.01)) for w in weather]
    candidate = [w * math.exp(rng.gauss(0, 0.01)) for w in weather]
    assert compare_pairs(baseline, candidate).verdict == "faster"
    assert compare_groups(baseline, candidate).verdict == "cannot tell"
    assert compare_pairs(baseline, candidate).detectable < 0.1 * compare_groups(baseline, candidate).detectable


@pytest.mark.parametrize(("n", "threshold"), [(4, 0.0), (7, 0.0), (15, 0.0), (10, 0.05)])
def test_a_detectable_change_is_found_and_past_the_threshold_four_times_in_five(n, threshold):
    # Each set of data estimates its own noise; that the noise is right on average is why the squares are averaged.
    rng = random.Random(n)

    def compared(factor):
        return compare_pairs(samples(rng, n, factor=factor), samples(rng, n), threshold=threshold)

    change = math.sqrt(statistics.fmean(compared(1.0).detectable ** 2 for _ in range(1000)))
    assert change > threshold
    found = fraction(1000, lambda: compared(1.0 + change).verdict == "faster")
    assert found == pytest.approx(0.8, abs=0.08)


def test_unpaired_sides_may_differ_in_number_and_noise():
    rng = random.Random(5)
    found = compare_groups(samples(rng, 20, factor=1.2), samples(rng, 5, cv=0.01))
    assert (found.verdict, found.n) == ("faster", 5)


def test_welch_agrees_with_scipy():
    # scipy.stats.ttest_ind(..., equal_var=False) on the logarithms, which takes seconds to import.
    a, b = [1.0, 1.3, 1.1, 1.25], [0.9, 0.95, 1.02, 0.97, 0.99]
    assert compare_groups(a, b).p_value == pytest.approx(0.05089462248508196)


# Families of comparisons


def test_holm_multiplies_the_smallest_p_by_the_family_and_never_reorders():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()


@given(st.lists(st.floats(0.0, 1.0), max_size=12))
def test_holm_only_ever_raises_p_values_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1.0 for p, a in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[index] for index in order] == sorted(adjusted)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_probability(p):
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        holm([0.5, p])


# Planning


@pytest.mark.parametrize(("change", "expected"), [(0.10, 4), (0.05, 7), (0.02, 30)])
def test_pairs_needed_are_those_the_project_was_designed_with_and_find_the_change_four_times_in_five(change, expected):
    rng, n = random.Random(8), pairs_needed(0.0266, change)
    assert n == expected
    found = fraction(
        1000, lambda: compare_pairs(samples(rng, n, factor=1.0 + change), samples(rng, n)).verdict == "faster"
    )
    assert found >= 0.76


def piloted(rng, *, change, factor):
    """Return the comparison of as many pairs as a pilot of five asks for."""
    pilot = [math.log(a / b) for a, b in zip(samples(rng, 5), samples(rng, 5), strict=True)]
    n = max(5, pairs_needed(statistics.stdev(pilot) / math.sqrt(2.0), change, pilot=5))
    return compare_pairs(samples(rng, n, factor=factor), samples(rng, n))


@pytest.mark.parametrize("change", [0.05, 0.02])
def test_pairs_that_a_pilot_asks_for_find_the_change_four_times_in_five_whatever_the_pilot_found(change):
    rng = random.Random(9)
    found = fraction(1000, lambda: piloted(rng, change=change, factor=1.0 + change).verdict == "faster")
    assert found >= 0.76


def test_a_test_whose_number_of_pairs_a_pilot_decided_calls_no_more_false_alarms_than_it_says():
    rng = random.Random(10)
    alarms = fraction(3000, lambda: piloted(rng, change=0.05, factor=1.0).p_value < 0.05)
    assert alarms == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cv": -0.1, "change": 0.1},
        {"cv": 0.1, "change": 0.0},
        {"cv": math.nan, "change": 0.1},
        {"cv": 1e300, "change": 1e-300},
        {"cv": 0.1, "change": 0.1, "alpha": 0.0},
        {"cv": 0.1, "change": 0.1, "power": 1.0},
    ],
)
def test_senseless_plans_are_refused(arguments):
    with pytest.raises(InputError):
        pairs_needed(**arguments)


@given(st.floats(0.0, 1.0), st.floats(0.01, 1.0))
def test_noisier_times_never_need_fewer_pairs(cv, change):
    fewer, more = (pairs_needed(c, change) for c in (cv, cv + 0.1))
    assert 2 <= fewer <= more


# Noise and luck


def test_the_noise_of_equal_runs_is_pooled_over_groups_that_differ_in_length():
    rng = random.Random(4)
    groups = [samples(rng, 40, cv=0.03, factor=factor) for factor in (1.0, 7.0, 0.2)]
    found = pooled_noise([*groups, [1.0], []])
    assert found.cv == pytest.approx(0.03, rel=0.15)
    assert found.freedom == 3 * 39
    assert pooled_noise([[1.0], [2.0]]) is None


@pytest.mark.parametrize("freedom", [1, 2, 4, 6])
def test_noise_that_serves_both_sides_counts_once(freedom):
    rng = random.Random(freedom)

    def false_alarm():
        runs = samples(rng, freedom + 1, cv=0.03)
        noise = Noise(cv=statistics.stdev(map(math.log, runs)), freedom=freedom)
        return compare_groups(samples(rng, 1, cv=0.03), samples(rng, 1, cv=0.03), noise=noise).p_value < 0.05

    assert fraction(3000, false_alarm) == pytest.approx(0.05, abs=0.015)


def test_noise_that_is_known_exactly_needs_no_repeats():
    noise = Noise(cv=0.03, freedom=math.inf)
    steady = [10.0, 10.001, 10.002]
    assert compare_groups(steady, steady, noise=noise).high == pytest.approx(
        math.exp(1.96 * 0.03 * math.sqrt(2 / 3)), rel=1e-3
    )
    assert compare_groups([10.0], [10.0], noise=noise).verdict == "cannot tell"
    assert compare_groups([10.0], [12.0], noise=noise).verdict == "slower"
    assert compare_groups(samples(random.Random(1), 5, cv=0.2), [10.0], noise=noise).high < math.inf
