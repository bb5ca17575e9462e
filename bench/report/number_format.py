"""Formats numbers: three significant digits, one unit for a whole column, and a dash for missing values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.result_part import MedianInterval, Number

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class TimeUnit:
    """A unit in which milliseconds are shown; `ms` is its length in milliseconds."""

    name: str
    ms: float

    def __call__(self, value: float | None) -> str:
        return NOTHING if value is None else f"{digits(value / self.ms)} {self.name}"

    def span(self, low: float | None, high: float | None) -> str:
        """A range without the unit, which the number before the range already shows."""
        return NOTHING if low is None or high is None else f"{digits(low / self.ms)} to {digits(high / self.ms)}"


MS, S = TimeUnit("ms", 1), TimeUnit("s", 1000)


def unit_for(values: Iterable[float | None]) -> TimeUnit:
    """The unit for a column: seconds if any value reaches one second, otherwise milliseconds."""
    finite = [abs(value) for value in values if value is not None and math.isfinite(value)]
    return S if max(finite, default=0) >= S.ms else MS


def digits(value: float) -> str:
    """The number with about three significant digits: 19.9, 1.71, 0.912; from 100 on without decimals: 1,712."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 or not size else 3
    return f"{value:,.{places}f}"


def duration(ms: float | None) -> str:
    """A single time in the unit that suits it."""
    return unit_for([ms])(ms)


def ratio(value: float | None) -> str:
    """A ratio, with two decimals if it is below 10."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if abs(value) < 10 else digits(value)


def ratio_span(low: float | None, high: float | None) -> str:
    """An interval of ratios."""
    return NOTHING if low is None or high is None else f"{ratio(low)} to {ratio(high)}"


def span_of(interval: MedianInterval) -> str:
    """The interval of the median of ratios."""
    return ratio_span(interval.ci_low, interval.ci_high)


def change(saved: MedianInterval, less: str, more: str) -> str:
    """A saved time, such as "1.43 s less (0.90 to 2.10)"; `more` for a negative one. Empty if there is no median."""
    middle, low, high = saved.median, saved.ci_low, saved.ci_high
    if middle is None:
        return ""
    unit = unit_for([middle])
    text = f"{unit(abs(middle))} {less if middle >= 0 else more}"
    if low is None or high is None:
        return text
    if low < 0 < high:
        return f"{text} ({unit(-low)} {more} to {unit(high)} {less})"
    return f"{text} ({unit.span(*sorted((abs(low), abs(high))))})"


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return NOTHING if value is None else f"{value:,.0f}" if math.isfinite(value) else digits(value)


def documents(n: float | None) -> str:
    """The number with the word "document" or "documents"."""
    return f"{count(n)} document{'' if n == 1 else 's'}"


def sentence(text: str) -> str:
    """Capitalizes the text, unless it starts with the name of an arm, and ends it with a full stop."""
    first = text.split(" ", 1)[0]
    return ("" if not text else text[0] if "_" in first else text[0].upper()) + text[1:].rstrip(".") + "."


def percent(value: float | None) -> str:
    """Formats a value that is already in per cent."""
    return NOTHING if value is None else f"{value:.0f} %"


def nats(value: Number | str) -> str:
    """A difference with three decimals; ∞ for "infinite", which replaces infinity in JSON."""
    return "∞" if value == "infinite" else NOTHING if value is None else f"{value:.3f}"


def confidence(level: float | None) -> str:
    """A confidence level as a percentage, such as "95 %"; None means 0.95."""
    return f"{(level or 0.95) * 100:.3g} %"


def yes_no(value: bool | None) -> str:
    """Formats a flag as yes or no, and None as a dash."""
    return NOTHING if value is None else "yes" if value else "no"
