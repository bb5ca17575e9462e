import asyncio
from dataclasses import replace

import pytest
from fakes import chunk, collect, plain_engine, streaming, ticking, usage_chunk

from client.ask import ask, ask_whole_any_template
from client.metrics import TokenCounters
from client.prompt import Prompt
from client.reply import Delta, Reply
from config.errors import EmptyReply, EngineRefused, EngineUnreachable, RefusalKind, StreamBroken

ENGINE = plain_engine()


async def no_counters(_engine):
    return None


def replies(*chunks, **given):
    return collect(ask(ENGINE, Prompt("why?"), open_stream=streaming(*chunks), **{"counters": no_counters, **given}))


def delta(delta=None, **more):
    return {"choices": [{"delta": delta, **more}]}


def test_the_clock_starts_at_send_and_ignores_role_empty_and_usage_chunks():
    clock = ticking(10.0, 10.1, 10.2, 10.5, 10.6, 10.7)
    events = replies(chunk(role="assistant"), chunk(""), chunk("Hel"), chunk("lo"), usage_chunk(), clock=clock)
    assert [type(event) for event in events] == [Delta, Delta, Reply]
    assert (events[-1].ttft, events[-1].text) == (pytest.approx(0.5), "Hello")


def test_the_first_reasoning_chunk_is_a_first_token():
    reply = replies(chunk(reasoning="hm"), chunk("yes"), usage_chunk(), clock=ticking(0.0, 0.4, 0.9, 1.0))[-1]
    assert reply.ttft == pytest.approx(0.4)


def test_a_stream_without_text_is_a_failure():
    with pytest.raises(EmptyReply):
        replies(chunk(role="assistant"), usage_chunk(completion=0))


def test_text_that_came_before_the_break_was_handed_on():
    seen = []

    async def consume():
        stream = streaming(chunk("half"), StreamBroken("plain-a", "gone"))
        async for event in ask(ENGINE, Prompt("why?"), open_stream=stream, counters=no_counters):
            seen.append(event.text)

    with pytest.raises(StreamBroken):
        asyncio.run(consume())
    assert seen == ["half"]


def test_counters_are_read_outside_the_clock_and_what_comes_before_sending_is_too():
    times, order = ticking(5.0, 5.5, 5.6), []

    def clock():
        order.append("clock")
        return times()

    async def counters(_engine):
        order.append("counters")
        return TokenCounters({"local_compute": 1000.0 * order.count("counters")})

    async def before_send():
        order.append("before send")

    reply = replies(chunk("a"), usage_chunk(), clock=clock, counters=counters, before_send=before_send)[-1]
    assert order == ["counters", "before send", "clock", "clock", "clock", "counters"]
    assert reply.ttft == 0.5


def test_closing_the_answer_closes_the_stream_at_once():
    closed = []

    async def stream(*_):
        try:
            yield chunk("a")
            yield chunk("b")
        finally:
            closed.append(True)

    async def stop_after_one():
        events = ask(ENGINE, Prompt("why?"), open_stream=stream, counters=no_counters)
        await anext(events)
        await events.aclose()
        return list(closed)

    assert asyncio.run(stop_after_one()) == [True]


def test_an_answer_without_usage_proves_nothing_and_is_a_failure():
    with pytest.raises(StreamBroken, match="no usage"):
        replies(chunk("a"))


def test_an_unreported_number_of_cached_tokens_is_not_zero():
    reply = replies(chunk("a"), chunk(usage={"prompt_tokens": 7000, "completion_tokens": 1}))[-1]
    assert (reply.usage.cached_tokens, reply.usage.cached, reply.source) == (None, "?", "not attributed")


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (delta({"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}), "Hello"),
        (delta({"content": ["Hel", None, {"type": "image"}, "lo"]}), "Hello"),
        (delta({"tool_calls": [None, {"function": None}, {"function": {"name": "f", "arguments": None}}]}), "f"),
        ({"choices": [None, {"delta": {"content": "Hello"}}], "metrics": [1]}, "Hello"),
        (delta({"content": "Hello", "tool_calls": None}, logprobs="x") | {"metrics": {"queue_time_ms": "x"}}, "Hello"),
    ],
)
def test_text_of_another_shape_is_text(first, text):
    *deltas, reply = replies({}, first, usage_chunk(), clock=ticking(0.0, 0.1, 0.4, 0.9))
    assert (reply.text, reply.ttft, len(deltas)) == (text, 0.4, 1)


def test_reasoning_in_parts_is_reasoning():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    *deltas, reply = replies(delta({"content": parts}), usage_chunk())
    assert [(each.text, each.reasoning) for each in deltas] == [("hm", True), ("yes", False)]
    assert reply.text == "yes"


@pytest.mark.parametrize(
    "malformed",
    [
        *({"choices": choices} for choices in ("x", {"a": 1}, 5, ["x"], [{"message": {"content": "a whole answer"}}])),
        *map(delta, ("x", [1], {"content": 5}, {"content": {"text": "x"}}, {"content": [5]})),
        delta({"content": "a", "reasoning": True}),
        *(delta({"tool_calls": calls}) for calls in ("x", [5], [{"function": "x"}], [{"function": {"name": 5}}])),
    ],
)
def test_a_chunk_that_cannot_be_read_is_a_failure_that_shows_it(malformed):
    with pytest.raises(StreamBroken) as caught:
        replies(chunk("a"), malformed, usage_chunk())
    assert (caught.value.engine, caught.value.server_text) == ("plain-a", str(malformed))


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": None},
        *({"prompt_tokens": n, "completion_tokens": 1} for n in ("3", -3, True, 1.5, float("nan"), 10**400)),
        {"prompt_tokens": 3, "input_tokens": 4, "completion_tokens": 1},
        *([3], "three", 7),
    ],
)
def test_a_usage_that_does_not_count_is_a_failure_that_shows_it(usage):
    with pytest.raises(StreamBroken, match="usage cannot be read"):
        replies(chunk("a"), {"choices": [], "usage": usage})


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}, (7, 2, 5)),
        ({"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 5}}, (7, 2, 5)),
        ({"prompt_tokens": 7, "input_tokens": 7, "completion_tokens": 2.0}, (7, 2, None)),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": "x"}, (7, 2, None)),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}, (7, 2, None)),
    ],
)
def test_the_last_usage_counts_also_under_other_names_where_there_is_no_doubt(usage, counted):
    earlier, partial = usage_chunk(prompt=1), {"choices": [], "usage": {"prompt_tokens": None}}
    found = replies(chunk("a"), earlier, {"choices": [], "usage": usage}, partial)[-1].usage
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == counted


def test_a_character_that_comes_in_halves_is_whole_and_its_first_half_is_the_first_token():
    clock = ticking(0.0, 0.3, 0.5, 0.6)
    *deltas, reply = replies(chunk("\ud83d"), chunk("\ude00!"), usage_chunk(), clock=clock)
    assert [(each.text, each.at) for each in deltas] == [("", 0.3), ("😀!", 0.5)]
    assert (reply.text, reply.ttft) == ("😀!", 0.3)


def test_half_a_character_that_stays_alone_can_be_shown():
    reply = replies(chunk("a\ude00"), chunk("\ud83d"), chunk("b"), chunk("\ud83d"), usage_chunk())[-1]
    assert reply.text == "a\ufffd\ufffdb"


@pytest.mark.parametrize("warm", [{}, {"choices": []}, {"choices": [{"delta": {"content": ""}}]}])
def test_silence_of_text_ends_an_answer_that_keep_alives_keep_open(warm):
    clock = ticking(0.0, *(10.0 * tick for tick in range(1, 100)))
    with pytest.raises(EngineUnreachable, match="within 600 s"):
        replies(chunk("a"), *[warm] * 99, clock=clock)
    assert clock() == 630.0  # 620 was the first look after more than 600


def test_slow_text_is_no_silence():
    clock = ticking(0.0, 599.0, 1198.0, 1797.0)
    assert replies(chunk("a"), chunk("b"), usage_chunk(), clock=clock)[-1].text == "ab"


def test_extra_fields_replace_and_leave_out_ours():
    sent = []

    async def stream(_engine, request):
        sent.append(request)
        yield chunk("a")
        yield usage_chunk()

    extra = {"max_tokens": None, "max_completion_tokens": 9, "seed": None}
    collect(ask(replace(ENGINE, extra_body=extra), Prompt("why?"), open_stream=stream, counters=no_counters))
    assert sent[0]["max_completion_tokens"] == 9
    assert not {"max_tokens", "seed"} & sent[0].keys()
    assert sent[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("status", "kind"), [(400, RefusalKind.OTHER), (500, RefusalKind.SYSTEM_ROLE)])
def test_a_prompt_that_is_refused_is_tried_once_without_a_system_message(status, kind):
    tried = []

    async def ask(_engine, prompt):
        tried.append(prompt.no_system_role)
        if not prompt.no_system_role:
            raise EngineRefused("plain-a", "no", status=status, kind=kind)
        return "answered"

    prompt, reply = asyncio.run(ask_whole_any_template(ENGINE, Prompt("why?"), ask))
    assert (tried, prompt.no_system_role, reply) == ([False, True], True, "answered")


@pytest.mark.parametrize(
    ("status", "kind", "shown", "times"),
    [
        (400, RefusalKind.OTHER, 1, 2),
        (400, RefusalKind.SYSTEM_ROLE, 2, 2),
        (400, RefusalKind.MEDIA, 1, 1),
        (404, RefusalKind.OTHER, 1, 1),
        (500, RefusalKind.OTHER, 1, 1),
    ],
)
def test_a_prompt_that_is_refused_in_both_forms_fails_with_the_refusal_that_helps(status, kind, shown, times):
    tried = []

    async def ask(_engine, prompt):
        tried.append(prompt)
        raise EngineRefused("plain-a", f"refusal {len(tried)}", status=status, kind=kind)

    with pytest.raises(EngineRefused, match=f"refusal {shown}"):
        asyncio.run(ask_whole_any_template(ENGINE, Prompt("why?"), ask))
    assert len(tried) == times
