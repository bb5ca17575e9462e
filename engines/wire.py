"""A timed request on the wire: aiohttp, as under `vllm bench serve`, with nothing more between a socket and the clock.

Not the openai SDK: it takes a third more CPU a request, on the cores that engines without a GPU compute on, and that is
seen in the TTFT (docs/decisions.md, 2026-11-25). The only place where foreign errors of a request become ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.http_exceptions import LineTooLong
from pydantic_core import from_json, to_json

from engines.elsewhere import authorization
from engines.errors import EngineError, EngineRefused, EngineUnreachable, StreamBroken
from engines.refusal import message, told
from engines.tls import TLS
from engines.topology import Engine

Chunk = Mapping[str, Any]
DATA, DONE = b"data:", b"[DONE]"  # how a line of server-sent events begins that holds a chunk, and the last of them
TIMEOUT_S = 600.0  # of silence: a long prompt on slow cores may take minutes to its first token
KEPT_S = 3  # an idle connection; vLLM drops it after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE), also under a new request
LINE_BYTES = 2**22  # aiohttp takes lines of twice as many; some servers send a whole answer as one event
REFUSAL_BYTES = 2**16
HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}

Held = dict[str, tuple[ClientSession, AsyncGenerator[ClientSession]]]
_held: WeakKeyDictionary[asyncio.AbstractEventLoop, Held] = WeakKeyDictionary()


async def connect(engine: Engine) -> ClientSession:
    """The running event loop's connections to an engine, kept as long as that: so none is made under a clock."""
    held = _held.setdefault(asyncio.get_running_loop(), {})
    if engine.url not in held:
        keeper = _keep(engine.url, held)
        held[engine.url] = (await anext(keeper), keeper)
    return held[engine.url][0]


async def stream(engine: Engine, request: Chunk, *, patience_s: float = TIMEOUT_S) -> AsyncGenerator[Chunk]:
    """The chunks of the answer as they come; closing it early closes the connection, and with that frees the engine.

    Nothing is tried twice: a retry would hide in the TTFT. Raises EngineUnreachable where no answer begins or nothing
    comes for `patience_s`, EngineRefused for any status but 200, and StreamBroken for an answer that is not whole.
    """
    session = await connect(engine)
    with _translated(engine.name, patience_s, _no_answer):
        answer = await session.post(
            f"{engine.url}/v1/chat/completions",
            data=to_json(request),
            headers=HEADERS | authorization(),
            timeout=ClientTimeout(sock_connect=patience_s, sock_read=patience_s),
            allow_redirects=False,
        )
    with _translated(engine.name, patience_s, _broken):
        async with answer:
            if answer.status != 200:
                raise EngineRefused(engine.name, await _refusal(answer))
            async for line in answer.content:
                data = line.removeprefix(DATA).strip() if line.startswith(DATA) else b""
                if data and data != DONE:
                    yield _chunk(engine.name, data)


def _chunk(engine: str, data: bytes) -> Chunk:
    try:
        chunk = from_json(data)
    except ValueError as exc:
        raise _broken(engine, "what it sends is not JSON") from exc
    if not isinstance(chunk, dict) or chunk.get("error"):
        raise _broken(engine, data[:300].decode(errors="replace"))
    return chunk


async def _refusal(answer: ClientResponse) -> str:
    if "Location" in answer.headers:
        return f"HTTP {answer.status}: it sends one on to {answer.headers['Location']}; give that address"
    body = (await answer.content.read(REFUSAL_BYTES)).decode(errors="replace")
    return told(answer.status, message(body) or str(answer.reason))


@contextmanager
def _translated(engine: str, patience_s: float, lost: Callable[[str, object], EngineError]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise EngineUnreachable(engine, f"no answer within {patience_s:g} s; ./arena status") from exc
    except (ClientError, LineTooLong) as exc:
        raise lost(engine, exc) from exc


def _no_answer(engine: str, _: object) -> EngineError:
    return EngineUnreachable(engine, "no answer; it is down or still starting (./arena status)")


def _broken(engine: str, why: object) -> EngineError:
    return StreamBroken(engine, f"the answer broke off ({why}); ./arena logs {engine} says why")


async def _keep(url: str, held: Held) -> AsyncGenerator[ClientSession]:
    """A loop that ends finishes the generators that it began, and so closes the connections."""
    connector = TCPConnector(limit=0, keepalive_timeout=KEPT_S, ssl=TLS)
    session = ClientSession(connector=connector, read_bufsize=LINE_BYTES, proxy=proxy_for(url))
    try:
        async with session:
            yield session
    finally:
        del held[url]


def proxy_for(url: str) -> str | None:
    """What HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, looked up once: aiohttp would do it for every request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
