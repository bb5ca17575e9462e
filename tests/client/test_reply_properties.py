"""What holds for every reply and its sources. The examples are the same at every run."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.metrics import TokenCounters, sources_between
from client.reply import Delta, Reply, Usage
from config.errors import EmptyReply

always = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

seconds = st.floats(1e-6, 1e4)
tokens = st.integers(0, 10**6)
usages = st.builds(Usage, tokens, tokens, tokens)
SOURCES = ("local_compute", "local_cache_hit", "external_kv_transfer")
UNKNOWN = "a_source_of_a_later_version"


@st.composite
def streams(draw):
    """The chunks of one answer, in the order in which they came."""
    times = sorted(draw(st.lists(seconds, min_size=1, max_size=30)))
    return [Delta(draw(st.text(min_size=1)), at, draw(st.booleans())) for at in times]


@always
@given(streams(), usages)
def test_the_numbers_of_a_reply_add_up(deltas, usage):
    reply = Reply.of("plain-a", deltas, usage)
    assert 0 < reply.ttft <= reply.e2el
    assert reply.ttft + sum(reply.itl) == pytest.approx(reply.e2el)
    assert len(reply.itl) == len(deltas) - 1
    assert all(gap >= 0 for gap in reply.itl)
    assert (reply.tpot is None) == (usage.completion_tokens < 2)
    if reply.tpot is not None:
        assert reply.tpot * (usage.completion_tokens - 1) == pytest.approx(reply.e2el - reply.ttft)
    row = reply.to_json()
    assert row["ttft_ms"] == pytest.approx(reply.ttft * 1e3)
    assert row["ttft_ms"] + sum(row["itls"]) * 1e3 == pytest.approx(row["e2el_ms"])


@always
@given(streams(), usages)
def test_the_text_is_every_chunk_that_is_no_reasoning_in_order(deltas, usage):
    assert Reply.of("plain-a", deltas, usage).text == "".join(each.text for each in deltas if not each.reasoning)


@always
@given(usages)
def test_there_is_no_reply_without_a_chunk_whatever_the_usage_says(usage):
    with pytest.raises(EmptyReply):
        Reply.of("plain-a", [], usage)


def counters(names):
    return st.builds(
        TokenCounters, st.fixed_dictionaries(dict.fromkeys(names, tokens)), st.none() | tokens, st.none() | tokens
    )


def later(before, grown, tiers=(0, 0)):
    """The counters after they grew by so much, in the order of SOURCES."""
    more = dict(zip((*SOURCES, UNKNOWN), grown, strict=False))
    by_source = {name: value + more[name] for name, value in before.by_source.items()}
    l1, l2 = (None if was is None else was + grew for was, grew in zip((before.l1, before.l2), tiers, strict=True))
    return TokenCounters(by_source, l1, l2)


growth = st.tuples(tokens, tokens, tokens)


@always
@given(counters(SOURCES), growth, st.tuples(tokens, tokens))
def test_the_sources_of_a_request_alone_are_its_prompt(before, grown, tiers):
    sources = sources_between(before, later(before, grown, tiers), sum(grown))
    assert (sources.computed, sources.prefix_cache, sources.shared) == grown
    assert sources.l1 + sources.l2 in (0, sources.shared)
    assert min(sources.l1, sources.l2) >= 0


@always
@given(counters(SOURCES), growth, tokens)
def test_sources_that_do_not_sum_to_the_prompt_are_not_told(before, grown, prompt):
    sources = sources_between(before, later(before, grown), prompt)
    assert (sources is not None) == (sum(grown) == prompt)


@always
@given(counters(SOURCES) | st.none(), counters(SOURCES) | st.none(), tokens)
def test_any_two_readings_of_the_counters_give_the_prompt_or_nothing(before, after, prompt):
    sources = sources_between(before, after, prompt)
    assert sources is None or sources.computed + sources.prefix_cache + sources.shared == prompt


@always
@given(counters((*SOURCES, UNKNOWN)), growth, tokens)
def test_a_source_that_we_do_not_know_is_not_left_out_of_the_sum(before, grown, unknown):
    prompt = sum(grown) + unknown
    sources = sources_between(before, later(before, (*grown, unknown)), prompt)
    assert sources is None or sources.computed + sources.prefix_cache + sources.shared == prompt
