"""What every service says of itself just now, for the stack panel: health, load, memory, and its exact command line."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cache.lmcache_command import lmcache_command
from cache.volume import current_namespace
from client.http_client import http_client as client_of_services
from client.metrics import sum_metrics
from config.settings import Settings
from config.topology import CacheServer, Engine, Topology
from engines.vllm_command import vllm_command

TIMEOUT_S = 2
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV_USE = "vllm:kv_cache_usage_perc"
OWN_HITS, OWN_QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"
L1_USED = "lmcache_mp_l1_memory_usage_bytes"
ASKED = "lmcache_mp_lookup_requested_tokens_total"
HIT_L1, HIT_L2 = "lmcache_mp_lookup_hit_l1_tokens_total", "lmcache_mp_lookup_hit_l2_tokens_total"


@dataclass(frozen=True, slots=True)
class EngineState:
    """`None` is what the engine does not say; `kv_use` and `hit_rate` are shares of one."""

    engine: Engine
    healthy: bool
    model: str = ""
    context: int | None = None
    running: float | None = None
    waiting: float | None = None
    kv_use: float | None = None
    hit_rate: float | None = None


@dataclass(frozen=True, slots=True)
class CacheState:
    """Memory in bytes; rates are shares of the tokens that were looked for."""

    cache: CacheServer
    healthy: bool
    l1_used: float | None = None
    l1_rate: float | None = None
    l2_rate: float | None = None


@dataclass(frozen=True, slots=True)
class VolumeState:
    """Of the namespace; sizes in bytes, None where the volume cannot be seen from here."""

    folder: Path
    used: int | None = None
    files: int | None = None
    free: int | None = None


@dataclass(frozen=True, slots=True)
class StackState:
    """Everything that the panel shows."""

    engines: tuple[EngineState, ...]
    caches: tuple[CacheState, ...]
    volume: VolumeState


async def read_stack(topology: Topology, settings: Settings) -> StackState:
    """Asks all services at once; who does not answer within TIMEOUT_S is not healthy."""
    async with client_of_services(TIMEOUT_S) as client:
        engines = asyncio.gather(*(_engine(client, engine) for engine in topology.engines))
        caches = asyncio.gather(*(_cache(client, cache) for cache in topology.caches))
        volume = asyncio.to_thread(volume_state, settings)
        return StackState(tuple(await engines), tuple(await caches), await volume)


async def _engine(client: httpx.AsyncClient, engine: Engine) -> EngineState:
    try:
        (await client.get(f"{engine.url}/health")).raise_for_status()
        seen = sum_metrics(
            (await client.get(f"{engine.url}/metrics")).text, RUNNING, WAITING, KV_USE, OWN_HITS, OWN_QUERIES
        )
        card = (await client.get(f"{engine.url}/v1/models")).json()["data"][0]
    except (httpx.HTTPError, LookupError, ValueError):
        return EngineState(engine, healthy=False)
    return EngineState(
        engine,
        healthy=True,
        model=Path(str(card.get("root") or card.get("id"))).name,
        context=card.get("max_model_len"),
        running=seen.get(RUNNING),
        waiting=seen.get(WAITING),
        kv_use=seen.get(KV_USE),
        hit_rate=_share(seen, OWN_HITS, OWN_QUERIES),
    )


async def _cache(client: httpx.AsyncClient, cache: CacheServer) -> CacheState:
    try:
        (await client.get(f"{cache.url}/healthcheck")).raise_for_status()
        seen = sum_metrics((await client.get(f"{cache.url}/metrics")).text, L1_USED, ASKED, HIT_L1, HIT_L2)
    except (httpx.HTTPError, ValueError):
        return CacheState(cache, healthy=False)
    return CacheState(
        cache,
        healthy=True,
        l1_used=seen.get(L1_USED),
        l1_rate=_share(seen, HIT_L1, ASKED),
        l2_rate=_share(seen, HIT_L2, ASKED),
    )


def _share(seen: Mapping[str, float], part: str, whole: str) -> float | None:
    return seen.get(part, 0.0) / seen[whole] if seen.get(whole) else None


def volume_state(settings: Settings) -> VolumeState:
    """Walks the namespace's files."""
    folder = current_namespace(settings)
    if not settings.kv_store_dir.is_dir():
        return VolumeState(folder)
    sizes = [size for path in folder.rglob("*.data") if (size := _size(path)) is not None]
    return VolumeState(folder, sum(sizes), len(sizes), shutil.disk_usage(settings.kv_store_dir).free)


def _size(path: Path) -> int | None:
    """None for a file that was evicted meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def stack_commands(topology: Topology, settings: Settings) -> dict[str, str]:
    """Each service's name to the line that starts it, as one would type it; no secret is among its words."""
    lines: dict[str, Any] = {engine.name: vllm_command(engine, settings) for engine in topology.engines}
    lines |= {cache.name: lmcache_command(cache, settings, current_namespace(settings)) for cache in topology.caches}
    return {name: str(line) for name, line in lines.items()}
