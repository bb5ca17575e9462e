"""Sends many requests at once, in an open or a closed loop.

Open loop: requests are sent on a schedule (`request_rate`, `burstiness`), whatever the engine does, and times count
from the scheduled moment. Otherwise a slow engine would reduce its own load and look faster than it is.
Closed loop: at most `max_concurrency` requests are in flight, and the next one waits until one has ended.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from bench.measure import AskMeasured
from client.prompt import Prompt
from client.reply import Reply
from config.errors import EngineError
from config.topology import Engine


@dataclass(frozen=True, slots=True)
class RequestLoad:
    """When requests are sent: on a schedule, or with limited concurrency."""

    request_rate: float = math.inf  # requests per second; infinite in a closed loop
    burstiness: float = 1.0  # shape of the gamma distribution of the gaps; 1 is Poisson
    max_concurrency: int | None = None  # requests in flight

    @property
    def closed(self) -> bool:
        """Whether the next request waits for another to end instead of for its scheduled time."""
        return math.isinf(self.request_rate)


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request under load. Times are in seconds since the load began."""

    index: int
    intended: float  # scheduled time; in a closed loop the time when it was sent
    sent: float
    ended: float
    queue: float  # how long it waited in the client
    reply: Reply | None  # None if it failed
    failure: EngineError | None


def arrivals(load: RequestLoad, count: int, seed: int) -> tuple[float, ...]:
    """Scheduled times of the requests in seconds, the first at 0. Gaps are drawn as in `vllm bench serve`."""
    if load.closed:
        return (0.0,) * count
    draw = random.Random(seed)
    scale = 1 / (load.request_rate * load.burstiness)
    times = [0.0]
    while len(times) < count:
        times.append(times[-1] + draw.gammavariate(load.burstiness, scale))
    return tuple(times[:count])


async def send_all(
    engine: Engine,
    prompts: Sequence[Prompt],
    load: RequestLoad,
    ask: AskMeasured,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> AsyncIterator[SentRequest]:
    """Sends every prompt and yields each request when it ends. Closing the generator cancels requests in flight."""
    turn = asyncio.Semaphore(load.max_concurrency or len(prompts))
    began = clock()

    async def one(index: int, due: float) -> SentRequest:
        await asyncio.sleep(max(0.0, due - (clock() - began)))
        reply = failure = None
        async with turn:
            sent = clock() - began
            try:
                reply = await ask(engine, prompts[index])
            except EngineError as exc:
                failure = exc
        return SentRequest(index, sent if load.closed else due, sent, clock() - began, sent - due, reply, failure)

    tasks = [asyncio.create_task(one(i, at)) for i, at in enumerate(arrivals(load, len(prompts), seed))]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
