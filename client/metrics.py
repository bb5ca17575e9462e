"""Finds out where a prompt's tokens came from: the servers' counters are read before and after the request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from client.http_client import http_client, read_body
from client.reply import HistogramTimes, Sources
from config.topology import Engine

BY_SOURCE = "vllm:prompt_tokens_by_source"
COMPUTED, OWN_CACHE, SHARED = "local_compute", "local_cache_hit", "external_kv_transfer"  # values of its label `source`
MM_CACHE_HITS = "vllm:mm_cache_hits_total"  # media found in the cache of the multimodal processor
HIT_L1 = "lmcache_mp_lookup_hit_l1_tokens_total"
HIT_L2 = "lmcache_mp_lookup_hit_l2_tokens_total"
HISTOGRAMS: Mapping[str, str] = {  # field of HistogramTimes to the engine's histogram
    "total_ttft": "vllm:time_to_first_token_seconds",
    "lookup": "vllm:lmcache_mp_lookup_duration_seconds",
}
CACHE_HISTOGRAMS: Mapping[str, str] = {  # the same, of the cache server
    "volume_gb_per_s": "lmcache_mp_l2_load_throughput_GB_per_second",
    "copy_gb_per_s": "lmcache_mp_l0_l1_load_throughput_GB_per_second",
}
MAX_TOTAL = 2.0**63  # larger than any real counter


@dataclass(frozen=True, slots=True)
class TokenCounters:
    """Totals since the servers started: the engine's by source, and the cache server's by tier.

    None means not reported: `l1` and `l2` if the cache server does not answer or there is none.
    """

    by_source: Mapping[str, float]
    l1: float | None = None
    l2: float | None = None
    tiers: bool = True  # whether the connector has a cache server, which counts them
    mm_cache_hits: float | None = None
    histograms: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # field of HistogramTimes: count, sum


async def read_counters(engine: Engine) -> TokenCounters | None:
    """Reads the counters of an engine and its cache server. Returns None if the engine does not answer."""
    try:
        metrics = await fetch_metrics(engine.url, engine)
    except httpx.HTTPError:
        return None
    engines = TokenCounters(
        _by_source(metrics),
        mm_cache_hits=sum_metrics(metrics, MM_CACHE_HITS).get(MM_CACHE_HITS),
        histograms=_histograms(metrics, HISTOGRAMS),
    )
    if engine.cache is None:
        return replace(engines, tiers=engine.store is None)
    try:
        metrics = await fetch_metrics(engine.cache.url)
    except httpx.HTTPError:
        return engines
    cache = sum_metrics(metrics, HIT_L1, HIT_L2)
    histograms = {**engines.histograms, **_histograms(metrics, CACHE_HISTOGRAMS)}
    return replace(engines, l1=cache.get(HIT_L1, 0), l2=cache.get(HIT_L2, 0), histograms=histograms)


async def fetch_metrics(url: str, engine: Engine | None = None) -> str:
    """Returns the `/metrics` page of one of the arena's services, or of any `engine`. Raises httpx.HTTPError."""
    async with http_client(5, engine) as http:
        return (await read_body(http, f"{url}/metrics")).decode(errors="replace")


def parse_samples(metrics: str, *names: str) -> Sequence[Sample]:
    """Returns the samples of a page in Prometheus' text format; none for a page in any other format.

    `names` limits parsing to lines that start with one of them. This saves time: an engine's page has a thousand lines
    and is read twice per request.
    """
    if names:
        metrics = "\n".join(line for line in metrics.splitlines() if line.startswith(names)) + "\n"
    try:
        families: Sequence[Metric] = list(text_string_to_metric_families(metrics))
    except (ValueError, LookupError, TypeError, AttributeError):  # raised by the parser for other formats
        return []
    return [sample for family in families for sample in family.samples if abs(sample.value) < MAX_TOTAL]


def sum_metrics(metrics: str, *names: str) -> Mapping[str, float]:
    """Returns each sample's name and its sum over all labels; `names` are prefixes, as in `parse_samples`."""
    sums: defaultdict[str, float] = defaultdict(float)
    for sample in parse_samples(metrics, *names):
        sums[sample.name] += sample.value
    return sums


def sources_between(before: TokenCounters | None, after: TokenCounters | None, prompt_tokens: int) -> Sources | None:
    """Returns the sources of one request's prompt tokens, or None if they are not certain.

    The engine's counters grow by one for every prompt token. If they grew by exactly the tokens of this prompt, no
    other request was counted, and the split is exact. Otherwise, or with an unknown source, the result is None.
    """
    if before is None or after is None:
        return None
    grown = {name: int(after.by_source[name] - before.by_source.get(name, 0)) for name in after.by_source}
    computed, own, shared = (grown.pop(name, 0) for name in (COMPUTED, OWN_CACHE, SHARED))
    if computed + own + shared != prompt_tokens or min(computed, own, shared) < 0 or any(grown.values()):
        return None
    l1, l2 = _grown(before.l1, after.l1), _grown(before.l2, after.l2)
    mm_cache_hits = _grown(before.mm_cache_hits, after.mm_cache_hits)
    if not shared or l1 is None or l2 is None or l1 + l2 < shared:  # the tiers are unknown
        return Sources(computed, own, shared, mm_cache_hits=mm_cache_hits, tiers=after.tiers)
    return Sources(computed, own, shared, min(l1, shared), max(0, shared - l1), mm_cache_hits)


def histogram_times(before: TokenCounters | None, after: TokenCounters | None) -> HistogramTimes:
    """Returns what was observed between two readings, for each histogram with exactly one observation more.

    More observations are those of other requests. A count that fell is that of a server that was restarted.
    """
    if before is None or after is None:
        return HistogramTimes()
    known = HISTOGRAMS if before.l1 is None else {**HISTOGRAMS, **CACHE_HISTOGRAMS}
    found = {}
    for name in after.histograms.keys() & known.keys():
        count, total = before.histograms.get(name, (0.0, 0.0))  # a histogram appears with its first observation
        more, value = after.histograms[name][0] - count, after.histograms[name][1] - total
        if more == 1 and value > 0:
            found[name] = value
    return HistogramTimes(**found)


def _histograms(metrics: str, names: Mapping[str, str]) -> Mapping[str, tuple[float, float]]:
    """Returns the count and the sum of each histogram that the page has, over all labels."""
    sums = sum_metrics(metrics, *(f"{name}_{part}" for name in names.values() for part in ("count", "sum")))
    counts = {field: sums.get(f"{name}_count") for field, name in names.items()}
    return {
        field: (count, sums.get(f"{names[field]}_sum", 0.0)) for field, count in counts.items() if count is not None
    }


def _grown(before: float | None, after: float | None) -> int | None:
    """Returns the growth of a counter; None if it is unknown, or if the counter fell because of a restart."""
    return None if before is None or after is None or after < before else int(after - before)


def _by_source(metrics: str) -> Mapping[str, float]:
    found = parse_samples(metrics, f"{BY_SOURCE}_total")
    return {sample.labels["source"]: sample.value for sample in found if "source" in sample.labels}
