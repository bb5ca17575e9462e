"""The SDK's client for an engine, kept as long as the event loop: making one costs as much CPU as a request does.

Idle connections are dropped before vLLM drops them (its VLLM_HTTP_TIMEOUT_KEEP_ALIVE is 5 s): a request that is sent as
its connection closes would fail.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient

from engines.tls import TLS
from engines.topology import Engine

TIMEOUT_S = 600  # a long prompt on slow cores may take minutes to its first token
LIMITS = httpx2.Limits(max_connections=10_000, keepalive_expiry=3)

Held = dict[str, tuple[AsyncOpenAI, AsyncGenerator[AsyncOpenAI]]]
_held: WeakKeyDictionary[asyncio.AbstractEventLoop, Held] = WeakKeyDictionary()


async def client_of(engine: Engine) -> AsyncOpenAI:
    """The running loop's own; OPENAI_API_KEY goes with its requests. No retries: one would hide in the TTFT."""
    held = _held.setdefault(asyncio.get_running_loop(), {})
    if engine.url not in held:
        keeper = _keep(engine.url, held)
        held[engine.url] = (await anext(keeper), keeper)
    return held[engine.url][0]


async def _keep(url: str, held: Held) -> AsyncGenerator[AsyncOpenAI]:
    """A loop that ends finishes the generators that it began, and so closes the client."""
    client = AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key=os.environ.get("OPENAI_API_KEY") or "none",
        max_retries=0,
        http_client=DefaultAioHttpClient(verify=TLS, timeout=TIMEOUT_S, limits=LIMITS),
    )
    try:
        async with client:
            yield client
    finally:
        del held[url]
