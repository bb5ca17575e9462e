"""Fakes for several folders of tests. They are passed as arguments; nothing is patched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from client.reply import Delta, Reply, Sources, Usage
from config.topology import Engine, ServiceKind

CHUNK_SIZE = 256  # of all fakes, and of the settings in conftest.py


def collect(events: AsyncIterator[Any]) -> list[Any]:
    """Returns everything that an asynchronous generator yields."""

    async def gather() -> list[Any]:
        return [event async for event in events]

    return asyncio.run(gather())


def plain_engine(url: str = "http://127.0.0.1:8001", *, name: str = "plain-a", **more: Any) -> Engine:
    return Engine(name, ServiceKind.PLAIN, "a", urlsplit(url).port or 80, url, **{"chunk_size": CHUNK_SIZE, **more})


@contextmanager
def serving(respond: Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]) -> Iterator[str]:
    """Runs an HTTP server and yields its URL; `respond` returns the status and body of each answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, content = respond(self)
            with suppress(ConnectionError):  # the client disconnected
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def chunk(
    content: str | None = None, *, role: str | None = None, reasoning: str | None = None, usage: Any = None
) -> Any:
    """Returns a chunk as vLLM sends it: a choice with a delta, or usage without choices."""
    delta = {"content": content, "role": role, "tool_calls": None, "reasoning": reasoning}
    return {"choices": [] if usage else [{"delta": delta, "logprobs": None}], "usage": usage}


def usage_chunk(prompt: int = 1000, completion: int = 2, cached: int = 0) -> Any:
    details = {"cached_tokens": cached}
    return chunk(usage={"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details})


def streaming(*chunks: Any) -> Callable[..., AsyncGenerator[Any]]:
    """Returns a function whose stream yields these chunks; an exception among them is raised."""

    async def stream(*_: Any) -> AsyncGenerator[Any]:
        for each in chunks:
            if isinstance(each, Exception):
                raise each
            yield each

    return stream


def ticking(*times: float) -> Callable[[], float]:
    """Returns a clock that returns these times, one per call."""
    return iter(times).__next__


def a_reply(
    engine: Engine | str = "plain-a",
    *,
    ttft: float = 9.0,
    prompt: int = 7000,
    cached: int = 0,
    sources: Sources | None = None,
    text: str = "an answer",
    chunk_size: int = CHUNK_SIZE,
) -> Reply:
    name = engine if isinstance(engine, str) else engine.name
    words: Sequence[str] = text.split(" ")
    deltas = [Delta(word, ttft + 0.05 * index) for index, word in enumerate(words)]
    return Reply.of(name, deltas, Usage(prompt, len(words), cached), sources, chunk_size=chunk_size)
