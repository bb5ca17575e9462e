"""The current state of every service and the KV volume, as cards for the Stack tab, and each service's command."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cache.lmcache_command import all_commands
from cache.volume import current_namespace, stored_chunks
from client.http_client import http_client
from client.metrics import sum_metrics
from client.volume_use import DISK_FULL, VolumeUse
from config.settings import Settings
from config.topology import CacheServer, Engine, Topology
from frontend.bars import title

TIMEOUT_S = 2
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV_USE = "vllm:kv_cache_usage_perc"
OWN_HITS, OWN_QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"
L1_USED = "lmcache_mp_l1_memory_usage_bytes"
LOOKUPS = "lmcache_mp_lookup_requested_tokens_total"
L1_HITS, L2_HITS = "lmcache_mp_lookup_hit_l1_tokens_total", "lmcache_mp_lookup_hit_l2_tokens_total"


@dataclass(frozen=True, slots=True)
class StackCard:
    """One service, or the volume, which has neither a `name` nor a health. `facts` are formatted values."""

    name: str
    heading: str
    kind: str
    healthy: bool | None
    facts: Mapping[str, str]


async def read_stack(topology: Topology, settings: Settings) -> list[StackCard]:
    """Asks all services at once; one that does not answer within TIMEOUT_S is shown as not healthy."""
    async with http_client(TIMEOUT_S) as client:
        engines = [_engine_card(client, engine) for engine in topology.engines]
        caches = [_cache_card(client, cache) for cache in topology.caches]
        return await asyncio.gather(*engines, *caches, asyncio.to_thread(volume_card, settings))


async def _engine_card(client: httpx.AsyncClient, engine: Engine) -> StackCard:
    metrics = await _metrics(client, engine.url, "/health", RUNNING, WAITING, KV_USE, OWN_HITS, OWN_QUERIES)
    model = await _model(client, engine.url) if metrics is not None else {}
    found = metrics if metrics and model else {}
    facts = {
        "model": Path(str(model.get("root") or model.get("id") or "–")).name,
        "context (tokens)": _count(model.get("max_model_len")),
        "KV in use": _percent(found.get(KV_USE)),
        "running": _count(found.get(RUNNING)),
        "waiting": _count(found.get(WAITING)),
        "own prefix cache hits": _percent(_ratio(found, OWN_HITS, OWN_QUERIES)),
    }
    return StackCard(engine.name, title(engine), engine.kind, bool(model), facts)


async def _cache_card(client: httpx.AsyncClient, cache: CacheServer) -> StackCard:
    metrics = await _metrics(client, cache.url, "/healthcheck", L1_USED, LOOKUPS, L1_HITS, L2_HITS)
    found = metrics or {}
    facts = {
        "L1 in use": _size(found.get(L1_USED)),
        "hits in memory": _percent(_ratio(found, L1_HITS, LOOKUPS)),
        "hits on the volume": _percent(_ratio(found, L2_HITS, LOOKUPS)),
    }
    heading = f"Cache server ({cache.side.upper()})"
    return StackCard(cache.name, heading, "lmcache server", metrics is not None, facts)


async def _metrics(client: httpx.AsyncClient, url: str, health: str, *names: str) -> Mapping[str, float] | None:
    """Returns the metrics, or None if the service is unhealthy or does not answer."""
    try:
        (await client.get(url + health)).raise_for_status()
        return sum_metrics((await client.get(f"{url}/metrics")).text, *names)
    except (httpx.HTTPError, ValueError):
        return None


async def _model(client: httpx.AsyncClient, url: str) -> Mapping[str, Any]:
    """Returns the engine's entry for its model; empty if there is none."""
    try:
        return dict((await client.get(f"{url}/v1/models")).json()["data"][0])
    except (httpx.HTTPError, LookupError, ValueError, TypeError):
        return {}


def volume_card(settings: Settings) -> StackCard:
    """Describes the namespace and the volume. Sizes are missing if the volume is not visible from here, and lower
    bounds if the namespace has more files than are looked at."""
    folder, visible = current_namespace(settings), settings.kv_store_dir.is_dir()
    stored = stored_chunks(folder)
    bound = "" if stored.is_all else "at least "
    use = VolumeUse.read(settings.kv_store_dir)
    facts = {
        "namespace": folder.name,
        "size": bound + _size(stored.total_bytes if visible else None),
        "files": bound + _count(stored.files if visible else None),
        "all namespaces": f"{_size(use.total_bytes)} of at most {_size(use.max_bytes)}" if use else "–",
        "free": _size(shutil.disk_usage(settings.kv_store_dir).free if visible else None),
    }
    kind = "" if visible else "Not visible from the page."
    return StackCard("", "KV volume", DISK_FULL if use and use.is_disk_full else kind, None, facts)


def stack_commands(settings: Settings) -> dict[str, str]:
    """Maps each service's name to its command line as typed in a shell, without secrets."""
    return {name: str(command) for name, command in all_commands(settings)}


def _ratio(metrics: Mapping[str, float], part: str, whole: str) -> float | None:
    return metrics.get(part, 0.0) / metrics[whole] if metrics.get(whole) else None


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{100 * ratio:.0f} %"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _size(size: float | None) -> str:
    if size is None:
        return "–"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
