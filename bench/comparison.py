"""One arm against another, document by document, and what may be claimed of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.sample import Sample
from bench.statistics import Interval, interval

NEGLIGIBLE = 1.05  # a ratio nearer to 1 than this is not worth a claim, whatever its interval
MOST_INVALID = 0.2  # of the samples of an arm; with more there is no claim
FEWEST = 5  # pairs, as for a median in statistics.percentile: fewer cannot bound one

Measure = Callable[[Sample], float | None]


def ttft_ms(sample: Sample) -> float | None:
    """The measure that is compared unless another is named."""
    return sample.ttft_ms


def compare(
    samples: Iterable[Sample],
    of: str,
    over: str,
    *,
    noise: tuple[str, str] | None = None,
    measure: Measure = ttft_ms,
    confidence_level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How many times sooner `of` is than `over`, what it saves, and the verdict.

    `noise` names two arms that should not differ; the far end of their ratio's interval is the noise floor, and what
    lies inside it is not called a difference.
    """
    samples = tuple(samples)
    pairs = paired(samples, of, over, measure)
    speedup = interval([slow / fast for fast, slow in pairs], confidence_level, seed)
    saved = interval([slow - fast for fast, slow in pairs], confidence_level, seed)
    floor = _floor(samples, noise, measure, confidence_level, seed)
    if noise and not floor:
        verdict, why = (
            "no claim",
            f"the noise could not be measured: {' against '.join(noise)} has under {FEWEST} pairs",
        )
    else:
        verdict, why = _verdict(samples, of, over, speedup, float(floor["ratio"]) if floor else None)
    return {
        "of": of,
        "over": over,
        "verdict": verdict,
        "why": why,
        "speedup": as_json(speedup, confidence_level),
        "saved_ms": as_json(saved, confidence_level),
        "noise_floor": floor,
    }


def paired(samples: Iterable[Sample], of: str, over: str, measure: Measure = ttft_ms) -> Sequence[tuple[float, float]]:
    """`(of, over)` of every document with a valid sample in both arms."""
    samples = tuple(samples)
    fast, slow = by_document(samples, of, measure), by_document(samples, over, measure)
    return [(fast[document], slow[document]) for document in sorted(fast.keys() & slow.keys())]


def by_document(samples: Iterable[Sample], arm: str, measure: Measure = ttft_ms) -> Mapping[int, float]:
    """Document to what was measured, valid samples only."""
    values = {s.document: measure(s) for s in samples if s.arm == arm and s.valid}
    return {document: value for document, value in values.items() if value}


def as_json(found: Interval | None, confidence_level: float) -> dict[str, Any]:
    """All fields, with None for numbers that nothing supports."""
    if found:
        return asdict(found)
    empty = dict.fromkeys(("median", "ci_low", "ci_high", "min", "max"))
    return {**empty, "n": 0, "confidence_level": confidence_level}


def _floor(
    samples: Sequence[Sample], arms: tuple[str, str] | None, measure: Measure, confidence_level: float, seed: int
) -> dict[str, Any] | None:
    if arms is None:
        return None
    of, over = arms
    pairs = paired(samples, of, over, measure)
    ratio = interval([slow / fast for fast, slow in pairs], confidence_level, seed)
    if ratio is None or ratio.ci_low is None or ratio.ci_high is None or ratio.n < FEWEST:
        return None
    return {"of": of, "over": over, **asdict(ratio), "ratio": max(NEGLIGIBLE, ratio.ci_high, 1 / ratio.ci_low)}


def _verdict(
    samples: Sequence[Sample], of: str, over: str, speedup: Interval | None, measured_floor: float | None
) -> tuple[str, str]:
    for name in (of, over):  # each by itself: what is left of an arm is not what the arm is
        arm = [sample for sample in samples if sample.arm == name]
        invalid = sum(not sample.valid for sample in arm)
        if invalid > MOST_INVALID * len(arm):
            return "no claim", f"{invalid} of {len(arm)} samples of {name} do not count: their reasons are listed"
    if speedup is None or speedup.n < FEWEST:
        n = speedup.n if speedup else 0
        return "no claim", f"{n} documents have a valid sample in both arms, and it takes {FEWEST}"
    floor = measured_floor or NEGLIGIBLE
    beyond = {1: "faster", 0: "not distinguishable", -1: "slower"}[speedup.clear_of(1 / floor, floor)]
    span = f"{speedup.ci_low:.2f} to {speedup.ci_high:.2f}"
    where = "clear of" if speedup.clear_of(1 / floor, floor) else "not clear of"
    noise = "the noise floor" if measured_floor else "what is taken for noise"
    return beyond, f"the interval of the ratio, {span}, is {where} {noise}, {1 / floor:.2f} to {floor:.2f}"
