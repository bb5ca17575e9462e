"""Medians with intervals, percentiles and outliers, as far as the number of values supports them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bench.plan import MIN_PAIRS

RESAMPLES = 10_000
BATCH = 500  # resamples at a time; with all at once, thousands of values would need gigabytes
SPREAD = 0.10  # standard deviation as a share of the mean: pyperf's limit for a stable benchmark
FAR = 0.50  # distance of the minimum or maximum from the mean, as a share of it: also pyperf's limit
FENCE = 3.0  # interquartile ranges beyond a quartile: Tukey's "far out"


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its bootstrap interval. `ci_low` and `ci_high` are None if there are fewer than five values."""

    median: float
    ci_low: float | None
    ci_high: float | None
    min: float
    max: float
    n: int
    confidence_level: float

    def clear_of(self, low: float, high: float) -> int:
        """1 if the whole interval lies above `high`, -1 if it lies below `low`, otherwise 0."""
        if self.ci_low is None or self.ci_high is None:
            return 0
        return int(self.ci_low > high) - int(self.ci_high < low)


def interval(values: Sequence[float], confidence_level: float = 0.95, seed: int = 0) -> Interval | None:
    """The median with its seeded percentile bootstrap interval (10,000 resamples); None if there are no values.

    The order of the values does not matter. The interval is not BCa, because the acceleration for a median of few
    values is undefined when the jackknife has ties.
    """
    return _interval(tuple(sorted(values)), confidence_level, seed) if values else None


@lru_cache(maxsize=4096)  # several parts of a result need the same interval
def _interval(values: tuple[float, ...], confidence_level: float, seed: int) -> Interval:
    low = high = None
    n = len(values)
    if n >= MIN_PAIRS:
        drawn, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
        medians = [np.median(drawn[rng.integers(0, n, (BATCH, n))], axis=1) for _ in range(RESAMPLES // BATCH)]
        outside = (1 - confidence_level) / 2
        low, high = (float(np.percentile(medians, 100 * share)) for share in (outside, 1 - outside))
    return Interval(float(np.median(values)), low, high, float(min(values)), float(max(values)), n, confidence_level)


def percentile(
    values: Sequence[float], percent: float, confidence_level: float = 0.95, independent: int | None = None
) -> float | None:
    """The percentile, interpolated as in numpy and vLLM; None if there are too few values to bound it.

    The largest of n values exceeds the p-quantile with probability 1 - p**n. A percentile is returned only if that
    probability reaches the confidence level: p50 from 5 values on, p90 from 29, p99 from 299. If one sample yields
    several values, n is the number of samples, passed as `independent`.
    """
    share = percent / 100
    n = len(values) if independent is None else independent
    if not values or (share < 1 and 1 - share**n < confidence_level):
        return None
    return float(np.percentile(values, percent))


def outliers(values: Sequence[float]) -> tuple[int, ...]:
    """Indices of values more than three interquartile ranges outside the quartiles. Such values are never dropped."""
    if len(values) < 4:
        return ()
    first, third = np.percentile(values, (25, 75))
    reach = FENCE * (third - first)
    return tuple(i for i, value in enumerate(values) if not first - reach <= value <= third + reach)


def spread(values: Sequence[float]) -> float:
    """The standard deviation as a share of the mean; 0 if there are fewer than two values."""
    mean = float(np.mean(values)) if len(values) > 1 else 0.0
    return float(np.std(values, ddof=1)) / mean if mean else 0.0


def has_extremes(values: Sequence[float]) -> bool:
    """Whether the smallest or the largest value is far from the mean, by pyperf's rule."""
    if len(values) < 2:
        return False
    mean = float(np.mean(values))
    return any(abs(value - mean) > FAR * mean for value in (min(values), max(values)))
