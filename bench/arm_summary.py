"""Summarizes the samples of one arm in the fields of a `vllm bench serve` result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from bench.sample import Sample
from bench.sample_warnings import overhead_ms
from bench.statistics import interval, outliers, percentile

PERCENTILES = (50, 90, 99)


def summarize_arm(
    samples: Sequence[Sample],
    *,
    detailed: bool,
    confidence_level: float = 0.95,
    seed: int = 0,
    duration: float | None = None,
) -> dict[str, Any]:
    """An ArmSummary (bench/result_part.py) as JSON: milliseconds in flat fields and seconds in arrays, as in vLLM.

    Everything except the arrays is calculated from valid samples only. `duration` is in seconds; without it, the sum of
    the requests' own times is used, because only one request was in flight.
    """
    valid = [s for s in samples if s.valid and s.ttft_ms is not None]
    ttfts = _ms(s.ttft_ms for s in valid)
    duration = sum(_ms(s.e2el_ms for s in valid)) / 1e3 if duration is None else duration
    found = interval(ttfts, confidence_level, seed)
    fields = {
        "duration": duration,
        "completed": len(valid),
        "failed": len(samples) - len(valid),
        **_tokens(valid, duration),
        **_flat("ttft", ttfts),
        "ttft_ci_low_ms": found and found.ci_low,
        "ttft_ci_high_ms": found and found.ci_high,
        **_flat("tpot", _ms(s.tpot_ms for s in valid)),
        **_flat("itl", [gap * 1e3 for s in valid for gap in s.itls], sum(bool(s.itls) for s in valid)),
        **_flat("e2el", _ms(s.e2el_ms for s in valid)),
        "median_client_overhead_ms": overhead_ms(valid),
        "outliers": [valid[index].document for index in outliers(ttfts)],
    }
    return fields | (_arrays(samples) if detailed else {})


def _flat(metric: str, ms: Sequence[float], independent: int | None = None) -> dict[str, float | None]:
    """Mean, median, standard deviation and percentiles of milliseconds under vLLM's names.

    The gaps within one answer are not independent, so for them `independent` is the number of answers.
    """
    return {
        f"mean_{metric}_ms": fmean(ms) if ms else None,
        f"median_{metric}_ms": median(ms) if ms else None,
        f"std_{metric}_ms": pstdev(ms) if ms else None,
    } | {f"p{percent}_{metric}_ms": percentile(ms, percent, independent=independent) for percent in PERCENTILES}


def _tokens(valid: Sequence[Sample], duration: float) -> dict[str, Any]:
    prompt, output = sum(s.prompt_tokens or 0 for s in valid), sum(s.completion_tokens or 0 for s in valid)
    reported = [s.cached_tokens for s in valid if s.cached_tokens is not None]
    cached = sum(reported) if reported or not valid else None
    return {
        "total_input_tokens": prompt,
        "total_output_tokens": output,
        "total_cached_tokens": cached,
        "cache_hit_rate_pct": 100 * cached / prompt if prompt and cached is not None else None,
        "request_throughput": len(valid) / duration if duration else None,
        "output_throughput": output / duration if duration else None,
        "total_token_throughput": (prompt + output) / duration if duration else None,
    }


def _arrays(samples: Sequence[Sample]) -> dict[str, Any]:
    """Arrays with one entry for each sample, as in vLLM. If it does not count: zeros, and the reason in `errors`."""
    return {
        "input_lens": [s.prompt_tokens or s.input_len for s in samples],
        "output_lens": [s.completion_tokens or 0 if s.valid else 0 for s in samples],
        "cached_tokens": [s.cached_tokens if s.valid else 0 for s in samples],
        "ttfts": [_seconds(s, s.ttft_ms) for s in samples],
        "itls": [list(s.itls) if s.valid else [] for s in samples],
        "latencies": [_seconds(s, s.e2el_ms) for s in samples],
        "start_times": [s.started_s for s in samples],
        "generated_texts": [s.text or "" if s.valid else "" for s in samples],
        "queue_times": [_seconds(s, s.queue_ms) for s in samples],
        "errors": [s.reason for s in samples],
    }


def _seconds(sample: Sample, ms: float | None) -> float:
    return (ms or 0.0) / 1e3 if sample.valid else 0.0


def _ms(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
