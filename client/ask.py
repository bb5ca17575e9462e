"""How an engine is asked, and the only place where an answer is timed.

`ask` is the one measuring function: the page, the command line and the benchmark all read its stream.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
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
from client.metrics import TokenCounters, read_counters, sources_between
from client.prompt import Prompt
from client.reply import Delta, Reply, Second, ServerTimes, TokenLogprobs
from client.transport import TIMEOUT_S, open_connection, silent_error, stream_chat
from client.vllm_errors import one_line, rejects_system_role
from config.errors import EngineRefused, RefusalKind, StreamBroken
from config.topology import Engine

OpenStream = Callable[[Engine, Chunk], AsyncGenerator[Chunk]]  # what is asked, and what is answered
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

    The clock starts just before the request is sent and stands outside the reading of counters. Raises EngineError, for
    a stream without new text for `patience_s`, too; closing the generator closes the connection, and with it frees the
    engine.
    """
    await open_connection(engine)  # if that has to be made, then before the clock starts
    before = await counters(engine)
    if before_send:  # the page shows a running clock
        await before_send()
    heard = _StreamState(engine, prompt)
    sent = clock()
    async with aclosing(open_stream(engine, _request(engine, prompt))) as chunks:
        async for chunk in chunks:
            at = clock() - sent
            for delta in heard.deltas_of(chunk, at):
                yield delta
            if at - heard.last_text > patience_s:
                raise silent_error(engine, patience_s)
    usage = read_usage(heard.usages)
    if usage is None:
        said = one_line(str(heard.usages[-1])) if heard.usages else ""
        fact = f"its usage cannot be read: {said}" if said else "the answer has no usage at its end"
        raise StreamBroken(engine.name, fact, said=said, hint=engine.if_failed)
    sources = sources_between(before, await counters(engine), usage.prompt_tokens)
    yield Reply.of(engine.name, heard.deltas, usage, sources, heard.logprobs, heard.server)


async def ask_whole(engine: Engine, prompt: Prompt, *, counters: ReadCounters = read_counters) -> Reply:
    """The whole answer at once, timed like any other."""
    async with aclosing(ask(engine, prompt, counters=counters)) as events:
        async for event in events:
            if isinstance(event, Reply):
                return event
    raise AssertionError("ask ends with a Reply or an error")


async def ask_whole_any_template(engine: Engine, prompt: Prompt, ask: AskWhole = ask_whole) -> tuple[Prompt, Reply]:
    """The answer, and the prompt in the form that the server's chat template takes: with a system message, or without.

    For servers that lend no tokenizer, which would tell. Raises EngineError.
    """
    try:
        return prompt, await ask(engine, prompt)
    except EngineRefused as exc:
        other = replace(prompt, no_system_role=True)
        if prompt.no_system_role or not rejects_system_role(exc):
            raise
        try:
            return other, await ask(engine, other)
        except EngineRefused as again:
            raise (again if exc.kind is RefusalKind.SYSTEM_ROLE else exc) from None


class _StreamState:
    """What came of one answer."""

    def __init__(self, engine: Engine, prompt: Prompt) -> None:
        self.engine, self.prompt = engine, prompt
        self.deltas = list[Delta]()
        self.usages = list[Any]()  # as they came: they are read at the end, outside the clock
        self.server: ServerTimes | None = None
        self.logprobs = list[TokenLogprobs]()
        self.last_text: Second = 0.0  # when it came
        self._halves = {True: SurrogateJoiner(), False: SurrogateJoiner()}  # of reasoning, and of the answer

    def deltas_of(self, chunk: Chunk, at: Second) -> Sequence[Delta]:
        """The text that a chunk brings. Raises StreamBroken where it has another shape than the API's."""
        try:
            found = [Delta(self._halves[thinking].whole(text), at, thinking) for text, thinking in chunk_texts(chunk)]
            if self.prompt.top_logprobs:
                self.logprobs += read_logprobs(chunk)
        except MalformedChunk as exc:
            said = one_line(str(chunk))
            fact = f"a chunk cannot be read, {exc}: {said}"
            raise StreamBroken(self.engine.name, fact, said=said, hint=self.engine.if_failed) from exc
        if found:
            self.deltas += found
            self.last_text = at
        if usage := chunk.get("usage"):
            self.usages.append(usage)
        if told := chunk.get("metrics"):
            self.server = read_server_times(told) or self.server
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
