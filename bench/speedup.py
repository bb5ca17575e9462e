"""Compares two arms document by document, and decides what may be claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.options import Options
from bench.plan import MIN_PAIRS
from bench.sample import Sample
from bench.statistics import Interval, interval

MAX_NOISE = 1.05  # a ratio between this and its inverse supports no claim, whatever its interval
MOST_INVALID = 0.2  # share of an arm's samples; with more invalid ones there is no claim


@dataclass(frozen=True, slots=True)
class SampleMetric:
    """The quantity that is compared, in milliseconds. `of` returns None for a sample without the data in `needs`."""

    name: str
    of: Callable[[Sample], float | None]
    needs: str = ""


TTFT = SampleMetric("ttft_ms", lambda sample: sample.ttft_ms)


def compare_arms(
    samples: Iterable[Sample],
    of: str,
    over: str,
    *,
    noise: tuple[str, str] | None = None,
    measure: SampleMetric = TTFT,
    confidence_level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Speed-up of arm `of` over arm `over`, time saved, and the verdict: a `bench.result.Comparison` as JSON.

    `noise` names two arms that should not differ. The end of their ratio's interval that is further from 1 is the noise
    floor; smaller ratios do not count as a difference.
    """
    samples = tuple(samples)
    pairs = paired(samples, of, over, measure)
    speedup = _ratio(pairs, confidence_level, seed)
    floor = _noise_floor(samples, noise, measure, confidence_level, seed)
    why = _too_few_valid(samples, (of, over), measure, speedup)
    if not why and noise and not floor:
        why = f"the noise could not be measured: {' against '.join(noise)} has under {MIN_PAIRS} pairs"
    verdict, why = ("no claim", why) if why or not speedup else _verdict(speedup, floor)
    return {
        "metric": measure.name,
        "of": of,
        "over": over,
        "verdict": verdict,
        "why": why,
        **_speedup_json(pairs, confidence_level, seed),
        "noise_floor": floor,
    }


def arm_speedups(samples: Sequence[Sample], arms: Sequence[str], over: str, options: Options) -> Mapping[str, Any]:
    """For each of `arms`, its speed-up over the arm `over` and the time it saves, both by TTFT."""
    level, seed = options.confidence_level, options.seed
    return {name: _speedup_json(paired(samples, name, over), level, seed) for name in arms}


def too_few_pairs(documents: int) -> str:
    """A warning if the number of documents is too small for any claim; otherwise empty."""
    if documents >= MIN_PAIRS:
        return ""
    return (
        f"{documents} of the {MIN_PAIRS} documents that a claim takes: the verdict will be «no claim» (--num-prompts)"
    )


def paired(
    samples: Iterable[Sample], of: str, over: str, measure: SampleMetric = TTFT
) -> Sequence[tuple[float, float]]:
    """The values of `of` and `over` in ms, for every document that has a valid sample in both arms."""
    samples = tuple(samples)
    fast, slow = _by_document(samples, of, measure), _by_document(samples, over, measure)
    return [(fast[document], slow[document]) for document in sorted(fast.keys() & slow.keys())]


def interval_json(found: Interval | None, confidence_level: float) -> dict[str, Any]:
    """The interval as JSON; if there is none, the same fields with None as their values and n = 0."""
    if found:
        return asdict(found)
    empty = dict.fromkeys(("median", "ci_low", "ci_high", "min", "max"))
    return {**empty, "n": 0, "confidence_level": confidence_level}


def _by_document(samples: Iterable[Sample], arm: str, measure: SampleMetric) -> Mapping[int, float]:
    values = {s.document: measure.of(s) for s in samples if s.arm == arm and s.valid}
    return {document: value for document, value in values.items() if value}


def _ratio(pairs: Sequence[tuple[float, float]], confidence_level: float, seed: int) -> Interval | None:
    return interval([slow / fast for fast, slow in pairs], confidence_level, seed)


def _speedup_json(pairs: Sequence[tuple[float, float]], confidence_level: float, seed: int) -> dict[str, Any]:
    saved = interval([slow - fast for fast, slow in pairs], confidence_level, seed)
    return {
        "speedup": interval_json(_ratio(pairs, confidence_level, seed), confidence_level),
        "saved_ms": interval_json(saved, confidence_level),
    }


def _noise_floor(
    samples: Sequence[Sample], arms: tuple[str, str] | None, measure: SampleMetric, confidence_level: float, seed: int
) -> dict[str, Any] | None:
    if arms is None:
        return None
    of, over = arms
    ratio = _ratio(paired(samples, of, over, measure), confidence_level, seed)
    if ratio is None or ratio.ci_low is None or ratio.ci_high is None:
        return None
    return {"of": of, "over": over, **asdict(ratio), "ratio": max(MAX_NOISE, ratio.ci_high, 1 / ratio.ci_low)}


def _too_few_valid(
    samples: Sequence[Sample], arms: tuple[str, str], measure: SampleMetric, speedup: Interval | None
) -> str:
    """Why there are too few valid pairs for a verdict; empty if there are enough."""
    for name in arms:  # each arm by itself: its remaining valid samples may be the fastest ones
        arm = [sample for sample in samples if sample.arm == name]
        invalid = sum(not sample.valid for sample in arm)
        if invalid > MOST_INVALID * len(arm):
            return f"{invalid} of {len(arm)} samples of {name} do not count: their reasons are listed"
    n = speedup.n if speedup else 0
    if n >= MIN_PAIRS:
        return ""
    valid = [{s.document for s in samples if s.arm == name and s.valid} for name in arms]
    if (both := len(valid[0] & valid[1])) > n:
        return (
            f"{n} of {both} documents have {measure.name} both ways, and it takes {MIN_PAIRS}; it needs {measure.needs}"
        )
    return f"{n} documents have a valid sample in both arms, and it takes {MIN_PAIRS}"


def _verdict(speedup: Interval, measured: Mapping[str, Any] | None) -> tuple[str, str]:
    floor = float(measured["ratio"]) if measured else MAX_NOISE
    beyond = speedup.clear_of(1 / floor, floor)
    span = f"{speedup.ci_low:.2f} to {speedup.ci_high:.2f}"
    where = "clear of" if beyond else "not clear of"
    noise = "the noise floor" if measured else "what is taken for noise"
    why = f"the interval of the ratio, {span}, is {where} {noise}, {1 / floor:.2f} to {floor:.2f}"
    return {1: "faster", 0: "not distinguishable", -1: "slower"}[beyond], why
