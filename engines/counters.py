"""Where a prompt's tokens came from, told by counters read before and after the one request in flight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from engines.reply import Sources
from engines.topology import Engine

BY_SOURCE = "vllm:prompt_tokens_by_source"
HIT_L1 = "lmcache_mp_lookup_hit_l1_tokens_total"
HIT_L2 = "lmcache_mp_lookup_hit_l2_tokens_total"


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the servers started: the engine's by source, and the cache server's by tier where it answers."""

    by_source: Mapping[str, float]
    l1: float | None = None
    l2: float | None = None


async def read_counters(engine: Engine) -> Counters | None:
    """None when the engine does not answer."""
    try:
        metrics = await scrape(engine.url)
    except httpx.HTTPError:
        return None
    if engine.cache is None:
        return Counters(_by_source(metrics))
    try:
        cache = totals(await scrape(engine.cache.url))
    except httpx.HTTPError:
        return Counters(_by_source(metrics))
    return Counters(_by_source(metrics), cache.get(HIT_L1, 0), cache.get(HIT_L2, 0))


async def scrape(url: str) -> str:
    """The `/metrics` page in Prometheus' text form. Raises httpx.HTTPError."""
    async with httpx.AsyncClient(timeout=5) as client:
        return (await client.get(f"{url}/metrics")).raise_for_status().text


def totals(metrics: str) -> Mapping[str, float]:
    """Each sample's name to its sum over all labels."""
    sums: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            sums[sample.name] += sample.value
    return sums


def sources_between(before: Counters | None, after: Counters | None, prompt_tokens: int) -> Sources | None:
    """The sources of one request's prompt, or None when they cannot be told.

    The engine's counters grow by every token of every prompt. If they grew by exactly this prompt's, no other request
    was among them, and the split is exact; anything else is not guessed at.
    """
    if before is None or after is None:
        return None
    grown = {name: int(after.by_source[name] - before.by_source.get(name, 0)) for name in after.by_source}
    if sum(grown.values()) != prompt_tokens or min(grown.values(), default=0) < 0:
        return None
    shared = grown.get("external_kv_transfer", 0)
    l1, l2 = _grown(before.l1, after.l1), _grown(before.l2, after.l2)
    tiers_told = shared > 0 and l1 >= 0 and l2 >= 0 and l1 + l2 >= shared
    return Sources(
        computed=grown.get("local_compute", 0),
        prefix_cache=grown.get("local_cache_hit", 0),
        shared=shared,
        l1=min(l1, shared) if tiers_told else 0,
        l2=max(0, shared - l1) if tiers_told else 0,
    )


def _grown(before: float | None, after: float | None) -> int:
    """Negative when it is not known."""
    return -1 if before is None or after is None else int(after - before)


def _by_source(metrics: str) -> Mapping[str, float]:
    families = (family for family in text_string_to_metric_families(metrics) if family.name == BY_SOURCE)
    return {
        s.labels["source"]: s.value for family in families for s in family.samples if s.name == f"{BY_SOURCE}_total"
    }
