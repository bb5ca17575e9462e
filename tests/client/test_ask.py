import asyncio
from dataclasses import replace

import pytest
from fakes import chunk, collect, streaming, ticking, usage_chunk

from client.ask import ask, ask_whole_any_template
from client.metrics import TokenCounters
from client.prompt import Prompt
from client.reply import Delta, Reply
from config.errors import EmptyReply, EngineRefused, EngineUnreachable, RefusalKind, StreamBroken


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
        return TokenCounters({"local_compute": 1000.0 * order.count("counters")})

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


# What other servers send


def told(delta=None, **more):
    return {"choices": [{"delta": delta, **more}]}


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (told({"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}), "Hello"),
        (told({"content": ["Hel", None, {"type": "image"}, "lo"]}), "Hello"),
        (told({"tool_calls": [None, {"function": None}, {"function": {"name": "f", "arguments": None}}]}), "f"),
        ({"choices": [None, {"delta": {"content": "Hello"}}], "metrics": [1]}, "Hello"),
        (told({"content": "Hello", "tool_calls": None}, logprobs="x") | {"metrics": {"queue_time_ms": "x"}}, "Hello"),
    ],
)
def test_text_of_another_shape_is_text(engine, first, text):
    *deltas, reply = replies(engine, {}, first, usage_chunk(), clock=ticking(0.0, 0.1, 0.4, 0.9))
    assert (reply.text, reply.ttft, len(deltas)) == (text, 0.4, 1)


def test_reasoning_in_parts_is_reasoning(engine):
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    *deltas, reply = replies(engine, told({"content": parts}), usage_chunk())
    assert [(delta.text, delta.reasoning) for delta in deltas] == [("hm", True), ("yes", False)]
    assert reply.text == "yes"


MALFORMED = [
    {"choices": "x"},
    {"choices": {"a": 1}},
    {"choices": 5},
    {"choices": ["x"]},
    told("x"),
    told([1]),
    told({"content": 5}),
    told({"content": {"text": "x"}}),
    told({"content": [5]}),
    told({"content": "a", "reasoning": True}),
    told({"tool_calls": "x"}),
    told({"tool_calls": [5]}),
    told({"tool_calls": [{"function": "x"}]}),
    told({"tool_calls": [{"function": {"name": 5}}]}),
    {"choices": [{"message": {"content": "a whole answer"}}]},
]


@pytest.mark.parametrize("chunk_", MALFORMED)
def test_a_chunk_that_cannot_be_read_is_a_failure_that_shows_it(engine, chunk_):
    with pytest.raises(StreamBroken) as caught:
        replies(engine, chunk("a"), chunk_, usage_chunk())
    assert caught.value.engine == "plain-a"
    assert caught.value.server_text == str(chunk_)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": None},
        {"prompt_tokens": "3", "completion_tokens": 1},
        {"prompt_tokens": -3, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": float("nan"), "completion_tokens": 1},
        {"prompt_tokens": 10**400, "completion_tokens": 1},
        {"prompt_tokens": 3, "input_tokens": 4, "completion_tokens": 1},
        [3],
        "three",
        7,
    ],
)
def test_a_usage_that_does_not_count_is_a_failure_that_shows_it(engine, usage):
    with pytest.raises(StreamBroken, match="usage cannot be read"):
        replies(engine, chunk("a"), {"choices": [], "usage": usage})


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 5}}, (7, 2, 5)),
        ({"prompt_tokens": 7, "input_tokens": 7, "completion_tokens": 2.0}, (7, 2, None)),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": "x"}, (7, 2, None)),
        ({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}, (7, 2, None)),
    ],
)
def test_a_usage_under_other_names_is_read_where_there_is_no_doubt(engine, usage, counted):
    partial = {"choices": [], "usage": {"prompt_tokens": None}}
    found = replies(engine, chunk("a"), {"choices": [], "usage": usage}, partial)[-1].usage
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == counted


def test_a_character_that_comes_in_halves_is_whole_and_its_first_half_is_the_first_token(engine):
    clock = ticking(0.0, 0.3, 0.5, 0.6)
    *deltas, reply = replies(engine, chunk("\ud83d"), chunk("\ude00!"), usage_chunk(), clock=clock)
    assert [(delta.text, delta.at) for delta in deltas] == [("", 0.3), ("😀!", 0.5)]
    assert (reply.text, reply.ttft) == ("😀!", 0.3)


def test_half_a_character_that_stays_alone_can_be_shown(engine):
    reply = replies(engine, chunk("a\ude00"), chunk("\ud83d"), chunk("b"), chunk("\ud83d"), usage_chunk())[-1]
    assert reply.text == "a\ufffd\ufffdb"


@pytest.mark.parametrize("warm", [{}, {"choices": []}, {"choices": [{"delta": {"content": ""}}]}])
def test_silence_of_text_ends_an_answer_that_keep_alives_keep_open(engine, warm):
    async def forever(*_):
        yield chunk("a")
        while True:
            yield warm

    clock = ticking(0.0, *(10.0 * tick for tick in range(1, 100)))
    with pytest.raises(EngineUnreachable, match="within 600 s"):
        collect(ask(engine, Prompt("why?"), open_stream=forever, counters=unread, clock=clock))
    assert clock() == 630.0  # 620 was the first look after more than 600


def test_slow_text_is_no_silence(engine):
    clock = ticking(0.0, 599.0, 1198.0, 1797.0)
    assert replies(engine, chunk("a"), chunk("b"), usage_chunk(), clock=clock)[-1].text == "ab"


def test_fields_of_the_caller_replace_and_leave_out_ours(engine):
    sent = []

    async def stream(_engine, request):
        sent.append(request)
        yield chunk("a")
        yield usage_chunk()

    extra = {"max_tokens": None, "max_completion_tokens": 9, "seed": None}
    collect(ask(replace(engine, extra_body=extra), Prompt("why?"), open_stream=stream, counters=unread))
    assert sent[0]["max_completion_tokens"] == 9
    assert not {"max_tokens", "seed"} & sent[0].keys()
    assert sent[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("kind", [RefusalKind.OTHER, RefusalKind.SYSTEM_ROLE])
def test_a_prompt_that_is_refused_is_tried_once_without_a_system_message(engine, kind):
    tried = []

    async def ask(_engine, prompt):
        tried.append(prompt.no_system_role)
        if not prompt.no_system_role:
            raise EngineRefused("plain-a", "no", status=400 if kind is RefusalKind.OTHER else 500, kind=kind)
        return "answered"

    prompt, reply = asyncio.run(ask_whole_any_template(engine, Prompt("why?"), ask))
    assert (tried, prompt.no_system_role, reply) == ([False, True], True, "answered")


@pytest.mark.parametrize(("status", "times"), [(400, 2), (404, 1), (500, 1)])
def test_what_is_refused_in_both_forms_is_told_as_it_was_first(engine, status, times):
    tried = []

    async def ask(_engine, prompt):
        tried.append(prompt)
        raise EngineRefused("plain-a", f"refusal {len(tried)}", status=status)

    with pytest.raises(EngineRefused, match="refusal 1"):
        asyncio.run(ask_whole_any_template(engine, Prompt("why?"), ask))
    assert len(tried) == times
