from dataclasses import replace

import pytest

from client.reply import Delta, Reply, Sources, Usage
from config.errors import EmptyReply


def reply_of(*deltas, usage=(10, 5, 0)):
    return Reply.of("plain-a", [Delta(*each) for each in deltas], Usage(*usage))


def test_ttft_is_the_first_delta_and_itl_the_gaps_between_them():
    reply = reply_of(("Hel", 0.5), ("lo", 0.6), ("!", 0.8))
    assert (reply.text, reply.ttft, reply.e2el) == ("Hello!", 0.5, 0.8)
    assert reply.itl == pytest.approx((0.1, 0.2))
    assert reply.mean_itl == pytest.approx(0.15)


def test_tpot_divides_by_tokens_after_the_first_and_not_by_chunks():
    assert reply_of(("a", 1.0), ("bcd", 2.0)).tpot == pytest.approx(0.25)


def test_one_chunk_has_a_ttft_but_neither_itl_nor_tpot():
    reply = reply_of(("yes", 1.0), usage=(10, 1, 0))
    assert (reply.ttft, reply.mean_itl, reply.tpot) == (1.0, None, None)


def test_no_text_is_a_failure_and_never_a_ttft_of_zero():
    with pytest.raises(EmptyReply, match="plain-a"):
        reply_of()


def test_reasoning_counts_for_ttft_but_is_not_part_of_the_answer():
    reply = reply_of(("hm", 0.3, True), ("yes", 0.9))
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
    assert reply_of(("a", 1.0), usage=(100, 1, 96)).source == "not attributed"


def test_media_tokens_are_the_prompts_without_those_of_its_text_and_unknown_where_these_were_not_counted():
    reply = reply_of(("a", 1.0), usage=(1075, 1, 0))
    assert reply.media_tokens is None
    assert replace(reply, text_tokens=51).media_tokens == 1024


def test_the_json_has_vllm_names_milliseconds_in_flat_fields_and_seconds_in_arrays():
    row = reply_of(("a", 1.0), ("b", 1.5)).to_json()
    assert (row["ttft_ms"], row["e2el_ms"], row["itls"]) == (1000.0, 1500.0, [0.5])
