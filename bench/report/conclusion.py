"""A run's conclusion in sentences: the claim, the numbers that support it, and what storing costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from statistics import median

from bench.question_results import VerifySummary
from bench.report.budget_tables import budget_headline, budget_reasons
from bench.report.media_tables import media_evidence, media_headline, media_reasons, not_kept_apart
from bench.report.number_format import (
    change,
    confidence,
    count,
    documents,
    duration,
    nats,
    ratio,
    ratio_span,
    sentence,
)
from bench.result import Result
from bench.result_part import Comparison, MedianInterval, NoiseFloor

SUBJECT: Mapping[str, str] = {  # an arm as the subject of a sentence
    "cold": "a cold start",
    "first_sight": "computing a document and storing it",
    "other_instance": "a document that the other engine has read",
    "cross_read": "reading what the other LMCache engine stored",
}
SUBJECT_EXTERNAL: Mapping[str, str] = {  # for external servers, where the second one is compared with itself
    "other_instance": "on {second}, a document that {first} has read",
    "other_cold": "one that no server has read",
}
BY_TTFT: Mapping[str, str] = {
    "faster": "{of} starts {times} times sooner than {over}",
    "slower": "{of} takes {longer} times as long to start as {over}",
    "not distinguishable": "{of} cannot be told from {over} by TTFT: their ratio is {times}",
}
BY_DECODE_MS: Mapping[str, str] = {
    "faster": "{over} takes {times} times as long for an output token as {of}",
    "slower": "{of} takes {longer} times as long for an output token as {over}",
    "not distinguishable": "{of} cannot be told from {over} by the time of an output token: their ratio is {times}",
}


def headline(result: Result) -> str:
    """The claim, or why there is none."""
    return HEADLINES.get(result.kind, _compared)(result)


def evidence(result: Result) -> str:
    """The number of documents, the interval and the time saved; empty if the headline already gives all of that."""
    if result.kind == "verify":
        return _compared_nats(result.verify)
    if result.kind == "mm":
        return media_evidence(result)
    return " ".join(part for part in (_interval(result.comparison), _saved(result.comparison)) if part)


def conclusion(result: Result) -> str:
    """The claim and its evidence, or why there is no claim."""
    return " ".join(part for part in (headline(result), evidence(result)) if part)


def reasons(result: Result) -> Sequence[str]:
    """The reasons for the verdict and the noise that it was compared with, except what the headline already says."""
    why = result.comparison.why or result.break_even.why
    found = (
        why,
        _noise(result.comparison.noise_floor),
        _needles(result.verify),
        *media_reasons(result),
        *budget_reasons(result),
    )
    claim = headline(result)
    return [sentence(text) for text in found if text and text not in claim]


def cost(result: Result) -> Sequence[str]:
    """Sentences on TTFT of first_sight against cold, and on when the store was complete; none without data."""
    saved = result.ladder["first_sight"].saved_ms if "first_sight" in result.ladder else MedianInterval()
    return [text for text in (_price(saved), _paid_back(result.comparison, saved), _storing(result)) if text]


def _compared(result: Result) -> str:
    comparison = result.comparison
    times = comparison.speedup.median
    wording = BY_DECODE_MS if comparison.metric == "decode_ms" else BY_TTFT
    if comparison.verdict not in wording or not times:
        return f"No claim: {comparison.why or 'no document has a valid sample both ways'}."
    of, over = _subject(result, comparison.of), _subject(result, comparison.over)
    claim = wording[comparison.verdict].format(of=of, over=over, times=ratio(times), longer=ratio(1 / times))
    return sentence(claim)


def _break_even(result: Result) -> str:
    found = result.break_even
    if found.input_len is None:
        return f"No break-even: {found.why or 'the result names none'}."
    tokens = count(found.input_len)
    return f"From about {tokens} tokens on, loading a prompt's KV starts sooner than computing it again."


def _agreement(result: Result) -> str:
    if result.verify.agrees:
        return "The fast answer is the right one: noise explains every difference."
    judged = {"text": result.verify, **result.verify.media}
    if wrong := [f"{name}, {part.why}" for name, part in judged.items() if part.verdict == "different"]:
        return f"The answers differ by more than noise explains: {'; '.join(wrong)}."
    if failed := not_kept_apart(result):
        return f"Media were not shown to be kept apart, or to be found again: {'; '.join(failed)}."
    unproven = [f"{name}, {part.why}" for name, part in judged.items() if part.why]
    unproven += [f"{name} is refused" for name in result.refused]
    return f"No claim: {'; '.join(unproven) or 'no document was compared'}."


def _under_load(result: Result) -> str:
    medians: dict[object, dict[str, float]] = {}
    for cell in result.cells:
        if cell.median_ttft_ms:
            load = (cell.input_len, cell.max_concurrency, cell.request_rate)
            medians.setdefault(load, {})[cell.arm] = cell.median_ttft_ms
    ratios = [arms["cold"] / arms["cross_read"] for arms in medians.values() if {"cold", "cross_read"} <= arms.keys()]
    if not ratios:
        return "No claim: no load was measured both ways."
    least, most = ratio(min(ratios)), ratio(max(ratios))
    times = least if least == most else f"{least} to {most}"
    loads = "under one load" if len(ratios) == 1 else f"over {len(ratios)} loads"
    return f"The median TTFT of cold is {times} times that of cross_read, {loads}."


HEADLINES: Mapping[str, Callable[[Result], str]] = {
    "mm": media_headline,
    "storage": _break_even,
    "budget": budget_headline,
    "verify": _agreement,
    "sweep": _under_load,
}


def _interval(comparison: Comparison) -> str:
    speedup = comparison.speedup
    low, high = speedup.ci_low, speedup.ci_high
    if speedup.median is None:
        return ""
    if comparison.verdict == "slower" and low and high:  # the headline gives the inverse ratio
        low, high = 1 / high, 1 / low
    level = confidence(speedup.confidence_level)
    within = "" if low is None else f", {level} interval {ratio_span(low, high)}"
    return f"Median of {documents(speedup.n)}{within}."


def _saved(comparison: Comparison) -> str:
    if comparison.verdict not in ("faster", "slower"):
        return ""
    saved = change(comparison.saved_ms, "less", "more")
    metric = "The time of an output token" if comparison.metric == "decode_ms" else "TTFT"
    return f"{metric} is {saved}." if saved else ""


def _compared_nats(verify: VerifySummary) -> str:
    if verify.floor is None or verify.worst is None:
        return ""
    worst, floor = nats(verify.worst), nats(verify.floor)
    return f"Worst cross-read {worst} nats, noise floor {floor} nats, {documents(verify.n)}."


def _needles(verify: VerifySummary) -> str:
    if not verify.n or verify.needles_asked != 0:
        return ""
    return "the needle proves nothing here: the plain engine itself never found it both cold and own-warm"


def _noise(floor: NoiseFloor | None) -> str:
    if floor is None or floor.median is None:
        return ""
    span = ratio_span(floor.ci_low, floor.ci_high)
    limit = "" if floor.ratio is None else f"; a ratio up to {ratio(floor.ratio)} is noise here"
    return f"Noise floor, {floor.over} against {floor.of}: {ratio(floor.median)} ({span}){limit}"


def _subject(result: Result, arm: str) -> str:
    if not result.base_url:
        return SUBJECT.get(arm, arm)
    first, second = [*result.preflight.engines, "the first server", "the second server"][:2]
    return SUBJECT_EXTERNAL[arm].format(first=first, second=second) if arm in SUBJECT_EXTERNAL else arm


def _price(saved: MedianInterval) -> str:
    later = change(saved, "sooner", "later")
    n = documents(saved.n)
    return f"Computing a document and storing it starts {later} than a cold start, median of {n}." if later else ""


def _paid_back(comparison: Comparison, lost: MedianInterval) -> str:
    gain = comparison.saved_ms.median
    if comparison.of != "cross_read" or comparison.verdict != "faster" or not gain or not lost.median:
        return ""
    if lost.ci_high is None or lost.ci_high >= 0:  # there is no evidence that storing costs anything
        return ""
    reads = ceil(-lost.median / gain)
    return f"By these medians {'one cross-read pays' if reads == 1 else f'{count(reads)} cross-reads pay'} for it."


def _storing(result: Result) -> str:
    seconds = [row.stored_s for row in result.counted if row.stored_s is not None]
    return f"The store was complete {duration(median(seconds) * 1e3)} after the answer (median)." if seconds else ""
