from dataclasses import replace

import pytest

from client.reply import Delta, Reply, Sources, Usage
from config.errors import EmptyReply


def test_ttft_is_the_first_delta_and_itl_the_gaps_between_them():
    reply = Reply.of("plain-a", [Delta("Hel", 0.5), Delta("lo", 0.6), Delta("!", 0.8)], Usage(10, 3, 0))
    assert (reply.text, reply.ttft, reply.e2el) == ("Hello!", 0.5, 0.8)
    assert reply.itl == pytest.approx((0.1, 0.2))
    assert reply.mean_itl == pytest.approx(0.15)


def test_tpot_divides_by_tokens_after_the_first_and_not_by_chunks():
    reply = Reply.of("plain-a", [Delta("a", 1.0), Delta("bcd", 2.0)], Usage(10, 5, 0))
    assert reply.tpot == pytest.approx(0.25)


def test_one_chunk_has_a_ttft_but_neither_itl_nor_tpot():
    reply = Reply.of("plain-a", [Delta("yes", 1.0)], Usage(10, 1, 0))
    assert (reply.ttft, reply.mean_itl, reply.tpot) == (1.0, None, None)


def test_no_text_is_a_failure_and_never_a_ttft_of_zero():
    with pytest.raises(EmptyReply, match="plain-a"):
        Reply.of("plain-a", [], Usage(10, 0, 0))


def test_reasoning_counts_for_ttft_but_is_not_part_of_the_answer():
    reply = Reply.of("plain-a", [Delta("hm", 0.3, reasoning=True), Delta("yes", 0.9)], Usage(10, 2, 0))
    assert (reply.ttft, reply.text) == (0.3, "yes")


@pytest.mark.parametrize(
    ("sources", "label"),
    [
        (Sources(100, 0, 0), "computed"),
        (Sources(4, 96, 0), "own prefix cache"),
        (Sources(4, 0, 96), "shared"),
        (Sources(4, 0, 96, l2=96), "shared volume"),
        (Sources(4, 0, 96, l1=50, l2=46), "shared memory + volume"),
        (Sources(4, 48, 48, l2=48), "own prefix cache + shared volume"),
    ],
)
def test_the_source_is_named_in_words(sources, label):
    assert sources.label == label


def test_cached_tokens_without_attribution_are_called_so():
    reply = Reply.of("lmcache-b", [Delta("a", 1.0)], Usage(100, 1, 96), None)
    assert reply.source == "not attributed"


def test_media_tokens_are_the_prompts_without_those_of_its_text_and_unknown_where_these_were_not_counted():
    reply = Reply.of("plain-a", [Delta("a", 1.0)], Usage(1075, 1, 0))
    assert reply.media_tokens is None
    assert replace(reply, text_tokens=51).media_tokens == 1024


def test_the_json_has_vllm_names_milliseconds_in_flat_fields_and_seconds_in_arrays():
    row = Reply.of("plain-a", [Delta("a", 1.0), Delta("b", 1.5)], Usage(100, 2, 0)).to_json()
    assert (row["ttft_ms"], row["e2el_ms"], row["itls"]) == (1000.0, 1500.0, [0.5])
