"""Waits until the KV that an engine computed is on the KV volume.

A cache server counts the chunks that it has stored. Without one, the volume is watched for new files: how many there
will be depends on the connector, so the wait ends when no further file appears.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import httpx

from client.metrics import fetch_metrics, sum_metrics
from client.reply import Reply
from config.errors import StackError
from config.topology import CacheServer, KVFolder

STORED = "lmcache_mp_l2_store_completed_objects_chunks_total"
POLL_S = 0.05
QUIET_S = 1.0  # without a further file on the volume

Store = CacheServer | KVFolder
CountStored = Callable[[Store], Awaitable[int]]


async def count_stored(store: Store) -> int:
    """Returns how many chunks this server has written since it started; for a KVFolder, a number that only grows, and
    does so with each file that appears there.

    Raises StackError if the server does not answer.
    """
    if isinstance(store, KVFolder):
        return await asyncio.to_thread(_count_files if store.connector == "offloading" else last_change, store.path)
    try:
        return int(sum_metrics(await fetch_metrics(store.url), STORED).get(STORED, 0))
    except httpx.HTTPError as exc:
        raise StackError(f"{store.name} does not answer at {store.url}: ./arena status") from exc


def chunks_to_store(reply: Reply) -> int:
    """Returns how many whole chunks of the prompt were computed for this reply, and will therefore be stored."""
    return reply.usage.prompt_tokens // reply.chunk_size - (reply.usage.cached_tokens or 0) // reply.chunk_size


async def wait_until_stored(
    store: Store, before: int, chunks: int, within: float = 60, *, stored: CountStored = count_stored
) -> None:
    """Returns once `chunks` chunks have been stored since the count was `before`.

    Raises StackError after `within` seconds, or if the server was restarted.
    """
    if isinstance(store, KVFolder):
        if chunks:
            await _wait_until_quiet(store, before, within, stored)
        return
    deadline = time.monotonic() + within
    while (grown := await stored(store) - before) < chunks:
        if grown < 0:
            raise StackError(
                f"{store.name} was restarted before it had stored {chunks} chunks: ./arena logs {store.name}"
            )
        if time.monotonic() > deadline:
            raise StackError(
                f"{store.name} stored {grown} of {chunks} chunks in {within:.0f} s: ./arena logs {store.name}"
            )
        await asyncio.sleep(POLL_S)


async def _wait_until_quiet(folder: KVFolder, before: int, within: float, stored: CountStored) -> None:
    deadline, seen, since = time.monotonic() + within, before, time.monotonic()
    while seen <= before or time.monotonic() - since < QUIET_S:
        if time.monotonic() > deadline:
            found = "new files, and still more," if seen > before else "no new file"
            raise StackError(f"{found} on the KV volume after {within:.0f} s: ./arena logs lmcache-a (or lmcache-b)")
        await asyncio.sleep(POLL_S)
        if (files := await stored(folder)) != seen:
            seen, since = files, time.monotonic()


def last_change(volume: Path, *, scan: Callable[[Path], Iterable[os.DirEntry[str]]] = os.scandir) -> int:
    """Returns when a file last appeared in a namespace, in ns since 1970; 0 without one.

    LMCache moves each finished file into the namespace, which changes that folder's modification time. The files are
    not listed: there can be millions.
    """
    with suppress(FileNotFoundError):
        return max((entry.stat().st_mtime_ns for entry in scan(volume) if entry.is_dir()), default=0)
    return 0


def _count_files(volume: Path) -> int:
    """Counts the finished files of vLLM's offloading. The time grows with them: they are spread over up to a million
    folders, and the modification time of one says nothing about those in it."""
    return sum(name.endswith(".bin") for _, _, names in os.walk(volume) for name in names)
