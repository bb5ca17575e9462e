"""Waits until the KV that an engine computed is on the KV volume, according to the cache server's own count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx

from cache.volume import CHUNK_SIZE
from client.metrics import fetch_metrics, sum_metrics
from client.reply import Reply
from config.errors import StackError
from config.topology import CacheServer

STORED = "lmcache_mp_l2_store_completed_objects_chunks_total"
POLL_S = 0.05

CountStored = Callable[[CacheServer], Awaitable[int]]


async def count_stored_chunks(cache: CacheServer) -> int:
    """Returns how many chunks this server has written to the volume since it started. Raises StackError."""
    try:
        return int(sum_metrics(await fetch_metrics(cache.url), STORED).get(STORED, 0))
    except httpx.HTTPError as exc:
        raise StackError(f"{cache.name} does not answer at {cache.url}: ./arena status") from exc


def chunks_to_store(reply: Reply) -> int:
    """Returns how many whole chunks of the prompt were computed for this reply, and will therefore be stored."""
    return reply.usage.prompt_tokens // CHUNK_SIZE - (reply.usage.cached_tokens or 0) // CHUNK_SIZE


async def wait_until_stored(
    cache: CacheServer, before: int, chunks: int, within: float = 60, *, stored: CountStored = count_stored_chunks
) -> None:
    """Returns once the server's count has grown by `chunks` since `before`.

    Raises StackError after `within` seconds, or if the server was restarted.
    """
    deadline = time.monotonic() + within
    while (grown := await stored(cache) - before) < chunks:
        if grown < 0:
            raise StackError(
                f"{cache.name} was restarted before it had stored {chunks} chunks: ./arena logs {cache.name}"
            )
        if time.monotonic() > deadline:
            raise StackError(
                f"{cache.name} stored {grown} of {chunks} chunks in {within:.0f} s: ./arena logs {cache.name}"
            )
        await asyncio.sleep(POLL_S)
