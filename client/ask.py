"""Asks an engine and times the answer.

`ask` is the only function that measures: the page, the command line and the benchmark all use it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from client.chunk import (
    Chunk,
    MalformedChunk,
    SurrogateJoiner,
    chunk_texts,
    read_logprobs,
    read_server_times,
    read_usage,
)
from client.metrics import TokenCounters, histogram_times, read_counters, sources_between
from client.prompt import Prompt
from client.reply import Delta, Reply, Second, ServerTimes, TokenLogprobs
from client.transport import TIMEOUT_S, http_session, silent_error, stream_chat
from client.vllm_errors import one_line, with_any_template
from config.errors import StreamBroken
from config.topology import Engine

OpenStream = Callable[[Engine, Chunk], AsyncGenerator[Chunk]]  # takes a request, yields the chunks of the answer
AskWhole = Callable[[Engine, Prompt], Awaitable[Reply]]
ReadCounters = Callable[[Engine], Awaitable[TokenCounters | None]]
BeforeSend = Callable[[], Awaitable[None]]


async def ask(
    engine: Engine,
    prompt: Prompt,
    *,
    open_stream: OpenStream = stream_chat,
    counters: ReadCounters = read_counters,
    before_send: BeforeSend | None = None,
    clock: Callable[[], Second] = time.perf_counter,
    patience_s: Second = TIMEOUT_S,
) -> AsyncGenerator[Delta | Reply]:
    """Yields each Delta as it arrives, and the Reply last.

    The clock starts just before the request is sent, after the session was opened and the counters were read. Raises
    EngineError, also if no new text arrives for more than `patience_s` seconds. Closing the generator closes the
    connection, and the engine stops computing.
    """
    await http_session(engine)
    before = await counters(engine)
    if before_send:  # not timed: here the page draws its running clock, and pauses
        await before_send()
    state = _StreamState(engine, prompt)
    sent = clock()
    async with aclosing(open_stream(engine, _request(engine, prompt))) as chunks:
        async for chunk in chunks:
            at = clock() - sent
            for delta in state.add(chunk, at):
                yield delta
            if at - state.last_text > patience_s:
                raise silent_error(engine, patience_s)
    usage = read_usage(state.usages)
    if usage is None:
        text = one_line(str(state.usages[-1])) if state.usages else ""
        fact = f"its usage cannot be read: {text}" if text else "the answer has no usage at its end"
        raise StreamBroken(engine.name, fact, server_text=text, hint=engine.if_failed)
    after = await counters(engine)
    sources, histograms = sources_between(before, after, usage.prompt_tokens), histogram_times(before, after)
    found = (state.logprobs, state.server_times, histograms, engine.chunk_size)
    yield Reply.of(engine.name, state.deltas, usage, sources, *found)


async def ask_whole(engine: Engine, prompt: Prompt, *, counters: ReadCounters = read_counters) -> Reply:
    """Returns the Reply of `ask`, without its deltas. Raises EngineError."""
    async with aclosing(ask(engine, prompt, counters=counters)) as events:
        async for event in events:
            if isinstance(event, Reply):
                return event
    raise AssertionError("ask ends with a Reply or an error")


async def ask_whole_any_template(engine: Engine, prompt: Prompt, ask: AskWhole = ask_whole) -> tuple[Prompt, Reply]:
    """Returns the prompt in a form that the server's chat template accepts, and the reply. Raises EngineError.

    Use it for servers without a /tokenize endpoint. For other servers, `count_tokens` finds that form before a request
    is timed.
    """
    return await with_any_template(prompt, lambda each: ask(engine, each))


class _StreamState:
    """Collects what has arrived of one answer."""

    def __init__(self, engine: Engine, prompt: Prompt) -> None:
        self.engine, self.prompt = engine, prompt
        self.deltas = list[Delta]()
        self.usages = list[Any]()  # as received; they are parsed at the end, outside the timed part
        self.server_times: ServerTimes | None = None
        self.logprobs = list[TokenLogprobs]()
        self.last_text: Second = 0.0  # arrival of the last text
        self._joiners = {True: SurrogateJoiner(), False: SurrogateJoiner()}  # by Delta.reasoning

    def add(self, chunk: Chunk, at: Second) -> Sequence[Delta]:
        """Returns the text in a chunk. Raises StreamBroken if the chunk does not have the API's structure."""
        try:
            found = [Delta(self._joiners[thinking].join(text), at, thinking) for text, thinking in chunk_texts(chunk)]
            if self.prompt.top_logprobs:
                self.logprobs += read_logprobs(chunk)
        except MalformedChunk as exc:
            text = one_line(str(chunk))
            fact = f"a chunk cannot be read, {exc}: {text}"
            raise StreamBroken(self.engine.name, fact, server_text=text, hint=self.engine.if_failed) from exc
        if found:
            self.deltas += found
            self.last_text = at
        if usage := chunk.get("usage"):
            self.usages.append(usage)
        if metrics := chunk.get("metrics"):
            self.server_times = read_server_times(metrics) or self.server_times
        return found


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
    if engine.extra_body:
        request = {key: value for key, value in (request | dict(engine.extra_body)).items() if value is not None}
    return request
