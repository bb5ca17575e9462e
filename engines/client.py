"""How an engine is spoken to. The only place where a request is timed, and where foreign errors become ours.

`ask` is the one measuring function: the page, the command line and the benchmark all read its stream.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, cast

import httpcore2  # noqa: F401 - httpx2 would import it at the first request, in whose TTFT that would stand: 0.1 s
import httpx2
import openai
from openai import AsyncStream

from engines.counters import Counters, read_counters, sources_between
from engines.errors import EngineRefused, EngineUnreachable, StreamBroken
from engines.prompt import Prompt
from engines.refusal import NEXT_STEPS
from engines.reply import Delta, Reply, Second, ServerTimes, TokenLogprobs, Usage
from engines.sdk import TIMEOUT_S, client_of
from engines.topology import Engine

Chunk = Mapping[str, Any]  # as JSON: the SDK's classes for it cost more than all the rest of a request
DATA, DONE = "data:", "[DONE]"  # how a line of server-sent events begins that holds a chunk, and the last of them
OpenStream = Callable[[Engine, Prompt], AsyncGenerator[Chunk]]
ReadCounters = Callable[[Engine], Awaitable[Counters | None]]


async def ask(
    engine: Engine,
    prompt: Prompt,
    *,
    open_stream: OpenStream | None = None,
    counters: ReadCounters = read_counters,
    clock: Callable[[], Second] = time.perf_counter,
) -> AsyncGenerator[Delta | Reply]:
    """Yields each Delta as it arrives, and the Reply last.

    The clock starts just before the request is sent and stands outside the reading of counters. Raises EngineError;
    closing the generator closes the connection, and with it frees the engine.
    """
    await client_of(engine)  # if it has to be made, then before the clock starts
    before = await counters(engine)
    deltas: list[Delta] = []
    usage: Usage | None = None
    server: ServerTimes | None = None
    logprobs: list[TokenLogprobs] = []
    with _translated(engine.name):
        sent = clock()
        async with aclosing((open_stream or stream)(engine, prompt)) as chunks:
            async for chunk in chunks:
                at = clock() - sent
                for delta in _deltas(chunk, at):
                    deltas.append(delta)
                    yield delta
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


async def stream(engine: Engine, prompt: Prompt) -> AsyncGenerator[Chunk]:
    """The engine's chunks as they come. The SDK sends and refuses; its reading of events would cost a fifth of all."""
    client = await client_of(engine)
    sent = client.post(
        "/chat/completions",
        body=_request(engine, prompt),
        cast_to=httpx2.Response,
        stream=True,
        stream_cls=AsyncStream[object],
    )
    async with aclosing(cast(httpx2.Response, await sent)) as response:
        async for line in response.aiter_lines():
            data = line.removeprefix(DATA).strip() if line.startswith(DATA) else ""
            if data and data != DONE:
                yield _chunk(engine.name, data)


def _chunk(engine: str, data: str) -> Chunk:
    try:
        chunk = json.loads(data)
    except ValueError as exc:
        raise StreamBroken(engine, _broken(engine, "what it sends is not JSON")) from exc
    if not isinstance(chunk, dict) or chunk.get("error"):
        raise StreamBroken(engine, _broken(engine, data[:300]))
    return chunk


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
    metrics = chunk.get("metrics") or {}
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


@contextmanager
def _translated(engine: str) -> Iterator[None]:
    """The one seam between the SDK's errors and ours."""
    try:
        yield
    except (openai.APITimeoutError, httpx2.TimeoutException) as exc:
        raise EngineUnreachable(engine, f"no answer within {TIMEOUT_S} s; ./arena status") from exc
    except openai.APIConnectionError as exc:
        raise EngineUnreachable(engine, "no answer; it is down or still starting (./arena status)") from exc
    except openai.APIStatusError as exc:
        raise EngineRefused(engine, f"HTTP {exc.status_code}: {_said(exc)}") from exc
    except (openai.APIError, httpx2.HTTPError) as exc:
        raise StreamBroken(engine, _broken(engine, exc)) from exc


def _broken(engine: str, why: object) -> str:
    return f"the answer broke off ({why}); ./arena logs {engine} says why"


def _said(exc: openai.APIStatusError) -> str:
    body = exc.body if isinstance(exc.body, dict) else {}
    said = str(body.get("message") or exc.message)[:300]
    step = next((step for words, step in NEXT_STEPS.items() if words in said), None)
    return f"{said.rstrip('.')}: {step}" if step else said
