"""The client against a server of raw bytes."""

import asyncio
import json
import re
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
from fakes import plain_engine
from pydantic import SecretStr

from client.events import EVENT_BYTES
from client.transport import NOTHING, REFUSAL_BYTES, stream_chat
from config.errors import EngineError, EngineRefused, EngineUnreachable, StreamBroken

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
HELLO = b'data: {"n": 1}\n\n'


def part(data):
    """A chunk of HTTP's chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def refusal(status, body=b"", headers=b""):
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


class Server:
    """Sends the same packets in answer to each request, and keeps what it was sent."""

    def __init__(self, *packets, hangs_up=True):
        self.packets, self.hangs_up = packets, hangs_up
        self.requests, self.writers = [], []
        self.hung_up_on = asyncio.Event()

    async def __aenter__(self):
        self.listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.engine = plain_engine(f"http://127.0.0.1:{self.listening.sockets[0].getsockname()[1]}")
        return self

    async def __aexit__(self, *_):
        self.listening.close()
        for writer in self.writers:
            writer.close()
            with suppress(ConnectionError):  # the client was the first to go
                await writer.wait_closed()

    async def _serve(self, reader, writer):
        self.writers.append(writer)
        while head := await self._head(reader):
            length = int(re.search(r"(?i)content-length: (\d+)", head)[1])
            self.requests.append((head, json.loads(await reader.readexactly(length))))
            with suppress(ConnectionError):
                for packet in self.packets:
                    writer.write(packet)
                    await writer.drain()
            if self.hangs_up:
                break
        else:
            self.hung_up_on.set()
        writer.close()

    async def _head(self, reader):
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""


async def chunks_of(engine, **patience):
    return [chunk async for chunk in stream_chat(engine, {"model": "arena"}, **patience) if chunk is not NOTHING]


def answer(*packets, hangs_up=True, patience_s=5, **changed):
    """The chunks of an engine that answers so; `changed` are fields of the Engine."""

    async def ask():
        async with Server(*packets, hangs_up=hangs_up) as server:
            return await chunks_of(replace(server.engine, **changed), patience_s=patience_s)

    return asyncio.run(ask())


def test_each_event_is_a_chunk_however_it_was_cut_into_packets():
    first, second = part(HELLO + b'data: {"n"'), part(b": 2}\n\ndata: [DONE]\n\n")
    assert answer(HEAD, first[:9], first[9:], second, END) == [{"n": 1}, {"n": 2}]


def test_a_whole_answer_in_one_event_is_read():
    text = "x" * (EVENT_BYTES // 2)
    assert answer(HEAD, part(b'data: {"text": "%s"}\n\n' % text.encode()), END) == [{"text": text}]


def test_an_event_without_end_is_broken_off():
    with pytest.raises(StreamBroken, match="plain-a"):
        answer(HEAD, part(b"data: " + b"x" * EVENT_BYTES), part(b"x" * EVENT_BYTES))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (b"nonsense", "nonsense"),
        (b"[1]", "[1]"),
        (b'{"error": {"message": "out of memory"}}', "out of memory"),
        (b'{"object": "error", "message": "out of memory"}', "out of memory"),
        (b'{"message": "out of memory"}', "out of memory"),
        (b'{"detail": "out of memory"}', "out of memory"),
        (b'{"error": "out of memory", "choices": []}', "out of memory"),
    ],
)
def test_an_event_that_is_no_chunk_breaks_the_answer_off_in_the_servers_words(event, text):
    with pytest.raises(StreamBroken) as caught:
        answer(HEAD, part(HELLO), part(b"event: error\ndata: " + event + b"\n\n"), END)
    assert caught.value.server_text == text


def test_a_connection_that_ends_in_the_middle_is_a_broken_answer():
    with pytest.raises(StreamBroken, match="arena logs plain-a"):
        answer(HEAD, part(HELLO))


@pytest.mark.parametrize("ask", [answer, lambda: asyncio.run(chunks_of(plain_engine("http://127.0.0.1:9")))])
def test_without_a_connection_or_an_answer_the_engine_is_down(ask):
    with pytest.raises(EngineUnreachable, match="down or still starting"):
        ask()


@pytest.mark.parametrize("packets", [(), (HEAD, part(HELLO))])
def test_silence_ends_after_a_while_before_and_within_an_answer(packets):
    with pytest.raises(EngineUnreachable, match=r"no answer within 0\.05 s"):
        answer(*packets, hangs_up=False, patience_s=0.05)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (400, b'{"error": {"message": "At most 1 image(s) may be provided in one prompt."}}', "At most 1 image(s)"),
        (502, b"<h1>Bad gateway</h1>", "<h1>Bad gateway</h1>"),
        (502, b"", "No"),
        (301, b"", "it redirects to https://other/; give that address"),
    ],
)
def test_a_refusal_has_the_servers_words_or_those_of_http(status, body, text):
    with pytest.raises(EngineRefused) as caught:
        answer(refusal(status, body, b"Location: https://other/\r\n" if status == 301 else b""))
    assert caught.value.status == status
    assert caught.value.server_text.startswith(text)


@pytest.mark.parametrize(
    ("packet", "chunks"),
    [
        (HELLO + b"data: null\n\n" + HELLO, 2),
        (b'data: {"n":\ndata: 1}\n\n', 1),
        (b"\xef\xbb\xbf" + HELLO, 1),
        (HELLO.replace(b"\n", b"\r"), 1),
        (HELLO.replace(b"\n", b"\r\n"), 1),
        (b'data:{"n": 1}\n\n', 1),
        (HELLO + b"data: [DONE]\n\n<b>and more</b>" + HELLO, 1),
        (HELLO + b"data: \n\n: keep-alive\n\ndata:  \n\n", 1),
        (b": ping\n\nevent: x\nid: 7\n" + HELLO, 1),
    ],
)
def test_a_stream_has_its_chunks_in_whatever_form_the_standard_allows(packet, chunks):
    assert answer(HEAD, part(packet), END) == [{"n": 1}] * chunks


def test_half_a_character_in_a_chunk_is_no_broken_answer():
    escaped, in_bytes = b'data: {"t": "\\ud83d"}\n\n', b'data: {"t": "\xf0\x9f"}\n\n'
    assert answer(HEAD, part(escaped), part(in_bytes), END) == [{"t": "\ud83d"}, {"t": "\ufffd"}]


@pytest.mark.parametrize("end", [b"\n\n", b"\n", b"\r", b""])
def test_an_answer_is_whole_at_its_done_whatever_the_connection_does(end):
    done = part(HELLO + b"data: [DONE]" + end)

    async def ask():
        async with Server(HEAD, done, hangs_up=False) as server, asyncio.timeout(5):
            chunks = await chunks_of(server.engine)
            await server.hung_up_on.wait()
            return chunks

    assert asyncio.run(ask()) == [{"n": 1}]
    assert answer(HEAD, done) == [{"n": 1}]


WHOLE = b'{"choices": [{"message": {"content": "Hello"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": "no more credit"}}', "no more credit"),
        (b'{"object": "error", "message": "no such model"}', "no such model"),
        (b'{"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}', "body.seed: not permitted"),
        (b"<html>\n\n<h1>Log in</h1></html>", "Log in"),
        (WHOLE, "Hello"),
        (b"", "nothing"),
    ],
)
def test_what_is_no_stream_is_refused_in_the_servers_words(body, text):
    with pytest.raises(EngineRefused, match="no stream") as caught:
        answer(refusal(200, body))
    assert caught.value.status == 200
    assert text in str(caught.value)


@pytest.mark.parametrize("status", [200, 500])
def test_only_the_start_of_a_refusal_is_kept(status):
    body = json.dumps({"error": {"message": "out of memory"}, "more": "x" * 3 * REFUSAL_BYTES}).encode()
    with pytest.raises(EngineRefused) as caught:
        answer(refusal(status, body))
    assert caught.value.server_text.startswith('{"error"'), "its end was not read, so that it is no JSON"


def test_a_servers_words_cannot_move_the_cursor_or_show_the_key():
    body = json.dumps({"error": {"message": "wrong \x1b[2Jkey\r\nsk-secret \ud83d"}}).encode()
    with pytest.raises(EngineRefused) as caught:
        answer(refusal(401, body), ours=False, key=SecretStr("sk-secret"))
    assert caught.value.server_text == "wrong [2Jkey ***"
    assert caught.value.hint
    assert "arena logs" not in str(caught.value)


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("packets", [(), (HEAD, part(HELLO)), (HEAD, part(b"data: x\n\n")), (refusal(500),)])
def test_advice_is_about_the_arenas_stack_only_where_the_engine_belongs_to_it(packets, ours):
    with pytest.raises(EngineError) as caught:
        answer(*packets, ours=ours)
    assert caught.value.hint or not ours
    assert ("./arena" in str(caught.value)) is ours


@pytest.mark.parametrize("key", ["", "k"])
def test_the_key_of_a_server_goes_along_and_packed_answers_are_not_asked_for(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")

    async def ask():
        async with Server(HEAD, part(HELLO), END) as server:
            await chunks_of(replace(server.engine, key=SecretStr(key) if key else None))
            return server.requests

    [(head, body)] = asyncio.run(ask())
    assert head.startswith("POST /v1/chat/completions HTTP/1.1")
    assert re.findall("Authorization: .*", head) == (["Authorization: Bearer k\r"] if key else [])
    assert "Accept-Encoding: identity" in head
    assert body == {"model": "arena"}


def test_a_connection_is_used_again():
    async def ask():
        async with Server(HEAD, part(HELLO), END, hangs_up=False) as server:
            await chunks_of(server.engine)
            await chunks_of(server.engine)
            return len(server.requests), len(server.writers)

    assert asyncio.run(ask()) == (2, 1)


def test_an_answer_that_is_left_early_takes_its_connection_along():
    async def ask():
        async with Server(HEAD, part(HELLO), hangs_up=False) as server:
            async with aclosing(stream_chat(server.engine, {})) as chunks:
                await anext(chunks)
            await asyncio.wait_for(server.hung_up_on.wait(), 5)

    asyncio.run(ask())
