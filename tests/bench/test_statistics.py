import numpy as np
import pytest

from bench.statistics import SPREAD, has_extremes, interval, outliers, percentile, spread


@pytest.mark.parametrize(("draw", "median"), [("normal", 0.0), ("exponential", np.log(2))])
def test_the_interval_covers_the_true_median_about_as_often_as_it_says(draw, median):
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        found = interval(list(getattr(rng, draw)(size=15)), 0.95, seed)
        covered += found.ci_low <= median <= found.ci_high
    assert covered >= 51, "fewer of 60 have a chance of under 0.001 where the level is 0.95"


def test_an_interval_is_a_function_of_its_values_and_seed():
    values = [8.0, 9.5, 11.0, 12.5, 9.0]
    assert interval(values, seed=3) == interval(values, seed=3)
    assert interval(values).ci_low <= interval(values).median <= interval(values).ci_high


@pytest.mark.parametrize("n", [1, 4])
def test_under_five_values_have_a_median_and_no_interval_and_none_has_nothing(n):
    few = interval([7.0] * n)
    assert (few.median, few.ci_low, few.ci_high, few.n) == (7.0, None, None, n)
    assert few.clear_of(1, 1) == 0
    assert interval([7.0] * 5).ci_low == 7.0
    assert interval([]) is None


def test_equal_values_have_an_interval_without_width():
    found = interval([2.0] * 6)
    assert (found.ci_low, found.ci_high) == (2.0, 2.0)


@pytest.mark.parametrize(("percent", "n"), [(50, 5), (90, 29), (99, 299)])
def test_a_percentile_is_given_from_the_first_n_whose_largest_value_bounds_it(percent, n):
    all_below = percent / 100  # the chance of one value; of n independent ones its power
    assert all_below**n <= 0.05 < all_below ** (n - 1)
    assert percentile(list(range(n)), percent) == pytest.approx(np.percentile(range(n), percent))
    assert percentile(list(range(n - 1)), percent) is None


def test_many_values_of_few_samples_support_no_more_than_the_samples_do():
    gaps = list(range(12 * 31))
    assert percentile(gaps, 99) is not None
    assert percentile(gaps, 99, independent=12) is None
    assert percentile(gaps, 50, independent=12) == pytest.approx(185.5)


def test_outliers_are_given_by_their_index():
    assert outliers([10, 11, 10, 12, 11, 99]) == (5,)
    assert outliers([10, 11, 10, 12, 11, 13]) == ()
    assert outliers([1, 99, 1]) == ()


@pytest.mark.parametrize(
    ("values", "wide", "far"),
    [
        ([100, 101, 99], False, False),
        ([100, 140, 100, 60], True, False),
        ([100] * 40 + [160], False, True),
        ([5], False, False),
        ([0, 0], False, False),
    ],
)
def test_instability_is_what_pyperf_calls_so(values, wide, far):
    assert (spread(values) >= SPREAD, has_extremes(values)) == (wide, far)
