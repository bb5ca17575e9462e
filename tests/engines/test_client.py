import asyncio

import pytest
from fakes import chunk, collect, streaming, ticking, usage_chunk

from engines.client import ask
from engines.counters import Counters
from engines.errors import EmptyReply, StreamBroken
from engines.prompt import Prompt
from engines.reply import Delta, Reply


async def unread(_engine):
    return None


def replies(engine, *chunks, clock=None, counters=unread):
    kwargs = {"clock": clock} if clock else {}
    return collect(ask(engine, Prompt("why?"), open_stream=streaming(*chunks), counters=counters, **kwargs))


@pytest.fixture
def engine(topology):
    return topology.engine("plain-a")


def test_the_clock_starts_at_send_and_ignores_role_empty_and_usage_chunks(engine):
    clock = ticking(10.0, 10.1, 10.2, 10.5, 10.6, 10.7)
    events = replies(engine, chunk(role="assistant"), chunk(""), chunk("Hel"), chunk("lo"), usage_chunk(), clock=clock)
    assert [type(event) for event in events] == [Delta, Delta, Reply]
    assert events[-1].ttft == pytest.approx(0.5)
    assert events[-1].text == "Hello"


def test_the_first_reasoning_chunk_is_a_first_token(engine):
    clock = ticking(0.0, 0.4, 0.9, 1.0)
    assert replies(engine, chunk(reasoning="hm"), chunk("yes"), usage_chunk(), clock=clock)[-1].ttft == pytest.approx(
        0.4
    )


def test_a_stream_without_text_is_a_failure(engine):
    with pytest.raises(EmptyReply):
        replies(engine, chunk(role="assistant"), usage_chunk(completion=0))


def test_usage_comes_from_the_last_chunk(engine):
    usage = replies(engine, chunk("a"), usage_chunk(prompt=7000, completion=1, cached=6912))[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (7000, 1, 6912)


def test_text_that_came_before_the_break_was_handed_on(engine):
    seen = []

    async def consume():
        stream = streaming(chunk("half"), StreamBroken("plain-a", "gone"))
        async for event in ask(engine, Prompt("why?"), open_stream=stream, counters=unread):
            seen.append(event.text)

    with pytest.raises(StreamBroken):
        asyncio.run(consume())
    assert seen == ["half"]


def test_counters_are_read_outside_the_clock(engine):
    times = ticking(5.0, 5.5, 5.6)
    order = []

    def clock():
        order.append("clock")
        return times()

    async def counters(_engine):
        order.append("counters")
        return Counters({"local_compute": 1000.0 * order.count("counters")})

    reply = replies(engine, chunk("a"), usage_chunk(), clock=clock, counters=counters)[-1]
    assert order == ["counters", "clock", "clock", "clock", "counters"]
    assert reply.ttft == 0.5


def test_closing_the_answer_closes_the_stream_at_once(engine):
    closed = []

    async def stream(*_):
        try:
            yield chunk("a")
            yield chunk("b")
        finally:
            closed.append(True)

    async def stop_after_one():
        events = ask(engine, Prompt("why?"), open_stream=stream, counters=unread)
        await anext(events)
        await events.aclose()
        return list(closed)

    assert asyncio.run(stop_after_one()) == [True]


def test_an_answer_without_usage_proves_nothing_and_is_a_failure(engine):
    with pytest.raises(StreamBroken, match="no usage"):
        replies(engine, chunk("a"))


def test_a_server_that_does_not_tell_what_was_cached_is_not_taken_for_one_that_had_nothing(engine):
    untold = chunk(usage={"prompt_tokens": 7000, "completion_tokens": 1})
    reply = replies(engine, chunk("a"), untold)[-1]
    assert reply.usage.cached_tokens is None
    assert (reply.usage.cached, reply.source) == ("?", "not attributed")
