"""The other side of sharing: what the engine pays that computes a document and stores it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median

from bench.report.number_format import change, count, documents, duration
from bench.report.result_fields import Fields, counted, fields, is_finite, number


def cost(result: Fields) -> Sequence[str]:
    """Sentences on the TTFT of first_sight against cold, and on how long the store took; none without data."""
    found = fields(result, "ladder", "first_sight", "saved_ms")
    return [text for text in (_price(found), _paid_back(result, found), _storing(result)) if text]


def _price(saved: Fields) -> str:
    later = change(saved, "sooner", "later")
    n = documents(number(saved, "n"))
    return f"Computing a document and storing it starts {later} than a cold start, median of {n}." if later else ""


def _paid_back(result: Fields, lost: Fields) -> str:
    comparison = fields(result, "comparison")
    price, least = number(lost, "median"), number(lost, "ci_high")
    gain = number(fields(comparison, "saved_ms"), "median")
    if comparison.get("of") != "cross_read" or comparison.get("verdict") != "faster" or not gain or not price:
        return ""
    if least is None or least >= 0:  # that it costs anything is not shown
        return ""
    reads = ceil(-price / gain)
    return f"By these medians {'one cross-read pays' if reads == 1 else f'{count(reads)} cross-reads pay'} for it."


def _storing(result: Fields) -> str:
    seconds = [row["stored_s"] for row in counted(result) if is_finite(row.get("stored_s"))]
    return f"The store was complete {duration(median(seconds) * 1e3)} after the answer (median)." if seconds else ""
