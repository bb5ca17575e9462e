from dataclasses import replace

import pytest
from fakes import CHUNK_SIZE, a_reply

from bench.arms import TTFT_ARMS
from bench.questions import ttft
from client.prompt import Prompt
from client.reply import Sources

COLD = Sources(7000, 0, 0)
SHARED = Sources(88, 0, 6912, l2=6912)
OWN = Sources(88, 6912, 0)
GOOD = {
    "cold": a_reply("plain-a", ttft=9.0, sources=COLD),
    "own_warm": a_reply("plain-a", ttft=0.3, cached=6912, sources=OWN),
    "other_instance": a_reply("plain-b", ttft=9.1, sources=COLD),
    "first_sight": a_reply("lmcache-a", ttft=9.9, sources=COLD),
    "cross_read": a_reply("lmcache-b", ttft=0.5, cached=6912, sources=SHARED),
    "lmcache_own_warm": a_reply("lmcache-b", ttft=0.3, cached=6912, sources=OWN),
}
INVALID = {arm.name: arm.invalid_reason for arm in TTFT_ARMS}


def unreported(sources):
    return a_reply(cached=None, sources=sources)


@pytest.mark.parametrize("arm", GOOD)
def test_a_reply_that_went_its_arms_way_counts(arm):
    assert INVALID[arm](GOOD[arm]) == ""


@pytest.mark.parametrize("arm", ["cold", "other_instance", "first_sight"])
@pytest.mark.parametrize("cached", [0, 256, None])
@pytest.mark.parametrize("sources", [Sources(6744, 256, 0), Sources(6744, 0, 256)])
def test_a_cold_sample_is_invalid_when_the_counters_show_cached_tokens_whatever_its_usage_says(arm, cached, sources):
    assert "256 tokens were cached" in INVALID[arm](a_reply(cached=cached, sources=sources))


def test_a_server_that_reports_no_cached_tokens_is_cold_by_its_counters_or_not_at_all():
    assert INVALID["cold"](unreported(COLD)) == ""
    assert "in flight" in INVALID["cold"](unreported(None))
    assert "128 tokens were cached" in INVALID["cold"](a_reply(cached=128, sources=COLD))


@pytest.mark.parametrize(
    ("arm", "reply", "reason"),
    [
        ("cross_read", GOOD["own_warm"], "only 0 of 7000"),
        ("own_warm", GOOD["cross_read"], "only 0 of 7000"),
        ("lmcache_own_warm", GOOD["cross_read"], "only 0 of 7000"),
        ("cross_read", a_reply(cached=6912, sources=Sources(88, 0, 6912, l1=6912)), "memory"),
        ("cross_read", a_reply(cached=6912, sources=Sources(88, 0, 6912)), "is unknown"),
        ("cross_read", a_reply(cached=3584, sources=Sources(3416, 0, 3584, l2=3584)), "only 3584 of 7000"),
    ],
)
def test_a_warm_sample_from_another_place_or_of_half_the_document_does_not_count(arm, reply, reason):
    assert reason in INVALID[arm](reply)


@pytest.mark.parametrize("arm", ["own_warm", "cross_read", "lmcache_own_warm"])
@pytest.mark.parametrize(("tokens", "whole"), [(256, 0), (257, 256), (512, 256), (513, 512), (7000, 6912)])
def test_all_whole_chunks_before_the_last_token_are_needed_and_one_fewer_is_too_few(arm, tokens, whole):
    def valid(cached):
        own, shared = (0, cached) if arm == "cross_read" else (cached, 0)
        sources = Sources(tokens - cached, own, shared, l2=shared)
        return not INVALID[arm](a_reply(prompt=tokens, cached=cached, sources=sources))

    assert valid(whole)
    assert not whole or not valid(whole - CHUNK_SIZE)


@pytest.mark.parametrize(
    ("chunk_size", "loaded", "counts"),
    [(64, 6720, True), (64, 6783, True), (64, 6656, False), (256, 6720, True), (256, 6656, True), (256, 6400, False)],
)
def test_a_cross_read_is_judged_by_the_chunks_of_its_engine(chunk_size, loaded, counts):
    sources = Sources(6784 - loaded, 0, loaded, l2=loaded)
    reply = a_reply(prompt=6784, cached=loaded, sources=sources, chunk_size=chunk_size)
    assert (INVALID["cross_read"](reply) == "") is counts


@pytest.mark.parametrize("nonce", ["0123456789abcdef", "5f5f5f5f5f5f5f5f", "abcdefabcdefabc9", "9876543210987654"])
def test_a_second_cold_document_differs_in_every_digit_of_its_nonce_and_in_nothing_else(nonce):
    prompt = Prompt("What?", "0 documents", nonce, appendix="1")
    other = ttft.SECOND_COLD.transform(prompt)
    assert replace(other, nonce=nonce) == prompt
    for old, new in zip(nonce, other.nonce, strict=True):
        assert (new.isdigit(), new != old) == (old.isdigit(),) * 2


@pytest.mark.parametrize("arm", GOOD)
def test_a_source_that_cannot_be_told_does_not_count(arm):
    assert "in flight" in INVALID[arm](a_reply(cached=GOOD[arm].usage.cached_tokens, sources=None))


def test_a_foreign_server_without_counters_is_cold_by_its_own_count():
    cold = ttft.FIRST_COLD
    assert cold.invalid_reason(a_reply(sources=None)) == ""
    assert cold.invalid_reason(unreported(None)) == ""
    assert "128 tokens were cached" in cold.invalid_reason(a_reply(cached=128, sources=None))
