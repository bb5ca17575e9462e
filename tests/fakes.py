"""Fakes that more than one folder of tests needs. They are passed in as parameters; nothing is patched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from client.reply import Delta, Reply, Sources, Usage
from config.topology import Engine


def collect(events: AsyncIterator[Any]) -> list[Any]:
    """Everything that an asynchronous generator yields."""

    async def gather() -> list[Any]:
        return [event async for event in events]

    return asyncio.run(gather())


def chunk(
    content: str | None = None, *, role: str | None = None, reasoning: str | None = None, usage: Any = None
) -> Any:
    """As vLLM sends it: a delta in a choice, or usage without any choice."""
    delta = {"content": content, "role": role, "tool_calls": None, "reasoning": reasoning}
    return {"choices": [] if usage else [{"delta": delta, "logprobs": None}], "usage": usage}


def usage_chunk(prompt: int = 1000, completion: int = 2, cached: int = 0) -> Any:
    details = {"cached_tokens": cached}
    return chunk(usage={"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details})


def streaming(*chunks: Any) -> Callable[..., AsyncGenerator[Any]]:
    """An opener whose stream gives these chunks; an exception among them is raised in its place."""

    async def stream(*_: Any) -> AsyncGenerator[Any]:
        for each in chunks:
            if isinstance(each, Exception):
                raise each
            yield each

    return stream


def ticking(*times: float) -> Callable[[], float]:
    """A clock that shows these times, one a look."""
    return iter(times).__next__


def a_reply(
    engine: Engine | str = "plain-a",
    *,
    ttft: float = 9.0,
    prompt: int = 7000,
    cached: int = 0,
    sources: Sources | None = None,
    text: str = "an answer",
) -> Reply:
    name = engine if isinstance(engine, str) else engine.name
    words: Sequence[str] = text.split(" ")
    deltas = [Delta(word, ttft + 0.05 * index) for index, word in enumerate(words)]
    return Reply.of(name, deltas, Usage(prompt, len(words), cached), sources)
