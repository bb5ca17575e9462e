"""Sends timed requests over HTTP with aiohttp, as `vllm bench serve` does, with little code between socket and clock.

The openai SDK is not used: it needs a third more CPU per request. Engines without a GPU compute on the same cores, so
this would show in TTFT (docs/decisions.md, 2026-11-25). aiohttp's errors become EngineErrors here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from pydantic_core import from_json, to_json

from client.chunk import Chunk
from client.events import EventParser, EventTooLarge
from client.http_client import TLS, engine_proxy
from client.vllm_errors import error_text, refusal_error, stream_error
from config.errors import EngineError, EngineUnreachable, StreamBroken
from config.topology import Engine

DONE = b"[DONE]"
NOTHING: Chunk = {}  # bytes arrived, but no complete chunk
TIMEOUT_S = 600.0  # of silence until an error; a long prompt on slow cores may need minutes to its first token
KEPT_S = 3  # of an idle connection; vLLM closes it after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE), even if a request begins
END_S = 0.05  # wait after [DONE] for the end of the response; otherwise the connection is closed, not reused
READ_BYTES = 2**22  # that a connection buffers before it stops receiving
REFUSAL_BYTES = 2**16
HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}

Connections = dict[tuple[str, bool], tuple[ClientSession, AsyncGenerator[ClientSession]]]
_connections: WeakKeyDictionary[asyncio.AbstractEventLoop, Connections] = WeakKeyDictionary()


async def http_session(engine: Engine) -> ClientSession:
    """Returns the running event loop's session for an engine, kept until the loop ends. This is never timed."""
    kept = _connections.setdefault(asyncio.get_running_loop(), {})
    if (engine.url, engine.ours) not in kept:
        keeper = _keep(engine, kept)
        kept[engine.url, engine.ours] = (await anext(keeper), keeper)
    return kept[engine.url, engine.ours][0]


async def stream_chat(engine: Engine, request: Chunk, *, patience_s: float = TIMEOUT_S) -> AsyncGenerator[Chunk]:
    """Yields the chunks of the answer as they arrive, and NOTHING for bytes without a full chunk, such as keep-alives.

    It ends at [DONE]. Closing it early closes the connection, and the engine stops computing. There are no retries,
    because they would be hidden in TTFT. Raises EngineUnreachable if there is no answer, or no data for `patience_s`
    seconds; EngineRefused for any status but 200, or an answer that is not a stream; StreamBroken if it breaks off.
    """
    session = await http_session(engine)
    with _arena_errors(engine, patience_s, _no_answer):
        answer = await session.post(
            f"{engine.url}/v1/chat/completions",
            data=to_json(request),
            headers=HEADERS | engine.headers,
            timeout=ClientTimeout(sock_connect=patience_s, sock_read=patience_s),
            allow_redirects=False,
        )
    with _arena_errors(engine, patience_s, _broken):
        async with answer:
            if answer.status != 200:
                body, location = await answer.content.read(REFUSAL_BYTES), answer.headers.get("Location", "")
                raise refusal_error(engine, answer.status, body, str(answer.reason), location)
            events = EventParser()
            head: bytes | None = b""  # the start of the body, in case it is not a stream
            async for received in answer.content.iter_any():
                if head is not None and len(head) < REFUSAL_BYTES:
                    head += received[: REFUSAL_BYTES - len(head)]
                found, ended = events.feed(received), False
                for data in found:
                    if ended := data.startswith(DONE):
                        break
                    yield _chunk(engine, data)
                if ended or events.begun == DONE:  # some servers send no blank line after it
                    await _end(answer)
                    return
                if found:
                    head = None
                else:
                    yield NOTHING
            if head is not None:
                raise refusal_error(engine, answer.status, head)


def _chunk(engine: Engine, data: bytes) -> Chunk:
    chunk = _parse_json(engine, data)
    if chunk is None:
        return NOTHING
    if not isinstance(chunk, dict) or stream_error(chunk):
        raise _broken(engine, "an error in place of a chunk", error_text(data, engine))
    return chunk


def _parse_json(engine: Engine, data: bytes) -> object:
    """Parses JSON; returns None for white space. Only the slower json module accepts half a character."""
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data.decode(errors="replace")) if data.strip() else None
        except (ValueError, RecursionError) as exc:
            raise _broken(engine, "what it sends is not JSON", error_text(data, engine)) from exc


async def _end(answer: ClientResponse) -> None:
    """Reads the end of the response if it follows at once, so that the connection can be reused."""
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(END_S):
            await answer.content.readany()


@contextmanager
def _arena_errors(engine: Engine, patience_s: float, lost: Callable[[Engine, object], EngineError]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise silent_error(engine, patience_s) from exc
    except (ClientError, EventTooLarge) as exc:
        raise lost(engine, exc) from exc


def silent_error(engine: Engine, patience_s: float) -> EngineUnreachable:
    """Returns the error for an engine that sent nothing, or no text, for `patience_s` seconds."""
    return EngineUnreachable(engine.name, f"no answer within {patience_s:g} s", hint=engine.if_down)


def _no_answer(engine: Engine, _: object) -> EngineError:
    return EngineUnreachable(engine.name, "no answer; it is down or still starting", hint=engine.if_down)


def _broken(engine: Engine, why: object, server_text: str = "") -> EngineError:
    fact = f"the answer broke off ({why}{': ' if server_text else ''}{server_text})"
    return StreamBroken(engine.name, fact, server_text=server_text, hint=engine.if_failed)


async def _keep(engine: Engine, kept: Connections) -> AsyncGenerator[ClientSession]:
    """Keeps a session open. An event loop closes its generators when it ends, which closes the session."""
    proxy = engine_proxy(engine)
    connector = TCPConnector(limit=0, keepalive_timeout=KEPT_S, ssl=TLS)
    session = ClientSession(connector=connector, read_bufsize=READ_BYTES, proxy=proxy)
    try:
        async with session:
            yield session
    finally:
        del kept[engine.url, engine.ours]
