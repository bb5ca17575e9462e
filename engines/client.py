"""How an engine is asked, and the only place where an answer is timed.

`ask` is the one measuring function: the page, the command line and the benchmark all read its stream.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

from engines.counters import Counters, read_counters, sources_between
from engines.errors import StreamBroken
from engines.prompt import Prompt
from engines.reply import Delta, Reply, Second, ServerTimes, TokenLogprobs, Usage
from engines.topology import Engine
from engines.wire import Chunk, connect, stream

OpenStream = Callable[[Engine, Chunk], AsyncGenerator[Chunk]]  # what is asked, and what is answered
ReadCounters = Callable[[Engine], Awaitable[Counters | None]]


async def ask(
    engine: Engine,
    prompt: Prompt,
    *,
    open_stream: OpenStream = stream,
    counters: ReadCounters = read_counters,
    clock: Callable[[], Second] = time.perf_counter,
) -> AsyncGenerator[Delta | Reply]:
    """Yields each Delta as it arrives, and the Reply last.

    The clock starts just before the request is sent and stands outside the reading of counters. Raises EngineError;
    closing the generator closes the connection, and with it frees the engine.
    """
    await connect(engine)  # if that has to be made, then before the clock starts
    before = await counters(engine)
    deltas: list[Delta] = []
    usage: Usage | None = None
    server: ServerTimes | None = None
    logprobs: list[TokenLogprobs] = []
    sent = clock()
    async with aclosing(open_stream(engine, _request(engine, prompt))) as chunks:
        async for chunk in chunks:
            at = clock() - sent
            for delta in _deltas(chunk, at):
                deltas.append(delta)
                yield delta
            if prompt.top_logprobs:
                logprobs += _logprobs(chunk)
            usage = _usage(chunk) or usage
            server = _server_times(chunk) or server
    if usage is None:
        raise StreamBroken(engine.name, f"the answer has no usage at its end; ./arena logs {engine.name} says why")
    sources = sources_between(before, await counters(engine), usage.prompt_tokens)
    yield Reply.of(engine.name, deltas, usage, sources, logprobs, server)


async def reply_to(engine: Engine, prompt: Prompt, *, counters: ReadCounters = read_counters) -> Reply:
    """The whole answer at once, timed like any other."""
    async with aclosing(ask(engine, prompt, counters=counters)) as events:
        async for event in events:
            if isinstance(event, Reply):
                return event
    raise AssertionError("ask ends with a Reply or an error")


def _request(engine: Engine, prompt: Prompt) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": engine.model,
        "messages": prompt.messages,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "seed": prompt.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.top_logprobs:
        request |= {"logprobs": True, "top_logprobs": prompt.top_logprobs}
    if prompt.ignore_eos:
        request |= {"ignore_eos": True, "min_tokens": prompt.max_tokens}
    return request


def _deltas(chunk: Chunk, at: Second) -> Iterator[Delta]:
    """Role-only, empty, keep-alive and usage chunks carry no generated text, and yield nothing."""
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        reasoning = delta.get("reasoning") or delta.get("reasoning_content")
        calls = [call["function"] for call in delta.get("tool_calls") or () if call.get("function")]
        called = "".join((call.get("name") or "") + (call.get("arguments") or "") for call in calls)
        if reasoning:
            yield Delta(reasoning, at, reasoning=True)
        if delta.get("content") or called:
            yield Delta((delta.get("content") or "") + called, at)


def _usage(chunk: Chunk) -> Usage | None:
    usage = chunk.get("usage")
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], details.get("cached_tokens"))


def _server_times(chunk: Chunk) -> ServerTimes | None:
    metrics = chunk.get("metrics")
    if not metrics:
        return None
    times = [metrics.get(name) for name in ("queue_time_ms", "time_to_first_token_ms", "generation_time_ms")]
    queue, ttft, generation = (None if ms is None else ms / 1e3 for ms in times)
    return None if queue is None or ttft is None else ServerTimes(queue, ttft, generation)


def _logprobs(chunk: Chunk) -> Iterator[TokenLogprobs]:
    for choice in chunk.get("choices") or ():
        for token in (choice.get("logprobs") or {}).get("content") or ():
            candidates = {best["token"]: best["logprob"] for best in token["top_logprobs"] if _is_number(best)}
            yield TokenLogprobs(token["token"], candidates)


def _is_number(candidate: Chunk) -> bool:
    """Ruined KV gives probabilities that are no numbers: such a token is no candidate."""
    return candidate["logprob"] is not None and math.isfinite(candidate["logprob"])
