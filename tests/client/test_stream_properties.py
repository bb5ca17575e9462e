"""Whatever bytes and JSON a server sends: errors of ours and no other, and the TTFT of the first chunk with text."""

import json
from contextlib import suppress
from itertools import pairwise

from fakes import collect, plain_engine, streaming, ticking
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from client.ask import ask
from client.chunk import MalformedChunk, SurrogateJoiner, chunk_texts, read_logprobs, read_server_times, read_usage
from client.events import EventParser
from client.external_server import parse_extra_body
from client.metrics import TokenCounters, parse_samples, sources_between, sum_metrics
from client.prompt import Prompt
from client.reply import Delta, Reply
from client.transport import NOTHING, _chunk
from client.vllm_errors import error_text, refusal_error
from config.errors import ConfigError, EngineError
from config.server_url import normalize_url

always = settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
ENGINE = plain_engine()

numbers = st.integers() | st.floats() | st.sampled_from([2**53, 10**400])
words_ = st.text(max_size=5) | st.sampled_from(["\ud83d", "\ude00", "content", "text"])
KEYS = [
    *("choices", "delta", "content", "text", "type", "reasoning", "tool_calls", "function", "name", "arguments"),
    *("usage", "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "cached_tokens", "thinking"),
    *("prompt_tokens_details", "metrics", "queue_time_ms", "time_to_first_token_ms"),
    *("logprobs", "top_logprobs", "token", "logprob", "error", "message", "detail", "object", "loc", "msg"),
]
anything = st.recursive(
    st.none() | st.booleans() | numbers | words_,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(KEYS), anything, max_size=5)
deltas = st.fixed_dictionaries({"delta": objects}, optional={"logprobs": anything})
chunks = objects | st.fixed_dictionaries({"choices": st.lists(deltas, max_size=2)}, optional={"usage": anything})
LINES = [b"data: ", b"data:", b"data", b":", b"id: 1", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xf0", b"x"]
streams = st.lists(st.sampled_from(LINES) | st.binary(max_size=4), max_size=20).map(b"".join)
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


async def no_counters(_engine):
    return None


def answer(*sent, top_logprobs=0):
    """What `ask` yields of these chunks, each of which comes a second after the one before."""
    clock, prompt = ticking(*map(float, range(100))), Prompt("why?", top_logprobs=top_logprobs)
    return collect(ask(ENGINE, prompt, open_stream=streaming(*sent), counters=no_counters, clock=clock))


def can_be_shown(exc):
    assert str(exc).encode().decode().isprintable()


def by_the_standard(stream):
    """Line by line, as the standard's text goes."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events, data = [], []
    for line in lines:
        name, _, value = line.partition(b":")
        if not line:
            events += [b"\n".join(data)] if b"\n".join(data) else []
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return events


@always
@given(streams, st.lists(st.integers(0, 80), max_size=6))
@example(b"data: 1\r\n\r\n", [8])
@example(b"\r\n\n\ndata: 1\n\n", [1, 2])
@example(b"\xef\xbb\xbfdata: 1\n\n", [1, 2])
def test_a_stream_cut_anywhere_has_the_events_of_the_standard(stream, cuts):
    parser, places = EventParser(), [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert [data for piece in pieces for data in parser.feed(piece)] == by_the_standard(stream)


@always
@given(st.binary(max_size=40) | anything.map(json.dumps).map(str.encode))
@example(b"null")
@example(b"[" * 5000)
@example(b'{"a": "\\ud83d"}')
@example(b'{"a": "\xf0\x9f"}')
@example(b'{"detail": [{"loc": [], "msg": null}]}')
def test_an_event_is_a_chunk_or_an_error_of_ours(data):
    try:
        assert isinstance(_chunk(ENGINE, data), dict)
    except EngineError as exc:
        can_be_shown(exc)


@always
@given(st.lists(chunks, max_size=5))
@example([{"choices": [{"delta": {"content": "a"}}]}, {"choices": [], "usage": {"prompt_tokens": float("inf")}}])
@example([{"choices": [{"delta": {"content": "\ud83d"}}]}, USAGE])
@example([{"choices": [{"logprobs": {"content": [{"token": "a", "top_logprobs": [{"token": "b", "logprob": "x"}]}]}}]}])
def test_an_answer_is_a_reply_or_an_error_of_ours_and_its_ttft_is_that_of_its_first_text(sent):
    first = next((place for place, chunk in enumerate(sent, 1) if has_text(chunk)), None)
    try:
        *deltas, reply = answer(*sent, USAGE, top_logprobs=2)
    except EngineError as exc:
        can_be_shown(exc)
        return
    assert isinstance(reply, Reply)
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert reply.ttft == first
    assert reply.text.encode() is not None
    assert json.dumps(reply.to_json())


def has_text(chunk):
    try:
        return bool(chunk_texts(chunk))
    except MalformedChunk:
        return False


@always
@given(st.lists(chunks, max_size=4), st.lists(st.sampled_from([NOTHING, {"choices": []}]), max_size=4))
def test_what_carries_no_text_does_not_move_the_ttft(sent, silence):
    text = {"choices": [{"delta": {"content": "first"}}]}
    with suppress(EngineError):
        reply = answer(*silence, text, *(chunk for chunk in sent if "usage" not in chunk), USAGE)[-1]
        assert reply.ttft == len(silence) + 1


@always
@given(st.text(st.characters(min_codepoint=0x1F600, max_codepoint=0x1F64F) | st.characters(codec="utf-8")))
def test_a_text_in_halves_is_the_text(text):
    raw = text.encode("utf-16-le", "surrogatepass")
    halves = [raw[place : place + 2].decode("utf-16-le", "surrogatepass") for place in range(0, len(raw), 2)]
    joined = SurrogateJoiner()
    assert "".join(map(joined.join, halves)) == text


@always
@given(anything)
def test_any_json_is_read_as_ours_or_refused(given):
    read_usage([given])
    read_server_times(given)
    if isinstance(given, dict):
        for read in (chunk_texts, read_logprobs):
            try:
                read(given)
            except MalformedChunk as exc:
                can_be_shown(exc)
    assert len(error_text(json.dumps(given).encode())) <= 300
    refusal_error(ENGINE, 400, json.dumps(given).encode(), "No")


PAGES = [
    *("a 1", "a NaN", "a 1e999", 'a{source="x"', 'a{source="x"} 1', "# TYPE a counter", "a_total 1 1 1"),
    *("<html>", "a{} x"),
]


@always
@given(st.lists(st.sampled_from(PAGES) | st.text(max_size=12), max_size=5).map("\n".join))
@example('vllm:prompt_tokens_by_source_total{source="x"} +Inf')
@example("vllm:prompt_tokens_by_source_total 1")
def test_any_page_of_metrics_is_counted_or_is_none(page):
    assert all(abs(sample.value) < 2**64 for sample in parse_samples(page))
    counted = TokenCounters(sum_metrics(page))
    sources_between(counted, counted, 5)


@always
@given(
    st.text(max_size=30) | st.builds("http://{}:{}{}".format, st.text(max_size=5), st.integers(), st.text(max_size=5))
)
@example("http://[::1")
@example("http://h:1\n")
@example("http://xn--/")
def test_any_text_is_an_address_or_is_none(text):
    for names in ({}, {"name": "plain-a", "port": 1}):
        try:
            url = normalize_url(text, **names)
        except ValueError:
            continue
        assert normalize_url(url, **names) == url


@always
@given(st.text(max_size=20))
def test_any_extra_body_is_an_object_or_refused(text):
    try:
        assert isinstance(parse_extra_body(text), dict)
    except ConfigError as exc:
        can_be_shown(exc)
